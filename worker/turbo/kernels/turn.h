// Rows [B, H, L, DIM] rotated, or rotated back, one a simdgroup. What comes out lies in memory as
// [B, L, H, DIM], the order in which models take attention's result.

enum { ARENA = WARPS * DIM };

template <bool BACK, typename T>
FUNCTION void turn(
    int lane, const GLOBAL T* from, long stride, const GLOBAL float* rotation, SHARED float* room,
    GLOBAL T* to
) {
    float x[PART];
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        x[i] = dim < DIM ? float(from[dim * stride]) : 0.0f;
    }
    if (!HADAMARD) {
        store_row(room, x, lane);
        simd_barrier();
    }
    if (BACK) {
        unrotate(x, room, rotation, lane);
    } else {
        rotate(x, room, rotation, lane);
    }
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        if (dim < DIM) to[dim] = T(x[i]);
    }
}
