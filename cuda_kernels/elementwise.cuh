// elementwise.cuh - the shell around fused elementwise expressions, whose text codegen.py writes.
//
// FUSED_KERNEL(name, PARAMETERS, BODY)
//   one thread per element, grid-stride; in BODY, `e` is the element's index (row-major in the
//   outputs' shape) and `n` the number of elements. Inputs of other shapes are read through one of
//     full     x[e]
//     scalar   x[0]
//     row      x[e % C]                      the last axes only: a bias, a batch norm's scale
//     strided  x[offset computed from e]     any broadcast; sizes are constants in the text
//   bytes moved: each full input read once, each output written once; the others live in cache.
//
// Sizes other than n are constants: the compiler turns % and / into multiplications, and a text
// serves every batch size. Indices are 32 bits wide while n < 2^31 (INDEX), 64 beyond.
#pragma once
#include "common.cuh"

#ifndef INDEX
#define INDEX unsigned
#endif

#define FUSED_KERNEL(name, PARAMETERS, ...)                                              \
    extern "C" __global__ __launch_bounds__(256) void name PARAMETERS {                  \
        const INDEX step = gridDim.x * blockDim.x;                                       \
        for (INDEX e = (INDEX)blockIdx.x * blockDim.x + threadIdx.x; e < n; e += step) { \
            __VA_ARGS__                                                                  \
        }                                                                                \
    }

// ---------------------------------------------------------------- functions that expressions may
// call
template <class S> __device__ __forceinline__ S sign_of(S v) {
    return v > 0 ? (S)1 : v < 0 ? (S)-1 : v;
}
template <class S> __device__ __forceinline__ S square_of(S v) { return v * v; }
template <class S> __device__ __forceinline__ S larger(S a, S b) { return a > b || a != a ? a : b; }
template <class S> __device__ __forceinline__ S smaller(S a, S b) {
    return a < b || a != a ? a : b;
}
__device__ __forceinline__ float sigmoid_of(float v) { return 1.f / (1.f + expf(-v)); }
__device__ __forceinline__ double sigmoid_of(double v) { return 1. / (1. + exp(-v)); }
__device__ __forceinline__ float softplus_of(float v) {
    return fmaxf(v, 0.f) + log1pf(expf(-fabsf(v)));
}
__device__ __forceinline__ double softplus_of(double v) {
    return fmax(v, 0.) + log1p(exp(-fabs(v)));
}
// floor division and its remainder, as NumPy's // and %
__device__ __forceinline__ float floor_div(float a, float b) { return floorf(a / b); }
__device__ __forceinline__ double floor_div(double a, double b) { return floor(a / b); }
template <class S> __device__ __forceinline__ S floor_div(S a, S b) {
    S q = a / b;
    return q * b != a && ((a < 0) != (b < 0)) ? q - 1 : q;
}
__device__ __forceinline__ float floor_mod(float a, float b) {
    float r = fmodf(a, b);
    return r != 0.f && (r < 0.f) != (b < 0.f) ? r + b : r;
}
__device__ __forceinline__ double floor_mod(double a, double b) {
    double r = fmod(a, b);
    return r != 0. && (r < 0.) != (b < 0.) ? r + b : r;
}
template <class S> __device__ __forceinline__ S floor_mod(S a, S b) {
    return a - floor_div(a, b) * b;
}
