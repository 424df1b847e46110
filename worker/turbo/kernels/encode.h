// Vectors to packed codes, one a simdgroup: what `Codec.encode` does for keys and values, in one launch.
//
// `constants` holds from 8 on the rotation, then of each packed side the levels and the boundaries
// between them. KEY_RULE and VALUE_RULE count the scale rules of codec.py in their order.

enum {
    SIDES = (KEY_BITS > 0) + (VALUE_BITS > 0),
    AT_KEY_LEVELS = AT_ROTATION + (HADAMARD ? DIM : DIM * DIM),
    AT_VALUE_LEVELS = AT_KEY_LEVELS + (KEY_BITS > 0 ? 2 << KEY_BITS : 0),
    ARENA = WARPS * DIM
};

// The number of boundaries below x.
template <int LEVELS>
FUNCTION int bucket(float x, const GLOBAL float* boundaries) {
    int code = 0;
    for (int step = LEVELS / 2; step > 0; step /= 2) {
        if (x > boundaries[code + step - 1]) code += step;
    }
    return code;
}

FUNCTION float gain(int rule, float square, float product) {
    product = larger(product, 1e-30f);
    if (rule == 0) return 1 / product;
    if (rule == 1) return product / square;
    return rule == 2 ? inverse_root(square) : 1.0f;
}

// APART from the mean, and from the coordinate a along a direction u (rotated): `along` gets a' with
// <x', u> = <x, u>.
template <int BITS, int RULE, bool APART, typename T>
FUNCTION void encode(
    int lane, const GLOBAL T* vector, const GLOBAL float* mean, const GLOBAL float* direction,
    const GLOBAL float* rotation, const GLOBAL float* levels, SHARED float* row, GLOBAL uint* codes, GLOBAL half* scale,
    GLOBAL half* along
) {
    enum { LEVELS = 1 << BITS, WORDS = (DIM * BITS + 31) / 32 };
    float x[PART], u[PART], part = 0, squares = 0, level_squares = 0, product = 0, shared_part = 0;
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        x[i] = dim < DIM ? float(vector[dim]) - (APART ? mean[dim] : 0.0f) : 0.0f;
        u[i] = APART && dim < DIM ? direction[dim] : 0.0f;
    }
    store_row(row, x, lane);
    simd_barrier();
    rotate(x, row, rotation, lane);
    simd_barrier();
    if (APART) {
        for (int i = 0; i < PART; i++) part += x[i] * u[i];
        part = simd_total(part);
        for (int i = 0; i < PART; i++) x[i] -= part * u[i];
    }
    for (int i = 0; i < PART; i++) squares += x[i] * x[i];
    const float norm = root(simd_total(squares));
    for (int i = 0; i < PART; i++) {
        const float unit = x[i] / larger(norm, 1e-30f);
        const int code = bucket<LEVELS>(unit, levels + LEVELS);
        const float found = levels[code];
        if (lane + LANES * i < DIM) {
            level_squares += found * found;
            product += unit * found;
            shared_part += u[i] * found;
        }
        x[i] = float(code);
    }
    store_row(row, x, lane);
    simd_barrier();
    level_squares = simd_total(level_squares);
    product = simd_total(product);
    const half size = half(norm * gain(RULE, level_squares, product));
    if (APART) shared_part = simd_total(shared_part);
    if (lane == 0) {
        *scale = size;
        if (APART) *along = half(part - float(size) * shared_part);
    }
    for (int word = lane; word < WORDS; word += LANES) {
        uint packed = 0;
        for (int i = 32 * word / BITS; i < DIM && i * BITS < 32 * word + 32; i++) {
            const int shift = i * BITS - 32 * word;
            const uint code = uint(row[i]);
            packed |= shift >= 0 ? code << shift : code >> -shift;
        }
        codes[word] = packed;
    }
}
