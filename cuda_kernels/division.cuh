// division.cuh - division of indices by numbers known at launch, as one multiplication.
#pragma once
#include "common.cuh"

// q / d for q < 2^31: round-up reciprocal, Granlund and Montgomery 1994. plans.py fills it in.
struct Div {
    unsigned d, mul, shift;
};

__device__ __forceinline__ unsigned quotient(unsigned q, const Div& by) {
    return (__umulhi(q, by.mul) + q) >> by.shift;
}

// Takes the innermost index off q.
__device__ __forceinline__ int take(unsigned& q, const Div& by) {
    unsigned rest = quotient(q, by), index = q - rest * by.d;
    q = rest;
    return (int)index;
}
