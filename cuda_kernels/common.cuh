// common.cuh - what every kernel file uses: storage and arithmetic types, reductions.
//
// T  storage type of the arrays    float (default), double, float16, bfloat16, int, ...: defined
// per module A  arithmetic type               float for the 16-bit types, else T itself
//
// No CUDA headers are needed, so NVRTC compiles in 0.05 s and an install needs no toolkit. Template
// parameters avoid the names T and A, which are macros or types here.
#pragma once

#define FULL_WARP 0xffffffffu
#define POS_INF (__int_as_float(0x7f800000))  // NVRTC has no INFINITY
#define QUIET_NAN (__int_as_float(0x7fc00000))

typedef long long i64;
typedef unsigned long long u64;

// ---------------------------------------------------------------- 16-bit floats, storage only
struct float16 {
    unsigned short bits;
    float16() = default;
    __device__ __forceinline__ float16(float v) {
#if defined(__CUDA_HOST_EMU__)
        _Float16 h = (_Float16)v;
        memcpy(&bits, &h, 2);
#else
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
#endif
    }
    __device__ __forceinline__ operator float() const {
#if defined(__CUDA_HOST_EMU__)
        _Float16 h;
        memcpy(&h, &bits, 2);
        return (float)h;
#else
        float v;
        asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
        return v;
#endif
    }
};

struct bfloat16 {
    unsigned short bits;
    bfloat16() = default;
    __device__ __forceinline__ bfloat16(float v) {  // round to nearest even; NaN stays NaN
        unsigned b = __float_as_uint(v);
        bits = (b & 0x7fffffffu) > 0x7f800000u
                   ? (unsigned short)((b >> 16) | 0x40)
                   : (unsigned short)((b + 0x7fffu + ((b >> 16) & 1)) >> 16);
    }
    __device__ __forceinline__ operator float() const {
        return __uint_as_float((unsigned)bits << 16);
    }
};

template <class S> struct arithmetic {
    typedef S type;
};
template <> struct arithmetic<float16> {
    typedef float type;
};
template <> struct arithmetic<bfloat16> {
    typedef float type;
};

#ifndef T
#define T float
#endif
#ifndef A
typedef arithmetic<T>::type A;
#endif

// ---------------------------------------------------------------- indices
// First element and step of a grid-stride loop, 64 bits: for (i64 i = grid_start(); i < n; i +=
// grid_step())
__device__ __forceinline__ i64 grid_start() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ i64 grid_step() { return (i64)gridDim.x * blockDim.x; }

// ---------------------------------------------------------------- reductions, in a fixed order
struct Sum {
    template <class S> static __device__ __forceinline__ S join(S a, S b) { return a + b; }
};
struct Max {  // NaN wins, as in NumPy
    template <class S> static __device__ __forceinline__ S join(S a, S b) {
        return a > b || a != a ? a : b;
    }
};
struct Min {
    template <class S> static __device__ __forceinline__ S join(S a, S b) {
        return a < b || a != a ? a : b;
    }
};
struct Product {
    template <class S> static __device__ __forceinline__ S join(S a, S b) { return a * b; }
};

// Every lane of the full warp gets the result. All 32 lanes must call it.
template <class Op, class S> __device__ __forceinline__ S warp_reduce(S v) {
#pragma unroll
    for (int o = 16; o > 0; o >>= 1) v = Op::join(v, __shfl_xor_sync(FULL_WARP, v, o));
    return v;
}
template <class S> __device__ __forceinline__ S warp_sum(S v) { return warp_reduce<Sum>(v); }
template <class S> __device__ __forceinline__ S warp_max(S v) { return warp_reduce<Max>(v); }

// Every thread gets the result. All threads of the block must call it; the block is whole warps in
// x (y and z are 1). `scratch`: 32 elements of shared memory, free again when the function returns.
template <class Op, class S> __device__ __forceinline__ S block_reduce(S v, S neutral, S* scratch) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    v = warp_reduce<Op>(v);
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    v = warp_reduce<Op>(lane < warps ? scratch[lane] : neutral);
    __syncthreads();
    return v;
}
template <class S> __device__ __forceinline__ S block_sum(S v, S* scratch) {
    return block_reduce<Sum>(v, (S)0, scratch);
}
template <class S> __device__ __forceinline__ S block_max(S v, S lowest, S* scratch) {
    return block_reduce<Max>(v, lowest, scratch);
}

// ---------------------------------------------------------------- the block that comes last
// True in every thread of the one block, of the `blocks` that share a ticket, that gets here last:
// what the others wrote before is then visible to it, so it can put their results together, in an
// order of its own. All threads must call it. The ticket is 0 before and after the launch.
__device__ __forceinline__ bool comes_last(unsigned* ticket, unsigned blocks) {
    __shared__ unsigned before;
    __threadfence();
    __syncthreads();
    if (threadIdx.x + threadIdx.y + threadIdx.z == 0) before = atomicInc(ticket, blocks - 1);
    __syncthreads();
    const bool last = before == blocks - 1;
    if (last) __threadfence();
    return last;
}
