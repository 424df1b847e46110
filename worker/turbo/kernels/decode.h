// Packed and raw rows of a layer to plain rows in the rotated space, in the model's dtype: what many
// queries attend to through MLX's own attention. A simdgroup writes DECODED_ROWS rows of one side.

enum {
    SIDES = (KEY_BITS > 0) + (VALUE_BITS > 0),
    DECODED_ROWS = 8,
    ARENA = WARPS * DIM
};

// Rows from..to of the tokens in order: first raw ones, packed ones, the raw tail.
struct Layout {
    int first, packed;
};

template <typename Codes, bool APART, typename T>
FUNCTION void decode(
    int lane, Side<T> side, Layout layout, Span rows, const GLOBAL float* mean,
    const GLOBAL float* direction, const GLOBAL float* rotation, SHARED float* room, GLOBAL T* out
) {
    float turned[PART];
    for (int i = 0; i < PART; i++) {
        turned[i] = APART ? direction[smaller(lane + LANES * i, DIM - 1)] : 0.0f;
    }
    for (int token = rows.start; token < rows.stop; token++) {
        const int packed = token - layout.first;
        float x[PART];
        if (packed >= 0 && packed < layout.packed) {
            const GLOBAL uint* row = side.codes + long(packed) * ((DIM * Codes::BITS + 31) / 32);
            const float scale = load_half(side.scales + packed);
            const float along = APART ? load_half(side.along + packed) : 0.0f;
            for (int i = 0; i < PART; i++) {
                x[i] = coordinate<Codes>(row, smaller(lane + LANES * i, DIM - 1)) * scale + along * turned[i];
            }
        } else {
            const GLOBAL T* row = side.raw + long(packed < 0 ? token : token - layout.packed) * DIM;
            for (int i = 0; i < PART; i++) {
                const int dim = lane + LANES * i;
                x[i] = dim < DIM ? float(row[dim]) - (APART ? mean[dim] : 0.0f) : 0.0f;
            }
            store_row(room, x, lane);
            simd_barrier();
            rotate(x, room, rotation, lane);
            simd_barrier();
        }
        GLOBAL T* to = out + long(token - rows.start) * DIM;
        for (int i = 0; i < PART; i++) {
            const int dim = lane + LANES * i;
            if (dim < DIM) to[dim] = T(x[i]);
        }
    }
}
