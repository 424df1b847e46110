// Attention of a few query tokens over packed keys and values: the body that every device runs.
//
// Written over the primitives of one prelude (metal.h, cuda.h, host.h) and one way to multiply
// (lanes.h; mma.h or simdgroups.h with pairs.h). kernel_source.py defines the sizes.
//
// A threadgroup takes one key head, at most ROWS of its (query head, position) rows and a span of
// tokens, or two spans, the second of raw ones; its simdgroups share a span by tiles. Spans of packed tokens leave sums of values in
// the rotated space, spans of raw tokens in the plain one; merge.h joins them by log-sum-exp.

// Where this threadgroup keeps what in shared memory, in floats.
enum {
    AT_ALONG = 8 * QUERY_ROW,
    AT_TOTALS = AT_ALONG + 8,
    AT_FLAG = AT_TOTALS + 2 * 8 * WARPS,
    AT_SLOTS = AT_FLAG + 8,
    SLOT_FLOATS = LANES * SUM_DIMS,
    AT_PRODUCTS = AT_SLOTS + WARPS * (SLOT_FLOATS > MERGE_FLOATS ? SLOT_FLOATS : MERGE_FLOATS),
    AT_TABLE = AT_PRODUCTS + WARPS * PRODUCTS_FLOATS,
    ARENA = AT_TABLE + TABLE_FLOATS,
    RAW_SPAN = WARPS * TILE  // tokens: one tile for each simdgroup
};

// Where results go: [row, span, DIM] sums of all rows, then [row, span] peaks and totals. This
// threadgroup's begin at `row` and `span`, which is its place among `groups` threadgroups too.
struct Partial {
    GLOBAL float* all;
    int rows, row, span, spans, groups;
};

// Raw spans are left to the last threadgroups, one each: none is -1.
FUNCTION int raw_span_of(int group, int groups, int raw) {
    const int from_last = groups - 1 - group;
    return from_last * RAW_SPAN < raw ? from_last : -1;
}

// Spans of the tokens that an array's shape tells.
template <typename N>
FUNCTION int spans_of(N shape) {
    return shape[4] - 1 + (shape[2] - 1 + RAW_SPAN - 1) / RAW_SPAN;
}

FUNCTION GLOBAL float* sums_of(Partial partial, int row) {
    return partial.all + (long(partial.row + row) * partial.spans + partial.span) * DIM;
}

FUNCTION GLOBAL float* totals_of(Partial partial, int row) {
    return partial.all + long(partial.rows) * partial.spans * DIM
        + (long(partial.row + row) * partial.spans + partial.span) * 2;
}

// The rows of a threadgroup: where their queries lie, one after the other, and how many there are.
template <typename Q>
struct Asking {
    const GLOBAL Q* queries;
    int block, rows;
};

template <typename Q>
FUNCTION Asking<Q> asking(int batch, int head, int block, const GLOBAL Q* queries) {
    const long first = long(batch * HEADS + head) * TOTAL_ROWS + block * ROWS;
    const Asking<Q> found = {queries + first * DIM, block, smaller(ROWS, TOTAL_ROWS - block * ROWS)};
    return found;
}

// A row of queries as it comes from memory, with what it is multiplied by.
template <typename Q>
struct QueryRow {
    Q query[PART];
    float signs[PART], direction[PART], scale;
};

template <bool PACKED, typename Q>
FUNCTION QueryRow<Q> asked_row(
    Place at, int row, Asking<Q> asking, const GLOBAL float* constants, const GLOBAL float* direction
) {
    QueryRow<Q> found;
    const GLOBAL Q* query = asking.queries + smaller(row, asking.rows - 1) * DIM;
    found.scale = row < asking.rows ? early(constants) : 0.0f;
    for (int i = 0; i < PART; i++) {
        const int dim = smaller(at.lane + LANES * i, DIM - 1);
        found.query[i] = early(query + dim);
        found.signs[i] = PACKED && HADAMARD && KEY_BITS > 0 ? early(constants + AT_ROTATION + dim) : 1.0f;
        found.direction[i] = PACKED && CENTRED ? early(direction + dim) : 0.0f;
    }
    return found;
}

