// wgmma.cuh - products of a warpgroup from shared memory (Hopper): inline PTX, or the emulator's.
//
// target: sm_90a
//
// shared_address     of a pointer, as instructions count it
// descriptor         what an instruction is told of an operand: address, strides, 128-byte swizzle
// further            the descriptor of what lies some bytes further
// proxy_fence        what this thread has written to shared memory (stores, or copies it has waited
//                    for) may be read by wgmma after the next barrier
// sums_fence         registers of sums: what was done with them comes before the wgmma that follow
// pin                the compiler moves no use of the sums to before this: after the last wait
// wgmma<TURNED_A, TURNED_B>  c[64, N] += a[64, K] b[K, N], N = 64, 128 or 256, float32 sums:
//                      float      TF32, K = 8: the hardware takes the upper 19 bits as they are
//                      float16, bfloat16   K = 16
//                    all 128 threads of a warpgroup issue it together; it is done when they wait
// wgmma_commit/wait  groups of them; wait<N>: all but the N last groups are done, so that their
//                    sums may be used and their operands overwritten (after a barrier)
//
// Sums: c[j][0..1] are row 16 * warp + lane / 4, columns 8j + 2 * (lane % 4) and the next,
// c[j][2..3] the same 8 rows below; warp counts within the warpgroup.
//
// Operands lie in patterns of 1024 bytes, which start at multiples of 1024: 8 lines of 128 bytes,
// whose 16-byte pieces change places: piece p of line l lies at piece p ^ l. A line holds 128 bytes
// of one row along k (K-major), or of one k along the rows (turned, 16-bit types only). From 8 rows
// (K-major) or 8 k (turned) to the next it is `stride` bytes; turned, from 64 rows to the next
// `leading` bytes. The next K of a K-major operand start 32 bytes further, turned 2 * stride.
// Source: PTX ISA, asynchronous warpgroup level matrix instructions: canonical layouts,
// matrix descriptor format.
#pragma once
#include "common.cuh"

const int PATTERN = 1024, LINE = 128;

__device__ __forceinline__ unsigned shared_address(const void* p) {
#if defined(__CUDA_HOST_EMU__)
    return emu_shared_address(p, EMU_HERE);
#else
    return (unsigned)__cvta_generic_to_shared(p);
#endif
}

// bits 0-13 address, 16-29 leading, 32-45 stride, all over 16; 49-51 base offset 0; 62-63 swizzle
__device__ __forceinline__ u64 descriptor(unsigned address, unsigned leading, unsigned stride) {
    return (u64)((address & 0x3ffff) >> 4) | (u64)((leading & 0x3ffff) >> 4) << 16 |
           (u64)((stride & 0x3ffff) >> 4) << 32 | (u64)1 << 62;
}

// The same `bytes` further: the address is the low word's, and stays below 256 KiB.
__device__ __forceinline__ u64 further(u64 descriptor, unsigned bytes) {
    return (descriptor & 0xffffffff00000000ull) | ((unsigned)descriptor + (bytes >> 4));
}

