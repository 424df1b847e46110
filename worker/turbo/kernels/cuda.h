// Primitives on CUDA, compute capability 8.0 or later; a simdgroup is a warp.

#define FUNCTION __device__ __forceinline__
#define GLOBAL
#define SHARED
#define LOCAL
#define UNROLL(n) _Pragma("unroll")
#define NO_UNROLL _Pragma("unroll 1")
#define ONE_LAUNCH 1

typedef unsigned int uint;
typedef unsigned long ulong;

FUNCTION uint lane_index() {
    uint lane;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
}

FUNCTION float shuffle(float x, int lane) { return __shfl_sync(~0u, x, lane); }
FUNCTION uint shuffle(uint x, int lane) { return __shfl_sync(~0u, x, lane); }
FUNCTION float shuffle_xor(float x, int mask) { return __shfl_xor_sync(~0u, x, mask); }
FUNCTION bool any_of_simd(bool x) { return __any_sync(~0u, x); }
FUNCTION void simd_barrier() { __syncwarp(); }
FUNCTION void block_barrier() { __syncthreads(); }
FUNCTION float exp_2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
FUNCTION float log_2(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
FUNCTION float inverse_of(float x) {  // without the branch that a division takes for denormals
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
FUNCTION float root(float x) { return sqrtf(x); }
FUNCTION float inverse_root(float x) { return rsqrtf(x); }
FUNCTION float absolute(float x) { return fabsf(x); }
FUNCTION float larger(float a, float b) { return fmaxf(a, b); }
FUNCTION int smaller(int a, int b) { return a < b ? a : b; }

FUNCTION uint funnel_shift(uint low, uint high, int bits) { return __funnelshift_r(low, high, bits); }

// Loads stand where they are written, ahead of their use: the compiler moves plain ones behind
// barriers, next to it.
template <int COUNT, int WIDTH>
FUNCTION void load_words(const uint* from, uint* to) {
    for (int i = 0; i < COUNT; i += WIDTH) {
        if (WIDTH == 4) {
            asm volatile("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];"
                         : "=r"(to[i]), "=r"(to[i + 1]), "=r"(to[i + 2]), "=r"(to[i + 3])
                         : "l"(from + i));
        } else if (WIDTH == 2) {
            asm volatile("ld.global.nc.v2.u32 {%0,%1}, [%2];"
                         : "=r"(to[i]), "=r"(to[i + 1])
                         : "l"(from + i));
        } else {
            asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(to[i]) : "l"(from + i));
        }
    }
}

FUNCTION float load_half(const __half* from) {
    unsigned short bits;
    asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(bits) : "l"(from));
    return __half2float(__ushort_as_half(bits));
}

FUNCTION uint load_half_bits(const __half* from) {
    uint bits;
    asm volatile("ld.global.nc.u16 %0, [%1];" : "=r"(bits) : "l"(from));
    return bits;
}

template <typename T>
FUNCTION T early(const T* from) {
    if (sizeof(T) == 2) {
        unsigned short bits;
        asm volatile("ld.global.nc.u16 %0, [%1];" : "=h"(bits) : "l"(from));
        return *reinterpret_cast<const T*>(&bits);
    }
    uint bits;
    asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(bits) : "l"(from));
    return *reinterpret_cast<const T*>(&bits);
}

// Computed here, and not anew or later where it is used.
template <typename T>
FUNCTION const T* held(const T* address) {
    asm volatile("" : "+l"(address));
    return address;
}
FUNCTION uint held(uint x) {
    asm volatile("" : "+r"(x));
    return x;
}

// Brings 32 bytes near, and holds no register for them.
FUNCTION void ask_for(const void* from) { asm volatile("prefetch.global.L2 [%0];" : : "l"(from)); }

// What another threadgroup of this launch wrote.
FUNCTION float load_result(const float* from) {
    float found;
    asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(found) : "l"(from));
    return found;
}
FUNCTION void load_results(const float* from, float* to) {  // four
    asm volatile("ld.global.cg.v4.f32 {%0,%1,%2,%3}, [%4];"
                 : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3])
                 : "l"(from));
}

