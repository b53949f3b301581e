// loss.cu - cross-entropy of a softmax from its logits x, and the gradient by the logits.
//
// The gradient computes the maximum and sum of a row again: cheaper than keeping the probabilities.
//
// softmax_xent_fwd  x[N,C] t[N,C] -> loss[N]         loss = sum_c t_c * (log(sum_k exp(x_k)) - x_c)
//                                                                     (2*N*C + N)*sizeof(T) bytes
// softmax_xent_bwd   x[N,C] t[N,C] g[N] -> gx[N,C]    gx = (softmax(x) * sum(t) - t) * g
//                                                                     (3*N*C + N)*sizeof(T) bytes
// sparse_xent_fwd    x[N,C] t[N] -> loss[N]           t: class number of type I; a number outside
// sparse_xent_bwd    x[N,C] t[N] g[N] -> gx[N,C]     0 .. C-1 gives NaN in its row and reads no
//                                                    memory outside  N*C*sizeof(T), 2*N*C bytes
// Launch: a warp per row, or with BLOCK_ROW a block per row (row.cuh).
#include "row.cuh"

#ifndef I
#define I int
#endif

extern "C" __global__ void softmax_xent_fwd(const T* __restrict__ x_nc, const T* __restrict__ t_nc,
                                            T* __restrict__ loss_n, i64 N, int C) {
    ROW_BEGIN(N);
    const T* x = x_nc + n * C;
    const T* t = t_nc + n * C;
    A top = (A)-POS_INF;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) top = max(top, (A)x[c]);
    top = row_max(top);
    A sum = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) sum += exp((A)x[c] - top);
    const A lse = log(row_sum(sum));
    A loss = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) loss += (A)t[c] * (lse - ((A)x[c] - top));
    loss = row_sum(loss);
    if (ROW_LANE == 0) loss_n[n] = (T)loss;
}

extern "C" __global__ void softmax_xent_bwd(const T* __restrict__ x_nc, const T* __restrict__ t_nc,
                                            const T* __restrict__ g_n, T* __restrict__ gx_nc, i64 N,
                                                int C) {
    ROW_BEGIN(N);
    const T* x = x_nc + n * C;
    const T* t = t_nc + n * C;
    T* gx = gx_nc + n * C;
    A top = (A)-POS_INF, total = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) { top = max(top, (A)x[c]); total += (A)t[c]; }
    top = row_max(top);
    total = row_sum(total);
    A sum = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) sum += exp((A)x[c] - top);
    const A scale = total / row_sum(sum), g = (A)g_n[n];
    for (int c = ROW_LANE; c < C;
         c += ROW_STEP) gx[c] = (T)((exp((A)x[c] - top) * scale - (A)t[c]) * g);
}

extern "C" __global__ void sparse_xent_fwd(const T* __restrict__ x_nc, const I* __restrict__ t_n,
                                           T* __restrict__ loss_n, i64 N, int C) {
    ROW_BEGIN(N);
    const T* x = x_nc + n * C;
    A top = (A)-POS_INF;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) top = max(top, (A)x[c]);
    top = row_max(top);
    A sum = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) sum += exp((A)x[c] - top);
    sum = row_sum(sum);
    if (ROW_LANE == 0) {
        const i64 t = (i64)t_n[n];
        loss_n[n] = (T)(t >= 0 && t < C ? log(sum) - ((A)x[t] - top) : (A)QUIET_NAN);
    }
}

extern "C" __global__ void sparse_xent_bwd(const T* __restrict__ x_nc, const I* __restrict__ t_n,
                                           const T* __restrict__ g_n, T* __restrict__ gx_nc, i64 N,
                                               int C) {
    ROW_BEGIN(N);
    const T* x = x_nc + n * C;
    T* gx = gx_nc + n * C;
    const i64 t = (i64)t_n[n];
    A top = (A)-POS_INF;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) top = max(top, (A)x[c]);
    top = row_max(top);
    A sum = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) sum += exp((A)x[c] - top);
    sum = row_sum(sum);
    const A g = t >= 0 && t < C ? (A)g_n[n] : (A)QUIET_NAN;
    for (int c = ROW_LANE; c < C;
         c += ROW_STEP) gx[c] = (T)((exp((A)x[c] - top) / sum - (A)(c == t)) * g);
}
