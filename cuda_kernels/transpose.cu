// transpose.cu - transposition of the matrices of a batch; other orders of axes go through copy.cu.
//
// transpose_fwd   x[B,M,N] -> y[B,N,M]     through 32 x 32 tiles in shared memory: all coalesced
//                 block (32, 8), grid (tiles of N * tiles of M, B)        2*B*M*N*sizeof(T) bytes
#include "common.cuh"

// Elements move as bits: no type that the compiler might want to construct in shared memory.
template <int SIZE> struct Bits;
template <> struct Bits<1> {
    typedef unsigned char type;
};
template <> struct Bits<2> {
    typedef unsigned short type;
};
template <> struct Bits<4> {
    typedef unsigned type;
};
template <> struct Bits<8> {
    typedef u64 type;
};

extern "C" __global__ void transpose_fwd(const T* __restrict__ x_bmn, T* __restrict__ y_bnm, int M,
                                         int N) {
    // the block synchronises: nobody leaves, loads and stores are guarded
    typedef Bits<sizeof(T)>::type Raw;
    const Raw* x = (const Raw*)x_bmn;
    Raw* y = (Raw*)y_bnm;
    __shared__ Raw tile[32][33];                     // 33: a column of the tile lies in 32 banks
    const int tiles_n = (N + 31) / 32;
    const int n0 = (int)(blockIdx.x % tiles_n) * 32, m0 = (int)(blockIdx.x / tiles_n) * 32;
    const i64 base = (i64)blockIdx.y * M * N;
    for (int r = threadIdx.y; r < 32; r += blockDim.y) {
        const int m = m0 + r, n = n0 + threadIdx.x;
        if (m < M && n < N) tile[r][threadIdx.x] = x[base + (i64)m * N + n];
    }
    __syncthreads();
    for (int r = threadIdx.y; r < 32; r += blockDim.y) {
        const int n = n0 + r, m = m0 + threadIdx.x;
        if (m < M && n < N) y[base + (i64)n * M + m] = tile[threadIdx.x][r];
    }
}
