// mma.cuh - tensor cores and asynchronous copies: inline PTX, or the emulator's own versions.
//
// copy_async<BYTES>     global -> shared, 16, 8 or 4 bytes; zeros where not `there`         sm_80+
// copies_commit/wait    groups of copies; wait<N>: all but the N last groups have arrived
// load_matrices         four 8x8 matrices of 16 bits (or 8x4 of 32) from rows of 16 bytes sm_75+
// load_matrices_turned  the same transposed, 16 bits only
// mma                   c[16,8] += a[16,K] b[K,8] with float32 sums:
//                         float      TF32, K = 8      sm_80+  (round the operands by to_tf32)
//                         float16    K = 16           sm_80+, two of K = 8 on sm_75
//                         bfloat16   K = 16           sm_80+
//
// Fragments, lane = 4 * g + t: c[0..1] are row g, columns 2t and 2t + 1, c[2..3] the same of row
// g + 8. One register of a or b holds two neighbours along k (16 bits) or one element (TF32); in
// units of registers along k, a[0] is (row g, k t), a[1] (row g + 8, k t), a[2] (row g, k t + 4),
// a[3] (row g + 8, k t + 4), b[0] (k t, column g), b[1] (k t + 4, column g). load_matrices gives
// exactly this from row-major a and column-major b, its turned form from the other layouts.
// Source: PTX ISA, warp-level matrix instructions.
//
// Before sm_80 copies are made at once, so the same kernels run there, without the overlap.
#pragma once
#include "common.cuh"

#if __CUDA_ARCH__ >= 800
#define AMPERE 1
#else
#define AMPERE 0
#endif

struct __align__(16) Bits128 {
    unsigned v[4];
};

template <int BYTES>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool there) {
    static_assert(BYTES == 16 || BYTES == 8 || BYTES == 4, "what cp.async can");
#if defined(__CUDA_HOST_EMU__)
    emu_copy_async(to, from, BYTES, there ? BYTES : 0, EMU_CHECKED, EMU_HERE);
#elif AMPERE
    const unsigned place = (unsigned)__cvta_generic_to_shared(to);
    const int taken = there ? BYTES : 0;  // 0: nothing is read
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from),
                     "r"(taken)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(place), "l"(from),
                     "r"(taken), "n"(BYTES)
                     : "memory");
#else
    if (BYTES == 16)
        *(Bits128*)to = there ? *(const Bits128*)from : Bits128{{0, 0, 0, 0}};
    else if (BYTES == 8)
        *(u64*)to = there ? *(const u64*)from : 0;
    else
        *(unsigned*)to = there ? *(const unsigned*)from : 0u;
#endif
}

template <int BYTES> __device__ __forceinline__ void copy_async(void* to, const void* from) {
    copy_async<BYTES>(to, from, from != nullptr);
}

__device__ __forceinline__ void copies_commit() {
#if defined(__CUDA_HOST_EMU__)
    emu_copies_commit();
#elif AMPERE
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int PENDING> __device__ __forceinline__ void copies_wait() {
#if defined(__CUDA_HOST_EMU__)
    emu_copies_wait(PENDING);
#elif AMPERE
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

__device__ __forceinline__ void load_matrices(unsigned (&out)[4], const void* row) {
#if defined(__CUDA_HOST_EMU__)
    emu::load_matrices(EMU_HERE, out, row, false);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
#endif
}

__device__ __forceinline__ void load_matrices_turned(unsigned (&out)[4], const void* row) {
#if defined(__CUDA_HOST_EMU__)
    emu::load_matrices(EMU_HERE, out, row, true);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
#endif
}

// A float32 in a register, rounded to the 10 bits of mantissa that a TF32 operand has.
__device__ __forceinline__ unsigned to_tf32(unsigned v) {
#if defined(__CUDA_HOST_EMU__)
    return __float_as_uint(emu::to_tf32(__uint_as_float(v)));
#elif AMPERE
    unsigned out;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(out) : "f"(__uint_as_float(v)));
    return out;
#else
    return v;
#endif
}

#define MMA(WHAT)                                                                             \
    asm volatile("mma.sync.aligned." WHAT                                                     \
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"           \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                             \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

// The first argument only says the type.
__device__ __forceinline__ void mma(float, float (&c)[4], const unsigned (&a)[4],
                                    const unsigned* b) {
#if defined(__CUDA_HOST_EMU__)
    emu::mma(EMU_HERE, c, a, b, 4, emu::MMA_TF32);
#elif AMPERE
    MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
#else
    __trap();
#endif
}

__device__ __forceinline__ void mma(bfloat16, float (&c)[4], const unsigned (&a)[4],
                                    const unsigned* b) {
#if defined(__CUDA_HOST_EMU__)
    emu::mma(EMU_HERE, c, a, b, 4, emu::MMA_BFLOAT16);
#elif AMPERE
    MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
#else
    __trap();
#endif
}

__device__ __forceinline__ void mma_half(float (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
#if defined(__CUDA_HOST_EMU__)
    const unsigned a[2] = {a0, a1};
    emu::mma(EMU_HERE, c, a, &b0, 2, emu::MMA_FLOAT16);
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(b0));
#endif
}

__device__ __forceinline__ void mma(float16, float (&c)[4], const unsigned (&a)[4],
                                    const unsigned* b) {
#if !AMPERE || defined(TURING)  // defined by a test
    mma_half(c, a[0], a[1], b[0]);
    mma_half(c, a[2], a[3], b[1]);
#elif defined(__CUDA_HOST_EMU__)
    emu::mma(EMU_HERE, c, a, b, 4, emu::MMA_FLOAT16);
#else
    MMA("m16n8k16.row.col.f32.f16.f16.f32");
#endif
}
