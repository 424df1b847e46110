// Joins the spans of query rows and rotates the sums of packed values back, one row a simdgroup.

enum { MOST_SPANS = 256, MERGE_FLOATS = MOST_SPANS + DIM };

// Adds the weighted sums of the spans start..stop. Several loads are under way at once, some of them
// of what follows: fused.py leaves room behind the last span.
FUNCTION void add_spans(
    const GLOBAL float* sums, int start, int stop, const SHARED float* weights, LOCAL float* total,
    int lane
) {
    enum { BATCH = PART > 4 ? 8 : 16 };
    const GLOBAL float* row = sums + long(start) * DIM + lane;
    NO_UNROLL
    for (int span = start; span < stop; span += BATCH) {
        float x[BATCH][PART];
        for (int k = 0; k < BATCH; k++) {
            for (int i = 0; i < PART; i++) x[k][i] = load_result(row + k * DIM + LANES * i);
        }
        for (int k = 0; k < BATCH; k++) {
            const bool used = span + k < stop;
            const float weight = used ? weights[span + k] : 0.0f;
            for (int i = 0; i < PART; i++) total[i] += used ? weight * x[k][i] : 0.0f;
        }
        row += BATCH * DIM;
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
    NO_UNROLL
    for (int span = lane; span < spans; span += LANES) peak = larger(peak, load_result(totals + 2 * span));
    for (int step = 1; step < LANES; step *= 2) peak = larger(peak, shuffle_xor(peak, step));
    NO_UNROLL
    for (int span = lane; span < spans; span += LANES) {
        const float weight = exp_2(load_result(totals + 2 * span) - peak);
        total += weight * load_result(totals + 2 * span + 1);
        weights[span] = weight;
    }
    total = simd_total(total) + exp_2(sink - peak);
    simd_barrier();
    float x[PART];
    for (int i = 0; i < PART; i++) x[i] = 0;
    NO_UNROLL
    for (int raw = 0; raw < 2; raw++) {  // one copy of the code for both
        add_spans(sums, raw ? packed_spans : 0, raw ? spans : packed_spans, weights, x, lane);
        if (VALUE_BITS == 0 || raw) continue;
        store_row(row, x, lane);
        simd_barrier();
        unrotate(x, row, constants + AT_ROTATION, lane);
    }
    const float inverse = total > 0 ? 1 / total : 0.0f;
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        if (dim < DIM) out[dim] = O(x[i] * inverse);
    }
    simd_barrier();  // the next row uses the same room
}
