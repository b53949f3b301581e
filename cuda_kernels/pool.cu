// pool.cu - max and average pooling and their gradients, one to three spatial axes, NHWC.
//
// max_pool_fwd    x[N,S,C] -> y[N,S',C]                            largest real element; NaN wins
// max_pool_bwd    x y gy -> gx[N,S,C]                              to the FIRST largest element
// max_pool_pick   x y v[N,S,C] -> u[N,S',C]                        v where max_pool_fwd took x
// average_pool_fwd   x -> y       mean of the real elements: padding is not counted
// average_pool_bwd   gy -> gx
//
// Forward kernels: one thread per group of V channels of y; backward: of gx, which gathers from the
// windows that contain it, so every sum has one order and there are no atomics.  The maximum is not
// remembered as an index: x == y says it, and only elements that hit look at the taps before them.
// bytes sizeof(T) * (x + y) forward, sizeof(T) * (2 x + 2 y) max_pool_bwd, overlap from cache.
#include "window.cuh"

struct Range {
    int lo, hi;
};

// Real elements of window `place` along one axis, as [lo, hi).
__device__ __forceinline__ Range elements(int place, int stride, int pad, int taps, int size) {
    int first = place * stride - pad;
    return {max(first, 0), min(first + taps, size)};
}

// Windows that contain element `at` along one axis, as [lo, hi).
__device__ __forceinline__ Range places(int at, const Div& by, int pad, int taps, int count) {
    int last = at + pad, before = last - taps;
    int lo = before < 0 ? 0 : (int)quotient((unsigned)before, by) + 1;
    return {lo, min((int)quotient((unsigned)last, by) + 1, count)};
}

__device__ __forceinline__ bool same(A a, A b) {
    return a == b || (a != a && b != b);
}

extern "C" __global__ void max_pool_fwd(const T* __restrict__ x_ndhwc,
                                        T* __restrict__ y_ndhwc, Window g) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    int c = take(q, g.by_c), ow = take(q, g.by_w), oh = take(q, g.by_h), od = (int)q;
    Range rd = elements(od, g.sd, g.pd, g.KD, g.D), rh = elements(oh, g.sh, g.ph, g.KH, g.H),
          rw = elements(ow, g.sw, g.pw, g.KW, g.W);
    FOR_MY_IMAGES(n, g.N) {
        const i64 image = n * g.x_image + c;
        Group best = load(x_ndhwc, image + pixel(g, rd.lo, rh.lo, rw.lo));
        for (int d = rd.lo; d < rd.hi; ++d)
            for (int h = rh.lo; h < rh.hi; ++h)
                for (int w = rw.lo; w < rw.hi; ++w) {
                    Group x = load(x_ndhwc, image + pixel(g, d, h, w));
#pragma unroll
                    for (int j = 0; j < V; ++j) {
                        A a = (A)x.v[j];
                        if (a > (A)best.v[j] || a != a) best.v[j] = x.v[j];
                    }
                }
        store(y_ndhwc, n * g.y_image + i, best);
    }
}

// Does an element of the window before (d, h, w) hold the same value `top`?
__device__ __forceinline__ bool taken_before(const T* image, const Window& g, Range rd, Range rh,
                                             Range rw, int d, int h, int w, A top) {
    for (int a = rd.lo; a <= d; ++a)
        for (int b = rh.lo; b < (a == d ? h + 1 : rh.hi); ++b)
            for (int e = rw.lo; e < (a == d && b == h ? w : rw.hi); ++e)
                if (same((A)image[pixel(g, a, b, e) * V], top))
                    return true;
    return false;
}

extern "C" __global__ void max_pool_bwd(const T* __restrict__ x_ndhwc,
                                        const T* __restrict__ y_ndhwc,
                                        const T* __restrict__ gy_ndhwc,
                                        T* __restrict__ gx_ndhwc, Window g) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    int c = take(q, g.by_c), w = take(q, g.by_w), h = take(q, g.by_h), d = (int)q;
    Range pd = places(d, g.by_sd, g.pd, g.KD, g.OD), ph = places(h, g.by_sh, g.ph, g.KH, g.OH),
          pw = places(w, g.by_sw, g.pw, g.KW, g.OW);
    FOR_MY_IMAGES(n, g.N) {
        const T* image = x_ndhwc + (n * g.x_image + c) * V;
        Group x = load(x_ndhwc, n * g.x_image + i);
        A sum[V] = {};
        for (int od = pd.lo; od < pd.hi; ++od)
            for (int oh = ph.lo; oh < ph.hi; ++oh)
#pragma unroll 1  // mostly one window: unrolled code only takes registers
                for (int ow = pw.lo; ow < pw.hi; ++ow) {
                    const i64 at = n * g.y_image + place(g, od, oh, ow) + c;
                    Group y = load(y_ndhwc, at), gy = load(gy_ndhwc, at);
                    Range rd = elements(od, g.sd, g.pd, g.KD, g.D),
                          rh = elements(oh, g.sh, g.ph, g.KH, g.H),
                          rw = elements(ow, g.sw, g.pw, g.KW, g.W);
#pragma unroll
                    for (int j = 0; j < V; ++j) {
                        A top = (A)y.v[j];
                        if (same((A)x.v[j], top) &&
                            !taken_before(image + j, g, rd, rh, rw, d, h, w, top))
                            sum[j] += (A)gy.v[j];
                    }
                }
        Group gx;
#pragma unroll
        for (int j = 0; j < V; ++j) gx.v[j] = (T)sum[j];
        store(gx_ndhwc, n * g.x_image + i, gx);
    }
}

