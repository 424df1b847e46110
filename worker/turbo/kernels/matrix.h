// The same products on matrix units, in float16 with float32 sums: `multiply_add` is a 16x16 by
// 16x8 product whose operands lie in a simdgroup's registers as PTX's mma.m16n8k16 defines.
//
// Sums over coordinates and over tokens run in any order, so each lane takes the ones that lie
// together in memory: a quarter of a key's coordinates, an eighth of a value's. Levels come from a
// table in shared memory with one copy per memory bank: two codes cost one load without conflicts.

enum {
    WEIGHT_WORDS = 20,  // of a row: 16 words of float16 pairs, padded for the banks
    WEIGHT_FLOATS = 8 * WEIGHT_WORDS,
    KEY_ENTRIES = KEY_BITS == 0 ? 0 : 1 << (KEY_BITS <= 4 ? 2 * KEY_BITS : KEY_BITS),
    VALUE_ENTRIES = VALUE_BITS == 0 ? 0 : 1 << (VALUE_BITS <= 4 ? 2 * VALUE_BITS : VALUE_BITS),
    KEY_TABLE = 32 * KEY_ENTRIES,
    TABLE_FLOATS = KEY_TABLE + (KEY_BITS == VALUE_BITS ? 0 : 32 * VALUE_ENTRIES)
};

// N codes of a vector, the first of them at bit 0.
template <int BITS, int N>
FUNCTION void load_codes(const GLOBAL uint* row, int first, LOCAL uint* words) {
    enum { COUNT = (N * BITS + 31) / 32, ROW = (DIM * BITS + 31) / 32 };
    if (N * BITS % 32 == 0) {
        load_words<COUNT, (COUNT % 4 == 0 && ROW % 4 == 0) ? 4 : (COUNT % 2 == 0 && ROW % 2 == 0) ? 2 : 1>(
            row + first / N * COUNT, words
        );
        return;
    }
    const int word = first * BITS / 32, offset = first * BITS % 32;
    for (int i = 0; i < COUNT; i++) {
        const uint low = row[smaller(word + i, ROW - 1)], high = row[smaller(word + i + 1, ROW - 1)];
        words[i] = funnel_shift(low, high, offset);
    }
}

// The tokens whose values a lane has: those of two products, four each.
FUNCTION int value_token(int tile, int last, int i, int lane) {
    return smaller(tile + i / 4 * 16 + lane % 4 * 2 + i / 2 % 2 * 8 + i % 2, last);
}

// Field of WIDTH bits, times 128: the distance between two entries of a table in bytes.
template <int WIDTH>
FUNCTION uint entry(const LOCAL uint* words, int bit) {
    const int word = bit / 32, offset = bit % 32;
    const uint mask = ((1u << WIDTH) - 1) << 7;
    if (offset + WIDTH > 32) return (funnel_shift(words[word], words[word + 1], offset) << 7) & mask;
    return (offset >= 7 ? words[word] >> (offset - 7) : words[word] << (7 - offset)) & mask;
}

FUNCTION uint look_up(const SHARED float* table, uint bytes) {
    return *(const SHARED uint*)((const SHARED char*)table + bytes);
}

template <int BITS, typename T>
struct TokenRows {
    enum { ROW = (DIM * BITS + 31) / 32 };

    Side<T> side;
    const SHARED float* levels;
    float held_scale;
    uint held_keys[4][(DIM / 4 * BITS + 31) / 32], held_values[8][(DIM / 8 * BITS + 31) / 32];

    FUNCTION void open(Side<T> given, Raw, const GLOBAL float*) { side = given; }

    // Entry e of all banks is a pair of levels, or one level twice.
    FUNCTION void fill(SHARED float* table, const GLOBAL float* centroids, Place at) {
        enum { ENTRIES = 1 << (BITS <= 4 ? 2 * BITS : BITS), MASK = (1 << BITS) - 1 };
        levels = table;
        for (int base = at.warp * LANES; base < ENTRIES; base += THREADS) {
            const int e = base + at.lane;
            const float low = centroids[e & MASK], high = centroids[BITS <= 4 ? (e >> BITS) & MASK : e];
            const uint pair = pack_halves(low, high);
            for (int i = 0; i < (int(ENTRIES) < LANES ? int(ENTRIES) : LANES); i++) {
                ((SHARED uint*)table)[(base + i) * LANES + at.lane] = shuffle(pair, i);
            }
        }
    }

    FUNCTION void share(const SHARED float* table) { levels = table; }

    FUNCTION void fetch_scale(int token) { held_scale = load_scale(side.scales + token); }

    // Asks early for the codes and scales of a tile of keys, and for the codes of one of values.
    FUNCTION void fetch_keys(int tile, int last, int lane) {
        for (int group = 0; group < 4; group++) {
            const int token = smaller(tile + group * 8 + lane / 4, last);
            load_codes<BITS, DIM / 4>(side.codes + token * ROW, lane % 4 * (DIM / 4), held_keys[group]);
        }
        fetch_scale(smaller(tile + lane, last));
    }

    FUNCTION void fetch_values(int tile, int last, int lane) {
        for (int i = 0; i < 8; i++) {
            load_codes<BITS, DIM / 8>(
                side.codes + value_token(tile, last, i, lane) * ROW, lane / 4 * (DIM / 8), held_values[i]
            );
        }
    }

    FUNCTION void key(int group, int, int, LOCAL uint* pairs, int lane) {
        decode<DIM / 4>(held_keys[group], pairs, lane);
    }

    FUNCTION void value(int i, int, int, LOCAL uint* pairs, int lane) {
        decode<DIM / 8>(held_values[i], pairs, lane);
    }

