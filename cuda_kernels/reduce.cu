// reduce.cu - reductions, and places of extremes, over the middle axis of x[O,N,K] or over rows.
//
// T input, Y output, W what is accumulated; FOLD: Sum, Product, Max or Min of common.cuh, NEUTRAL
// its neutral value in W. NaN is the extreme, as in NumPy. The order of additions depends on the
// shape only: the same bits each run. Long reductions are cut into S slices; the block that comes
// last of an output adds up the slices from partial (type W), so that all is one launch. With S = 1
// partial and tickets are null.
//
// reduce_rows     x[M,N] -> y[M]           partial[M,S], tickets[M]; slice s of row m covers
//                                          N*s/S .. N*(s+1)/S, one block each, grid M*S
//                                                                              M*N*sizeof(T) bytes
// reduce_warps    x[M,N] -> y[M]           short rows: one warp per row, block (32, rows)
// reduce_middle   x[O,N,K] -> y[O,K]       partial[O,S,K], tickets[O * tiles]; block (P columns,
//                                          256 / P rows), P a power of two up to 32; grid (O *
//                                          tiles of P columns, S)
// arg_rows        x[M,N] -> y[M] int64     place of the first extreme (ORDER > or <), block per row
// arg_middle     x[O,N,K] -> y[O,K] int64      the same over the middle axis, one thread per output
// cumulate_fwd    x[O,N,K] -> y[O,N,K]     running FOLD along the middle axis, one thread per line
#include "common.cuh"

#ifndef Y
#define Y T
#endif
#ifndef W
#define W A
#endif
#ifndef FOLD
#define FOLD Sum
#endif
#ifndef NEUTRAL
#define NEUTRAL ((W)0)
#endif
#ifndef ORDER
#define ORDER >
#endif

__device__ __forceinline__ W fold_block(W v, W* part) {      // thread 0 gets the result
    v = warp_reduce<FOLD>(v);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0)
        for (int w = 1; w < (int)blockDim.x / 32; ++w) v = FOLD::join(v, part[w]);
    __syncthreads();
    return v;
}

extern "C" __global__ void reduce_rows(const T* __restrict__ x_mn, Y* __restrict__ y_m,
                                       W* partial_ms, unsigned* tickets, i64 N, int S) {
    // the block synchronises: nobody leaves
    __shared__ W part[32];
    const i64 m = blockIdx.x / S;
    const int s = (int)(blockIdx.x % S);
    const i64 end = N * (s + 1) / S;
    const T* x = x_mn + m * N;
    W v = NEUTRAL;
    for (i64 n = N * s / S + threadIdx.x; n < end; n += blockDim.x) v = FOLD::join(v, (W)x[n]);
    v = fold_block(v, part);
    if (S > 1) {
        if (threadIdx.x == 0) partial_ms[blockIdx.x] = v;
        if (!comes_last(tickets + m, S)) return;
        v = NEUTRAL;
        for (int k = threadIdx.x; k < S; k += blockDim.x) v = FOLD::join(v, partial_ms[m * S + k]);
        v = fold_block(v, part);
    }
    if (threadIdx.x == 0) y_m[m] = (Y)v;
}

extern "C" __global__ void reduce_warps(const T* __restrict__ x_mn, Y* __restrict__ y_m, i64 M,
                                        int N) {
    const i64 m = (i64)blockIdx.x * blockDim.y + threadIdx.y;
    if (m >= M) return;                              // whole warps: no block barrier below
    const T* x = x_mn + m * N;
    W v = NEUTRAL;
    for (int n = threadIdx.x; n < N; n += 32) v = FOLD::join(v, (W)x[n]);
    v = warp_reduce<FOLD>(v);
    if (threadIdx.x == 0) y_m[m] = (Y)v;
}

