// window.cuh - sliding windows for conv.cu and pool.cu.
//
// Always three spatial axes D, H, W; one- and two-dimensional windows have leading axes of size 1.
// x is (N, D, H, W, C) with channels in groups of V (-DV=4: 16-byte accesses when C divides by 4).
//
// Launch shape, the same for every kernel of both files: x of block and thread walks the elements
// of ONE image, y of block and thread the images, so index arithmetic is done once, in 32 bits, for
// all images of a thread, and only the image's base offset needs 64.
#pragma once
#include "division.cuh"

#ifndef V
#define V 1
#endif

struct Window {
    int N, D, H, W;             // images, spatial size of the large side
    int OD, OH, OW;             // places the window stops at
    int KD, KH, KW;             // taps
    int sd, sh, sw;             // strides
    int pd, ph, pw;             // padding before
    int dd, dh, dw;             // dilation
    unsigned threads;           // elements of one image that this launch works on
    i64 x_image, y_image; // groups of V per image: large side, other side
    Div by_c, by_d, by_h, by_w; // groups of V per pixel; the axes of the side being walked
    Div by_kd, by_kh, by_kw;    // taps (im2col only)
    Div by_sd, by_sh, by_sw;    // strides (gather kernels only)
};

static_assert(sizeof(Window) == 216, "plans_conv.py describes this struct");

struct alignas(sizeof(T) * V) Group {
    T v[V];
};

// Is `at` a multiple of the stride and its quotient a place 0..places-1?
__device__ __forceinline__ bool place_of(int at, const Div& stride, int places, int& place) {
    if (at < 0) return false;
    unsigned q = quotient((unsigned)at, stride);
    place = (int)q;
    return q * stride.d == (unsigned)at && place < places;
}

__device__ __forceinline__ Group zero_group() {
    Group g;
#pragma unroll
    for (int j = 0; j < V; ++j) g.v[j] = (T)0.f;
    return g;
}

// Array elements in groups of V; `at` counts groups.
__device__ __forceinline__ Group load(const T* p, i64 at) { return ((const Group*)p)[at]; }
__device__ __forceinline__ void store(T* p, i64 at, const Group& v) { ((Group*)p)[at] = v; }

// First group of a pixel of x, and of a place of y, within their image.
__device__ __forceinline__ i64 pixel(const Window& g, int d, int h, int w) {
    return (((i64)d * g.H + h) * g.W + w) * g.by_c.d;
}
__device__ __forceinline__ i64 place(const Window& g, int d, int h, int w) {
    return (((i64)d * g.OH + h) * g.OW + w) * g.by_c.d;
}

#define FOR_MY_IMAGES(n, N) \
    for (int n = blockIdx.y * blockDim.y + threadIdx.y; n < (N); n += gridDim.y * blockDim.y)
