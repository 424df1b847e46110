// Joins the spans of query rows and rotates the sums of packed values back, one row a simdgroup.

enum { MOST_SPANS = 256, MERGE_FLOATS = MOST_SPANS + DIM };

// Adds the weighted sums of the spans start..stop; several loads are under way at once.
FUNCTION void add_spans(
    const GLOBAL float* sums, int start, int stop, const SHARED float* weights, LOCAL float* total,
    int lane
) {
    enum { BATCH = PART > 4 ? 8 : 12 };
    NO_UNROLL
    for (int span = start; span < stop; span += BATCH) {
        float x[BATCH][PART];
        for (int k = 0; k < BATCH; k++) {
            const GLOBAL float* row = sums + long(smaller(span + k, stop - 1)) * DIM;
            for (int i = 0; i < PART; i++) x[k][i] = load_result(row + smaller(lane + LANES * i, DIM - 1));
        }
        for (int k = 0; k < BATCH; k++) {
            const float weight = span + k < stop ? weights[span + k] : 0.0f;
            for (int i = 0; i < PART; i++) total[i] += weight * x[k][i];
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
    float peak = sink, total = 0;
    for (int span = lane; span < spans; span += LANES) peak = larger(peak, load_result(totals + 2 * span));
    for (int step = 1; step < LANES; step *= 2) peak = larger(peak, shuffle_xor(peak, step));
    for (int span = lane; span < spans; span += LANES) {
        const float weight = exp_2(load_result(totals + 2 * span) - peak);
        total += weight * load_result(totals + 2 * span + 1);
        weights[span] = weight;
    }
    for (int step = 1; step < LANES; step *= 2) total += shuffle_xor(total, step);
    total += exp_2(sink - peak);
    simd_barrier();
    float rotated[PART], plain[PART];
    for (int i = 0; i < PART; i++) rotated[i] = plain[i] = 0;
    add_spans(sums, 0, packed_spans, weights, rotated, lane);
    add_spans(sums, packed_spans, spans, weights, plain, lane);
    if (VALUE_BITS > 0) {
        store_row(row, rotated, lane);
        simd_barrier();
        unrotate(rotated, row, constants + AT_ROTATION, lane);
    }
    const float inverse = total > 0 ? 1 / total : 0.0f;
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        if (dim < DIM) out[dim] = O((rotated[i] + plain[i]) * inverse);
    }
    simd_barrier();  // the next row uses the same room
}