// The queries, scaled, in float32 [8, QUERY_ROW]; where they meet packed keys rotated, and their products
// with the direction of the key's coordinate that is kept apart.
template <bool PACKED, typename Q>
FUNCTION void store_query(
    Place at, int row, QueryRow<Q> asked, const GLOBAL float* constants, SHARED float* arena
) {
    float x[PART];
    for (int i = 0; i < PART; i++) {
        x[i] = at.lane + LANES * i < DIM ? float(asked.query[i]) * asked.scale * asked.signs[i] : 0.0f;
    }
    if (PACKED && KEY_BITS > 0) {
        if (HADAMARD) {
            hadamard(x, at.lane);
        } else {
            store_row(arena + row * QUERY_ROW, x, at.lane);
            simd_barrier();
            rotate(x, arena + row * QUERY_ROW, constants + AT_ROTATION, at.lane);
            simd_barrier();
        }
    }
    if (PACKED && CENTRED) {
        float along = 0;
        for (int i = 0; i < PART; i++) along += x[i] * asked.direction[i];
        along = simd_total(along);
        if (at.lane == 0) arena[AT_ALONG + row] = along;
    }
    for (int i = 0; i < PART; i++) {
        const int dim = at.lane + LANES * i;
        if (dim < DIM) arena[row * QUERY_ROW + query_place(dim)] = x[i];
    }
}

// The running maximum of a row, and this lane's part of the sum of its exponentials.
struct Softmax {
    float peak, sum;
};

// What a lane knows of one of its rows.
struct Row {
    float along;
    int limit;  // tokens from here on are later than the query
};

// How far a weight may be over 1, as a power of two: a maximum that grows by less is left alone.
#define ROOM 6.0f

// Scores to weights times the values' scales. Of a tile the tokens from tile.stop on are new. The
// maximum is taken of that product, so that float16 holds every weight that matters.
FUNCTION void weigh(
    LOCAL Softmax* softmax, Scales keys, Scales values, const LOCAL Row* rows, Span hidden, Span tile,
    LOCAL float* weights, LOCAL Sum* sum, int lane
) {
    float score[ELEMENTS], most[LANE_ROWS], reach[LANE_TOKENS];
    bool seen[ELEMENTS], grown = false;
    for (int i = 0; i < LANE_TOKENS; i++) {
        reach[i] = log_2(larger(values.scale[i], SMALLEST_SCALE));
    }
    for (int r = 0; r < LANE_ROWS; r++) most[r] = LOWEST;
    for (int e = 0; e < ELEMENTS; e++) {
        const int i = e / LANE_ROWS, r = e % LANE_ROWS, token = tile.start + lane_token(i, lane);
        score[e] = weights[e] * keys.scale[i] + keys.along[i] * rows[r].along;
        seen[e] = token >= tile.stop && token < rows[r].limit
            && (token < hidden.start || token >= hidden.stop);
        if (seen[e]) most[r] = larger(most[r], score[e] + reach[i]);
    }
    for (int r = 0; r < LANE_ROWS; r++) grown = grown || most[r] > softmax[r].peak + ROOM;
    if (any_of_simd(grown)) {
        float decay[LANE_ROWS];
        for (int r = 0; r < LANE_ROWS; r++) {
            const float peak = larger(largest_of_row(most[r]), softmax[r].peak);
            decay[r] = exp_2(softmax[r].peak - peak);
            softmax[r].sum *= decay[r];
            softmax[r].peak = peak;
        }
        sum->rescale(decay, lane);
    }
    for (int e = 0; e < ELEMENTS; e++) {
        const int r = e % LANE_ROWS;
        const float weight = seen[e] ? exp_2(score[e] - softmax[r].peak) : 0.0f;
        softmax[r].sum += weight;
        weights[e] = weight * values.scale[e / LANE_ROWS];
    }
}

