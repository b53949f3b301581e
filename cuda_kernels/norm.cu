// norm.cu - statistics of batch normalisation of x[M,C] (M: batch and space, C: channels).
//
// The rest of batch normalisation, forwards and backwards, is elementwise code with column sums
// that fuses with what stands around it (ops/norm.py, column_sums.cuh).
//
// T activations; A (common.cuh) statistics: float32 for 16-bit activations too. Rows are cut into
// S slices; the block that comes last of a tile of columns merges them in their order: the same
// bits each run, in one launch.
//
// bn_stats_fwd   x -> mean[C] var[C] rstd[C]    biased variance, 1 / sqrt(var + eps); by Chan's
//                formula. partial[2,S,C] and tickets[tiles] where S > 1. Block (P columns, 256 / P
//                rows), P a power of two up to 32; grid (tiles of P columns, S)
//                                                                          M*C*sizeof(T) bytes
#include "common.cuh"

struct Moments { A count, mean, m2; };

__device__ __forceinline__ Moments merge(Moments a, Moments b) {      // Chan, Golub, LeVeque 1979
    const A count = a.count + b.count;
    if (count == 0) return a;
    const A d = b.mean - a.mean, w = b.count / count;
    return {count, a.mean + d * w, a.m2 + b.m2 + d * d * a.count * w};
}

__device__ __forceinline__ int slice_begin(int M, int s, int S) { return (int)((i64)M * s / S); }

// Merges the moments of a block's rows; threads of row 0 get them.
__device__ __forceinline__ Moments merge_rows(Moments v, A (*part)[256]) {
    const int P = blockDim.x, place = threadIdx.y * P + threadIdx.x;
    part[0][place] = v.count;
    part[1][place] = v.mean;
    part[2][place] = v.m2;
    for (int half = 128; half >= P; half /= 2) {
        __syncthreads();
        if (place < half) {
            v = merge(v, {part[0][place + half], part[1][place + half], part[2][place + half]});
            part[0][place] = v.count;
            part[1][place] = v.mean;
            part[2][place] = v.m2;
        }
    }
    __syncthreads();
    return v;
}

extern "C" __global__ __launch_bounds__(256) void bn_stats_fwd(
    const T* __restrict__ x_mc, A* __restrict__ mean_c, A* __restrict__ var_c,
    A* __restrict__ rstd_c, A* partial_sc, unsigned* tickets, int M, int C, A eps) {
    // the block synchronises: nobody leaves, loads and stores are guarded by c < C
    __shared__ A part[3][256];
    const int rows = blockDim.y, s = blockIdx.y, S = gridDim.y;
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    const int begin = slice_begin(M, s, S) + threadIdx.y, end = slice_begin(M, s + 1, S);
    Moments v = {0, 0, 0};
    if (c < C && begin < end) {
        // Sums of x - x0 and of its square: x0 is the thread's own first value, so nothing cancels,
        // and no division waits in the loop as it does in Welford's.
        const A x0 = (A)x_mc[(i64)begin * C + c];
        A sum = 0, squares = 0;
#pragma unroll 8
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
    v = merge_rows(v, part);
    if (S > 1) {
        A* m2_sc = partial_sc + (i64)S * C;
        if (threadIdx.y == 0 && c < C) {
            partial_sc[(i64)s * C + c] = v.mean;
            m2_sc[(i64)s * C + c] = v.m2;
        }
        if (!comes_last(tickets + blockIdx.x, S)) return;
        v = {0, 0, 0};
        if (c < C)
            for (int k = threadIdx.y; k < S; k += rows) {
                const A count = (A)(slice_begin(M, k + 1, S) - slice_begin(M, k, S));
                v = merge(v, {count, partial_sc[(i64)k * C + c], m2_sc[(i64)k * C + c]});
            }
        v = merge_rows(v, part);
    }
    if (threadIdx.y || c >= C) return;
    const A var = v.m2 / (A)M;
    mean_c[c] = v.mean;
    var_c[c] = var;
    rstd_c[c] = (A)1 / sqrt(var + eps);
}
