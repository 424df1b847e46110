// The second launch: joins the spans of every query row and rotates the sums of packed values back.

enum { ARENA = MOST_SPANS + 2 * WARPS * DIM };

// Joins the spans of one query row: a simdgroup takes every fourth, the first one rotates back.
template <typename O>
FUNCTION void merge(
    Place at, int packed_spans, int spans, const GLOBAL float* partial,
    const GLOBAL float* constants, SHARED float* arena, GLOBAL O* out
) {
    SHARED float* weights = arena;
    float peak = LOWEST, total = 0;
    for (int span = at.lane; span < spans; span += LANES) {
        peak = larger(peak, partial[span * SPAN_FLOATS + DIM]);
    }
    for (int step = 1; step < LANES; step *= 2) peak = larger(peak, shuffle_xor(peak, step));
    for (int span = at.lane; span < spans; span += LANES) {
        const float weight = exp_2(partial[span * SPAN_FLOATS + DIM] - peak);
        total += weight * partial[span * SPAN_FLOATS + DIM + 1];
        if (at.warp == 0) weights[span] = weight;
    }
    for (int step = 1; step < LANES; step *= 2) total += shuffle_xor(total, step);
    block_barrier();
    float rotated[PART], plain[PART];
    for (int i = 0; i < PART; i++) rotated[i] = plain[i] = 0;
    UNROLL(4)
    for (int span = at.warp; span < packed_spans; span += WARPS) {
        for (int i = 0; i < PART; i++) {
            const int dim = at.lane + LANES * i;
            if (dim < DIM) rotated[i] += weights[span] * partial[span * SPAN_FLOATS + dim];
        }
    }
    for (int span = packed_spans + at.warp; span < spans; span += WARPS) {
        for (int i = 0; i < PART; i++) {
            const int dim = at.lane + LANES * i;
            if (dim < DIM) plain[i] += weights[span] * partial[span * SPAN_FLOATS + dim];
        }
    }
    SHARED float* sums = arena + MOST_SPANS;
    store_row(sums + at.warp * DIM, rotated, at.lane);
    store_row(sums + (WARPS + at.warp) * DIM, plain, at.lane);
    block_barrier();
    if (at.warp != 0) return;
    for (int i = 0; i < PART; i++) {
        const int dim = at.lane + LANES * i;
        for (int warp = 1; warp < WARPS && dim < DIM; warp++) {
            rotated[i] += sums[warp * DIM + dim];
            plain[i] += sums[(WARPS + warp) * DIM + dim];
        }
    }
    if (VALUE_BITS > 0) {
        store_row(sums, rotated, at.lane);
        simd_barrier();
        unrotate(rotated, sums, constants + AT_ROTATION, at.lane);
    }
    for (int i = 0; i < PART; i++) {
        const int dim = at.lane + LANES * i;
        if (dim < DIM) out[dim] = O((rotated[i] + plain[i]) / total);
    }
}
