// Products of queries with keys and of weights with values on ordinary lanes, in float32: a lane
// has one token's whole key, and PART coordinates of every value.

enum {
    WEIGHT_FLOATS = 8 * 32,
    KEY_TABLE = 1 << KEY_BITS,
    TABLE_FLOATS = (1 << KEY_BITS) + (1 << VALUE_BITS)
};

template <int BITS, typename T>
struct TokenRows {
    Side<T> side;
    const SHARED float* levels;
    float held_scale;

    FUNCTION void open(Side<T> given, Raw, const GLOBAL float*) { side = given; }

    FUNCTION void fill(SHARED float* table, const GLOBAL float* centroids, Place at) {
        levels = table;
        for (int i = at.index; i < (1 << BITS); i += THREADS) table[i] = centroids[i];
    }

    FUNCTION void share(const SHARED float* table) { levels = table; }

    FUNCTION void fetch_keys(int tile, int last, int lane) { fetch_scale(smaller(tile + lane, last)); }

    FUNCTION void fetch_values(int, int, int) {}

    FUNCTION void fetch_scale(int token) { held_scale = float(side.scales[token]); }

    // Coordinates first..first + N - 1 of a token, without its scale.
    template <int N>
    FUNCTION void read(int token, int first, LOCAL float* x) {
        const GLOBAL uint* row = side.codes + token * ((DIM * BITS + 31) / 32);
        const int bit = first * BITS, word = bit / 32, offset = bit % 32;
        ulong window = row[word];
        if (offset + N * BITS > 32 && word + 1 < (DIM * BITS + 31) / 32) {
            window |= ulong(row[word + 1]) << 32;
        }
        window >>= offset;
        for (int i = 0; i < N; i++) x[i] = levels[int(window >> (i * BITS)) & ((1 << BITS) - 1)];
    }
};

template <typename T>
struct TokenRows<0, T> {
    const GLOBAL T* rows;
    Raw order;
    const GLOBAL float* mean;
    float held_scale;

    FUNCTION void open(Side<T> side, Raw given, const GLOBAL float* centre) {
        rows = side.raw;
        order = given;
        mean = centre;
        held_scale = 1;
    }

    FUNCTION void fill(SHARED float*, const GLOBAL float*, Place) {}

    FUNCTION void share(const SHARED float*) {}

    FUNCTION void fetch_keys(int, int, int) {}

    FUNCTION void fetch_values(int, int, int) {}

    FUNCTION void fetch_scale(int) {}

    template <int N>
    FUNCTION void read(int token, int first, LOCAL float* x) {
        const GLOBAL T* row = rows + raw_row(order, token) * DIM;
        for (int i = 0; i < N; i++) {
            const int dim = smaller(first + i, DIM - 1);
            x[i] = float(row[dim]) - (mean ? mean[dim] : 0.0f);
        }
    }
};

struct Queries {
    const SHARED float* rows;

    FUNCTION void load(const SHARED float* given, int) { rows = given; }
};

template <typename Keys>
FUNCTION void score(
    LOCAL Queries* queries, LOCAL Keys* keys, int tile, int last, SHARED float* scores, int lane
) {
    const int token = smaller(tile + lane, last);
    float sum[ROWS];
    for (int row = 0; row < ROWS; row++) sum[row] = 0;
    for (int first = 0; first < DIM; first += 8) {
        float key[8];
        keys->template read<8>(token, first, key);
        for (int row = 0; row < ROWS; row++) {
            for (int i = 0; i < 8; i++) sum[row] += queries->rows[row * DIM + first + i] * key[i];
        }
    }
    for (int row = 0; row < 8; row++) scores[row * STRIDE + lane] = row < ROWS ? sum[row] : 0.0f;
}

// As [token, 8 rows], so that a token's weights lie together.
FUNCTION void store_weights(SHARED float* shared_weights, const LOCAL float* weights, int lane) {
    for (int i = 0; i < 8; i++) shared_weights[(lane % 4 * 8 + i) * 8 + lane / 4] = weights[i];
}

struct Sum {
    float x[ROWS][PART];

    FUNCTION void clear() {
        for (int row = 0; row < ROWS; row++) {
            for (int i = 0; i < PART; i++) x[row][i] = 0;
        }
    }

    // Multiplies every row by the factor that the lanes of that row hold.
    FUNCTION void rescale(float factor, int) {
        for (int row = 0; row < ROWS; row++) {
            const float of_row = shuffle(factor, row * 4);
            for (int i = 0; i < PART; i++) x[row][i] *= of_row;
        }
    }

    template <typename Values>
    FUNCTION void add(
        LOCAL Values* values, const SHARED float* weights, int tile, int stop, int lane
    ) {
        if (lane * PART >= DIM) return;
        for (int token = tile; token < smaller(tile + TILE, stop); token++) {
            float value[PART];
            values->template read<PART>(token, lane * PART, value);
            for (int row = 0; row < ROWS; row++) {
                const float weight = weights[(token - tile) * 8 + row];
                for (int i = 0; i < PART; i++) x[row][i] += weight * value[i];
            }
        }
    }

    FUNCTION void deposit(SHARED float* out, bool first, int lane) {
        for (int row = 0; row < ROWS; row++) {
            for (int i = 0; i < PART; i++) {
                const int dim = lane * PART + i;
                if (dim < DIM) {
                    const int place = row * DIM + dim;
                    out[place] = first ? x[row][i] : out[place] + x[row][i];
                }
            }
        }
    }
};
