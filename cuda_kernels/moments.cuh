// moments.cuh - mean and variance of the columns of a matrix whose tiles many blocks hold.
//
// Each block writes the mean and the sum of squared differences of its tile's columns; the last one
// of 32 merges them, and the last of those merges the merged: the order of every sum is fixed, so
// the bits are the same in each run. Chan, Golub, LeVeque 1979, without a division for each merge.
//
// To be included where a kernel file has defined its tile (BM, BN, THREADS) and its class Sums,
// which says where in the tile the sums of a thread are: value(i, j), row_of(i), column_of(j) for
// ROWS by COLUMNS of them, down() for its warp of WARPS_DOWN; in a warp the lanes that are a
// multiple of APART apart share columns.
//
// part: [2, tiles + groups, N], first the means; tickets: groups + 1 for each tile of columns.
#pragma once
#include "common.cuh"

const int MERGED = 32;

struct ColumnMoments {
    A* mean_c;
    A* var_c;
    A* rstd_c;
    A* part;
    unsigned* tickets;
    A eps;
};

// Merges rows begin to end - 1 of part, `unit` matrix rows each. In threads below BN: (mean, m2).
__device__ __forceinline__ void merge_moments(const A* part, i64 second, int N, int column,
                                              int begin, int end, int unit, int rows, A& mean,
                                              A& m2) {
    static_assert(THREADS % BN == 0, "threads take turns down a column");
    __shared__ A sums[2][THREADS];
    A first = 0, square = 0, shift = 0;
    if (column < N) {
        shift = part[(i64)begin * N + column];
#pragma unroll 8
        for (int t = begin + (int)threadIdx.x / BN; t < end; t += THREADS / BN) {
            const A d = part[(i64)t * N + column] - shift;
            const A count = (A)min(unit, rows - t * unit);
            first += count * d;
            square += part[second + (i64)t * N + column] + count * d * d;
        }
    }
    sums[0][threadIdx.x] = first;
    sums[1][threadIdx.x] = square;
    __syncthreads();
    if (threadIdx.x < BN) {
#pragma unroll
        for (int p = 1; p < THREADS / BN; ++p) {
            first += sums[0][p * BN + threadIdx.x];
            square += sums[1][p * BN + threadIdx.x];
        }
        const A count = (A)(min(end * unit, rows) - begin * unit);
        mean = shift + first / count;
        m2 = max(square - first * (first / count), (A)0);
    }
    __syncthreads();
}

// Called by all threads of every block once its tile's row of part is written: BM rows, columns n0
// to n0 + BN - 1 of N; tile counts down the rows, tile_n along the columns.
__device__ __forceinline__ void finish_moments(const ColumnMoments& out, int tile, int tile_n,
                                               int n0, int rows, int N) {
    const int tiles = (rows + BM - 1) / BM, groups = (tiles + MERGED - 1) / MERGED;
    const i64 second = (i64)(tiles + groups) * N;
    const int column = n0 + (int)threadIdx.x % BN, group = tile / MERGED;
    unsigned* tickets = out.tickets + tile_n * (groups + 1);
    const int begin = group * MERGED, end = min(begin + MERGED, tiles);
    A mean = 0, m2 = 0;
    if (!comes_last(tickets + group, end - begin)) return;
    merge_moments(out.part, second, N, column, begin, end, BM, rows, mean, m2);
    if (groups > 1) {
        if (threadIdx.x < BN && column < N) {
            out.part[(i64)(tiles + group) * N + column] = mean;
            out.part[second + (i64)(tiles + group) * N + column] = m2;
        }
        if (!comes_last(tickets + groups, groups)) return;
        merge_moments(out.part + (i64)tiles * N, second, N, column, 0, groups,
                                   BM * MERGED, rows, mean, m2);
    }
    if (threadIdx.x >= BN || column >= N) return;
    const A var = m2 / (A)rows;
    out.mean_c[column] = mean;
    out.var_c[column] = var;
    out.rstd_c[column] = (A)1 / sqrt(var + out.eps);
}

// Columns of a thread that are summed at a time: more would not stay in registers.
constexpr int AT_ONCE = Sums::COLUMNS < 16 ? Sums::COLUMNS : 16;

// v[j]: the sum over the whole block's rows of what each thread has for its column j0 + j.
__device__ __forceinline__ void add_rows(A (&v)[AT_ONCE], const Sums& sums, int j0,
                                         A (*shared)[BN]) {
#pragma unroll
    for (int j = 0; j < AT_ONCE; ++j) {
#pragma unroll
        for (int o = 16; o >= Sums::APART; o >>= 1) v[j] += __shfl_xor_sync(FULL_WARP, v[j], o);
        if ((int)(threadIdx.x & 31) < Sums::APART)
            shared[sums.down()][sums.column_of(j0 + j)] = v[j];
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < AT_ONCE; ++j) {
        v[j] = shared[0][sums.column_of(j0 + j)];
#pragma unroll
        for (int d = 1; d < Sums::WARPS_DOWN; ++d) v[j] += shared[d][sums.column_of(j0 + j)];
    }
}

// Writes this tile's row of part: the mean and the sum of squared differences of its columns.
__device__ __forceinline__ void tile_moments(const Sums& sums, A* part, i64 second, int tile,
                                             int n0, int rows, int N) {
    __shared__ A shared[2][Sums::WARPS_DOWN][BN];
    const int left = rows - tile * BM;
    const bool writes = !sums.down() && (int)(threadIdx.x & 31) < Sums::APART;
#pragma unroll
    for (int j0 = 0; j0 < Sums::COLUMNS; j0 += AT_ONCE) {
        A mean[AT_ONCE], m2[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) {
            mean[j] = 0;
#pragma unroll
            for (int i = 0; i < Sums::ROWS; ++i)
                if (sums.row_of(i) < left) mean[j] += sums.value(i, j0 + j);
        }
        add_rows(mean, sums, j0, shared[0]);
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) {
            mean[j] /= (A)min(BM, left);
            m2[j] = 0;
#pragma unroll
            for (int i = 0; i < Sums::ROWS; ++i) {
                const A d = sums.value(i, j0 + j) - mean[j];
                if (sums.row_of(i) < left) m2[j] += d * d;
            }
        }
        add_rows(m2, sums, j0, shared[1]);
        if (!writes) continue;
#pragma unroll
        for (int j = 0; j < AT_ONCE; ++j) {
            const int n = n0 + sums.column_of(j0 + j);
            if (n >= N) continue;
            part[(i64)tile * N + n] = mean[j];
            part[second + (i64)tile * N + n] = m2[j];
        }
    }
}

// Both: of a tile, and once all are there of the matrix. All threads of every block call it.
__device__ __forceinline__ void column_moments(const Sums& sums, const ColumnMoments& out, int m0,
                                               int n0, int rows, int N) {
    const int tiles = (rows + BM - 1) / BM, groups = (tiles + MERGED - 1) / MERGED;
    tile_moments(sums, out.part, (i64)(tiles + groups) * N, m0 / BM, n0, rows, N);
    finish_moments(out, m0 / BM, n0 / BN, n0, rows, N);
}
