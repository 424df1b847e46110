// Packed and raw rows of a layer to plain rows in the rotated space, in the model's dtype: what many
// queries attend to through MLX's own attention. A threadgroup writes DECODED_ROWS rows of one side.

enum {
    SIDES = (KEY_BITS > 0) + (VALUE_BITS > 0),
    OCTETS = DIM / 8,
    ROWS_AT_ONCE = THREADS / OCTETS,
    DECODED_ROWS = 8 * WARPS,
    ARENA = WARPS * DIM
};

// Rows from..to of the tokens in order: first raw ones, packed ones, the raw tail.
struct Layout {
    int first, packed;
};

// Eight coordinates of a packed row from `first` on, without their scale.
template <typename Codes>
FUNCTION void octet(const GLOBAL uint* row, int first, LOCAL float* x) {
    enum { BITS = Codes::BITS, COUNT = (8 * BITS + 31) / 32 };
    uint words[COUNT + 1];
    load_codes<BITS, 8>(row, first, words);
    words[COUNT] = 0;
    for (int i = 0; i < 8; i++) {
        const int word = i * BITS / 32, offset = i * BITS % 32;
        uint code = words[word] >> offset;
        if (offset + BITS > 32) code |= words[word + 1] << (32 - offset);
        x[i] = level<Codes>(code & ((1u << BITS) - 1));
    }
}

// The packed rows of a span; a thread has the same eight coordinates of all of its rows.
template <typename Codes, bool APART, typename T>
FUNCTION void decode_packed(
    int index, Side<T> side, Layout layout, Span rows, const GLOBAL float* direction, GLOBAL T* out
) {
    const int start = rows.start < layout.first ? layout.first : rows.start;
    const int stop = smaller(rows.stop, layout.first + layout.packed), dim = index % OCTETS * 8;
    if (index >= ROWS_AT_ONCE * OCTETS) return;
    float turned[8];
    for (int i = 0; i < 8; i++) turned[i] = APART ? direction[dim + i] : 0.0f;
    for (int token = start + index / OCTETS; token < stop; token += ROWS_AT_ONCE) {
        const int packed = token - layout.first;
        const GLOBAL uint* row = side.codes + long(packed) * ((DIM * Codes::BITS + 31) / 32);
        const float scale = load_half(side.scales + packed);
        const float along = APART ? load_half(side.along + packed) : 0.0f;
        float x[8];
        octet<Codes>(row, dim, x);
        for (int i = 0; i < 8; i++) x[i] = x[i] * scale + along * turned[i];
        store_octet(out + long(token - rows.start) * DIM + dim, x);
    }
}

template <bool APART, typename T>
FUNCTION void rotate_raw(
    Place at, Side<T> side, Layout layout, Span rows, const GLOBAL float* mean,
    const GLOBAL float* rotation, SHARED float* room, GLOBAL T* out
) {
    for (int token = rows.start + at.warp; token < rows.stop; token += WARPS) {
        if (token >= layout.first && token < layout.first + layout.packed) continue;
        const GLOBAL T* row =
            side.raw + long(token < layout.first ? token : token - layout.packed) * DIM;
        float x[PART];
        for (int i = 0; i < PART; i++) {
            const int dim = at.lane + LANES * i;
            x[i] = dim < DIM ? float(row[dim]) - (APART ? mean[dim] : 0.0f) : 0.0f;
        }
        store_row(room, x, at.lane);
        simd_barrier();
        rotate(x, room, rotation, at.lane);
        simd_barrier();
        GLOBAL T* to = out + long(token - rows.start) * DIM;
        for (int i = 0; i < PART; i++) {
            const int dim = at.lane + LANES * i;
            if (dim < DIM) to[dim] = T(x[i]);
        }
    }
}

template <typename Codes, bool APART, typename T>
FUNCTION void decode(
    Place at, Side<T> side, Layout layout, Span rows, const GLOBAL float* mean,
    const GLOBAL float* direction, const GLOBAL float* rotation, SHARED float* room, GLOBAL T* out
) {
    decode_packed<Codes, APART>(at.index, side, layout, rows, direction, out);
    rotate_raw<APART>(at, side, layout, rows, mean, rotation, room, out);
}
