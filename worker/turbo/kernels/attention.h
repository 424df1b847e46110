// Attention of a few query tokens over packed keys and values: the body that every device runs.
//
// Written over the primitives of one prelude (metal.h, cuda.h, host.h) and one way to multiply
// (lanes.h, matrix.h). DIM, GROUPS, LENGTH, KEY_BITS, VALUE_BITS, HADAMARD come from fused.py.
//
// A threadgroup takes one key head, at most ROWS of its (query head, position) rows and a span of
// tokens; its simdgroups share the span by tiles. Spans of packed tokens leave sums of values in
// the rotated space, spans of raw tokens in the plain one; `merge` joins them by log-sum-exp.

// Queries of this row block, scaled, in float32 [8, DIM]; rotated where they meet packed keys.
template <bool ROTATED, typename Q>
FUNCTION void load_queries(
    Place at, const GLOBAL Q* queries, long head_stride, long position_stride, int block,
    const GLOBAL float* constants, SHARED float* rows
) {
    for (int row = at.warp; row < 8; row += WARPS) {
        const int index = block * ROWS + row;
        const bool used = row < ROWS && index < TOTAL_ROWS;
        const long start = (index / LENGTH) * head_stride + (index % LENGTH) * position_stride;
        float x[PART];
        for (int i = 0; i < PART; i++) {
            const int dim = at.lane + LANES * i;
            x[i] = used && dim < DIM ? float(queries[start + dim]) * constants[0] : 0.0f;
        }
        if (ROTATED) {
            store_row(rows + row * DIM, x, at.lane);
            simd_barrier();
            rotate(x, rows + row * DIM, constants + AT_ROTATION, at.lane);
            simd_barrier();
        }
        store_row(rows + row * DIM, x, at.lane);
    }
}

// The running maximum of a row, and this lane's part of the sum of its exponentials.
struct Softmax {
    float peak, sum;
};

// Scores of a tile [8, STRIDE] to weights times the values' scales, at most 1 each; a lane has the
// row lane / 4 and 8 tokens. The maximum is taken after that product, so that float16 holds every
// weight that matters. Returns what sums of earlier tiles shrink by.
FUNCTION float weigh(
    LOCAL Softmax* softmax, const SHARED float* scores, const SHARED float* scales, int visible,
    LOCAL float* weights, int lane
) {
    const int first = lane % 4 * 8;
    float score[8], peak = LOWEST;
    for (int i = 0; i < 8; i++) {
        score[i] = scores[lane / 4 * STRIDE + first + i] * scales[first + i];
        weights[i] = scales[TILE + first + i];
        if (first + i < visible) {
            peak = larger(peak, score[i] + log_2(larger(weights[i], SMALLEST_SCALE)));
        }
    }
    peak = larger(peak, shuffle_xor(peak, 1));
    peak = larger(larger(peak, shuffle_xor(peak, 2)), softmax->peak);
    const float decay = exp_2(softmax->peak - peak);
    float sum = 0;
    for (int i = 0; i < 8; i++) {
        const float weight = first + i < visible ? exp_2(score[i] - peak) : 0.0f;
        sum += weight;
        weights[i] *= weight;
    }
    softmax->sum = softmax->sum * decay + sum;
    softmax->peak = peak;
    return decay;
}

// Where this threadgroup keeps what in shared memory, in floats.
enum {
    TILE_FLOATS = 8 * STRIDE + 2 * TILE + WEIGHT_FLOATS,
    AT_TILES = 8 * DIM,
    AT_TOTALS = AT_TILES + WARPS * TILE_FLOATS,
    AT_TABLES = AT_TOTALS + 2 * 8 * WARPS,
    ARENA = AT_TABLES + TABLE_FLOATS
};

// Joins the simdgroups' sums and writes the span's, SPAN_FLOATS a row.
template <typename Sum>
FUNCTION void finish(
    Place at, LOCAL Sum* sum, Softmax softmax, SHARED float* arena, int rows,
    GLOBAL float* partial, long row_stride
) {
    SHARED float* totals = arena + AT_TOTALS;
    softmax.sum += shuffle_xor(softmax.sum, 1);
    softmax.sum += shuffle_xor(softmax.sum, 2);
    if (at.lane % 4 == 0) {
        totals[at.warp * 8 + at.lane / 4] = softmax.peak;
        totals[(WARPS + at.warp) * 8 + at.lane / 4] = softmax.sum;
    }
    block_barrier();
    float peak = LOWEST, total = 0;
    for (int warp = 0; warp < WARPS; warp++) peak = larger(peak, totals[warp * 8 + at.lane / 4]);
    for (int warp = 0; warp < WARPS; warp++) {
        const int place = warp * 8 + at.lane / 4;
        total += totals[WARPS * 8 + place] * exp_2(totals[place] - peak);
    }
    sum->rescale(exp_2(softmax.peak - peak), at.lane);
    for (int warp = 0; warp < WARPS; warp++) {
        if (at.warp == warp) sum->deposit(arena, warp == 0, at.lane);
        block_barrier();
    }
    if (at.warp == 0 && at.lane % 4 == 0 && at.lane / 4 < rows) {
        partial[at.lane / 4 * row_stride + DIM] = peak;
        partial[at.lane / 4 * row_stride + DIM + 1] = total;
    }
    for (int i = at.index; i < rows * DIM; i += THREADS) {
        partial[i / DIM * row_stride + i % DIM] = arena[i];
    }
}

