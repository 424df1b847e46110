// Products on Apple's matrix units, 8x8 by 8x8 of float16 with float32 sums. A lane has the elements
// [row_of, column_of] and [row_of, column_of + 1] of every matrix, as MLX's own kernels have it.
//
// Scores are keys by queries, so they lie as the right operand of values by weights wants them: no
// weight passes through threadgroup memory.

enum { LANE_ROWS = 2 };

FUNCTION int row_of(int lane) { return (lane / 4 & 4) + lane / 2 % 4; }
FUNCTION int column_of(int lane) { return (lane / 4 & 2) * 2 + lane % 2 * 2; }

FUNCTION int lane_row(int r, int lane) { return column_of(lane) + r; }
FUNCTION int lane_token(int i, int lane) { return 8 * i + row_of(lane); }
FUNCTION int key_token(int lane) { return row_of(lane); }
FUNCTION int key_quarter(int lane) { return column_of(lane) / 2; }
FUNCTION int value_token(int i, int lane) { return i / 2 * 8 + column_of(lane) + i % 2; }
FUNCTION int value_eighth(int lane) { return row_of(lane); }
FUNCTION int sum_row(int lane) { return column_of(lane); }
FUNCTION int sum_dim(int lane) { return row_of(lane) * (DIM / 8); }
FUNCTION bool speaks_for_rows(int lane) { return row_of(lane) == 0; }

FUNCTION float largest_of_row(float x) {
    x = larger(x, shuffle_xor(x, 2));
    x = larger(x, shuffle_xor(x, 4));
    return larger(x, shuffle_xor(x, 16));
}
FUNCTION float total_of_row(float x) {
    x += shuffle_xor(x, 2);
    x += shuffle_xor(x, 4);
    return x + shuffle_xor(x, 16);
}

// Two rows, each over its largest coordinate, so that float16 holds any query.
struct Queries {
    uint pairs[DIM / 8];
    float factor[2];

    template <typename Keys>
    FUNCTION void load(const SHARED float* rows, float unit, int lane) {
        const SHARED float* part = rows + column_of(lane) * QUARTERED_ROW + row_of(lane) / 2 * QUARTER;
        float inverse[2];
        for (int r = 0; r < 2; r++) {
            factor[r] = 0;
            NO_UNROLL
            for (int i = 0; i < DIM / 4; i++) factor[r] = larger(factor[r], absolute(part[r * QUARTERED_ROW + i]));
            factor[r] = largest_of_row(factor[r]);
            inverse[r] = factor[r] > SMALLEST_FACTOR ? inverse_of(factor[r]) : 0.0f;
        }
        const int odd = row_of(lane) % 2 * Keys::other_after();
        UNROLL(DIM / 8)
        for (int i = 0; i < DIM / 8; i++) {
            const int dim = Keys::first_of(i) + odd;
            pairs[i] = pack_halves(part[dim] * inverse[0], part[QUARTERED_ROW + dim] * inverse[1]);
        }
        factor[0] *= unit;
        factor[1] *= unit;
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
        Matrix sum = zero_matrix();
        UNROLL(DIM / 8)
        for (int i = 0; i < DIM / 8; i++) sum = multiply_added(sum, key[i], queries->pairs[i]);
        for (int r = 0; r < 2; r++) score[2 * group + r] = element(sum, r) * queries->factor[r];
    }
}

// Transposed: 8 coordinates by 8 rows a matrix.
struct Sum {
    Matrix x[DIM / 8];

    FUNCTION void clear() {
        UNROLL(DIM / 8)
        for (int i = 0; i < DIM / 8; i++) x[i] = zero_matrix();
    }

    FUNCTION float at(int row, int dim) { return element(x[dim], row); }

    FUNCTION void rescale(const LOCAL float* factors, int) {
        UNROLL(DIM / 8)
        for (int i = 0; i < DIM / 8; i++) x[i] = scaled(x[i], factors[0], factors[1]);
    }

    template <typename Values, typename Arranged>
    FUNCTION void add(
        LOCAL Values* values, Arranged arranged, const LOCAL float* weights, SHARED float*, int tile,
        int last, int lane
    ) {
        UNROLL(2)
        for (int which = 0; which < 2; which++) {
            uint pairs[DIM / 8];
            values->value(arranged, which, tile, last, pairs, lane);
            const uint weight = pack_halves(weights[2 * which], weights[2 * which + 1]);
            UNROLL(DIM / 8)
            for (int i = 0; i < DIM / 8; i++) x[i] = multiply_added(x[i], pairs[i], weight);
        }
    }
};
