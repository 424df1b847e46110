// Primitives on Metal. MLX puts the standard library and `using namespace metal` before it.

#define FUNCTION inline
#define GLOBAL device
#define SHARED threadgroup
#define LOCAL thread
#define UNROLL(n) _Pragma("clang loop unroll(full)")
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#define ONE_LAUNCH 0

inline float shuffle(float x, int lane) { return simd_shuffle(x, ushort(lane)); }
inline float shuffle_xor(float x, int mask) { return simd_shuffle_xor(x, ushort(mask)); }
inline bool any_of_simd(bool x) { return simd_any(x); }
inline void simd_barrier() { simdgroup_barrier(mem_flags::mem_threadgroup); }
inline void block_barrier() { threadgroup_barrier(mem_flags::mem_threadgroup); }
inline float exp_2(float x) { return exp2(x); }
inline float log_2(float x) { return log2(x); }
inline float inverse_of(float x) { return 1 / x; }
inline float root(float x) { return sqrt(x); }
inline float inverse_root(float x) { return rsqrt(x); }
inline float absolute(float x) { return fabs(x); }
inline float larger(float a, float b) { return fmax(a, b); }
inline int smaller(int a, int b) { return min(a, b); }

inline uint funnel_shift(uint low, uint high, int bits) {
    return bits == 0 ? low : (low >> bits) | (high << (32 - bits));
}

template <int COUNT, int WIDTH>
inline void load_words(const device uint* from, thread uint* to) {
    for (int i = 0; i < COUNT; i += WIDTH) {
        if (WIDTH == 4) {
            const uint4 found = *(const device uint4*)(from + i);
            for (int k = 0; k < WIDTH; k++) to[i + k] = found[k];
        } else if (WIDTH == 2) {
            const uint2 found = *(const device uint2*)(from + i);
            for (int k = 0; k < WIDTH; k++) to[i + k] = found[k];
        } else {
            to[i] = from[i];
        }
    }
}

inline float load_half(const device half* from) { return float(*from); }
inline uint load_half_bits(const device half* from) { return as_type<ushort>(*from); }
template <typename T>
inline T early(const device T* from) {
    return *from;
}
template <typename T>
inline const device T* held(const device T* address) {
    return address;
}
inline uint held(uint x) { return x; }
template <typename T>
inline void ask_for(const device T*) {}
inline float load_result(const device float* from) { return *from; }
inline void load_results(const device float* from, thread float* to) {
    for (int i = 0; i < 4; i++) to[i] = from[i];
}

template <int COUNT>
inline void load_floats(const device float* from, thread float* to) {
    for (int i = 0; i < COUNT; i++) to[i] = from[i];
}

template <int COUNT>
inline void store_floats(device float* to, const thread float* from) {
    for (int i = 0; i < COUNT; i++) to[i] = from[i];
}

inline uint bits_of(float x) { return as_type<uint>(x); }
template <typename T>
inline void store_octet(device T* to, const thread float* x) {
    for (int i = 0; i < 8; i++) to[i] = T(x[i]);
}

inline half2 as_pair(uint bits) { return as_type<half2>(bits); }
inline uint paired(half low, half high) {
    half2 pair;
    pair[0] = low;
    pair[1] = high;
    return as_type<uint>(pair);
}
inline uint pack_halves(float low, float high) { return paired(half(low), half(high)); }
inline uint pair_multiply(uint a, uint b) {
    const half2 product = as_pair(a) * as_pair(b);
    return as_type<uint>(product);
}
inline uint pair_multiply_add(uint a, uint b, uint c) {
    const half2 sum = fma(as_pair(a), as_pair(b), as_pair(c));
    return as_type<uint>(sum);
}
inline uint masked_or(uint x, uint mask, uint more) { return (x & mask) | more; }
inline float first_of_pair(uint pair) { return float(as_pair(pair)[0]); }
inline float second_of_pair(uint pair) { return float(as_pair(pair)[1]); }
inline uint low_halves(uint a, uint b) { return (a & 0xffffu) | b << 16; }
inline uint high_halves(uint a, uint b) { return a >> 16 | (b & 0xffff0000u); }

template <int N>
inline void load_halves(const device half* row, thread uint* pairs) {
    for (int i = 0; i < N / 2; i++) pairs[i] = paired(row[2 * i], row[2 * i + 1]);
}
template <int N, typename T>
inline void load_halves(const device T* row, thread uint* pairs) {
    for (int i = 0; i < N / 2; i++) pairs[i] = pack_halves(float(row[2 * i]), float(row[2 * i + 1]));
}

typedef simdgroup_float8x8 Matrix;

inline Matrix zero_matrix() { return make_filled_simdgroup_matrix<float, 8, 8>(0.0f); }
inline float element(Matrix x, int i) { return x.thread_elements()[i]; }
inline Matrix scaled(Matrix x, float first, float second) {
    x.thread_elements()[0] *= first;
    x.thread_elements()[1] *= second;
    return x;
}
inline Matrix multiply_added(Matrix c, uint a, uint b) {
    simdgroup_half8x8 left, right;
    left.thread_elements()[0] = as_pair(a)[0];
    left.thread_elements()[1] = as_pair(a)[1];
    right.thread_elements()[0] = as_pair(b)[0];
    right.thread_elements()[1] = as_pair(b)[1];
    simdgroup_multiply_accumulate(c, left, right, c);
    return c;
}
