// column_sums.cuh - the shell around fused expressions with results that are added up by column.
//
// extern "C" __global__ __launch_bounds__(256)
// void fused_0(inputs, outputs, sums, partial, tickets, M)
//   elements e = m * C + c of a matrix of M rows and C columns (a constant of the text). Blocks of
//   (P columns, 256 / P rows), P a power of two up to 32; grid (tiles of P columns, S slices of the
//   rows). Each thread goes down one column, 4 to 16 rows at a time (64 bytes, where no masks take
//   the registers): it reads them all, then computes and writes, for an output may lie where an
//   input of the same shape does.
//   partial[sums, S, C] and tickets[tiles]: where S > 1, the block that comes last of a tile adds
//   up the slices, in their order: the same bits each run, in one launch.
//   bytes moved: each full input read once, each full output written once.
#pragma once
#include "elementwise.cuh"

// Adds up v over the rows of a block; threads of row 0 get the totals. `part`: 256 numbers each.
template <int N, class W> __device__ __forceinline__ void fold_rows(W (&v)[N], W (*part)[256]) {
    const int P = blockDim.x, place = threadIdx.y * P + threadIdx.x;
    const int warp = place / 32, lane = place % 32;
#pragma unroll
    for (int k = 0; k < N; ++k) {
        for (int o = 16; o >= P; o >>= 1) v[k] += __shfl_xor_sync(FULL_WARP, v[k], o);
        if (lane < P) part[k][warp * P + lane] = v[k];
    }
    __syncthreads();
    if (place < P) {
#pragma unroll
        for (int k = 0; k < N; ++k)
            for (int w = 1; w < 8; ++w) v[k] += part[k][w * P + place];
    }
    __syncthreads();
}

// The totals of a tile over all slices, from those of each thread. True in the threads that have
// them: one per column, in the block that comes last.
template <int N, class W>
__device__ __forceinline__ bool fold_slices(W (&v)[N], W (*part)[256], W* partial,
                                            unsigned* tickets, unsigned C) {
    const unsigned c = blockIdx.x * blockDim.x + threadIdx.x, S = gridDim.y;
    fold_rows(v, part);
    if (S > 1) {
        if (threadIdx.y == 0 && c < C)
            for (int k = 0; k < N; ++k) partial[((i64)k * S + blockIdx.y) * C + c] = v[k];
        if (!comes_last(tickets + blockIdx.x, S)) return false;
        for (int k = 0; k < N; ++k) v[k] = 0;
        if (c < C)
            for (unsigned s = threadIdx.y; s < S; s += blockDim.y)
                for (int k = 0; k < N; ++k) v[k] += partial[((i64)k * S + s) * C + c];
        fold_rows(v, part);
    }
    return threadIdx.y == 0 && c < C;
}