// Joins the simdgroups' sums and writes the span's.
FUNCTION void finish(
    Place at, LOCAL Sum* sum, LOCAL Softmax* softmax, SHARED float* arena, int rows, float unit,
    Partial partial
) {
    enum { STEP = SUM_DIMS % 2 == 0 ? 2 : 1 };
    SHARED float* totals = arena + AT_TOTALS;
    float total_of[LANE_ROWS];
    for (int r = 0; r < LANE_ROWS; r++) total_of[r] = total_of_row(softmax[r].sum);
    if (speaks_for_rows(at.lane)) {
        for (int r = 0; r < LANE_ROWS; r++) {
            const int row = lane_row(r, at.lane);
            totals[at.warp * 8 + row] = softmax[r].peak;
            totals[(WARPS + at.warp) * 8 + row] = total_of[r];
        }
    }
    UNROLL(SUM_ROWS)
    for (int r = 0; r < SUM_ROWS; r++) {
        SHARED float* slots = arena + AT_SLOTS + at.lane;
        for (int d = 0; d < SUM_DIMS; d++) slots[at.warp * SLOT_FLOATS + d * LANES] = sum->at(r, d);
        block_barrier();
        const int row = sum_row(at.lane) + r, first = sum_dim(at.lane);
        float peak = LOWEST, factor[WARPS];
        for (int warp = 0; warp < WARPS; warp++) peak = larger(peak, totals[warp * 8 + row]);
        for (int warp = 0; warp < WARPS; warp++) {
            factor[warp] = unit * exp_2(totals[warp * 8 + row] - peak);
        }
        for (int d = STEP * at.warp; d < SUM_DIMS; d += STEP * WARPS) {
            float x[STEP];
            for (int k = 0; k < STEP; k++) {
                x[k] = 0;
                for (int warp = 0; warp < WARPS; warp++) {
                    x[k] += factor[warp] * slots[warp * SLOT_FLOATS + (d + k) * LANES];
                }
            }
            if (row < rows && first + d < DIM) {
                store_floats<STEP>(sums_of(partial, row) + first + d, x);
            }
        }
        block_barrier();
    }
    if (at.index < rows) {
        float peak = LOWEST, total = 0;
        for (int warp = 0; warp < WARPS; warp++) peak = larger(peak, totals[warp * 8 + at.index]);
        for (int warp = 0; warp < WARPS; warp++) {
            total += totals[(WARPS + warp) * 8 + at.index] * exp_2(totals[warp * 8 + at.index] - peak);
        }
        const float found[2] = {peak, total};
        store_floats<2>(totals_of(partial, at.index), found);
    }
}

// Sums over the tokens of a span but the hidden ones; `Keys` and `Values` say how their rows become
// numbers. `seen` tokens are no later than the first query.
template <typename Keys, typename Values, typename Q>
FUNCTION void attend(
    Place at, LOCAL Keys* keys, LOCAL Values* values, Span span, Span hidden, int seen,
    int tokens, Asking<Q> asking, const GLOBAL float* constants, const GLOBAL float* direction,
    SHARED float* arena, LOCAL Sum* sum, LOCAL Softmax* softmax
) {
    // The last tile of all starts early enough to be whole, and what it has twice is not seen.
    enum { STEP = WARPS * TILE };
    const int last = tokens - 1, latest = tokens > TILE ? tokens - TILE : 0;
    int tile = span.start + at.warp * TILE, from = smaller(tile, latest);
    keys->fetch_keys(from, at.lane);
    values->fetch_values(from, at.lane);
    keys->ask_for_tile(smaller(tile + STEP, latest), at.lane);
    values->ask_for_tile(smaller(tile + STEP, latest), at.lane);
    keys->fetch_scales(from, at.lane, true);
    values->fetch_scales(from, at.lane, false);
    // All that memory has to give is asked for before anything waits.
    const QueryRow<Q> first = asked_row<Keys::PACKED>(at, smaller(at.warp, 7), asking, constants, direction);
    if (Keys::PACKED || Values::PACKED) fill_tables(at, arena + AT_TABLE);
    if (at.warp < 8) store_query<Keys::PACKED>(at, at.warp, first, constants, arena);
    for (int row = at.warp + WARPS; row < 8; row += WARPS) {
        const QueryRow<Q> more = asked_row<Keys::PACKED>(at, row, asking, constants, direction);
        store_query<Keys::PACKED>(at, row, more, constants, arena);
    }
    block_barrier();
    Row rows[LANE_ROWS];
    for (int r = 0; r < LANE_ROWS; r++) {
        const int row = lane_row(r, at.lane), index = asking.block * ROWS + row;
        rows[r].along = Keys::PACKED && CENTRED ? arena[AT_ALONG + row] : 0.0f;
        rows[r].limit = row < asking.rows ? smaller(span.stop, seen + index % LENGTH) : 0;
        softmax[r].peak = LOWEST;
        softmax[r].sum = 0;
    }
    Queries queries;
    queries.template load<Keys>(arena, Keys::unit(), at.lane);
    sum->clear();
    NO_UNROLL
    for (; tile < span.stop; tile += STEP) {
        float weights[ELEMENTS];
        const Span part = {from, tile};
        const int next = smaller(tile + STEP, latest), later = smaller(tile + 2 * STEP, latest);
        score_tile(&queries, keys, from, last, weights, at.lane);
        // All that is loaded of a tile leaves its registers, and the next one is asked for, together:
        // a wait for one load is a wait for those that were begun before it.
        const auto key_scales = keys->found_scales();
        const auto value_scales = values->found_scales();
        const auto arranged = values->arranged();
        keys->fetch_keys(next, at.lane);
        values->fetch_values(next, at.lane);
        keys->fetch_scales(next, at.lane, true);
        values->fetch_scales(next, at.lane, false);
        keys->ask_for_tile(later, at.lane);
        values->ask_for_tile(later, at.lane);
        weigh(softmax, key_scales, value_scales, rows, hidden, part, weights, sum, at.lane);
        SHARED float* room = arena + AT_PRODUCTS + at.warp * PRODUCTS_FLOATS;
        sum->add(values, arranged, weights, room, from, last, at.lane);
        from = next;
    }
}

