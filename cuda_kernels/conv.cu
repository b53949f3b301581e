// conv.cu - convolution by columns: the GEMM is a library call, these kernels lay out its operand.
//
// im2col   x[N,S,C] -> col[N*places, taps*C]      one thread per group of V channels of col
//   bytes sizeof(T) * (col once written, x read `taps` times, all but the first from cache)
// col2im   col[N*places, taps*C] -> x[N,S,C]      one thread per group of V channels of x
//   the transpose of im2col as a gather: each element adds the columns that name it, in the order
//   of the taps, so the sum has one order and no atomics; bytes sizeof(T) * (col + x)
// conv_bias b[F] y[rows,F] -> y + b, or the larger of that and 0, in place; bytes 2 * y
//   a grid of any size, each thread takes every grid_step()-th group of V
//
// Rows of col are (n, od, oh, ow), its columns (kd, kh, kw, c): HWIO weights are the other operand
// as they lie.  x and col point at the first image of a block of g.N images.
#include "window.cuh"

extern "C" __global__ void im2col(const T* __restrict__ x_ndhwc, T* __restrict__ col_rk,
                                  Window g) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    int c = take(q, g.by_c), kw = take(q, g.by_kw), kh = take(q, g.by_kh), kd = take(q, g.by_kd);
    int ow = take(q, g.by_w), oh = take(q, g.by_h), od = (int)q;
    int d = od * g.sd - g.pd + kd * g.dd, h = oh * g.sh - g.ph + kh * g.dh,
        w = ow * g.sw - g.pw + kw * g.dw;
    bool inside = (unsigned)d < (unsigned)g.D && (unsigned)h < (unsigned)g.H &&
                  (unsigned)w < (unsigned)g.W;
    const i64 from = pixel(g, d, h, w) + c;
    FOR_MY_IMAGES(n, g.N)
        store(col_rk, n * g.y_image + i,
              inside ? load(x_ndhwc, n * g.x_image + from) : zero_group());
}

extern "C" __global__ void col2im(const T* __restrict__ col_rk, T* __restrict__ x_ndhwc,
                                  Window g) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= g.threads) return;
    unsigned q = i;
    int c = take(q, g.by_c), w = take(q, g.by_w) + g.pw, h = take(q, g.by_h) + g.ph,
        d = (int)q + g.pd;
    FOR_MY_IMAGES(n, g.N) {
        A sum[V] = {};
        for (int kd = 0; kd < g.KD; ++kd) {
            int od, oh, ow;
            if (!place_of(d - kd * g.dd, g.by_sd, g.OD, od)) continue;
            for (int kh = 0; kh < g.KH; ++kh) {
                if (!place_of(h - kh * g.dh, g.by_sh, g.OH, oh)) continue;
                for (int kw = 0; kw < g.KW; ++kw) {
                    if (!place_of(w - kw * g.dw, g.by_sw, g.OW, ow)) continue;
                    const i64 row = ((i64)od * g.OH + oh) * g.OW + ow;
                    const i64 tap = ((row * g.KD + kd) * g.KH + kh) * g.KW + kw;
                    const Group add = load(col_rk, n * g.y_image + tap * g.by_c.d + c);
#pragma unroll
                    for (int j = 0; j < V; ++j) sum[j] += (A)add.v[j];
                }
            }
        }
        Group total;
#pragma unroll
        for (int j = 0; j < V; ++j) total.v[j] = (T)sum[j];
        store(x_ndhwc, n * g.x_image + i, total);
    }
}

extern "C" __global__ void conv_bias(const T* __restrict__ b_f, T* __restrict__ y_rf, i64 n,
                                     int columns, int relu) {
    const int step = (int)(grid_step() % columns);
    int c = (int)(grid_start() % columns);
    for (i64 i = grid_start(); i < n; i += grid_step()) {
        Group y = load(y_rf, i);
        const Group b = load(b_f, c);
#pragma unroll
        for (int j = 0; j < V; ++j) {
            const A v = (A)y.v[j] + (A)b.v[j];
            y.v[j] = (T)(relu && v < (A)0 ? (A)0 : v);
        }
        store(y_rf, i, y);
        c += step;
        if (c >= columns) c -= columns;
    }
}
