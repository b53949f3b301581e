// recurrent.cuh - what the recurrent kernels share: activations, weights held by threads.
//
// A whole sequence runs in one launch. Rows of the batch do not depend on each other, so a block
// walks all steps of ROWS rows with barriers of its own only. Thread j holds the U weights of
// column j of the recurrent matrix: the first KREG in registers, the others in shared memory.
//
// U units, THREADS a block, KREG weights in registers (a multiple of 4), ROWS rows a block
// ACT, RACT  the activation and the recurrent activation: Tanh, Sigmoid, HardSigmoid, Relu, Linear
#pragma once
#include "common.cuh"

#ifndef U
#define U 32
#define KREG 32
#define ROWS 1
#define THREADS 128
#define ACT Tanh
#define RACT Sigmoid
#endif
#define UPAD ((U + 3) / 4 * 4)

// Each has its value f(x), and its derivative d(y) by the value y.
struct Tanh {
    static __device__ __forceinline__ A f(A x) { return tanh(x); }
    static __device__ __forceinline__ A d(A y) { return 1 - y * y; }
};
struct Sigmoid {
    static __device__ __forceinline__ A f(A x) { return 1 / (1 + exp(-x)); }
    static __device__ __forceinline__ A d(A y) { return y * (1 - y); }
};
struct HardSigmoid {
    static __device__ __forceinline__ A f(A x) {
        A y = (A)0.2 * x + (A)0.5;
        return y < 0 ? (A)0 : y > 1 ? (A)1 : y;
    }
    static __device__ __forceinline__ A d(A y) { return y > 0 && y < 1 ? (A)0.2 : (A)0; }
};
struct Relu {
    static __device__ __forceinline__ A f(A x) { return x < 0 ? (A)0 : x; }
    static __device__ __forceinline__ A d(A y) { return y > 0 ? (A)1 : (A)0; }
};
struct Linear {
    static __device__ __forceinline__ A f(A x) { return x; }
    static __device__ __forceinline__ A d(A y) { return 1; }
};

struct Four {
    A v[4];
};
template <bool ALIGNED> __device__ __forceinline__ Four four(const A* p) {
    Four x;
    if (ALIGNED && sizeof(A) == 4) {
        const float4 q = *(const float4*)p;
        x.v[0] = q.x, x.v[1] = q.y, x.v[2] = q.z, x.v[3] = q.w;
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) x.v[i] = p[i];
    }
    return x;
}

// The recurrent weights of one thread. `tail`: shared memory for weights KREG to U of all threads.
struct Weights {
    A first[KREG > 0 ? KREG : 1];
    const A* tail;
    int columns;

    // w[k] = r[start + k * step]
    __device__ __forceinline__ void load(const T* r, int start, int step, A* shared, int width) {
        const bool mine = threadIdx.x < width;
#pragma unroll
        for (int k = 0; k < KREG; ++k) first[k] = mine ? (A)r[start + k * step] : (A)0;
        if (mine)
            for (int k = KREG; k < U; ++k)
                shared[(k - KREG) * width + threadIdx.x] = r[start + k * step];
        tail = shared + threadIdx.x;
        columns = width;
    }

    // sum[row] += sum over k of v[row * stride + k] * w[k]; v is shared memory, read by all lanes.
    // ALIGNED: v and stride are multiples of 4, so that one load serves four products.
    template <bool ALIGNED>
    __device__ __forceinline__ void apply(const A* v, int stride, A (&sum)[ROWS]) const {
#pragma unroll
        for (int k = 0; k < KREG; k += 4)
#pragma unroll
            for (int n = 0; n < ROWS; ++n) {
                const Four x = four<ALIGNED>(v + n * stride + k);
#pragma unroll
                for (int i = 0; i < 4; ++i) sum[n] += x.v[i] * first[k + i];
            }
        int k = KREG;
#pragma unroll 2
        for (; k + 4 <= U; k += 4)
#pragma unroll
            for (int n = 0; n < ROWS; ++n) {
                const Four x = four<ALIGNED>(v + n * stride + k);
#pragma unroll
                for (int i = 0; i < 4; ++i) sum[n] += x.v[i] * tail[(k - KREG + i) * columns];
            }
        for (; k < U; ++k)
#pragma unroll
            for (int n = 0; n < ROWS; ++n) sum[n] += v[n * stride + k] * tail[(k - KREG) * columns];
    }
};
