// norm.cu - batch normalisation of x[M,C] (M: batch and space, C: channels).
//
// T activations; A (common.cuh) statistics, gamma and beta: float32 for 16-bit activations too.
// Rows are cut into S slices, each reduced in a fixed order: the same bits each run. With S = 1 the
// first launch gives the final result and the merge is not launched.
//
// bn_stats_fwd   x -> mean[S,C] m2[S,C]      m2: sum of (x - mean)^2, the variance when S = 1
//                block (P columns, 256 / P rows), grid (tiles of C, S);        M*C*sizeof(T) bytes
// bn_merge_fwd   mean[S,C] m2[S,C] -> mean[C] var[C]      Chan's formula; one thread per column
// bn_apply_fwd   x mean var gamma beta -> y               the same blocks, grid (tiles of C, any)
//                y = (x - mean) * gamma / sqrt(var + eps) + beta;             2*M*C*sizeof(T) bytes
// bn_sums_bwd    x gy mean var -> sg[S,C] sgx[S,C]        sums of gy and of gy * xhat,
//                xhat = (x - mean) / sqrt(var + eps); grid as bn_stats_fwd;   2*M*C*sizeof(T) bytes
// bn_merge_bwd   sg[S,C] sgx[S,C] -> gbeta[C] ggamma[C]   one thread per column
// bn_apply_bwd   x gy mean var gamma gbeta ggamma -> gx   as bn_apply_fwd
//                gx = gamma / sqrt(var + eps) * (gy - (gbeta + xhat * ggamma) / M)
//                                                                             3*M*C*sizeof(T) bytes
#include "common.cuh"

struct Moments { A count, mean, m2; };

__device__ __forceinline__ Moments merge(Moments a, Moments b) {      // Chan, Golub, LeVeque 1979
    const A count = a.count + b.count;
    if (count == 0) return a;
    const A d = b.mean - a.mean, w = b.count / count;
    return {count, a.mean + d * w, a.m2 + b.m2 + d * d * a.count * w};
}

__device__ __forceinline__ int slice_begin(int M, int s, int S) { return (int)((i64)M * s / S); }

extern "C" __global__ void bn_stats_fwd(const T* __restrict__ x_mc, A* __restrict__ mean_sc,
                                        A* __restrict__ m2_sc, int M, int C) {
    // the block synchronises: nobody leaves, loads and stores are guarded by c < C
    __shared__ A part[3][256];
    const int P = blockDim.x, rows = blockDim.y, place = threadIdx.y * P + threadIdx.x;
    const int c = blockIdx.x * P + threadIdx.x, s = blockIdx.y, S = gridDim.y;
    const int begin = slice_begin(M, s, S) + threadIdx.y, end = slice_begin(M, s + 1, S);
    Moments v = {0, 0, 0};
    if (c < C && begin < end) {
        // Sums of x - x0 and of its square: x0 is the thread's own first value, so nothing cancels,
        // and no division waits in the loop as it does in Welford's.
        const A x0 = (A)x_mc[(i64)begin * C + c];
        A sum = 0, squares = 0;
#pragma unroll 4
        for (int m = begin; m < end; m += rows) {
            const A d = (A)x_mc[(i64)m * C + c] - x0;
            sum += d;
            squares += d * d;
        }
        v.count = (A)((end - begin + rows - 1) / rows);
        const A shift = sum / v.count;
        v.mean = x0 + shift;
        v.m2 = max(squares - shift * sum, (A)0);
    }
    part[0][place] = v.count;
    part[1][place] = v.mean;
    part[2][place] = v.m2;
    __syncthreads();
    if (threadIdx.y == 0 && c < C) {
        for (int r = P + threadIdx.x; r < 256; r += P)
            v = merge(v, {part[0][r], part[1][r], part[2][r]});
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
                                        const A* __restrict__ beta_c, T* __restrict__ y_mc, int M,
                                        int C, A eps) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    const A mean = mean_c[c], scale = gamma_c[c] * ((A)1 / sqrt(var_c[c] + eps)), beta = beta_c[c];
#pragma unroll 4
    for (int m = blockIdx.y * blockDim.y + threadIdx.y; m < M; m += gridDim.y * blockDim.y) {
        const i64 i = (i64)m * C + c;
        y_mc[i] = (T)(((A)x_mc[i] - mean) * scale + beta);
    }
}

extern "C" __global__ void bn_sums_bwd(const T* __restrict__ x_mc, const T* __restrict__ gy_mc,
                                       const A* __restrict__ mean_c, const A* __restrict__ var_c,
                                       A* __restrict__ sg_sc, A* __restrict__ sgx_sc, int M, int C,
                                           A eps) {
    // the block synchronises: nobody leaves, loads and stores are guarded by c < C
    __shared__ A part[2][256];
    const int P = blockDim.x, rows = blockDim.y, place = threadIdx.y * P + threadIdx.x;
    const int c = blockIdx.x * P + threadIdx.x, s = blockIdx.y, S = gridDim.y;
    const int end = slice_begin(M, s + 1, S);
    A sg = 0, sgx = 0;
    if (c < C) {
        const A mean = mean_c[c], rstd = (A)1 / sqrt(var_c[c] + eps);
#pragma unroll 4
        for (int m = slice_begin(M, s, S) + threadIdx.y; m < end; m += rows) {
            const A g = (A)gy_mc[(i64)m * C + c];
            sg += g;
            sgx += g * (((A)x_mc[(i64)m * C + c] - mean) * rstd);
        }
    }
    part[0][place] = sg;
    part[1][place] = sgx;
    __syncthreads();
    if (threadIdx.y == 0 && c < C) {
        for (int r = P + threadIdx.x; r < 256; r += P) {
            sg += part[0][r];
            sgx += part[1][r];
        }
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
                                        int M, int C, A eps, A inv_m) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= C) return;
    const A mean = mean_c[c], rstd = (A)1 / sqrt(var_c[c] + eps), scale = gamma_c[c] * rstd;
    const A by_g = gbeta_c[c] * inv_m, by_x = ggamma_c[c] * inv_m * rstd;
#pragma unroll 4
    for (int m = blockIdx.y * blockDim.y + threadIdx.y; m < M; m += gridDim.y * blockDim.y) {
        const i64 i = (i64)m * C + c;
        gx_mc[i] = (T)(scale * ((A)gy_mc[i] - by_g - ((A)x_mc[i] - mean) * by_x));
    }
}
