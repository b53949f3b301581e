// head.cu - the end of a small classifier: loss, its gradient and the hits, each in one launch.
//
// One block, one thread per row (rows beyond blockDim.x in turns), columns in order: for up to some
// thousand rows of some dozen classes, where the launches cost more than the work. Sums over rows
// are taken in a fixed order: the same bits each run. All threads stay for the block's sum.
//
// xent_sum_fwd         x[N,C] t[N,C] g[N] -> loss[1] gx[N,C]     sum over rows of what
//                      softmax_xent_fwd gives, and what softmax_xent_bwd gives (loss.cu)
//                                                                     (6*N*C + N)*sizeof(T) bytes
// sparse_xent_sum_fwd  x[N,C] t[N] g[N] -> loss[1] gx[N,C]       the same for class numbers of type
//                      I; one outside 0 .. C-1 makes NaN and reads no memory outside
// match_count_fwd      t[N,C] p[N,C] -> hits[1]         rows whose first largest elements lie at
//                      one place; NaN is the largest, as in NumPy
// label_count_fwd      t[N] p[N,C] -> hits[1]           rows whose first largest element is at t, a
//                      number of type I
#include "common.cuh"

#ifndef I
#define I T
#endif

__device__ __forceinline__ int place_of_top(const T* __restrict__ x_c, int C) {
    int best = 0;
    A top = (A)x_c[0];
    for (int c = 1; c < C; ++c) {
        const A v = (A)x_c[c];
        if (v > top || (v != v && top == top)) { top = v; best = c; }
    }
    return best;
}

__device__ __forceinline__ void write_sum(A v, A* scratch, T* y) {
    v = block_sum(v, scratch);
    if (threadIdx.x == 0) y[0] = (T)v;
}

extern "C" __global__ void xent_sum_fwd(const T* __restrict__ x_nc, const T* __restrict__ t_nc,
                                        const T* __restrict__ g_n, T* __restrict__ loss,
                                        T* __restrict__ gx_nc, int N, int C) {
    __shared__ A scratch[32];
    A sum = 0;
    for (int n = threadIdx.x; n < N; n += blockDim.x) {
        const T* x = x_nc + (i64)n * C;
        const T* t = t_nc + (i64)n * C;
        T* gx = gx_nc + (i64)n * C;
        A top = (A)-POS_INF, total = 0, z = 0, row = 0;
        for (int c = 0; c < C; ++c) { top = max(top, (A)x[c]); total += (A)t[c]; }
        for (int c = 0; c < C; ++c) z += exp((A)x[c] - top);
        const A lse = log(z), scale = total / z, g = (A)g_n[n];
        for (int c = 0; c < C; ++c) {
            const A d = (A)x[c] - top, target = (A)t[c];
            row += target * (lse - d);
            gx[c] = (T)((exp(d) * scale - target) * g);
        }
        sum += row;
    }
    write_sum(sum, scratch, loss);
}

extern "C" __global__ void sparse_xent_sum_fwd(const T* __restrict__ x_nc,
                                               const I* __restrict__ t_n,
                                               const T* __restrict__ g_n, T* __restrict__ loss,
                                               T* __restrict__ gx_nc, int N, int C) {
    __shared__ A scratch[32];
    A sum = 0;
    for (int n = threadIdx.x; n < N; n += blockDim.x) {
        const T* x = x_nc + (i64)n * C;
        T* gx = gx_nc + (i64)n * C;
        const i64 t = (i64)t_n[n];
        const bool known = t >= 0 && t < C;
        A top = (A)-POS_INF, z = 0;
        for (int c = 0; c < C; ++c) top = max(top, (A)x[c]);
        for (int c = 0; c < C; ++c) z += exp((A)x[c] - top);
        const A g = known ? (A)g_n[n] : (A)QUIET_NAN;
        for (int c = 0; c < C; ++c) gx[c] = (T)((exp((A)x[c] - top) / z - (A)(c == t)) * g);
        sum += known ? log(z) - ((A)x[t] - top) : (A)QUIET_NAN;
    }
    write_sum(sum, scratch, loss);
}

extern "C" __global__ void match_count_fwd(const T* __restrict__ t_nc, const T* __restrict__ p_nc,
                                           T* __restrict__ hits, int N, int C) {
    __shared__ A scratch[32];
    A sum = 0;
    for (int n = threadIdx.x; n < N; n += blockDim.x)
        sum += (A)(place_of_top(t_nc + (i64)n * C, C) == place_of_top(p_nc + (i64)n * C, C));
    write_sum(sum, scratch, hits);
}

extern "C" __global__ void label_count_fwd(const I* __restrict__ t_n, const T* __restrict__ p_nc,
                                           T* __restrict__ hits, int N, int C) {
    __shared__ A scratch[32];
    A sum = 0;
    for (int n = threadIdx.x; n < N; n += blockDim.x)
        sum += (A)(t_n[n] == (I)place_of_top(p_nc + (i64)n * C, C));
    write_sum(sum, scratch, hits);
}
