// The random rotation of rotation.py, one vector a simdgroup.

// x <- x H, orthonormal; the lane holds the coordinates lane + 32 i.
FUNCTION void hadamard(LOCAL float* x, int lane) {
    for (int step = 1; step < LANES; step *= 2) {
        for (int i = 0; i < PART; i++) {
            const float other = shuffle_xor(x[i], step);
            x[i] = (lane & step) ? other - x[i] : x[i] + other;
        }
    }
    for (int step = 1; step < PART; step *= 2) {
        for (int i = 0; i < PART; i++) {
            if (!(i & step)) {
                const float low = x[i], high = x[i + step];
                x[i] = low + high;
                x[i + step] = low - high;
            }
        }
    }
    for (int i = 0; i < PART; i++) x[i] *= inverse_root(float(DIM));
}

// x <- x R, or x R^T; `row` is shared memory that holds x, which a dense R is applied to.
FUNCTION void rotate(LOCAL float* x, const SHARED float* row, const GLOBAL float* rotation, int lane) {
    if (HADAMARD) {
        for (int i = 0; i < PART; i++) x[i] *= rotation[lane + LANES * i];
        hadamard(x, lane);
        return;
    }
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        float sum = 0;
        if (dim < DIM) {
            for (int k = 0; k < DIM; k++) sum += row[k] * rotation[k * DIM + dim];
        }
        x[i] = sum;
    }
}

FUNCTION void unrotate(LOCAL float* x, const SHARED float* row, const GLOBAL float* rotation, int lane) {
    if (HADAMARD) {
        hadamard(x, lane);
        for (int i = 0; i < PART; i++) x[i] *= rotation[lane + LANES * i];
        return;
    }
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        float sum = 0;
        if (dim < DIM) {
            for (int k = 0; k < DIM; k++) sum += row[k] * rotation[dim * DIM + k];
        }
        x[i] = sum;
    }
}

FUNCTION void store_row(SHARED float* row, const LOCAL float* x, int lane) {
    for (int i = 0; i < PART; i++) {
        if (lane + LANES * i < DIM) row[lane + LANES * i] = x[i];
    }
}

FUNCTION float simd_total(float x) {
    for (int step = 1; step < LANES; step *= 2) x += shuffle_xor(x, step);
    return x;
}