    // N coordinates of a token as float16 pairs.
    template <int N>
    FUNCTION void decode(const LOCAL uint* words, LOCAL uint* pairs, int lane) {
        for (int i = 0; i < N / 2; i++) {
            if (BITS <= 4) {
                pairs[i] = look_up(levels, entry<(BITS <= 4 ? 2 * BITS : 8)>(words, 2 * BITS * i) | lane * 4);
            } else {
                pairs[i] = low_halves(
                    look_up(levels, entry<BITS>(words, 2 * BITS * i) | lane * 4),
                    look_up(levels, entry<BITS>(words, 2 * BITS * i + BITS) | lane * 4)
                );
            }
        }
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
    FUNCTION void read(int token, int first, LOCAL uint* pairs) {
        const GLOBAL T* row = rows + raw_row(order, token) * DIM + first;
        if (mean) {
            for (int i = 0; i < N / 2; i++) {
                const float low = float(row[2 * i]) - mean[first + 2 * i];
                pairs[i] = pack_halves(low, float(row[2 * i + 1]) - mean[first + 2 * i + 1]);
            }
        } else {
            load_halves<N>(row, pairs);
        }
    }

    FUNCTION void key(int group, int tile, int last, LOCAL uint* pairs, int lane) {
        const int token = smaller(tile + group * 8 + lane / 4, last);
        read<DIM / 4>(token, lane % 4 * (DIM / 4), pairs);
    }

    FUNCTION void value(int i, int tile, int last, LOCAL uint* pairs, int lane) {
        read<DIM / 8>(value_token(tile, last, i, lane), lane / 4 * (DIM / 8), pairs);
    }
};

// The row lane / 4 over its largest coordinate, so that float16 holds any query.
struct Queries {
    uint pairs[DIM / 16][2];
    float factor;

    FUNCTION void load(const SHARED float* rows, int lane) {
        const SHARED float* part = rows + lane / 4 * DIM + lane % 4 * (DIM / 4);
        factor = 0;
        for (int i = 0; i < DIM / 4; i++) factor = larger(factor, absolute(part[i]));
        factor = larger(factor, shuffle_xor(factor, 1));
        factor = larger(factor, shuffle_xor(factor, 2));
        const float inverse = factor > 0 ? 1 / factor : 0.0f;
        for (int i = 0; i < DIM / 16; i++) {
            pairs[i][0] = pack_halves(part[4 * i] * inverse, part[4 * i + 1] * inverse);
            pairs[i][1] = pack_halves(part[4 * i + 2] * inverse, part[4 * i + 3] * inverse);
        }
    }
};

template <typename Keys>
FUNCTION void score(
    LOCAL Queries* queries, LOCAL Keys* keys, int tile, int last, SHARED float* scores, int lane
) {
    UNROLL(4)
    for (int group = 0; group < 4; group++) {
        uint key[DIM / 8];
        keys->key(group, tile, last, key, lane);
        float sum[4] = {0, 0, 0, 0};
        for (int i = 0; i < DIM / 16; i++) {
            multiply_add(
                sum, queries->pairs[i][0], 0, queries->pairs[i][1], 0, key[2 * i], key[2 * i + 1]
            );
        }
        SHARED float* place = scores + lane / 4 * STRIDE + group * 8 + lane % 4 * 2;
        place[0] = sum[0] * queries->factor;
        place[1] = sum[1] * queries->factor;
    }
}

FUNCTION void store_weights(SHARED float* shared_weights, const LOCAL float* weights, int lane) {
    SHARED uint* words = (SHARED uint*)shared_weights + lane / 4 * WEIGHT_WORDS + lane % 4 * 4;
    for (int i = 0; i < 4; i++) words[i] = pack_halves(weights[2 * i], weights[2 * i + 1]);
}

// Transposed: 16 coordinates by 8 rows a product.
struct Sum {
    float x[DIM / 16][4];

    FUNCTION void clear() {
        for (int i = 0; i < DIM / 16; i++) {
            for (int k = 0; k < 4; k++) x[i][k] = 0;
        }
    }

    FUNCTION void rescale(float factor, int lane) {
        const float even = shuffle(factor, lane % 4 * 8), odd = shuffle(factor, lane % 4 * 8 + 4);
        for (int i = 0; i < DIM / 16; i++) {
            x[i][0] *= even;
            x[i][1] *= odd;
            x[i][2] *= even;
            x[i][3] *= odd;
        }
    }

    template <typename Values>
    FUNCTION void add(
        LOCAL Values* values, const SHARED float* weights, int tile, int stop, int lane
    ) {
        const SHARED uint* row = (const SHARED uint*)weights + lane / 4 * WEIGHT_WORDS + lane % 4;
        UNROLL(2)
        for (int step = 0; step < 2; step++) {
            uint value[4][DIM / 16];
            for (int i = 0; i < 4; i++) values->value(4 * step + i, tile, stop - 1, value[i], lane);
            const uint low = row[8 * step], high = row[8 * step + 4];
            for (int i = 0; i < DIM / 16; i++) {
                multiply_add(
                    x[i], low_halves(value[0][i], value[1][i]), high_halves(value[0][i], value[1][i]),
                    low_halves(value[2][i], value[3][i]), high_halves(value[2][i], value[3][i]), low,
                    high
                );
            }
        }
    }

    FUNCTION void deposit(SHARED float* out, bool first, int lane) {
        for (int i = 0; i < DIM / 16; i++) {
            for (int k = 0; k < 4; k++) {
                const int row = lane % 4 * 2 + k % 2, dim = lane / 4 * (DIM / 8) + 2 * i + k / 2;
                const int place = row * DIM + dim;
                out[place] = first ? x[i][k] : out[place] + x[i][k];
            }
        }
    }
};
