// Products on CUDA's matrix units, in float16 with float32 sums: `multiply_add` is a 16x16 by 16x8
// product whose operands lie in a warp's registers as PTX's mma.m16n8k16 defines.
//
// Scores are queries by keys (8 of 16 rows used): a lane gets one row and the tokens that it needs,
// transposed, as the right operand of values by weights. So no weight passes through shared memory.

enum { LANE_ROWS = 1 };

FUNCTION int lane_row(int, int lane) { return lane / 4; }
FUNCTION int lane_token(int i, int lane) { return i / 2 * 8 + lane % 4 * 2 + i % 2; }
FUNCTION int key_token(int lane) { return lane / 4; }
FUNCTION int key_quarter(int lane) { return lane % 4; }
FUNCTION int value_token(int i, int lane) { return lane_token(i, lane); }
FUNCTION int value_eighth(int lane) { return lane / 4; }
FUNCTION int sum_row(int lane) { return lane % 4 * 2; }
FUNCTION int sum_dim(int lane) { return lane / 4 * (DIM / 8); }
FUNCTION bool speaks_for_rows(int lane) { return lane % 4 == 0; }

FUNCTION float largest_of_row(float x) {
    x = larger(x, shuffle_xor(x, 1));
    return larger(x, shuffle_xor(x, 2));
}
FUNCTION float total_of_row(float x) {
    x += shuffle_xor(x, 1);
    return x + shuffle_xor(x, 2);
}

// The row lane / 4 over its largest coordinate, so that float16 holds any query.
struct Queries {
    uint pairs[DIM / 8];
    float factor;

    template <typename Keys>
    FUNCTION void load(const SHARED float* rows, int lane) {
        const SHARED float* part = rows + lane / 4 * DIM + key_quarter(lane) * (DIM / 4);
        factor = 0;
        for (int i = 0; i < DIM / 4; i++) factor = larger(factor, absolute(part[i]));
        factor = largest_of_row(factor);
        const float inverse = factor > 0 ? 1 / factor : 0.0f;
        for (int i = 0; i < DIM / 8; i++) {
            const int first = Keys::first_of(i);
            pairs[i] = pack_halves(part[first] * inverse, part[first + Keys::other_after()] * inverse);
        }
    }
};

template <typename Keys>
FUNCTION void score_tile(
    LOCAL Queries* queries, LOCAL Keys* keys, int tile, int last, LOCAL float* score, int lane
) {
    UNROLL(2)
    for (int group = 0; group < 2; group++) {
        uint key[DIM / 8];
        keys->key(group, tile, last, key, lane);
        float sum[4] = {0, 0, 0, 0};
        for (int i = 0; i < DIM / 16; i++) {
            multiply_add(
                sum, queries->pairs[2 * i], 0, queries->pairs[2 * i + 1], 0, key[2 * i], key[2 * i + 1]
            );
        }
        score[2 * group] = sum[0] * queries->factor;
        score[2 * group + 1] = sum[1] * queries->factor;
    }
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

    FUNCTION void rescale(const LOCAL float* factors, int lane) {
        const float even = shuffle(factors[0], lane % 4 * 8), odd = shuffle(factors[0], lane % 4 * 8 + 4);
        for (int i = 0; i < DIM / 16; i++) {
            x[i][0] *= even;
            x[i][1] *= odd;
            x[i][2] *= even;
            x[i][3] *= odd;
        }
    }

    template <typename Values>
    FUNCTION void add(
        LOCAL Values* values, const LOCAL float* weights, SHARED float*, Span tile, int lane
    ) {
        uint low[DIM / 8], high[DIM / 8];
        values->value(0, tile.start, tile.stop - 1, low, lane);
        values->value(1, tile.start, tile.stop - 1, high, lane);
        const uint early = pack_halves(weights[0], weights[1]), late = pack_halves(weights[2], weights[3]);
        for (int i = 0; i < DIM / 16; i++) {
            multiply_add(x[i], low[2 * i], low[2 * i + 1], high[2 * i], high[2 * i + 1], early, late);
        }
    }
};
