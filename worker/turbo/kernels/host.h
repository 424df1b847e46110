// Primitives on the host, over coroutines.h.

#define FUNCTION inline
#define GLOBAL
#define SHARED
#define LOCAL
#define UNROLL(n)
#define NO_UNROLL
#define ONE_LAUNCH 1

inline void simd_barrier() { Threadgroup::active()->meet_simdgroup(); }
inline void block_barrier() { Threadgroup::active()->meet_all(); }

inline uint shuffle(uint x, int lane) { return exchange(x, lane); }
inline float shuffle(float x, int lane) { return bits_to_float(shuffle(float_to_bits(x), lane)); }
inline float shuffle_xor(float x, int mask) {
    return shuffle(x, (Threadgroup::active()->current % 32) ^ mask);
}
inline bool any_of_simd(bool x) {
    for (int step = 1; step < 32; step *= 2) x = (shuffle_xor(x ? 1.0f : 0.0f, step) > 0) || x;
    return x;
}
inline float exp_2(float x) { return std::exp2(x); }
inline float log_2(float x) { return std::log2(x); }
inline float inverse_of(float x) { return 1 / x; }
inline float root(float x) { return std::sqrt(x); }
inline float inverse_root(float x) { return 1 / std::sqrt(x); }
inline float absolute(float x) { return std::fabs(x); }
inline float larger(float a, float b) { return std::fmax(a, b); }
inline int smaller(int a, int b) { return a < b ? a : b; }

inline uint funnel_shift(uint low, uint high, int bits) {
    return uint(((uint64_t(high) << 32) | low) >> bits);
}

template <int COUNT, int WIDTH>
inline void load_words(const uint* from, uint* to) {
    std::memcpy(to, from, COUNT * sizeof(uint));
}

inline float load_half(const half* from) { return *from; }
inline uint load_half_bits(const half* from) { return from->bits; }
template <typename T>
inline T early(const T* from) {
    return *from;
}
template <typename T>
inline T held(T x) {
    return x;
}
inline void ask_for(const void*) {}
inline float load_result(const float* from) { return *from; }
inline void load_results(const float* from, float* to) { std::memcpy(to, from, 4 * sizeof(float)); }

inline void store_quad(float* to, uint x) {
    for (int i = 0; i < 4; i++) to[i] = bits_to_float(x);
}
inline uint entry(const float* table, uint word, int byte, int lane) {
    return float_to_bits(table[(word >> 8 * byte & 255) * 64 + lane]);
}

template <int COUNT>
inline void store_floats(float* to, const float* from) {
    std::memcpy(to, from, COUNT * sizeof(float));
}

inline uint bits_of(float x) { return float_to_bits(x); }
template <typename T>
inline void store_octet(T* to, const float* x) {
    for (int i = 0; i < 8; i++) to[i] = T(x[i]);
}

inline bool last_to_arrive(uint* counter, int count, float* flag, int index) {
    block_barrier();
    if (index == 0) {
        *flag = ++*counter == uint(count);
        if (*flag > 0) *counter = 0;
    }
    block_barrier();
    return *flag > 0;
}

inline uint pack_halves(float low, float high) {
    return half(low).bits | uint(half(high).bits) << 16;
}
inline uint masked_or(uint x, uint mask, uint more) { return (x & mask) | more; }
inline uint low_halves(uint a, uint b) { return (a & 0xffff) | b << 16; }
inline uint high_halves(uint a, uint b) { return a >> 16 | (b & 0xffff0000); }
inline float unpack_half(uint pair, int i) {
    half x;
    x.bits = uint16_t(pair >> 16 * i);
    return x;
}

inline uint pair_multiply_add(uint a, uint b, uint c) {
    return pack_halves(
        float(double(unpack_half(a, 0)) * unpack_half(b, 0) + unpack_half(c, 0)),
        float(double(unpack_half(a, 1)) * unpack_half(b, 1) + unpack_half(c, 1))
    );
}
inline uint pair_multiply(uint a, uint b) { return pair_multiply_add(a, b, 0x80008000); }

inline float first_of_pair(uint pair) { return unpack_half(pair, 0); }
inline float second_of_pair(uint pair) { return unpack_half(pair, 1); }

template <int COUNT>
inline void load_floats(const float* from, float* to) {
    std::memcpy(to, from, COUNT * sizeof(float));
}

template <int N, typename T>
inline void load_halves(const T* row, uint* pairs) {
    for (int i = 0; i < N / 2; i++) pairs[i] = pack_halves(row[2 * i], row[2 * i + 1]);
}

// PTX movmatrix: of 8x8 float16, a lane's two in a row.
inline uint transposed(uint x) {
    const int lane = Threadgroup::active()->current % 32, column = lane / 4, row = lane % 4 * 2;
    const uint low = shuffle(x, row * 4 + column / 2), high = shuffle(x, row * 4 + 4 + column / 2);
    return column % 2 ? high_halves(low, high) : low_halves(low, high);
}

// PTX mma.m16n8k16: a0, a1 are the rows lane / 4 and that + 8 at two coordinates from lane % 4 * 2
// on, a2, a3 the same 8 later; b0, b1 have the column lane / 4 and the same coordinates.
inline void multiply_add(float* c, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {
    Threadgroup* group = Threadgroup::active();
    const int lane = group->current % 32;
    const uint given[6] = {a0, a1, a2, a3, b0, b1};
    std::memcpy(group->slot(lane), given, sizeof given);
    simd_barrier();
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4, high = i / 2, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++) {
            const int quarter = k % 8 / 2, late = k / 8;
            const uint a = group->slot(row * 4 + quarter)[high + 2 * late];
            const uint b = group->slot(column * 4 + quarter)[4 + late];
            c[i] += unpack_half(a, k % 2) * unpack_half(b, k % 2);
        }
    }
    simd_barrier();
}
