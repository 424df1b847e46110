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
    PRODUCTS_FLOATS = 0,
    QUERY_ROW = QUARTERED_ROW
};

// Of a lane's tokens of a tile.
struct Scales {
    float scale[LANE_TOKENS], along[LANE_TOKENS];
};

FUNCTION int query_place(int dim) { return dim / (DIM / 4) * QUARTER + dim % (DIM / 4); }

// A way to read a lane's codes: as levels that are computed.
template <typename Codes>
struct ByPolynomial {
    enum {
        BITS = Codes::BITS,
        // Pairs of codes from the two halves of a word, where words hold whole codes of this lane.
        WITHIN = 16 % BITS == 0 && DIM / 4 * BITS % 32 == 0,
        STREAM = (DIM / 8 * BITS + 31) / 32,
        KEY_WORDS = WITHIN ? DIM / 4 * BITS / 32 : 2 * STREAM,
        PER_CHUNK = 16 / BITS
    };

    // Which coordinate of this lane's quarter a pair holds first, and how far off the other is.
    static FUNCTION int first_of(int pair) { return WITHIN ? pair / PER_CHUNK * PER_CHUNK + pair : pair; }
    static FUNCTION int other_after() { return WITHIN ? int(PER_CHUNK) : DIM / 8; }

    static FUNCTION void load_key(const GLOBAL uint* row, int first, LOCAL uint* words) {
        if (WITHIN) {
            load_codes<BITS, DIM / 4>(row, first, words);
        } else {
            load_codes<BITS, DIM / 8>(row, first, words);
            load_codes<BITS, DIM / 8>(row, first + DIM / 8, words + (WITHIN ? 0 : int(STREAM)));
        }
    }

    static FUNCTION void key(
        const LOCAL uint* words, LOCAL uint* pairs, const SHARED float*, int
    ) {
        uint chunks[2 * STREAM];
        if (!WITHIN) interleave<STREAM>(words, words + (WITHIN ? 0 : int(STREAM)), chunks);
        for (int i = 0; i < DIM / 8; i++) pairs[i] = pair_level<Codes>(WITHIN ? words : chunks, i);
    }

    // Of two tokens' words, what `value` reads.
    static FUNCTION void arrange(const LOCAL uint* one, const LOCAL uint* two, LOCAL uint* chunks) {
        interleave<STREAM>(one, two, chunks);
    }

    static FUNCTION void value(
        const LOCAL uint* chunks, LOCAL uint* pairs, const SHARED float*, int
    ) {
        for (int i = 0; i < DIM / 8; i++) pairs[i] = pair_level<Codes>(chunks, i);
    }
};

template <template <typename> class Reading, typename Codes, typename T>
struct PackedRows {
    typedef Reading<Codes> Way;
    enum {
        BITS = Codes::BITS,
        PACKED = 1,
        ROW = (DIM * BITS + 31) / 32,
        STREAM = Way::STREAM,
        KEY_WORDS = Way::KEY_WORDS,
        // Whether a lane's part of a row begins with a word.
        KEY_WHOLE = DIM / 4 * BITS % 32 == 0,
        VALUE_WHOLE = DIM / 8 * BITS % 32 == 0
    };

    const GLOBAL uint* key_rows;
    const GLOBAL uint* value_rows;
    const GLOBAL uint* codes_ahead;
    const GLOBAL half* scales_ahead;
    const GLOBAL half* scales;
    const GLOBAL half* coordinates;
    const SHARED float* table;
    uint scale_bits[LANE_TOKENS], along_bits[LANE_TOKENS];
    uint keys[2][KEY_WORDS], values[4][STREAM];

    FUNCTION void open(Side<T> side, Order, const GLOBAL float*, const SHARED float* levels, int lane) {
        const int key_words = key_quarter(lane) * (DIM / 4) * BITS / 32;
        const int value_words = value_eighth(lane) * (DIM / 8) * BITS / 32;
        key_rows = held(side.codes + key_token(lane) * ROW + (KEY_WHOLE ? key_words : 0));
        value_rows = held(side.codes + value_token(0, lane) * ROW + (VALUE_WHOLE ? value_words : 0));
        scales = held(side.scales + lane_token(0, lane));
        coordinates = held(side.along + lane_token(0, lane));
        codes_ahead = held(side.codes + 8 * lane);
        scales_ahead = held(CENTRED && lane % 2 ? side.along : side.scales);
        table = levels;
    }

    static FUNCTION float unit() { return Codes::unit(); }
    static FUNCTION int first_of(int pair) { return Way::first_of(pair); }
    static FUNCTION int other_after() { return Way::other_after(); }

    // Bits are kept until a number is wanted: whatever is made of a load waits for it.
    FUNCTION Scales found_scales() {
        Scales found;
        for (int i = 0; i < LANE_TOKENS; i++) {
            found.scale[i] = first_of_pair(scale_bits[i]);
            found.along[i] = CENTRED ? first_of_pair(along_bits[i]) : 0.0f;
        }
        return found;
    }

    FUNCTION void fetch_scales(int tile, int, bool of_keys) {
        for (int i = 0; i < LANE_TOKENS; i++) {
            scale_bits[i] = load_half_bits(scales + tile + 8 * i);
            if (CENTRED && of_keys) along_bits[i] = load_half_bits(coordinates + tile + 8 * i);
        }
    }

