// softmax.cu - softmax and log-softmax over the last axis, and their gradients.
//
// softmax_fwd       x[N,C] -> y[N,C]              y = exp(x - max) / sum      2*N*C*sizeof(T) bytes
// softmax_bwd       y[N,C] gy[N,C] -> gx[N,C]     gx = y * (gy - sum(gy * y)) 3*N*C*sizeof(T) bytes
// log_softmax_fwd   x[N,C] -> y[N,C]              y = x - max - log(sum)      2*N*C*sizeof(T) bytes
// log_softmax_bwd   y[N,C] gy[N,C] -> gx[N,C]     gx = gy - exp(y) * sum(gy)  3*N*C*sizeof(T) bytes
// Launch: a warp per row, or with BLOCK_ROW a block per row (row.cuh).
#include "row.cuh"

extern "C" __global__ void softmax_fwd(const T* __restrict__ x_nc, T* __restrict__ y_nc, i64 N,
                                       int C) {
    ROW_BEGIN(N);
    const T* x = x_nc + n * C;
    T* y = y_nc + n * C;
    A top = (A)-POS_INF;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) top = max(top, (A)x[c]);
    top = row_max(top);
    A sum = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) sum += exp((A)x[c] - top);
    sum = row_sum(sum);
    for (int c = ROW_LANE; c < C; c += ROW_STEP) y[c] = (T)(exp((A)x[c] - top) / sum);
}

extern "C" __global__ void softmax_bwd(const T* __restrict__ y_nc, const T* __restrict__ gy_nc,
                                       T* __restrict__ gx_nc, i64 N, int C) {
    ROW_BEGIN(N);
    const T* y = y_nc + n * C;
    const T* gy = gy_nc + n * C;
    T* gx = gx_nc + n * C;
    A dot = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) dot += (A)gy[c] * (A)y[c];
    dot = row_sum(dot);
    for (int c = ROW_LANE; c < C; c += ROW_STEP) gx[c] = (T)((A)y[c] * ((A)gy[c] - dot));
}

extern "C" __global__ void log_softmax_fwd(const T* __restrict__ x_nc, T* __restrict__ y_nc, i64 N,
                                           int C) {
    ROW_BEGIN(N);
    const T* x = x_nc + n * C;
    T* y = y_nc + n * C;
    A top = (A)-POS_INF;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) top = max(top, (A)x[c]);
    top = row_max(top);
    A sum = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) sum += exp((A)x[c] - top);
    const A shift = log(row_sum(sum));
    for (int c = ROW_LANE; c < C; c += ROW_STEP) y[c] = (T)((A)x[c] - top - shift);
}

extern "C" __global__ void log_softmax_bwd(const T* __restrict__ y_nc, const T* __restrict__ gy_nc,
                                           T* __restrict__ gx_nc, i64 N, int C) {
    ROW_BEGIN(N);
    const T* y = y_nc + n * C;
    const T* gy = gy_nc + n * C;
    T* gx = gx_nc + n * C;
    A sum = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) sum += (A)gy[c];
    sum = row_sum(sum);
    for (int c = ROW_LANE; c < C; c += ROW_STEP) gx[c] = (T)((A)gy[c] - exp((A)y[c]) * sum);
}
