// What stays raw when tokens leave the tail, and whether all that is new is finite. A simdgroup takes
// one row of the new raw buffer, or the scales of 32 packed tokens.

enum { ARENA = 8 };

FUNCTION bool is_finite(float x) { return (bits_of(x) & 0x7f800000u) != 0x7f800000u; }

template <typename T>
FUNCTION bool keep(int lane, const GLOBAL T* from, bool used, GLOBAL T* to) {
    bool fine = true;
    for (int i = 0; i < PART; i++) {
        const int dim = lane + LANES * i;
        if (dim < DIM) {
            const float x = used ? float(from[dim]) : 0.0f;
            fine = fine && is_finite(x);
            to[dim] = T(x);
        }
    }
    return fine;
}