__device__ __forceinline__ W fold_columns(W v, W* part) {    // the threads of row 0 get the results
    const int P = blockDim.x, place = threadIdx.y * P + threadIdx.x;
    part[place] = v;
    for (int half = 128; half >= P; half /= 2) {
        __syncthreads();
        if (place < half) part[place] = v = FOLD::join(v, part[place + half]);
    }
    __syncthreads();
    return v;
}

extern "C" __global__ void reduce_middle(const T* __restrict__ x_onk, Y* __restrict__ y_ok,
                                         W* partial_osk, unsigned* tickets, i64 N, i64 K) {
    // the block synchronises: nobody leaves, loads and stores are guarded by k < K
    __shared__ W part[256];
    const int P = blockDim.x, rows = blockDim.y, s = blockIdx.y, S = gridDim.y;
    const i64 tiles = (K + P - 1) / P;
    const i64 o = blockIdx.x / tiles, k = blockIdx.x % tiles * P + threadIdx.x;
    const i64 end = N * (s + 1) / S;
    W v = NEUTRAL;
    if (k < K) {
#pragma unroll 4
        for (i64 n = N * s / S + threadIdx.y; n < end; n += rows)
            v = FOLD::join(v, (W)x_onk[(o * N + n) * K + k]);
    }
    v = fold_columns(v, part);
    if (S > 1) {
        if (threadIdx.y == 0 && k < K) partial_osk[(o * S + s) * K + k] = v;
        if (!comes_last(tickets + blockIdx.x, S)) return;
        v = NEUTRAL;
        if (k < K)
            for (int q = threadIdx.y; q < S; q += rows)
                v = FOLD::join(v, partial_osk[(o * S + q) * K + k]);
        v = fold_columns(v, part);
    }
    if (threadIdx.y == 0 && k < K) y_ok[o * K + k] = (Y)v;
}

struct Best {
    W value;
    i64 place;                                       // -1: none yet
};

__device__ __forceinline__ bool beats(W a, W b) { return a ORDER b || (a != a && b == b); }

__device__ __forceinline__ Best better(Best a, Best b) {      // of equal values the earlier one
    if (b.place < 0) return a;
    if (a.place < 0 || beats(b.value, a.value)) return b;
    return !beats(a.value, b.value) && b.place < a.place ? b : a;
}

extern "C" __global__ void arg_rows(const T* __restrict__ x_mn, i64* __restrict__ y_m, i64 N) {
    // the block synchronises: nobody leaves
    __shared__ Best part[32];
    const T* x = x_mn + (i64)blockIdx.x * N;
    Best v = {(W)0, -1};
    for (i64 n = threadIdx.x; n < N; n += blockDim.x) v = better(v, {(W)x[n], n});
#pragma unroll
    for (int o = 16; o > 0; o >>= 1) {
        const W value = __shfl_xor_sync(FULL_WARP, v.value, o);
        v = better(v, {value, __shfl_xor_sync(FULL_WARP, v.place, o)});
    }
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < (int)blockDim.x / 32; ++w) v = better(v, part[w]);
        y_m[blockIdx.x] = v.place;
    }
}

extern "C" __global__ void arg_middle(const T* __restrict__ x_onk, i64* __restrict__ y_ok, i64 O,
                                      i64 N, i64 K) {
    const i64 i = grid_start();
    if (i >= O * K) return;
    const T* x = x_onk + i / K * N * K + i % K;
    Best v = {(W)0, -1};
    for (i64 n = 0; n < N; ++n) v = better(v, {(W)x[n * K], n});
    y_ok[i] = v.place;
}

extern "C" __global__ void cumulate_fwd(const T* __restrict__ x_onk, T* __restrict__ y_onk, i64 O,
                                        i64 N, i64 K, int reverse) {
    const i64 i = grid_start();
    if (i >= O * K) return;
    const i64 first = i / K * N * K + i % K;
    W v = NEUTRAL;
    for (i64 n = 0; n < N; ++n) {
        const i64 at = first + (reverse ? N - 1 - n : n) * K;
        v = FOLD::join(v, (W)x_onk[at]);
        y_onk[at] = (T)v;
    }
}
