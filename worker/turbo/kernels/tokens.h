// The sizes of the work, and where a token's key or value lies.

enum {
    LANES = 32,
    WARPS = 4,
    THREADS = LANES * WARPS,
    TILE = 32,
    STRIDE = TILE + 4,  // of a row of scores: rows fall into different memory banks
    TOTAL_ROWS = GROUPS * LENGTH,
    ROWS = TOTAL_ROWS < 8 ? TOTAL_ROWS : 8,
    ROW_BLOCKS = (TOTAL_ROWS + ROWS - 1) / ROWS,
    PART = (DIM + LANES - 1) / LANES,
    MOST_SPANS = 256,
    SPAN_FLOATS = DIM + 4,  // the sum of values, the maximum and the sum of exponentials
    KEY_LEVELS = 1 << KEY_BITS,
    VALUE_LEVELS = 1 << VALUE_BITS,
    // Where in `constants` they start; the first place holds the softmax scale over ln 2.
    AT_KEY_LEVELS = 8,
    AT_VALUE_LEVELS = AT_KEY_LEVELS + KEY_LEVELS,
    AT_ROTATION = AT_VALUE_LEVELS + VALUE_LEVELS
};

#define LOWEST (-1e30f)
#define SMALLEST_SCALE 5.9604645e-8f

struct Place {
    int index, lane, warp;  // in the threadgroup, in the simdgroup, of the simdgroup
};

// Tokens start..stop, packed or raw ones.
struct Span {
    int start, stop;
};

// Raw tokens from the place `from` on lie `shift` rows later where the buffer holds packed ones too.
struct Raw {
    int from, shift;
};

FUNCTION int raw_row(Raw order, int token) {
    return token < order.from ? token : token + order.shift;
}

// One side's buffers for one key head, each token's row right after the one before.
template <typename T>
struct Side {
    const GLOBAL uint* codes;
    const GLOBAL half* scales;
    const GLOBAL T* raw;
};

template <typename T, typename S>
FUNCTION Side<T> side(
    int batch, int head, const GLOBAL uint* codes, S codes_strides, const GLOBAL half* scales,
    S scales_strides, const GLOBAL T* raw, S raw_strides, bool packed
) {
    Side<T> found = {codes, scales, raw + batch * raw_strides[0] + head * raw_strides[1]};
    if (packed) {
        found.codes += batch * codes_strides[0] + head * codes_strides[1];
        found.scales += batch * scales_strides[0] + head * scales_strides[1];
    }
    return found;
}