    // Asks for a later tile: memory may take longer than one tile does.
    FUNCTION void ask_for_tile(int tile, int) {
        const GLOBAL uint* rows = codes_ahead + long(tile) * ROW;
        for (int i = 0; i + 8 * LANES <= TILE * ROW; i += 8 * LANES) ask_for(rows + i);
        ask_for(scales_ahead + tile);
    }

    FUNCTION void fetch_keys(int tile, int lane) {
        const GLOBAL uint* rows = key_rows + long(tile) * ROW;
        const int first = KEY_WHOLE ? 0 : key_quarter(lane) * (DIM / 4);
        for (int group = 0; group < 2; group++) {
            // By a local array: in MSL 4.1 `this` is generic, and no pointer into it is LOCAL.
            uint words[KEY_WORDS];
            Way::load_key(rows + 8 * group * ROW, first, words);
            for (int k = 0; k < KEY_WORDS; k++) keys[group][k] = words[k];
        }
    }

    FUNCTION void fetch_values(int tile, int lane) {
        const GLOBAL uint* rows = value_rows + long(tile) * ROW;
        const int first = VALUE_WHOLE ? 0 : value_eighth(lane) * (DIM / 8);
        for (int i = 0; i < 4; i++) {
            const int after = value_token(i, lane) - value_token(0, lane);
            uint words[STREAM];
            load_codes<BITS, DIM / 8>(rows + after * ROW, first, words);
            for (int k = 0; k < STREAM; k++) values[i][k] = words[k];
        }
    }

    FUNCTION void key(int group, int, int, LOCAL uint* pairs, int lane) {
        uint words[KEY_WORDS];
        for (int k = 0; k < KEY_WORDS; k++) words[k] = keys[group][k];
        Way::key(words, pairs, table, lane);
    }

    struct Arranged {
        uint chunks[2][2 * STREAM];
    };

    FUNCTION Arranged arranged() {
        Arranged found;
        for (int which = 0; which < 2; which++) {
            uint one[STREAM], two[STREAM], chunks[2 * STREAM];
            for (int k = 0; k < STREAM; k++) {
                one[k] = values[2 * which][k];
                two[k] = values[2 * which + 1][k];
            }
            Way::arrange(one, two, chunks);
            for (int k = 0; k < 2 * STREAM; k++) found.chunks[which][k] = held(chunks[k]);
        }
        return found;
    }

    // Of the tokens 2 `which` and 2 `which` + 1 of this lane.
    FUNCTION void value(Arranged found, int which, int, int, LOCAL uint* pairs, int lane) {
        uint chunks[2 * STREAM];
        for (int k = 0; k < 2 * STREAM; k++) chunks[k] = found.chunks[which][k];
        Way::value(chunks, pairs, table, lane);
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
        Scales found;
        for (int i = 0; i < LANE_TOKENS; i++) {
            found.scale[i] = 1;
            found.along[i] = 0;
        }
        return found;
    }

    struct Arranged {};
    FUNCTION Arranged arranged() { return Arranged(); }

    static FUNCTION float unit() { return 1; }

    FUNCTION void ask_for_tile(int, int) {}
    FUNCTION void fetch_scales(int, int, bool) {}
    FUNCTION void fetch_keys(int, int) {}
    FUNCTION void fetch_values(int, int) {}

    static FUNCTION int first_of(int pair) { return 2 * pair; }
    static FUNCTION int other_after() { return 1; }

    FUNCTION const GLOBAL T* row(int token, int last) {
        return rows + long(placed(order, smaller(token, last))) * DIM;
    }

    FUNCTION void key(int group, int tile, int last, LOCAL uint* pairs, int lane) {
        const int first = key_quarter(lane) * (DIM / 4);
        const GLOBAL T* from = row(tile + 8 * group + key_token(lane), last) + first;
        load_halves<DIM / 4>(from, pairs);
        if (!mean) return;
        for (int i = 0; i < DIM / 8; i += 2) {
            float less[4];
            load_floats<4>(mean + first + 2 * i, less);
            pairs[i] = pack_halves(first_of_pair(pairs[i]) - less[0], second_of_pair(pairs[i]) - less[1]);
            pairs[i + 1] =
                pack_halves(first_of_pair(pairs[i + 1]) - less[2], second_of_pair(pairs[i + 1]) - less[3]);
        }
    }

    FUNCTION void value(Arranged, int which, int tile, int last, LOCAL uint* pairs, int lane) {
        const int first = value_eighth(lane) * (DIM / 8);
        uint one[DIM / 16], two[DIM / 16];
        load_halves<DIM / 8>(row(tile + value_token(2 * which, lane), last) + first, one);
        load_halves<DIM / 8>(row(tile + value_token(2 * which + 1, lane), last) + first, two);
        interleave<DIM / 16>(one, two, pairs);
    }
};

#ifndef TABLED
#define TABLED(bits) 0
enum { TABLE_FLOATS = 0, AT_VALUE_TABLE = 0 };
FUNCTION void fill_tables(Place, SHARED float*) {}
#endif

#if TABLED(KEY_BITS)
template <typename T> using PackedKeys = PackedRows<ByTable, KeyCodes, T>;
#elif KEY_BITS > 0
template <typename T> using PackedKeys = PackedRows<ByPolynomial, KeyCodes, T>;
#else
template <typename T> using PackedKeys = RawRows<T>;
#endif
#if TABLED(VALUE_BITS)
template <typename T> using PackedValues = PackedRows<ByTable, ValueCodes, T>;
#elif VALUE_BITS > 0
template <typename T> using PackedValues = PackedRows<ByPolynomial, ValueCodes, T>;
#else
template <typename T> using PackedValues = RawRows<T>;
#endif