template <int COUNT>
FUNCTION void load_floats(const float* from, float* to) {
    for (int i = 0; i < COUNT; i += 4) *reinterpret_cast<float4*>(to + i) = *reinterpret_cast<const float4*>(from + i);
}

FUNCTION void store_quad(float* to, uint x) { *reinterpret_cast<uint4*>(to) = make_uint4(x, x, x, x); }

// The lane's copy of an entry of tables.h.
FUNCTION uint entry(const float* table, uint word, int byte, int lane) {
    const uint at = __byte_perm(word, 4 * lane, 0x5504 | byte << 4);
    return *reinterpret_cast<const uint*>(reinterpret_cast<const char*>(table) + at);
}

template <int COUNT>
FUNCTION void store_floats(float* to, const float* from) {
    if (COUNT == 2) {
        *reinterpret_cast<float2*>(to) = make_float2(from[0], from[COUNT - 1]);
    } else {
        *to = *from;
    }
}

// True in the last of `count` threadgroups that come here, which sees what the others wrote; the
// counter starts and ends at 0.
FUNCTION bool last_to_arrive(unsigned* counter, int count, float* flag, int index) {
    __syncthreads();
    if (index == 0) {  // one thread is enough: a barrier is before it, and another after it
        unsigned before;
        asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
                     : "=r"(before)
                     : "l"(counter)
                     : "memory");
        const bool last = before == unsigned(count - 1);
        if (last) *counter = 0;
        *flag = last ? 1.0f : 0.0f;
    }
    __syncthreads();
    return *flag > 0.5f;
}

FUNCTION uint bits_of(float x) { return __float_as_uint(x); }
// Eight numbers to where 16 bytes may be written at once.
template <typename T>
FUNCTION void store_octet(T* to, const float* x) {
    struct alignas(16) Part {
        T x[16 / sizeof(T)];
    };
    for (int i = 0; i < 8; i += 16 / sizeof(T)) {
        Part part;
        for (int k = 0; k < int(16 / sizeof(T)); k++) part.x[k] = T(x[i + k]);
        *reinterpret_cast<Part*>(to + i) = part;
    }
}

FUNCTION uint as_bits(__half2 pair) { return *reinterpret_cast<const uint*>(&pair); }
FUNCTION __half2 as_pair(uint bits) { return *reinterpret_cast<const __half2*>(&bits); }
FUNCTION uint pack_halves(float low, float high) { return as_bits(__floats2half2_rn(low, high)); }
FUNCTION uint pair_multiply(uint a, uint b) { return as_bits(__hmul2(as_pair(a), as_pair(b))); }
FUNCTION uint pair_multiply_add(uint a, uint b, uint c) {
    return as_bits(__hfma2(as_pair(a), as_pair(b), as_pair(c)));
}
FUNCTION uint masked_or(uint x, uint mask, uint more) {
    uint found;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(found) : "r"(x), "r"(mask), "r"(more));
    return found;
}
FUNCTION float first_of_pair(uint pair) { return __low2float(as_pair(pair)); }
FUNCTION float second_of_pair(uint pair) { return __high2float(as_pair(pair)); }
FUNCTION uint low_halves(uint a, uint b) { return __byte_perm(a, b, 0x5410); }
FUNCTION uint high_halves(uint a, uint b) { return __byte_perm(a, b, 0x7632); }

template <int N>
FUNCTION void load_halves(const __half* row, uint* pairs) {
    load_words<N / 2, N % 8 == 0 ? 4 : 1>(reinterpret_cast<const uint*>(row), pairs);
}
template <int N, typename T>
FUNCTION void load_halves(const T* row, uint* pairs) {
    for (int i = 0; i < N / 2; i++) pairs[i] = pack_halves(float(row[2 * i]), float(row[2 * i + 1]));
}

// Of 8x8 float16, a lane's two in a row.
FUNCTION uint transposed(uint x) {
    uint found;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(found) : "r"(x));
    return found;
}
FUNCTION void multiply_add(float* c, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
