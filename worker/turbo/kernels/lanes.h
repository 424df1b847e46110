// Products of queries with keys and of weights with values on ordinary lanes, in float32: a lane
// has one token's whole key and its scores for all rows, and PART coordinates of every value.

enum {
    TILE = 32,
    LANE_ROWS = ROWS,
    LANE_TOKENS = 1,
    ELEMENTS = ROWS,
    SUM_ROWS = ROWS,
    SUM_DIMS = PART,
    PRODUCTS_FLOATS = TILE * ROWS,
    TABLE_FLOATS = 0,
    AT_VALUE_TABLE = 0,
    QUERY_ROW = DIM
};

// Of a lane's tokens of a tile.
struct Scales {
    float scale[LANE_TOKENS], along[LANE_TOKENS];
};

FUNCTION int query_place(int dim) { return dim; }
FUNCTION void fill_tables(Place, SHARED float*) {}

FUNCTION int lane_row(int r, int) { return r; }
FUNCTION int lane_token(int, int lane) { return lane; }
FUNCTION int sum_row(int) { return 0; }
FUNCTION int sum_dim(int lane) { return lane * PART; }
FUNCTION bool speaks_for_rows(int lane) { return lane == 0; }

FUNCTION float largest_of_row(float x) {
    for (int step = 1; step < LANES; step *= 2) x = larger(x, shuffle_xor(x, step));
    return x;
}
FUNCTION float total_of_row(float x) {
    for (int step = 1; step < LANES; step *= 2) x += shuffle_xor(x, step);
    return x;
}

template <typename Codes, typename T>
struct PackedRows {
    enum { BITS = Codes::BITS, PACKED = 1, ROW = (DIM * BITS + 31) / 32 };

    Side<T> side;
    uint scales, coordinates;

    FUNCTION void open(Side<T> given, Order, const GLOBAL float*, const SHARED float*, int) {
        side = given;
    }
    FUNCTION Scales found_scales() {
        const Scales found = {{first_of_pair(scales)}, {CENTRED ? first_of_pair(coordinates) : 0.0f}};
        return found;
    }
    FUNCTION int arranged() { return 0; }

    static FUNCTION float unit() { return 1; }

    FUNCTION void ask_for_tile(int, int) {}
    FUNCTION void fetch_keys(int, int) {}
    FUNCTION void fetch_values(int, int) {}

    FUNCTION void fetch_scales(int tile, int lane, bool of_keys) {
        const int token = tile + lane;
        scales = load_half_bits(side.scales + token);
        if (CENTRED && of_keys) coordinates = load_half_bits(side.along + token);
    }

    // Coordinates first..first + N - 1 of a token, without its scale.
    template <int N>
    FUNCTION void read(int token, int first, LOCAL float* x) {
        const GLOBAL uint* row = side.codes + long(token) * ROW;
        const int bit = first * BITS, word = bit / 32, offset = bit % 32;
        ulong window = row[word];
        if (offset + N * BITS > 32 && word + 1 < ROW) window |= ulong(row[word + 1]) << 32;
        window >>= offset;
        for (int i = 0; i < N; i++) x[i] = level<Codes>(uint(window >> (i * BITS)) & ((1u << BITS) - 1));
    }
};

template <typename T>
struct RawRows {
    enum { PACKED = 0 };

    const GLOBAL T* rows;
    const GLOBAL float* mean;
    Order order;

    FUNCTION void open(
        Side<T> side, Order given, const GLOBAL float* centre, const SHARED float*, int
    ) {
        rows = side.raw;
        mean = centre;
        order = given;
    }
    FUNCTION Scales found_scales() {
        const Scales found = {{1}, {0}};
        return found;
    }
    FUNCTION int arranged() { return 0; }

    static FUNCTION float unit() { return 1; }

    FUNCTION void ask_for_tile(int, int) {}
    FUNCTION void fetch_keys(int, int) {}
    FUNCTION void fetch_values(int, int) {}
    FUNCTION void fetch_scales(int, int, bool) {}

    template <int N>
    FUNCTION void read(int token, int first, LOCAL float* x) {
        const GLOBAL T* row = rows + long(placed(order, token)) * DIM;
        for (int i = 0; i < N; i++) {
            const int dim = smaller(first + i, DIM - 1);
            x[i] = float(row[dim]) - (mean ? mean[dim] : 0.0f);
        }
    }
};

#if KEY_BITS > 0
template <typename T> using PackedKeys = PackedRows<KeyCodes, T>;
#else
template <typename T> using PackedKeys = RawRows<T>;
#endif
#if VALUE_BITS > 0
template <typename T> using PackedValues = PackedRows<ValueCodes, T>;
#else
template <typename T> using PackedValues = RawRows<T>;
#endif

struct Queries {
    const SHARED float* rows;

    template <typename Keys>
    FUNCTION void load(const SHARED float* given, float, int) { rows = given; }
};

template <typename Keys>
FUNCTION void score_tile(
    LOCAL Queries* queries, LOCAL Keys* keys, int tile, int last, LOCAL float* score, int lane
) {
    const int token = smaller(tile + lane, last);
    for (int row = 0; row < ROWS; row++) score[row] = 0;
    NO_UNROLL
    for (int first = 0; first < DIM; first += 8) {
        float key[8];
        keys->template read<8>(token, first, key);
        for (int row = 0; row < ROWS; row++) {
            for (int i = 0; i < 8; i++) score[row] += queries->rows[row * DIM + first + i] * key[i];
        }
    }
}

struct Sum {
    float x[ROWS][PART];

    FUNCTION void clear() {
        for (int row = 0; row < ROWS; row++) {
            for (int i = 0; i < PART; i++) x[row][i] = 0;
        }
    }

    FUNCTION float at(int row, int dim) { return x[row][dim]; }

    FUNCTION void rescale(const LOCAL float* factors, int) {
        for (int row = 0; row < ROWS; row++) {
            for (int i = 0; i < PART; i++) x[row][i] *= factors[row];
        }
    }

    // The weights pass through shared memory, as [token, row].
    template <typename Values>
    FUNCTION void add(
        LOCAL Values* values, int, const LOCAL float* weights, SHARED float* room, int tile, int last,
        int lane
    ) {
        for (int row = 0; row < ROWS; row++) room[lane * ROWS + row] = weights[row];
        simd_barrier();
        NO_UNROLL
        for (int token = tile; token < smaller(tile + TILE, last + 1); token++) {
            float value[PART];
            values->template read<PART>(token, smaller(lane, (DIM - 1) / PART) * PART, value);
            for (int row = 0; row < ROWS; row++) {
                const float weight = room[(token - tile) * ROWS + row];
                for (int i = 0; i < PART; i++) x[row][i] += weight * value[i];
            }
        }
        simd_barrier();
    }
};