__device__ __forceinline__ void proxy_fence() {
#if defined(__CUDA_HOST_EMU__)
    emu_proxy_fence();
#else
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

template <int EIGHTS> __device__ __forceinline__ void pin(float (&c)[EIGHTS][4]) {
#if !defined(__CUDA_HOST_EMU__)
#pragma unroll
    for (int j = 0; j < EIGHTS; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) asm volatile("" : "+f"(c[j][e])::"memory");
#endif
}

template <int EIGHTS> __device__ __forceinline__ void sums_fence(float (&c)[EIGHTS][4]) {
#if defined(__CUDA_HOST_EMU__)
    emu_wgmma_fence(&c[0][0], 4 * EIGHTS);
#else
    pin(c);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void wgmma_commit() {
#if defined(__CUDA_HOST_EMU__)
    emu_wgmma_commit();
#else
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

template <int PENDING> __device__ __forceinline__ void wgmma_wait() {
#if defined(__CUDA_HOST_EMU__)
    emu_wgmma_wait(PENDING, EMU_HERE);
#else
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
#endif
}

#if !defined(__CUDA_HOST_EMU__)
#define FIRST_32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NEXT_32 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
    "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define LAST_64 \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, " \
    "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, " \
    "%100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, " \
    "%115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define EIGHT_WIDE(j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
#define WIDE_32(j) EIGHT_WIDE(j), EIGHT_WIDE(j + 1), EIGHT_WIDE(j + 2), EIGHT_WIDE(j + 3)
#define WIDE_64(j) WIDE_32(j), WIDE_32(j + 4)
#define WIDE_128(j) WIDE_64(j), WIDE_64(j + 8)
// sums are added to (the first 1), both operands keep their sign
#define WGMMA_16(N, WHAT, REGISTERS, OPERANDS, ...)                                             \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." WHAT " {" REGISTERS "}, "    \
                 OPERANDS                                                                       \
                 : __VA_ARGS__                                                                  \
                 : "l"(a), "l"(b), "n"(TURNED_A), "n"(TURNED_B))
#define WGMMA_TF32(N, REGISTERS, OPERANDS, ...)                                                 \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" REGISTERS "}, "    \
                 OPERANDS                                                                       \
                 : __VA_ARGS__                                                                  \
                 : "l"(a), "l"(b))
#define WGMMA_EVERY(WHAT)                                                                       \
    if constexpr (EIGHTS == 8)                                                                  \
        WGMMA_16(64, WHAT, FIRST_32, "%32, %33, 1, 1, 1, %34, %35;", WIDE_64(0));               \
    else if constexpr (EIGHTS == 16)                                                            \
        WGMMA_16(128, WHAT, FIRST_32 ", " NEXT_32, "%64, %65, 1, 1, 1, %66, %67;",              \
                 WIDE_128(0));                                                                  \
    else                                                                                        \
        WGMMA_16(256, WHAT, FIRST_32 ", " NEXT_32 ", " LAST_64,                                 \
                 "%128, %129, 1, 1, 1, %130, %131;", WIDE_128(0), WIDE_128(16))
#endif

// The third argument only says the type.
template <int TURNED_A, int TURNED_B, int EIGHTS>
__device__ __forceinline__ void wgmma(float (&c)[EIGHTS][4], u64 a, u64 b, float) {
    static_assert(!TURNED_A && !TURNED_B, "TF32 operands lie along k");
    static_assert(EIGHTS == 8 || EIGHTS == 16 || EIGHTS == 32, "64, 128 or 256 columns");
#if defined(__CUDA_HOST_EMU__)
    emu_wgmma(&c[0][0], EIGHTS, a, b, emu::MMA_TF32, 0, 0, EMU_CHECKED, EMU_HERE);
#else
    if constexpr (EIGHTS == 8)
        WGMMA_TF32(64, FIRST_32, "%32, %33, 1, 1, 1;", WIDE_64(0));
    else if constexpr (EIGHTS == 16)
        WGMMA_TF32(128, FIRST_32 ", " NEXT_32, "%64, %65, 1, 1, 1;", WIDE_128(0));
    else
        WGMMA_TF32(256, FIRST_32 ", " NEXT_32 ", " LAST_64, "%128, %129, 1, 1, 1;",
                   WIDE_128(0), WIDE_128(16));
#endif
}

template <int TURNED_A, int TURNED_B, int EIGHTS>
__device__ __forceinline__ void wgmma(float (&c)[EIGHTS][4], u64 a, u64 b, float16) {
    static_assert(EIGHTS == 8 || EIGHTS == 16 || EIGHTS == 32, "64, 128 or 256 columns");
#if defined(__CUDA_HOST_EMU__)
    emu_wgmma(&c[0][0], EIGHTS, a, b, emu::MMA_FLOAT16, TURNED_A, TURNED_B, EMU_CHECKED, EMU_HERE);
#else
    WGMMA_EVERY("f16.f16");
#endif
}

template <int TURNED_A, int TURNED_B, int EIGHTS>
__device__ __forceinline__ void wgmma(float (&c)[EIGHTS][4], u64 a, u64 b, bfloat16) {
    static_assert(EIGHTS == 8 || EIGHTS == 16 || EIGHTS == 32, "64, 128 or 256 columns");
#if defined(__CUDA_HOST_EMU__)
    emu_wgmma(&c[0][0], EIGHTS, a, b, emu::MMA_BFLOAT16, TURNED_A, TURNED_B, EMU_CHECKED, EMU_HERE);
#else
    WGMMA_EVERY("bf16.bf16");
#endif
}
