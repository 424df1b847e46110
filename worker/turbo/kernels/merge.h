// Joins the spans of query rows and rotates the sums of packed values back, one row a simdgroup.

enum {
    MOST_SPANS = 256,
    MERGE_FLOATS = MOST_SPANS + 2 * DIM,
    SPANS_AT_ONCE = DIM > 128 ? 12 : 36,  // loads under way
    QUADS = (DIM / 4 + LANES - 1) / LANES
};

// Adds weighted sums of the spans from..to, `COUNT` at once: four coordinates of every 128 a lane.
template <int COUNT>
FUNCTION void add_spans(
    const GLOBAL float* sums, int from, int to, const SHARED float* weights, LOCAL float* total, int lane
) {
    NO_UNROLL
    for (int span = from; span < to; span += COUNT) {
        float x[COUNT][4 * QUADS];
        for (int k = 0; k < COUNT; k++) {
            const GLOBAL float* row = sums + long(smaller(span + k, to - 1)) * DIM;
            for (int i = 0; i < QUADS; i++) {
                load_results(row + 4 * smaller(lane + LANES * i, DIM / 4 - 1), x[k] + 4 * i);
            }
        }
        for (int k = 0; k < COUNT; k++) {
            const float weight = span + k < to ? weights[span + k] : 0.0f;
            for (int i = 0; i < 4 * QUADS; i++) total[i] += weight * x[k][i];
        }
    }
}

FUNCTION void store_quads(SHARED float* row, const LOCAL float* x, int lane) {
    for (int i = 0; i < QUADS; i++) {
        const int quad = lane + LANES * i;
        for (int k = 0; k < 4; k++) {
            if (quad < DIM / 4) row[4 * quad + k] = x[4 * i + k];
        }
    }
}

// `sink` is one more term of the softmax, in the scores' unit; `totals` are a span's peak and sum.
template <typename O>
FUNCTION void merge_row(
    const GLOBAL float* sums, const GLOBAL float* totals, int packed_spans, int spans, float sink,
    const GLOBAL float* constants, SHARED float* room, GLOBAL O* out, int lane
) {
    SHARED float* weights = room;
    SHARED float* row = room + MOST_SPANS;
    float own = LOWEST, sum = 0;
    NO_UNROLL
    for (int span = lane; span < MOST_SPANS; span += LANES) {
        const bool used = span < spans;
        const float peak = used ? load_result(totals + 2 * span) : LOWEST;
        const float total = used ? load_result(totals + 2 * span + 1) : 0.0f;
        const float most = larger(own, peak);
        sum = sum * exp_2(own - most) + total * exp_2(peak - most);
        own = most;
        weights[span] = peak;
        if (span - lane + LANES >= spans) break;
    }
    float peak = larger(own, sink);
    for (int step = 1; step < LANES; step *= 2) peak = larger(peak, shuffle_xor(peak, step));
    NO_UNROLL
    for (int span = lane; span < spans; span += LANES) weights[span] = exp_2(weights[span] - peak);
    const float total = simd_total(sum * exp_2(own - peak)) + exp_2(sink - peak);
    simd_barrier();
    float packed[4 * QUADS], raw[4 * QUADS], x[PART];
    for (int i = 0; i < 4 * QUADS; i++) packed[i] = raw[i] = 0;
    add_spans<2>(sums, packed_spans, spans, weights, raw, lane);
    add_spans<SPANS_AT_ONCE>(sums, 0, packed_spans, weights, packed, lane);
    store_quads(row, packed, lane);
    store_quads(row + DIM, raw, lane);
    simd_barrier();
    for (int i = 0; i < PART; i++) x[i] = lane + LANES * i < DIM ? row[lane + LANES * i] : 0.0f;
    if (VALUE_BITS > 0) unrotate(x, row, constants + AT_ROTATION, lane);
    const float inverse = total > 0 ? inverse_of(total) : 0.0f;
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        if (dim < DIM) out[dim] = O((x[i] + row[DIM + dim]) * inverse);
    }
    simd_barrier();  // the next row uses the same room
}