extern "C" __global__ void max_pool_pick(const T* __restrict__ x_ndhwc,
                                         const T* __restrict__ y_ndhwc,
                                         const T* __restrict__ v_ndhwc,
                                         T* __restrict__ u_ndhwc, Window g) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    int c = take(q, g.by_c), ow = take(q, g.by_w), oh = take(q, g.by_h), od = (int)q;
    Range rd = elements(od, g.sd, g.pd, g.KD, g.D), rh = elements(oh, g.sh, g.ph, g.KH, g.H),
          rw = elements(ow, g.sw, g.pw, g.KW, g.W);
    FOR_MY_IMAGES(n, g.N) {
        Group y = load(y_ndhwc, n * g.y_image + i), u = zero_group();
        bool found[V] = {};
        for (int d = rd.lo; d < rd.hi; ++d)
            for (int h = rh.lo; h < rh.hi; ++h)
                for (int w = rw.lo; w < rw.hi; ++w) {
                    const i64 at = n * g.x_image + pixel(g, d, h, w) + c;
                    Group x = load(x_ndhwc, at), v = load(v_ndhwc, at);
#pragma unroll
                    for (int j = 0; j < V; ++j)
                        if (!found[j] && same((A)x.v[j], (A)y.v[j])) {
                            found[j] = true;
                            u.v[j] = v.v[j];
                        }
                }
        store(u_ndhwc, n * g.y_image + i, u);
    }
}

extern "C" __global__ void average_pool_fwd(const T* __restrict__ x_ndhwc,
                                            T* __restrict__ y_ndhwc, Window g) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    int c = take(q, g.by_c), ow = take(q, g.by_w), oh = take(q, g.by_h), od = (int)q;
    Range rd = elements(od, g.sd, g.pd, g.KD, g.D), rh = elements(oh, g.sh, g.ph, g.KH, g.H),
          rw = elements(ow, g.sw, g.pw, g.KW, g.W);
    A count = (A)((rd.hi - rd.lo) * (rh.hi - rh.lo) * (rw.hi - rw.lo));
    FOR_MY_IMAGES(n, g.N) {
        const i64 image = n * g.x_image + c;
        A sum[V] = {};
        for (int d = rd.lo; d < rd.hi; ++d)
            for (int h = rh.lo; h < rh.hi; ++h)
                for (int w = rw.lo; w < rw.hi; ++w) {
                    Group x = load(x_ndhwc, image + pixel(g, d, h, w));
#pragma unroll
                    for (int j = 0; j < V; ++j) sum[j] += (A)x.v[j];
                }
        Group y;
#pragma unroll
        for (int j = 0; j < V; ++j) y.v[j] = (T)(sum[j] / count);
        store(y_ndhwc, n * g.y_image + i, y);
    }
}

extern "C" __global__ void average_pool_bwd(const T* __restrict__ gy_ndhwc,
                                            T* __restrict__ gx_ndhwc, Window g) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    int c = take(q, g.by_c), w = take(q, g.by_w), h = take(q, g.by_h), d = (int)q;
    Range pd = places(d, g.by_sd, g.pd, g.KD, g.OD), ph = places(h, g.by_sh, g.ph, g.KH, g.OH),
          pw = places(w, g.by_sw, g.pw, g.KW, g.OW);
    FOR_MY_IMAGES(n, g.N) {
        A sum[V] = {};
        for (int od = pd.lo; od < pd.hi; ++od)
            for (int oh = ph.lo; oh < ph.hi; ++oh)
#pragma unroll 1  // mostly one window: unrolled code only takes registers
                for (int ow = pw.lo; ow < pw.hi; ++ow) {
                    Group gy = load(gy_ndhwc, n * g.y_image + place(g, od, oh, ow) + c);
                    Range rd = elements(od, g.sd, g.pd, g.KD, g.D),
                          rh = elements(oh, g.sh, g.ph, g.KH, g.H),
                          rw = elements(ow, g.sw, g.pw, g.KW, g.W);
                    A count = (A)((rd.hi - rd.lo) * (rh.hi - rh.lo) * (rw.hi - rw.lo));
#pragma unroll
                    for (int j = 0; j < V; ++j) sum[j] += (A)gy.v[j] / count;
                }
        Group gx;
#pragma unroll
        for (int j = 0; j < V; ++j) gx.v[j] = (T)sum[j];
        store(gx_ndhwc, n * g.x_image + i, gx);
    }
}
