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
