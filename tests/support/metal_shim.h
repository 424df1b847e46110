// As much of Metal's standard library as the kernels use, over coroutines.h.

#define device
#define threadgroup
#define thread
#define constant

typedef unsigned int uint;
typedef unsigned short ushort;
typedef unsigned long ulong;

enum class mem_flags { mem_none, mem_device, mem_threadgroup };

inline void simdgroup_barrier(mem_flags) { Threadgroup::active()->meet_simdgroup(); }
inline void threadgroup_barrier(mem_flags) { Threadgroup::active()->meet_all(); }
inline float simd_shuffle(float x, ushort lane) {
    return bits_to_float(exchange(float_to_bits(x), lane));
}
inline float simd_shuffle_xor(float x, ushort mask) {
    return simd_shuffle(x, ushort((Threadgroup::active()->current % 32) ^ mask));
}
inline bool simd_any(bool x) {
    for (int step = 1; step < 32; step *= 2) x = simd_shuffle_xor(x ? 1.0f : 0.0f, step) > 0 || x;
    return x;
}
inline float exp2(float x) { return std::exp2(x); }
inline float log2(float x) { return std::log2(x); }
inline float sqrt(float x) { return std::sqrt(x); }
inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline float fabs(float x) { return std::fabs(x); }
inline float fmax(float a, float b) { return std::fmax(a, b); }
inline int min(int a, int b) { return a < b ? a : b; }

struct uint3 {
    uint x, y, z;
};

template <typename T, int N>
struct vec {
    T x[N];
    vec() = default;
    vec(T a, T b) : x{a, b} {}
    T& operator[](int i) { return x[i]; }
    T operator[](int i) const { return x[i]; }
};
typedef vec<half, 2> half2;
typedef vec<uint, 2> uint2;
struct uint4 {
    uint x[4];
    uint operator[](int i) const { return x[i]; }
};

template <typename To, typename From>
To as_type(From from) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

inline half2 operator*(half2 a, half2 b) {
    return half2(half(float(a[0]) * float(b[0])), half(float(a[1]) * float(b[1])));
}
inline half2 fma(half2 a, half2 b, half2 c) {
    return half2(
        half(float(double(a[0]) * double(b[0]) + double(c[0]))),
        half(float(double(a[1]) * double(b[1]) + double(c[1])))
    );
}

// A lane's elements stand at [row, column] and [row, column + 1] of this one.
template <typename T, int R, int C>
struct simdgroup_matrix {
    vec<T, 2> held;
    vec<T, 2>& thread_elements() { return held; }
    const vec<T, 2>& thread_elements() const { return held; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;

template <typename T, int R, int C>
simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T x) {
    simdgroup_matrix<T, R, C> found;
    found.held = vec<T, 2>(x, x);
    return found;
}

template <typename T>
void simdgroup_multiply_accumulate(
    simdgroup_matrix<float, 8, 8>& d, const simdgroup_matrix<T, 8, 8>& a,
    const simdgroup_matrix<T, 8, 8>& b, const simdgroup_matrix<float, 8, 8>& c
) {
    Threadgroup* group = Threadgroup::active();
    const int lane = group->current % 32, quad = lane / 4;
    const int row = (quad & 4) + lane / 2 % 4, column = (quad & 2) * 2 + lane % 2 * 2;
    const float given[4] = {float(a.held[0]), float(a.held[1]), float(b.held[0]), float(b.held[1])};
    std::memcpy(group->slot(lane), given, sizeof given);
    group->meet_simdgroup();
    const auto lane_at = [](int r, int k) { return (r / 4 * 16) + (k / 4 * 8) + r % 4 * 2 + k / 2 % 2; };
    const auto element = [&](int from, int place) { return bits_to_float(group->slot(from)[place]); };
    for (int e = 0; e < 2; e++) {
        float sum = c.held[e];
        for (int k = 0; k < 8; k++) {
            const int other = column + e;
            sum += element(lane_at(row, k), k % 2) * element(lane_at(k, other), 2 + other % 2);
        }
        d.held[e] = sum;
    }
    group->meet_simdgroup();
}
