// gelu.cuh - x * P(X <= x) for a normal X, and its derivative; `approximate`: P by tanh.
//   Hendrycks, Gimpel 2016, arXiv:1606.08415. S: float or double.
#pragma once
#include "common.cuh"

template <class S> __device__ __forceinline__ S gelu_probability(S x, bool approximate) {
    if (!approximate) return (S)0.5 * (1 + erf(x * (S)0.7071067811865476));
    return (S)0.5 * (1 + tanh((S)0.7978845608028654 * (x + (S)0.044715 * x * x * x)));
}
template <class S> __device__ __forceinline__ S gelu(S x, bool approximate) {
    return x * gelu_probability(x, approximate);
}
template <class S> __device__ __forceinline__ S gelu_slope(S x, bool approximate) {
    const S p = gelu_probability(x, approximate);
    if (!approximate) return p + x * (S)0.3989422804014327 * exp((S)-0.5 * x * x);
    return p + 2 * x * p * (1 - p) * (S)0.7978845608028654 * (1 + (S)0.134145 * x * x);
}
