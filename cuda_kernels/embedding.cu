// embedding.cu - rows picked by an index, the gradient of that, one-hot vectors.
//
// Index type I. On the device an index outside the table is clamped to it, in the gradient alike: a
// kernel cannot raise. The host checks indices where it sees them.
//
// row_gather_fwd  x[R,D] idx[n] -> y[n,D]    y[i] = x[idx[i]]; block (32, 8): 8 rows a block. WIDE:
//                  D counts units of 16 bytes, rows and addresses are multiples of that
//                                                                             2*n*D*sizeof(T) bytes
// index_sort       idx[n] -> keys[chunks,P]   index << 32 | position, sorted within chunks of P (a
//                  power of two, at most 2048) positions; past n the largest key; P / 2 threads
// index_merge      keys[chunks,P] -> sorted[n]     rank of a key = its place + its places in the
//                  other chunks (binary search); one thread per key
// row_gather_bwd   sorted[n] gy[n,D] -> gx[R,D]    gx[r] = sum of gy[i] over idx[i] == r, as 8
//                  interleaved partial sums in the order of i: the same bits each run. gx must
//                  hold zeros. grid (n, tiles of D), block (32, 8); the first place of each index
//                  works, the other blocks leave                              2*n*D*sizeof(T) bytes
// row_scatter_add idx[n] gy[n,D] -> gx[R,D]   the same sums by atomics, in whatever order the rows
//                  come: one launch, no sorting, other last bits each run. gx (of type A) must hold
//                  zeros; block (32, 8): 8 rows a block                   3*n*D*sizeof(T) bytes
// one_hot_fwd     idx[n] -> y[n,C]           1 where idx[i] == c, else 0; a row of zeros if outside
#include "common.cuh"

#ifndef I
#define I int
#endif
#define NO_KEY 0xffffffffffffffffULL

__device__ __forceinline__ i64 clamp_row(i64 r, i64 R) { return r < 0 ? 0 : r >= R ? R - 1 : r; }

#ifdef WIDE
typedef uint4 Unit;
#else
typedef T Unit;
#endif

extern "C" __global__ void row_gather_fwd(const T* __restrict__ x_rd, const I* __restrict__ idx_n,
                                          T* __restrict__ y_nd,
                                          i64 n, i64 R, int D) {
    const i64 i = (i64)blockIdx.x * blockDim.y + threadIdx.y;
    if (i >= n) return;
    const Unit* x = (const Unit*)x_rd + clamp_row((i64)idx_n[i], R) * D;
    Unit* y = (Unit*)y_nd + i * D;
    for (int d = threadIdx.x; d < D; d += blockDim.x) y[d] = x[d];
}

extern "C" __global__ void index_sort(const I* __restrict__ idx_n, u64* __restrict__ keys, i64 n,
                                      i64 R, int P) {
    // bitonic; the block synchronises: nobody leaves, loads are guarded by n, the output is padded
    // to P
    __shared__ u64 key[2048];
    const i64 first = (i64)blockIdx.x * P;
    for (int p = threadIdx.x; p < P; p += blockDim.x) {
        const i64 i = first + p;
        key[p] = i < n ? (u64)clamp_row((i64)idx_n[i], R) << 32 | (u64)i : NO_KEY;
    }
    __syncthreads();
    for (int size = 2; size <= P; size *= 2)
        for (int step = size / 2; step > 0; step /= 2) {
            for (int t = threadIdx.x; t < P / 2; t += blockDim.x) {
                const int a = 2 * t - (t & (step - 1)), b = a + step;
                const u64 ka = key[a], kb = key[b];
                if ((ka > kb) == ((a & size) == 0)) { key[a] = kb; key[b] = ka; }
            }
            __syncthreads();
        }
    for (int p = threadIdx.x; p < P; p += blockDim.x) keys[first + p] = key[p];
}

extern "C" __global__ void index_merge(const u64* __restrict__ keys, u64* __restrict__ sorted_n,
                                       i64 n, int P, int chunks) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (i64)chunks * P) return;
    const u64 key = keys[i];
    if (key == NO_KEY) return;
    const int own = (int)(i / P);
    i64 rank = i - (i64)own * P;
    for (int chunk = 0; chunk < chunks; ++chunk) {
        if (chunk == own) continue;
        const u64* other = keys + (i64)chunk * P;
        int low = 0, high = P;                       // number of keys of the other chunk below ours
        while (low < high) {
            const int mid = (low + high) / 2;
            if (other[mid] < key) low = mid + 1; else high = mid;
        }
        rank += low;
    }
    if (rank < n) sorted_n[rank] = key;
}

extern "C" __global__ void row_gather_bwd(const u64* __restrict__ sorted_n,
                                          const T* __restrict__ gy_nd,
                                          T* __restrict__ gx_rd, i64 n, int D) {
    // the block synchronises: it leaves as a whole (the test is the same for all its threads)
    __shared__ A part[8][33];
    const i64 i = blockIdx.x;
    const u64 row = sorted_n[i] >> 32;
    if (i > 0 && sorted_n[i - 1] >> 32 == row) return;
    const int d = blockIdx.y * 32 + threadIdx.x;
    A sum = 0;
    for (i64 j = i + threadIdx.y; j < n; j += 8) {
        const u64 key = sorted_n[j];
        if (key >> 32 != row) break;
        if (d < D) sum += (A)gy_nd[(i64)(key & 0xffffffffULL) * D + d];
    }
    part[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && d < D) {
        for (int y = 1; y < 8; ++y) sum += part[y][threadIdx.x];
        gx_rd[(i64)row * D + d] = (T)sum;
    }
}

// Tables of other types than these have no gradient; the file is compiled for them all the same.
template <class S> __device__ __forceinline__ void add_atomically(S*, S) {}
__device__ __forceinline__ void add_atomically(float* p, float v) { atomicAdd(p, v); }
__device__ __forceinline__ void add_atomically(double* p, double v) { atomicAdd(p, v); }

extern "C" __global__ void row_scatter_add(const I* __restrict__ idx_n,
                                           const T* __restrict__ gy_nd, A* __restrict__ gx_rd,
                                           i64 n, i64 R, int D) {
    const i64 i = (i64)blockIdx.x * blockDim.y + threadIdx.y;
    if (i >= n) return;
    A* gx = gx_rd + clamp_row((i64)idx_n[i], R) * D;
    for (int d = threadIdx.x; d < D; d += blockDim.x) add_atomically(gx + d, (A)gy_nd[i * D + d]);
}

extern "C" __global__ void one_hot_fwd(const I* __restrict__ idx_n, T* __restrict__ y_nc, i64 nC,
                                       int C) {
    const i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= nC) return;
    y_nc[i] = (T)(A)((i64)idx_n[i / C] == i % C ? 1 : 0);
}
