// Joins the spans of query rows and rotates the sums of packed values back, one row a simdgroup.

enum { MOST_SPANS = 256, MERGE_FLOATS = MOST_SPANS + DIM };

// Adds the weighted sums of packed spans and of raw ones, each apart. Several loads are under way at
// once, some of them of what follows: fused.py leaves room behind the last span.
FUNCTION void add_spans(
    const GLOBAL float* sums, int packed_spans, int spans, const SHARED float* weights,
    LOCAL float* packed, LOCAL float* raw, int lane
) {
    enum { BATCH = PART > 4 ? 8 : 16 };
    const GLOBAL float* row = sums + lane;
    NO_UNROLL
    for (int span = 0; span < spans; span += BATCH) {
        float x[BATCH][PART];
        for (int k = 0; k < BATCH; k++) {
            for (int i = 0; i < PART; i++) x[k][i] = load_result(row + k * DIM + LANES * i);
        }
        for (int k = 0; k < BATCH; k++) {
            const bool used = span + k < spans, of_packed = span + k < packed_spans;
            const float weight = used ? weights[span + k] : 0.0f;
            const float apart = of_packed ? weight : 0.0f, plain = of_packed ? 0.0f : weight;
            for (int i = 0; i < PART; i++) {
                const float sum = used ? x[k][i] : 0.0f;
                packed[i] += apart * sum;
                raw[i] += plain * sum;
            }
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
    float x[PART], raw[PART];
    for (int i = 0; i < PART; i++) x[i] = raw[i] = 0;
    add_spans(sums, packed_spans, spans, weights, x, raw, lane);
    if (VALUE_BITS > 0) {
        if (!HADAMARD) {
            store_row(row, x, lane);
            simd_barrier();
        }
        unrotate(x, row, constants + AT_ROTATION, lane);
    }
    const float inverse = total > 0 ? 1 / total : 0.0f;
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        if (dim < DIM) out[dim] = O((x[i] + raw[i]) * inverse);
    }
    simd_barrier();  // the next row uses the same room
}
