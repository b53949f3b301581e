// depthwise.cu - depthwise convolution and its two transposes: each channel has its own filters.
//
// depthwise_fwd      x[N,S,C] w[K,C,M] -> y[N,S',C*M]     y channel c * M + m is filter m of c
// depthwise_bwd      gy[N,S',C*M] w[K,C,M] -> gx[N,S,C]   a gather: no atomics
// depthwise_weight   x gy -> part[splits,K,C*M]           sums over one part of the places each
// depthwise_join     part[splits,n] -> gw[n]              the parts added in their order
//
// fwd, bwd: one thread per group of V channels of the result (V > 1 only where M is 1); bytes
// sizeof(T) * (x + y), x read `taps` times from cache.  weight: a block is 32 channels by 8 runs of
// places at one tap; the runs meet in shared memory, so all threads stay to the barrier.
#include "window.cuh"

extern "C" __global__ void depthwise_fwd(const T* __restrict__ x_ndhwc, const T* __restrict__ w_kcm,
                                         T* __restrict__ y_ndhwc, Window g, int M) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    const int cm = take(q, g.by_c), ow = take(q, g.by_w), oh = take(q, g.by_h), od = (int)q;
    const int CM = g.by_c.d, C = CM / M, c = cm / M;
    const int d0 = od * g.sd - g.pd, h0 = oh * g.sh - g.ph, w0 = ow * g.sw - g.pw;
    FOR_MY_IMAGES(n, g.N) {
        A sum[V] = {};
        for (int kd = 0; kd < g.KD; ++kd)
            for (int kh = 0; kh < g.KH; ++kh)
                for (int kw = 0; kw < g.KW; ++kw) {
                    const int d = d0 + kd * g.dd, h = h0 + kh * g.dh, w = w0 + kw * g.dw;
                    if ((unsigned)d >= (unsigned)g.D || (unsigned)h >= (unsigned)g.H ||
                        (unsigned)w >= (unsigned)g.W)
                        continue;
                    const i64 at = n * g.x_image + (((i64)d * g.H + h) * g.W + w) * C + c;
                    const int tap = (kd * g.KH + kh) * g.KW + kw;
                    const Group x = load(x_ndhwc, at), f = load(w_kcm, (i64)tap * CM + cm);
#pragma unroll
                    for (int j = 0; j < V; ++j) sum[j] += (A)x.v[j] * (A)f.v[j];
                }
        Group y;
#pragma unroll
        for (int j = 0; j < V; ++j) y.v[j] = (T)sum[j];
        store(y_ndhwc, n * g.y_image + i, y);
    }
}

extern "C" __global__ void depthwise_bwd(const T* __restrict__ gy_ndhwc,
                                         const T* __restrict__ w_kcm, T* __restrict__ gx_ndhwc,
                                         Window g, int M) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    const int c = take(q, g.by_c), w = take(q, g.by_w) + g.pw, h = take(q, g.by_h) + g.ph,
              d = (int)q + g.pd;
    const int CM = g.by_c.d * M;
    FOR_MY_IMAGES(n, g.N) {
        A sum[V] = {};
        for (int kd = 0; kd < g.KD; ++kd) {
            int od, oh, ow;
            if (!place_of(d - kd * g.dd, g.by_sd, g.OD, od)) continue;
            for (int kh = 0; kh < g.KH; ++kh) {
                if (!place_of(h - kh * g.dh, g.by_sh, g.OH, oh)) continue;
                for (int kw = 0; kw < g.KW; ++kw) {
                    if (!place_of(w - kw * g.dw, g.by_sw, g.OW, ow)) continue;
                    const i64 at = n * g.y_image + (((i64)od * g.OH + oh) * g.OW + ow) * CM + c * M;
                    const i64 tap = ((i64)kd * g.KH + kh) * g.KW + kw;
                    for (int m = 0; m < M; ++m) {
                        const Group gy = load(gy_ndhwc, at + m);
                        const Group f = load(w_kcm, tap * CM + c * M + m);
#pragma unroll
                        for (int j = 0; j < V; ++j) sum[j] += (A)gy.v[j] * (A)f.v[j];
                    }
                }
            }
        }
        Group gx;
#pragma unroll
        for (int j = 0; j < V; ++j) gx.v[j] = (T)sum[j];
        store(gx_ndhwc, n * g.x_image + i, gx);
    }
}

// blockIdx: 32 channels of y, tap, part of the places. `rows` places of all images, `run` of them a
// part. The walk of g is that of y with one channel: a place's axes are by_w, by_h, by_d.
extern "C" __global__ void depthwise_weight(const T* __restrict__ x_ndhwc,
                                            const T* __restrict__ gy_ndhwc, A* __restrict__ part,
                                            Window g, int M, int C, unsigned rows, unsigned run) {
    __shared__ A sums[8][33];
    const int CM = C * M, cm = blockIdx.x * 32 + threadIdx.x;
    unsigned q = blockIdx.y;
    const int kw = take(q, g.by_kw), kh = take(q, g.by_kh), kd = (int)q;
    const unsigned first = blockIdx.z * run, last = min(first + run, rows);
    A sum = 0;
    if (cm < CM)
        for (unsigned row = first + threadIdx.y; row < last; row += 8) {
            q = row;
            const int ow = take(q, g.by_w), oh = take(q, g.by_h), od = take(q, g.by_d), n = (int)q;
            const int d = od * g.sd - g.pd + kd * g.dd, h = oh * g.sh - g.ph + kh * g.dh,
                      w = ow * g.sw - g.pw + kw * g.dw;
            if ((unsigned)d >= (unsigned)g.D || (unsigned)h >= (unsigned)g.H ||
                (unsigned)w >= (unsigned)g.W)
                continue;
            const i64 at = ((((i64)n * g.D + d) * g.H + h) * g.W + w) * C + cm / M;
            sum += (A)x_ndhwc[at] * (A)gy_ndhwc[(i64)row * CM + cm];
        }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && cm < CM) {
        for (int y = 1; y < 8; ++y) sum += sums[y][threadIdx.x];
        part[((i64)blockIdx.z * gridDim.y + blockIdx.y) * CM + cm] = sum;
    }
}

extern "C" __global__ void depthwise_join(const A* __restrict__ part, T* __restrict__ gw, int n,
                                          int splits) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    A sum = 0;
    for (int s = 0; s < splits; ++s) sum += part[(i64)s * n + i];
    gw[i] = (T)sum;
}
