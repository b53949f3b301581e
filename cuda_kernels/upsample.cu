// upsample.cu - enlarging images by whole factors, linear between the pixels, up to three axes.
//
// upsample_fwd   x[N,S,C] -> y[N,f*S,C]    y[i] = x[p] + (i % f) / f * (x[p + 1] - x[p]), p = i / f
// upsample_bwd   gy[N,f*S,C] -> gx[N,S,C]  each x gathers from the 2 f - 1 places around it: no
//                                          atomics, one order
//
// The pixel after the last is the last. Axes that are not enlarged have factor 1. The Window struct
// carries the factors as its strides; one thread per group of V channels of the result; bytes
// sizeof(T) * (x + y), overlap from cache.
#include "window.cuh"

// The share of pixel `at` in place i of one axis: 0 where they do not meet.
__device__ __forceinline__ A share(int i, int at, int factor, int size) {
    const int low = i / factor, high = min(low + 1, size - 1);
    const A up = (A)(i - low * factor) / (A)factor;
    return (low == at ? (A)1 - up : (A)0) + (high == at ? up : (A)0);
}

extern "C" __global__ void upsample_fwd(const T* __restrict__ x_ndhwc, T* __restrict__ y_ndhwc,
                                        Window g) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    const int c = take(q, g.by_c), ow = take(q, g.by_w), oh = take(q, g.by_h), od = (int)q;
    const int d0 = od / g.sd, h0 = oh / g.sh, w0 = ow / g.sw;
    FOR_MY_IMAGES(n, g.N) {
        A sum[V] = {};
        for (int d = d0; d <= min(d0 + (g.sd > 1), g.D - 1); ++d)
            for (int h = h0; h <= min(h0 + (g.sh > 1), g.H - 1); ++h)
                for (int w = w0; w <= min(w0 + (g.sw > 1), g.W - 1); ++w) {
                    const A part = share(od, d, g.sd, g.D) * share(oh, h, g.sh, g.H) *
                                   share(ow, w, g.sw, g.W);
                    const Group x = load(x_ndhwc, n * g.x_image + pixel(g, d, h, w) + c);
#pragma unroll
                    for (int j = 0; j < V; ++j) sum[j] += part * (A)x.v[j];
                }
        Group y;
#pragma unroll
        for (int j = 0; j < V; ++j) y.v[j] = (T)sum[j];
        store(y_ndhwc, n * g.y_image + i, y);
    }
}

extern "C" __global__ void upsample_bwd(const T* __restrict__ gy_ndhwc, T* __restrict__ gx_ndhwc,
                                        Window g) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    const int c = take(q, g.by_c), w = take(q, g.by_w), h = take(q, g.by_h), d = (int)q;
    FOR_MY_IMAGES(n, g.N) {
        A sum[V] = {};
        for (int od = max((d - 1) * g.sd + 1, 0); od < (d + 1) * g.sd; ++od)
            for (int oh = max((h - 1) * g.sh + 1, 0); oh < (h + 1) * g.sh; ++oh)
                for (int ow = max((w - 1) * g.sw + 1, 0); ow < (w + 1) * g.sw; ++ow) {
                    const A part = share(od, d, g.sd, g.D) * share(oh, h, g.sh, g.H) *
                                   share(ow, w, g.sw, g.W);
                    const Group gy = load(gy_ndhwc, n * g.y_image + place(g, od, oh, ow) + c);
#pragma unroll
                    for (int j = 0; j < V; ++j) sum[j] += part * (A)gy.v[j];
                }
        Group gx;
#pragma unroll
        for (int j = 0; j < V; ++j) gx.v[j] = (T)sum[j];
        store(gx_ndhwc, n * g.x_image + i, gx);
    }
}
