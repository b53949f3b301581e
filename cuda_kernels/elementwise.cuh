// elementwise.cuh - the shell around fused elementwise expressions, whose text codegen.py writes.
//
// extern "C" __global__ __launch_bounds__(256) void fused_0(inputs, outputs, n) {
//     FOR_EACH_ELEMENT(unsigned) { ... }
// }
//   one thread per element, grid-stride; `e` is the element's index (row-major in the outputs'
//   shape) and `n` the number of elements. Inputs of other shapes are read through one of
//     full     x[e]
//     scalar   x[0]
//     row      x[e % C]                      the last axes only: a bias, a batch norm's scale
//     strided  x[offset computed from e]     any broadcast; sizes are constants in the text
//   bytes moved: each full input read once, each output written once; the others live in cache.
//
// Where memory is aligned and an array large, or so small that one block plays it, devices/wide.py
// writes other loops: a thread takes a Pack of neighbours, 16 bytes of the widest type, and reads
// several of them before it computes.
//
// Sizes other than n are constants: the compiler turns % and / into multiplications, and a text
// serves every batch size. Indices are 32 bits wide while n < 2^31, 64 beyond.
#pragma once
#include "common.cuh"
#include "gelu.cuh"

#define FOR_EACH_ELEMENT(INDEX)                                                       \
    for (INDEX e = (INDEX)blockIdx.x * blockDim.x + threadIdx.x,                      \
               step = (INDEX)gridDim.x * blockDim.x;                                  \
         e < n; e += step)

template <class S, int W> struct __align__(sizeof(S) * W) Pack {
    S v[W];
};

// ---------------------------------------------------------------- functions for expressions
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
