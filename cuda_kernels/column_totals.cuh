// column_totals.cuh - sums of the columns of a matrix whose tiles many blocks hold.
//
// As in moments.cuh: each block writes the sums of its tile's columns, the last one of 32 adds them
// up, and the last of those what these added: in an order that is fixed.
//
// part: [tiles + groups, N]; tickets: groups + 1 for each tile of columns.
#pragma once
#include "moments.cuh"

struct ColumnTotals {
    T* sum_c;
    A* part;
    unsigned* tickets;
};

// The sum of rows begin to end - 1 of part, in threads below BN.
__device__ __forceinline__ A merge_totals(const A* part, int N, int column, int begin, int end) {
    __shared__ A sums[THREADS];
    A total = 0;
    if (column < N) {
#pragma unroll 8
        for (int t = begin + (int)threadIdx.x / BN; t < end; t += THREADS / BN)
            total += part[(i64)t * N + column];
    }
    sums[threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.x < BN) {
#pragma unroll
        for (int p = 1; p < THREADS / BN; ++p) total += sums[p * BN + threadIdx.x];
    }
    __syncthreads();
    return total;
}

// Adds up the columns of this tile, the tile-th of `tiles`, and once all are there of the matrix.
// Rows beyond the matrix hold zeros. All threads of every block call it.
__device__ __forceinline__ void column_totals(const Sums& sums, const ColumnTotals& out, int tile,
                                              int tiles, int n0, int N) {
    __shared__ A shared[Sums::WARPS_DOWN][BN];
#pragma unroll
    for (int j0 = 0; j0 < Sums::COLUMNS; j0 += AT_ONCE) {
        A v[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) {
            v[j] = 0;
#pragma unroll
            for (int i = 0; i < Sums::ROWS; ++i) v[j] += sums.value(i, j0 + j);
        }
        add_rows(v, sums, j0, shared);
        if (sums.down() || (int)(threadIdx.x & 31) >= Sums::APART) continue;
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) {
            const int n = n0 + sums.column_of(j0 + j);
            if (n < N) out.part[(i64)tile * N + n] = v[j];
        }
    }
    const int groups = (tiles + MERGED - 1) / MERGED, group = tile / MERGED;
    const int column = n0 + (int)threadIdx.x % BN;
    unsigned* tickets = out.tickets + n0 / BN * (groups + 1);
    const int begin = group * MERGED, end = min(begin + MERGED, tiles);
    if (!comes_last(tickets + group, end - begin)) return;
    A total = merge_totals(out.part, N, column, begin, end);
    if (groups > 1) {
        if (threadIdx.x < BN && column < N) out.part[(i64)(tiles + group) * N + column] = total;
        if (!comes_last(tickets + groups, groups)) return;
        total = merge_totals(out.part + (i64)tiles * N, N, column, 0, groups);
    }
    if (threadIdx.x < BN && column < N) out.sum_c[column] = (T)total;
}
