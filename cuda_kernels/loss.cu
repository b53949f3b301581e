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
// softmax_xent_rows  x[N,C] t[N,C] g[N] -> loss[N] gx[N,C] hit[N]    all of it in one walk: what
//                    softmax_xent_fwd and _bwd give, and whether the first largest elements of x
//                    and t lie at one place (NaN is the largest, as in NumPy). hit may be null.
//                                                                     (3*N*C + 3*N)*sizeof(T) bytes
// sparse_xent_rows   x[N,C] t[N] g[N] -> loss[N] gx[N,C] hit[N]      the same for class numbers
//                                                                     (2*N*C + 3*N)*sizeof(T) bytes
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

// A place in a row as a number whose least is the first largest element's: NaN comes before all.
__device__ __forceinline__ A place_key(A v, A top, int c, int C) {
    return v != v ? (A)(c - C) : v == top ? (A)c : (A)C;
}
__device__ __forceinline__ A least_place(A key, int C) { return key < 0 ? key + (A)C : key; }

extern "C" __global__ void softmax_xent_rows(const T* __restrict__ x_nc, const T* __restrict__ t_nc,
                                             const T* __restrict__ g_n, T* __restrict__ loss_n,
                                             T* __restrict__ gx_nc, T* __restrict__ hit_n, i64 N,
                                             int C) {
    ROW_BEGIN(N);
    const T* x = x_nc + n * C;
    const T* t = t_nc + n * C;
    T* gx = gx_nc + n * C;
    A top = (A)-POS_INF, top_t = (A)-POS_INF, total = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) {
        top = max(top, (A)x[c]);
        top_t = max(top_t, (A)t[c]);
        total += (A)t[c];
    }
    top = row_max(top);
    top_t = row_max(top_t);
    total = row_sum(total);
    A sum = 0, key = (A)C, key_t = (A)C;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) {
        sum += exp((A)x[c] - top);
        key = min(key, place_key((A)x[c], top, c, C));
        key_t = min(key_t, place_key((A)t[c], top_t, c, C));
    }
    sum = row_sum(sum);
    const A lse = log(sum), scale = total / sum, g = (A)g_n[n];
    A loss = 0;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) {
        const A d = (A)x[c] - top, target = (A)t[c];
        loss += target * (lse - d);
        gx[c] = (T)((exp(d) * scale - target) * g);
    }
    loss = row_sum(loss);
    if (ROW_LANE == 0) loss_n[n] = (T)loss;
    if (!hit_n) return;
    key = least_place(-row_max(-key), C);
    key_t = least_place(-row_max(-key_t), C);
    if (ROW_LANE == 0) hit_n[n] = (T)(A)(key == key_t);
}

extern "C" __global__ void sparse_xent_rows(const T* __restrict__ x_nc, const I* __restrict__ t_n,
                                            const T* __restrict__ g_n, T* __restrict__ loss_n,
                                            T* __restrict__ gx_nc, T* __restrict__ hit_n, i64 N,
                                            int C) {
    ROW_BEGIN(N);
    const T* x = x_nc + n * C;
    T* gx = gx_nc + n * C;
    const i64 t = (i64)t_n[n];
    const bool known = t >= 0 && t < C;
    A top = (A)-POS_INF;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) top = max(top, (A)x[c]);
    top = row_max(top);
    A sum = 0, key = (A)C;
    for (int c = ROW_LANE; c < C; c += ROW_STEP) {
        sum += exp((A)x[c] - top);
        key = min(key, place_key((A)x[c], top, c, C));
    }
    sum = row_sum(sum);
    const A g = known ? (A)g_n[n] : (A)QUIET_NAN;
    for (int c = ROW_LANE; c < C;
         c += ROW_STEP) gx[c] = (T)((exp((A)x[c] - top) / sum - (A)(c == t)) * g);
    if (ROW_LANE == 0)
        loss_n[n] = (T)(known ? log(sum) - ((A)x[t] - top) : (A)QUIET_NAN);
    if (!hit_n) return;
    key = least_place(-row_max(-key), C);
    if (ROW_LANE == 0) hit_n[n] = (T)(A)((A)t_n[n] == key);
}
