// tensor_sums.cuh - the sums of a thread as tensor cores leave them, and their way to memory.
//
// To be included where a kernel file has defined its tile (BM, BN, THREADS) and of a warp
//   DOWN, ACROSS  results of 16 rows (ROWS_APART from one to the next down) by 8 columns it has
//   WARPS_M, WARPS_N  how warps share the tile
//   first_row(warp), first_column(warp)  where a warp's part of the tile starts
#pragma once
#include "implicit.cuh"

struct Sums {
    float v[DOWN][ACROSS][4];
    int row0, column0;
    static constexpr int COLUMNS = 2 * ACROSS, ROWS = 2 * DOWN, APART = 4;     // for moments.cuh
    static constexpr int WARPS_DOWN = WARPS_M;
    __device__ __forceinline__ Sums() {
        const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
        row0 = first_row(warp) + lane / 4;
        column0 = first_column(warp) + lane % 4 * 2;
        clear();
    }
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) v[i][j][e] = 0.f;
    }
    __device__ __forceinline__ float& at(int i, int j) {
        return v[i / 2][j / 2][i % 2 * 2 + j % 2];
    }
    __device__ __forceinline__ float value(int i, int j) const {
        return v[i / 2][j / 2][i % 2 * 2 + j % 2];
    }
    __device__ __forceinline__ int row_of(int i) const {
        return row0 + i / 2 * ROWS_APART + i % 2 * 8;
    }
    __device__ __forceinline__ int column_of(int j) const { return column0 + j / 2 * 8 + j % 2; }
    __device__ __forceinline__ int down() const { return threadIdx.x / 32 / WARPS_N; }
};

// Neighbours go in pairs where rows have an even number of columns.
__device__ __forceinline__ void put_row(const Sums& sums, int i, T* out, int left, int columns) {
    struct __align__(2 * sizeof(T)) Pair {
        T a, b;
    };
    const bool pairs = !(columns & 1);
#pragma unroll
    for (int j = 0; j < Sums::COLUMNS; j += 2) {
        const int column = sums.column_of(j);
        const float first = sums.value(i, j), second = sums.value(i, j + 1);
        if (pairs && column < left) {
            *(Pair*)(out + column) = Pair{(T)first, (T)second};
        } else {
            if (column < left) out[column] = (T)first;
            if (column + 1 < left) out[column + 1] = (T)second;
        }
    }
}

// All splits of this tile, added in their order, in the block that comes last; false in others.
__device__ __forceinline__ bool join(const Gather& g, const Turn& turn, Sums& sums, float* part,
                                     unsigned* tickets) {
    if (g.splits == 1) return true;
    float4* mine = (float4*)part + (i64)turn.tile * g.splits * (BM * BN / 4) + threadIdx.x;
    const int one = BM * BN / 4;
#pragma unroll
    for (int i = 0; i < DOWN; ++i)
#pragma unroll
        for (int j = 0; j < ACROSS; ++j) {
            const float* v = sums.v[i][j];
            mine[turn.split * one + (i * ACROSS + j) * THREADS] =
                make_float4(v[0], v[1], v[2], v[3]);
        }
    if (!comes_last(tickets + turn.tile, g.splits)) return false;
    sums.clear();
    for (int s = 0; s < g.splits; ++s)
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) {
                const float4 add = mine[s * one + (i * ACROSS + j) * THREADS];
                float* v = sums.v[i][j];
                v[0] += add.x, v[1] += add.y, v[2] += add.z, v[3] += add.w;
            }
    return true;
}
