// Products on CUDA's matrix units, in float16 with float32 sums: `multiply_add` is a 16x16 by 16x8
// product whose operands lie in a warp's registers as PTX's mma.m16n8k16 defines.
//
// Scores are keys by queries: a lane gets two tokens and two rows, whose sums it has too. Transposed
// in registers they are the right operand of values by weights, so none passes through shared memory.

enum { LANE_ROWS = 2 };

FUNCTION int lane_row(int r, int lane) { return lane % 4 * 2 + r; }
// Which of 8 tokens stands at a place: four lanes read the values of four that lie together.
FUNCTION int token_at(int place) { return place / 2 + place % 2 * 4; }
FUNCTION int lane_token(int i, int lane) { return 8 * i + token_at(lane / 4); }
FUNCTION int key_token(int lane) { return token_at(lane / 4); }
FUNCTION int key_quarter(int lane) { return lane % 4; }
FUNCTION int value_token(int i, int lane) { return i / 2 * 8 + lane % 4 + i % 2 * 4; }
FUNCTION int value_eighth(int lane) { return lane / 4; }
FUNCTION int sum_row(int lane) { return lane % 4 * 2; }
FUNCTION int sum_dim(int lane) { return lane / 4 * (DIM / 8); }
FUNCTION bool speaks_for_rows(int lane) { return lane < 4; }

FUNCTION float largest_of_row(float x) {
    for (int step = 4; step < LANES; step *= 2) x = larger(x, shuffle_xor(x, step));
    return x;
}
FUNCTION float total_of_row(float x) {
    for (int step = 4; step < LANES; step *= 2) x += shuffle_xor(x, step);
    return x;
}

// A row over its largest coordinate, so that float16 holds any query; the factors of the lane's rows.
struct Queries {
    uint pairs[DIM / 8];
    float factor[2];

    template <typename Keys>
    FUNCTION void load(const SHARED float* rows, float unit, int lane) {
        float part[DIM / 4], most = 0;
        load_floats<DIM / 4>(rows + lane / 4 * QUARTERED_ROW + key_quarter(lane) * QUARTER, part);
        for (int i = 0; i < DIM / 4; i++) most = larger(most, absolute(part[i]));
        most = larger(most, shuffle_xor(most, 1));
        most = larger(most, shuffle_xor(most, 2));
        const float inverse = most > SMALLEST_FACTOR ? inverse_of(most) : 0.0f;
        for (int i = 0; i < DIM / 8; i++) {
            const int first = Keys::first_of(i);
            pairs[i] = pack_halves(part[first] * inverse, part[first + Keys::other_after()] * inverse);
        }
        for (int r = 0; r < 2; r++) factor[r] = unit * shuffle(most, lane_row(r, lane) * 4);
    }
};

template <typename Keys>
FUNCTION void score_tile(
    LOCAL Queries* queries, LOCAL Keys* keys, int tile, int last, LOCAL float* score, int lane
) {
    uint early[DIM / 8], late[DIM / 8];
    keys->key(0, tile, last, early, lane);
    keys->key(1, tile, last, late, lane);
    float other[4];  // of every second product, which need not wait for the one before
    for (int e = 0; e < 4; e++) score[e] = other[e] = 0;
    for (int i = 0; i < DIM / 8; i += 2) {
        multiply_add(
            i % 4 ? other : score, early[i], late[i], early[i + 1], late[i + 1], queries->pairs[i],
            queries->pairs[i + 1]
        );
    }
    for (int e = 0; e < 4; e++) score[e] = (score[e] + other[e]) * queries->factor[e % 2];
}

// Transposed: 16 coordinates by 8 rows a product.
struct Sum {
    float x[DIM / 16][4];

    FUNCTION void clear() {
        for (int i = 0; i < DIM / 16; i++) {
            for (int k = 0; k < 4; k++) x[i][k] = 0;
        }
    }

    FUNCTION float at(int row, int dim) { return x[dim / 2][dim % 2 * 2 + row]; }

    FUNCTION void rescale(const LOCAL float* factors, int) {
        for (int i = 0; i < DIM / 16; i++) {
            for (int k = 0; k < 4; k++) x[i][k] *= factors[k % 2];
        }
    }

    template <typename Values, typename Arranged>
    FUNCTION void add(
        LOCAL Values* values, Arranged arranged, const LOCAL float* weights, SHARED float*, int tile,
        int last, int lane
    ) {
        uint low[DIM / 8], high[DIM / 8];
        values->value(arranged, 0, tile, last, low, lane);
        values->value(arranged, 1, tile, last, high, lane);
        const uint early = transposed(pack_halves(weights[0], weights[1]));
        const uint late = transposed(pack_halves(weights[2], weights[3]));
        for (int i = 0; i < DIM / 16; i++) {
            multiply_add(x[i], low[2 * i], low[2 * i + 1], high[2 * i], high[2 * i + 1], early, late);
        }
    }
};
