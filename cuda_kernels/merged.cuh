// merged.cuh - lets one block run several small kernels one after the other.
//
// devices/merge.py puts the text of each kernel into a namespace, as device functions, and calls
// them from one kernel of 256 threads. What a kernel reads as blockIdx, threadIdx, blockDim and
// gridDim then comes from `place`, which says which block of which kernel is being played.
// Between two of them lies a barrier: what one writes, the next one reads.
#pragma once

namespace merged {
struct Place {
    unsigned block, blocks, width, shift;      // width: blockDim.x, a power of 2; shift: its log
};
__shared__ Place place;

__device__ __forceinline__ unsigned lane() { return threadIdx.x; }
__device__ __forceinline__ uint3 thread() {
    return make_uint3(lane() & (place.width - 1), lane() >> place.shift, 0);
}
__device__ __forceinline__ uint3 block() { return make_uint3(place.block, 0, 0); }
__device__ __forceinline__ dim3 threads() { return dim3(place.width, 256 >> place.shift, 1); }
__device__ __forceinline__ dim3 blocks() { return dim3(place.blocks, 1, 1); }

// Plays block `block` of `blocks` from here on.
__device__ __forceinline__ void enter(unsigned block, unsigned blocks, unsigned shift) {
    __syncthreads();
    if (lane() == 0) place = {block, blocks, 1u << shift, shift};
    __syncthreads();
}

// A pointer argument of any type.
struct Pointer {
    void* p;
    template <class X> __device__ __forceinline__ operator X*() const { return (X*)p; }
};
}  // namespace merged

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim
#undef __restrict__
#define threadIdx (merged::thread())
#define blockIdx (merged::block())
#define blockDim (merged::threads())
#define gridDim (merged::blocks())
#define __restrict__      // what one kernel reads, another of the same launch may have written
