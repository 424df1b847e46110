// As much of the Metal Shading Language as the kernels use, for a stock clang: names and signatures by
// Apple's specification, bodies left out, since nothing here is run. An address space is an attribute
// (C++: what names none is `thread`, as `this` is up to MSL 4.0) or OpenCL's (C++ for OpenCL 1.0:
// `this` and what names none is generic, as `this` is in MSL 4.1).

#ifdef __OPENCL_CPP_VERSION__
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define device __global
#define constant __constant
#define threadgroup __local
#define thread __private
#else
#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#define thread
typedef _Float16 half;
#endif

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
typedef __bf16 bfloat;
typedef half float16_t;
typedef bfloat bfloat16_t;
typedef uint uint2 __attribute__((ext_vector_type(2)));
typedef uint uint3 __attribute__((ext_vector_type(3)));
typedef uint uint4 __attribute__((ext_vector_type(4)));
typedef half half2 __attribute__((ext_vector_type(2)));
typedef float float2 __attribute__((ext_vector_type(2)));

namespace metal {

enum class mem_flags { mem_none, mem_device, mem_threadgroup, mem_texture };

float exp2(float x);
float log2(float x);
float sqrt(float x);
float rsqrt(float x);
float fabs(float x);
float fmax(float x, float y);
int min(int x, int y);
half2 fma(half2 a, half2 b, half2 c);
bool simd_any(bool x);
void simdgroup_barrier(mem_flags flags);
void threadgroup_barrier(mem_flags flags);
template <typename T> T simd_shuffle(T x, ushort lane);
template <typename T> T simd_shuffle_xor(T x, ushort mask);

template <typename T, int N> struct elements_of;
template <> struct elements_of<half, 2> { typedef half2 type; };
template <> struct elements_of<float, 2> { typedef float2 type; };

template <typename T, int R, int C>
struct simdgroup_matrix {
    typename elements_of<T, 2>::type held;
    thread typename elements_of<T, 2>::type& thread_elements() { return *(thread typename elements_of<T, 2>::type*)&held; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
template <typename T, int R, int C> simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T x);
void simdgroup_multiply_accumulate(
    thread simdgroup_float8x8& d, simdgroup_half8x8 a, simdgroup_half8x8 b, simdgroup_float8x8 c
);

}  // namespace metal

template <typename To, typename From>
To as_type(From from) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    return __builtin_bit_cast(To, from);
}

using namespace metal;
