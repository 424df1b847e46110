// The sizes of the work, and where a token's key or value lies.

enum {
    LANES = 32,
    THREADS = LANES * WARPS,
    TOTAL_ROWS = GROUPS * LENGTH,
    ROWS = TOTAL_ROWS < 8 ? TOTAL_ROWS : 8,
    ROW_BLOCKS = (TOTAL_ROWS + ROWS - 1) / ROWS,
    PART = (DIM + LANES - 1) / LANES,
    // Rows in shared memory of which lanes read quarters, each from banks of its own.
    QUARTER = DIM / 4 + (DIM / 16 % 2 ? 0 : 4),
    QUARTERED_ROW = 4 * QUARTER,
    AT_ROTATION = 8  // in `constants`, whose first place holds the softmax scale over ln 2
};

#define LOWEST (-1e30f)
#define SMALLEST_SCALE 5.9604645e-8f
#define SMALLEST_FACTOR 1e-35f

struct Place {
    int index, lane, warp;  // in the threadgroup, in the simdgroup, of the simdgroup
};

// Tokens start..stop, packed or raw ones.
struct Span {
    int start, stop;
};

// Tokens from the place `from` on lie `shift` places later in a buffer that holds others too.
struct Order {
    int from, shift;
};

FUNCTION int placed(Order order, int token) {
    return token < order.from ? token : token + order.shift;
}

FUNCTION int clipped(int x, int low, int high) { return x < low ? low : smaller(x, high); }

// One side's buffers for one key head, each token's row right after the one before.
template <typename T>
struct Side {
    const GLOBAL uint* codes;
    const GLOBAL half* scales;
    const GLOBAL half* along;
    const GLOBAL T* raw;
};

template <typename T, typename S>
FUNCTION Side<T> side(
    int batch, int head, const GLOBAL uint* codes, S codes_strides, const GLOBAL half* scales,
    S scales_strides, const GLOBAL half* along, S along_strides, const GLOBAL T* raw, S raw_strides,
    int bits
) {
    Side<T> found = {codes, scales, along, raw + batch * raw_strides[0] + head * raw_strides[1]};
    if (bits > 0) {
        found.codes += batch * codes_strides[0] + head * codes_strides[1];
        found.scales += batch * scales_strides[0] + head * scales_strides[1];
        if (CENTRED) found.along += batch * along_strides[0] + head * along_strides[1];
    }
    return found;
}

// The same of buffers that lie one head after the other.
template <typename T>
FUNCTION Side<T> whole_side(
    int head, const GLOBAL uint* codes, const GLOBAL half* scales, const GLOBAL half* along, int packed_rows,
    const GLOBAL T* raw, int raw_rows, int bits
) {
    Side<T> found = {codes, scales, along, raw + long(head) * raw_rows * DIM};
    if (bits > 0) {
        const long first = long(head) * packed_rows;
        found.codes += first * ((DIM * bits + 31) / 32);
        found.scales += first;
        if (CENTRED) found.along += first;
    }
    return found;
}