// The whole first launch for one threadgroup. `shape` is [packed + 8, first + 1, raw + 1, packed
// tokens of a span, packed spans + 1]: an array's shape reaches a kernel by value, so that no length is ever read from memory.
// A sequence has the last columns of the tail, the first of the first rows and the last packed ones;
// `padding` columns between are nobody's.
template <typename Q, typename T, typename N>
FUNCTION void attend_group(
    Place at, Asking<Q> asking, Side<T> key_side, Side<T> value_side, const GLOBAL float* mean,
    const GLOBAL float* direction, const GLOBAL float* constants, N shape, int padding,
    SHARED float* arena, Partial partial
) {
    const int packed = shape[0] - 8, first = shape[1] - 1, raw = shape[2] - 1, tail = raw - first;
    const int length = packed + raw - padding;
    const int packed_spans = shape[4] - 1;
    const int raw_span = raw_span_of(partial.span, partial.groups, raw);
    const Order after = {0, first}, around = {first, packed}, all = {raw, 0};
    Sum sum;
    Softmax softmax[LANE_ROWS];
    NO_UNROLL
    for (int raws = partial.span < packed_spans ? 0 : 1; raws <= (raw_span < 0 ? 0 : 1); raws++) {
        float unit = 1;
        if (raws == 0) {
            PackedKeys<T> keys;
            PackedValues<T> values;
            const int held = PADDED ? clipped(length - raw, 0, packed) : packed;
            Span tokens = {partial.span * shape[3], smaller((partial.span + 1) * shape[3], packed)};
            tokens.start = clipped(packed - held, tokens.start, tokens.stop);
            const Span none = {0, 0};
            keys.open(key_side, after, nullptr, arena + AT_TABLE, at.lane);
            values.open(value_side, after, nullptr, arena + AT_TABLE + AT_VALUE_TABLE, at.lane);
            attend(
                at, &keys, &values, tokens, none, packed, packed, asking, constants, direction,
                arena, &sum, softmax
            );
            unit = PackedValues<T>::unit();
        } else {
            RawRows<T> keys, values;
            const Span tokens = {raw_span * RAW_SPAN, smaller((raw_span + 1) * RAW_SPAN, raw)};
            Span hidden = {0, 0};
            if (PADDED) {
                hidden.start = clipped(length - tail, 0, first);
                hidden.stop = first + tail - clipped(length, 0, tail);
            }
            keys.open(key_side, KEY_BITS > 0 ? all : around, CENTRED ? mean : nullptr, arena, at.lane);
            values.open(value_side, VALUE_BITS > 0 ? all : around, nullptr, arena, at.lane);
            attend(
                at, &keys, &values, tokens, hidden, raw - LENGTH + 1, raw, asking, constants,
                direction, arena, &sum, softmax
            );
            partial.span = packed_spans + raw_span;
        }
        finish(at, &sum, softmax, arena, asking.rows, unit, partial);
    }
}