// Asks for a simdgroup's first tile before anything else is done.
template <typename Keys, typename Values>
FUNCTION void fetch_first(Place at, LOCAL Keys* keys, LOCAL Values* values, Span span) {
    const int tile = span.start + at.warp * TILE;
    keys->fetch_keys(tile, span.stop - 1, at.lane);
    values->fetch_scale(smaller(tile + at.lane, span.stop - 1));
}

// The tokens of a span; `Keys` and `Values` say how their rows become numbers.
template <typename Keys, typename Values>
FUNCTION void attend(
    Place at, LOCAL Keys* keys, LOCAL Values* values, Span span, int seen, SHARED float* arena,
    int block, int rows, GLOBAL float* partial, long row_stride
) {
    SHARED float* scores = arena + AT_TILES + at.warp * TILE_FLOATS;
    SHARED float* scales = scores + 8 * STRIDE;
    SHARED float* shared_weights = scales + 2 * TILE;
    const int position = (block * ROWS + at.lane / 4) % LENGTH;
    const int limit = smaller(span.stop, seen + position);
    Softmax softmax = {LOWEST, 0.0f};
    block_barrier();
    Queries queries;
    queries.load(arena, at.lane);
    Sum sum;
    sum.clear();
    const int last = span.stop - 1;
    for (int tile = span.start + at.warp * TILE; tile < span.stop; tile += WARPS * TILE) {
        values->fetch_values(tile, last, at.lane);
        scales[at.lane] = keys->held_scale;
        scales[TILE + at.lane] = values->held_scale;
        score(&queries, keys, tile, last, scores, at.lane);
        keys->fetch_keys(tile + WARPS * TILE, last, at.lane);
        values->fetch_scale(smaller(tile + WARPS * TILE + at.lane, last));
        simd_barrier();
        float weights[8];
        const float decay = weigh(&softmax, scores, scales, limit - tile, weights, at.lane);
        store_weights(shared_weights, weights, at.lane);
        sum.rescale(decay, at.lane);
        simd_barrier();
        sum.add(values, shared_weights, tile, span.stop, at.lane);
        simd_barrier();
    }
    finish(at, &sum, softmax, arena, rows, partial, row_stride);
}

// The whole first launch for one threadgroup. `shape` is [packed + 8, first + 1, raw + 1, tokens of
// a span]: an array's shape reaches a kernel by value, so that no length is ever read from memory.
template <typename Q, typename T, typename S, typename N>
FUNCTION void attend_group(
    Place at, int span, int spans, int head, int heads, int block, int batch,
    const GLOBAL Q* queries, S queries_strides, Side<T> key_side, Side<T> value_side, const GLOBAL float* mean,
    const GLOBAL float* constants, N shape, SHARED float* arena, GLOBAL float* partial
) {
    const int packed = shape[0] - 8, first = shape[1] - 1, raw = shape[2] - 1;
    const int packed_spans = (packed + shape[3] - 1) / shape[3];
    const int rows = smaller(ROWS, TOTAL_ROWS - block * ROWS);
    const long row = (long(batch) * heads + head) * TOTAL_ROWS + block * ROWS;
    const long row_stride = long(spans) * SPAN_FLOATS;
    partial += row * row_stride + span * SPAN_FLOATS;
    queries += batch * queries_strides[0] + head * GROUPS * queries_strides[1];
    if (span < packed_spans) {
        TokenRows<KEY_BITS, T> keys;
        TokenRows<VALUE_BITS, T> values;
        const Raw order = {0, first};
        const Span tokens = {span * shape[3], smaller((span + 1) * shape[3], packed)};
        keys.open(key_side, order, nullptr);
        values.open(value_side, order, nullptr);
        fetch_first(at, &keys, &values, tokens);
        SHARED float* tables = arena + AT_TABLES;
        keys.fill(tables, constants + AT_KEY_LEVELS, at);
        if (KEY_BITS == VALUE_BITS) {
            values.share(tables);
        } else {
            values.fill(tables + KEY_TABLE, constants + AT_VALUE_LEVELS, at);
        }
        load_queries<(KEY_BITS > 0)>(
            at, queries, queries_strides[1], queries_strides[2], block, constants, arena
        );
        attend(at, &keys, &values, tokens, packed, arena, block, rows, partial, row_stride);
    } else {
        TokenRows<0, T> keys, values;
        const Raw all = {raw, 0}, around = {first, packed};
        const int start = (span - packed_spans) * WARPS * TILE;
        const Span tokens = {start, smaller(start + WARPS * TILE, raw)};
        keys.open(key_side, KEY_BITS > 0 ? all : around, KEY_BITS > 0 ? mean : nullptr);
        values.open(value_side, VALUE_BITS > 0 ? all : around, nullptr);
        fetch_first(at, &keys, &values, tokens);
        load_queries<false>(
            at, queries, queries_strides[1], queries_strides[2], block, constants, arena
        );
        attend(at, &keys, &values, tokens, raw - LENGTH + 1, arena, block, rows, partial, row_stride);
    }
}
