// Rows as a matrix unit wants them: float16 pairs, a quarter of a key's coordinates a lane, an eighth
// of two values' coordinates. Sums over coordinates and over tokens run in any order, so each lane
// takes the coordinates that lie together in memory.
//
// A unit (mma.h, simdgroups.h) says where its lanes stand: `key_token`, `key_quarter`, `value_token`,
// `value_eighth`.

enum {
    TILE = 16,
    ELEMENTS = TILE * 8 / LANES,  // scores of a tile that a lane has
    LANE_TOKENS = ELEMENTS / LANE_ROWS,
    SUM_ROWS = 2,
    SUM_DIMS = DIM / 8,
    PRODUCTS_FLOATS = 0
};

template <typename Codes, typename T>
struct PackedRows {
    enum {
        BITS = Codes::BITS,
        PACKED = 1,
        ROW = (DIM * BITS + 31) / 32,
        // Pairs of codes from the two halves of a word, where words hold whole codes of this lane.
        WITHIN = 16 % BITS == 0 && DIM / 4 * BITS % 32 == 0,
        STREAM = (DIM / 8 * BITS + 31) / 32,
        KEY_WORDS = WITHIN ? DIM / 4 * BITS / 32 : 2 * STREAM,
        PER_CHUNK = 16 / BITS
    };

    Side<T> side;
    float scale[LANE_TOKENS], along[LANE_TOKENS];
    uint keys[2][KEY_WORDS], values[4][STREAM];

    FUNCTION void open(Side<T> given, Order, const GLOBAL float*) { side = given; }

    FUNCTION void fetch_scales(int tile, int last, int lane, bool of_keys) {
        for (int i = 0; i < LANE_TOKENS; i++) {
            const int token = smaller(tile + lane_token(i, lane), last);
            scale[i] = load_half(side.scales + token);
            along[i] = CENTRED && of_keys ? load_half(side.along + token) : 0.0f;
        }
    }

    FUNCTION void fetch_keys(int tile, int last, int lane) {
        for (int group = 0; group < 2; group++) {
            const GLOBAL uint* row = side.codes + long(smaller(tile + 8 * group + key_token(lane), last)) * ROW;
            const int first = key_quarter(lane) * (DIM / 4);
            if (WITHIN) {
                load_codes<BITS, DIM / 4>(row, first, keys[group]);
            } else {
                load_codes<BITS, DIM / 8>(row, first, keys[group]);
                load_codes<BITS, DIM / 8>(row, first + DIM / 8, keys[group] + STREAM);
            }
        }
    }

    FUNCTION void fetch_values(int tile, int last, int lane) {
        for (int i = 0; i < 4; i++) {
            const GLOBAL uint* row = side.codes + long(smaller(tile + value_token(i, lane), last)) * ROW;
            load_codes<BITS, DIM / 8>(row, value_eighth(lane) * (DIM / 8), values[i]);
        }
    }

    // Which coordinate of this lane's quarter a pair holds first, and how far off the other is.
    static FUNCTION int first_of(int pair) { return WITHIN ? pair / PER_CHUNK * PER_CHUNK + pair : pair; }
    static FUNCTION int other_after() { return WITHIN ? int(PER_CHUNK) : DIM / 8; }

    FUNCTION void key(int group, int, int, LOCAL uint* pairs, int) {
        uint chunks[2 * STREAM];
        if (!WITHIN) interleave<STREAM>(keys[group], keys[group] + (WITHIN ? 0 : int(STREAM)), chunks);
        for (int i = 0; i < DIM / 8; i++) pairs[i] = pair_level<Codes>(WITHIN ? keys[group] : chunks, i);
    }

    // Of the tokens 2 `which` and 2 `which` + 1 of this lane.
    FUNCTION void value(int which, int, int, LOCAL uint* pairs, int) {
        uint chunks[2 * STREAM];
        interleave<STREAM>(values[2 * which], values[2 * which + 1], chunks);
        for (int i = 0; i < DIM / 8; i++) pairs[i] = pair_level<Codes>(chunks, i);
    }
};

template <typename T>
struct RawRows {
    enum { PACKED = 0 };

    const GLOBAL T* rows;
    const GLOBAL float* mean;
    Order order;
    float scale[LANE_TOKENS], along[LANE_TOKENS];

    FUNCTION void open(Side<T> side, Order given, const GLOBAL float* centre) {
        rows = side.raw;
        mean = centre;
        order = given;
        for (int i = 0; i < LANE_TOKENS; i++) {
            scale[i] = 1;
            along[i] = 0;
        }
    }

    FUNCTION void fetch_keys(int, int, int) {}
    FUNCTION void fetch_scales(int, int, int, bool) {}
    FUNCTION void fetch_values(int, int, int) {}

    static FUNCTION int first_of(int pair) { return 2 * pair; }
    static FUNCTION int other_after() { return 1; }

    FUNCTION const GLOBAL T* row(int token, int last) {
        return rows + long(placed(order, smaller(token, last))) * DIM;
    }

    FUNCTION void key(int group, int tile, int last, LOCAL uint* pairs, int lane) {
        const int first = key_quarter(lane) * (DIM / 4);
        const GLOBAL T* from = row(tile + 8 * group + key_token(lane), last) + first;
        if (!mean) {
            load_halves<DIM / 4>(from, pairs);
            return;
        }
        for (int i = 0; i < DIM / 8; i++) {
            pairs[i] = pack_halves(
                float(from[2 * i]) - mean[first + 2 * i], float(from[2 * i + 1]) - mean[first + 2 * i + 1]
            );
        }
    }

    FUNCTION void value(int which, int tile, int last, LOCAL uint* pairs, int lane) {
        const int first = value_eighth(lane) * (DIM / 8);
        uint one[DIM / 16], two[DIM / 16];
        load_halves<DIM / 8>(row(tile + value_token(2 * which, lane), last) + first, one);
        load_halves<DIM / 8>(row(tile + value_token(2 * which + 1, lane), last) + first, two);
        interleave<DIM / 16>(one, two, pairs);
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
