// norm.cu - batch normalisation of x[M,C] (M: batch and space, C: channels).
//
// T activations; A (common.cuh) statistics, gamma and beta: float32 for 16-bit activations too.
// Rows are cut into S slices, each reduced in a fixed order: the same bits each run. With S = 1 the
// first launch gives the final result and the merge is not launched.
//
// bn_stats_fwd   x -> mean[S,C] m2[S,C]      Welford; m2 is the variance when S = 1
//                block (32 columns, 8 rows), grid (tiles of C, S);              M*C*sizeof(T) bytes
// bn_merge_fwd   mean[S,C] m2[S,C] -> mean[C] var[C]      Chan's formula; one thread per column
// bn_apply_fwd   x mean var gamma beta -> y               one thread per element
//                y = (x - mean) * gamma / sqrt(var + eps) + beta;             2*M*C*sizeof(T) bytes
// bn_sums_bwd    x gy mean var -> sg[S,C] sgx[S,C]        sums of gy and of gy * xhat,
//                xhat = (x - mean) / sqrt(var + eps); grid as bn_stats_fwd;   2*M*C*sizeof(T) bytes
// bn_merge_bwd   sg[S,C] sgx[S,C] -> gbeta[C] ggamma[C]   one thread per column
// bn_apply_bwd   x gy mean var gamma gbeta ggamma -> gx   one thread per element
//                gx = gamma / sqrt(var + eps) * (gy - (gbeta + xhat * ggamma) / M)
//                                                                             3*M*C*sizeof(T) bytes
#include "common.cuh"

#define ROWS 8          // blockDim.y of the column kernels
#define PITCH 33

struct Moments { A count, mean, m2; };

__device__ __forceinline__ Moments merge(Moments a, Moments b) {      // Chan, Golub, LeVeque 1979
    const A count = a.count + b.count;
    if (count == 0) return a;
    const A d = b.mean - a.mean, w = b.count / count;
    return {count, a.mean + d * w, a.m2 + b.m2 + d * d * a.count * w};
}

__device__ __forceinline__ int slice_begin(int M, int s, int S) { return (int)((i64)M * s / S); }

extern "C" __global__ void bn_stats_fwd(const T* __restrict__ x_mc, A* __restrict__ mean_sc,
                                        A* __restrict__ m2_sc,
                                        int M, int C) {
    // the block synchronises: nobody leaves, loads and stores are guarded by c < C
    __shared__ Moments part[ROWS][PITCH];
    const int c = blockIdx.x * 32 + threadIdx.x, s = blockIdx.y, S = gridDim.y;
    const int end = slice_begin(M, s + 1, S);
    Moments v = {0, 0, 0};
    if (c < C)
        for (int m = slice_begin(M, s, S) + threadIdx.y; m < end; m += ROWS) {
            const A x = (A)x_mc[(i64)m * C + c], d = x - v.mean;
            v.count += 1;
            v.mean += d / v.count;
            v.m2 += d * (x - v.mean);
        }
    part[threadIdx.y][threadIdx.x] = v;
    __syncthreads();
    if (threadIdx.y == 0 && c < C) {
        for (int r = 1; r < ROWS; ++r) v = merge(v, part[r][threadIdx.x]);
        mean_sc[(i64)s * C + c] = v.mean;
        m2_sc[(i64)s * C + c] = S == 1 ? v.m2 / (A)M : v.m2;
    }
}

extern "C" __global__ void bn_merge_fwd(const A* __restrict__ mean_sc, const A* __restrict__ m2_sc,
                                        A* __restrict__ mean_c, A* __restrict__ var_c, int M, int C,
                                            int S) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    Moments v = {0, 0, 0};
    for (int s = 0; s < S; ++s) {
        const A count = (A)(slice_begin(M, s + 1, S) - slice_begin(M, s, S));
        v = merge(v, {count, mean_sc[(i64)s * C + c], m2_sc[(i64)s * C + c]});
    }
    mean_c[c] = v.mean;
    var_c[c] = v.m2 / (A)M;
}

extern "C" __global__ void bn_apply_fwd(const T* __restrict__ x_mc, const A* __restrict__ mean_c,
                                        const A* __restrict__ var_c, const A* __restrict__ gamma_c,
                                        const A* __restrict__ beta_c, T* __restrict__ y_mc, i64 MC,
                                            int C, A eps) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= MC) return;
    const int c = (int)(i % C);
    const A scale = gamma_c[c] * ((A)1 / sqrt(var_c[c] + eps));
    y_mc[i] = (T)(((A)x_mc[i] - mean_c[c]) * scale + beta_c[c]);
}

extern "C" __global__ void bn_sums_bwd(const T* __restrict__ x_mc, const T* __restrict__ gy_mc,
                                       const A* __restrict__ mean_c, const A* __restrict__ var_c,
                                       A* __restrict__ sg_sc, A* __restrict__ sgx_sc, int M, int C,
                                           A eps) {
    // the block synchronises: nobody leaves, loads and stores are guarded by c < C
    __shared__ A part_g[ROWS][PITCH], part_gx[ROWS][PITCH];
    const int c = blockIdx.x * 32 + threadIdx.x, s = blockIdx.y, S = gridDim.y;
    const int end = slice_begin(M, s + 1, S);
    A sg = 0, sgx = 0;
    if (c < C) {
        const A mean = mean_c[c], rstd = (A)1 / sqrt(var_c[c] + eps);
        for (int m = slice_begin(M, s, S) + threadIdx.y; m < end; m += ROWS) {
            const A g = (A)gy_mc[(i64)m * C + c];
            sg += g;
            sgx += g * (((A)x_mc[(i64)m * C + c] - mean) * rstd);
        }
    }
    part_g[threadIdx.y][threadIdx.x] = sg;
    part_gx[threadIdx.y][threadIdx.x] = sgx;
    __syncthreads();
    if (threadIdx.y == 0 && c < C) {
        for (int r = 1; r < ROWS; ++r) { sg += part_g[r][threadIdx.x];
                                        sgx += part_gx[r][threadIdx.x]; }
        sg_sc[(i64)s * C + c] = sg;
        sgx_sc[(i64)s * C + c] = sgx;
    }
}

extern "C" __global__ void bn_merge_bwd(const A* __restrict__ sg_sc, const A* __restrict__ sgx_sc,
                                        A* __restrict__ gbeta_c, A* __restrict__ ggamma_c, int C,
                                            int S) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    A sg = 0, sgx = 0;
    for (int s = 0; s < S; ++s) { sg += sg_sc[(i64)s * C + c]; sgx += sgx_sc[(i64)s * C + c]; }
    gbeta_c[c] = sg;
    ggamma_c[c] = sgx;
}

extern "C" __global__ void bn_apply_bwd(const T* __restrict__ x_mc, const T* __restrict__ gy_mc,
                                        const A* __restrict__ mean_c, const A* __restrict__ var_c,
                                        const A* __restrict__ gamma_c,
                                            const A* __restrict__ gbeta_c,
                                        const A* __restrict__ ggamma_c, T* __restrict__ gx_mc,
                                        i64 MC, int C, A eps, A inv_m) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= MC) return;
    const int c = (int)(i % C);
    const A rstd = (A)1 / sqrt(var_c[c] + eps), xhat = ((A)x_mc[i] - mean_c[c]) * rstd;
    gx_mc[i] = (T)(gamma_c[c] * rstd * ((A)gy_mc[i] - (gbeta_c[c] + xhat * ggamma_c[c]) * inv_m));
}
