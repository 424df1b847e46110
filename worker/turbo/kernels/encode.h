// Vectors to packed codes, one a simdgroup: what `Codec.encode` does, in one launch.
//
// `constants` holds from 8 on the levels, the boundaries between them and the rotation. SCALE_RULE
// counts the rules of codec.py in their order.

enum {
    BITS = KEY_BITS,
    LEVELS = 1 << BITS,
    WORDS = (DIM * BITS + 31) / 32,
    AT_BOUNDARIES = 8 + LEVELS,
    AT_TURN = 8 + 2 * LEVELS,
    ARENA = WARPS * DIM
};

FUNCTION float simd_total(float x) {
    for (int step = 1; step < LANES; step *= 2) x += shuffle_xor(x, step);
    return x;
}

// The number of boundaries below x.
FUNCTION int bucket(float x, const GLOBAL float* boundaries) {
    int code = 0;
    for (int step = LEVELS / 2; step > 0; step /= 2) {
        if (x > boundaries[code + step - 1]) code += step;
    }
    return code;
}

FUNCTION float gain(float square, float product) {
    product = larger(product, 1e-30f);
    if (SCALE_RULE == 0) return 1 / product;
    if (SCALE_RULE == 1) return product / square;
    return SCALE_RULE == 2 ? inverse_root(square) : 1.0f;
}

template <typename T>
FUNCTION void encode(
    Place at, const GLOBAL T* vector, const GLOBAL float* mean, const GLOBAL float* constants,
    SHARED float* arena, GLOBAL uint* codes, GLOBAL half* scale
) {
    SHARED float* row = arena + at.warp * DIM;
    float x[PART], squares = 0, level_squares = 0, product = 0;
    for (int i = 0; i < PART; i++) {
        const int dim = at.lane + LANES * i;
        x[i] = dim < DIM ? float(vector[dim]) - (CENTRED ? mean[dim] : 0.0f) : 0.0f;
    }
    store_row(row, x, at.lane);
    simd_barrier();
    rotate(x, row, constants + AT_TURN, at.lane);
    simd_barrier();
    for (int i = 0; i < PART; i++) squares += x[i] * x[i];
    const float norm = root(simd_total(squares));
    for (int i = 0; i < PART; i++) {
        const float unit = x[i] / larger(norm, 1e-30f);
        const int code = bucket(unit, constants + AT_BOUNDARIES);
        const float level = constants[8 + code];
        if (at.lane + LANES * i < DIM) {
            level_squares += level * level;
            product += unit * level;
        }
        x[i] = float(code);
    }
    store_row(row, x, at.lane);
    simd_barrier();
    level_squares = simd_total(level_squares);
    product = simd_total(product);
    if (at.lane == 0) *scale = half(norm * gain(level_squares, product));
    for (int word = at.lane; word < WORDS; word += LANES) {
        uint packed = 0;
        for (int i = 32 * word / BITS; i < DIM && i * BITS < 32 * word + 32; i++) {
            const int shift = i * BITS - 32 * word;
            const uint code = uint(row[i]);
            packed |= shift >= 0 ? code << shift : code >> -shift;
        }
        codes[word] = packed;
    }
}
