// Primitives on Metal. MLX puts the standard library and `using namespace metal` before it.

#define FUNCTION inline
#define GLOBAL device
#define SHARED threadgroup
#define LOCAL thread
#define UNROLL(n)

inline float shuffle(float x, int lane) { return simd_shuffle(x, ushort(lane)); }
inline float shuffle_xor(float x, int mask) { return simd_shuffle_xor(x, ushort(mask)); }
inline void simd_barrier() { simdgroup_barrier(mem_flags::mem_threadgroup); }
inline void block_barrier() { threadgroup_barrier(mem_flags::mem_threadgroup); }
inline float exp_2(float x) { return exp2(x); }
inline float log_2(float x) { return log2(x); }
inline float root(float x) { return sqrt(x); }
inline float inverse_root(float x) { return rsqrt(x); }
inline float absolute(float x) { return fabs(x); }
inline float larger(float a, float b) { return fmax(a, b); }
inline int smaller(int a, int b) { return min(a, b); }
