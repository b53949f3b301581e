// conv_implicit.cu - convolution as implicit GEMM on the arithmetic units: exact float32, every
// type.
//
// conv_implicit_fwd     x[N,S,C] w[K,C,F] bias[F] or null -> y[N,S',F] = act(x * w + bias)
//   bytes sizeof(T) * (x + w + y) from memory, x again from cache for each tap; flops 2*rows*K*C*F
// conv_implicit_stats   x[N,S,C] w[K,C,F] -> y[N,S',F], mean[F] var[F] rstd[F] of y (moments.cuh)
//   for batch normalisation: y is not read for it
// conv_implicit_data    gy[N,S',F] w[K,C,F] -> gx[N,S,C]       the same with x and y changed about
//   for strides above 1 in phases, so that no tap is tried in vain
// conv_implicit_data_relu  also y[N,S,C] -> gx where y is positive, else 0; sum[C] of gx or null
//   the gradient before a relu and that of a bias: sizeof(T) * y more, gx is not read for it
// conv_implicit_weight  x[N,S,C] gy[N,S',F] -> gw[K,C,F]
//
// Few tiles leave multiprocessors idle, so the sum over k may be split (implicit.cuh): each block
// leaves its sums in part[tiles, splits, BM * BN], and the last one of a tile adds them in their
// order: no atomics but the ticket, the same bits in every run; 8 * splits * BM * BN bytes a tile.
//
// Rows m, columns n and the sum k: see implicit.cuh. One block makes a tile of BM by BN from
// tiles of BK along k, two in shared memory in turn: while one is used the next is on its way in
// registers. A thread holds TM by TN sums; a warp is 8 threads wide where the tile allows, so that
// one 128-byte read of shared memory serves it for each operand. T storage, A sums; VA, VB: 1 where
// the channels that lie side by side divide into 16-byte groups (first and second operand).
// Occupancy by registers: 3 blocks of 128 threads a multiprocessor with tiles of 128x64, 4 below.
// Not yet run on a GPU: emulator and NVRTC only.
#include "implicit.cuh"

#ifndef BM
#define BM 64
#define BN 64
#define TM 8
#define TN 4
#endif
#ifndef VA
#define VA 0
#define VB 0
#endif

constexpr int BK = 64 / sizeof(A), THREADS = BM / TM * (BN / TN);
// blocks a multiprocessor: at most 128 registers a thread, 168 for tiles of 64 sums; more where
// each element has an address of its own
constexpr int BLOCKS = ((TM * TN > 32 ? 384 : 512) - (VA && VB && RANK < 3 ? 0 : 128)) / THREADS;
constexpr int CHUNK = 16 / sizeof(A);                     // sums read together from shared memory
constexpr int GA = VA ? 16 / sizeof(T) : 4, GB = VB ? 16 / sizeof(T) : 4;
constexpr int ROW_A = BM + CHUNK, ROW_B = BN + CHUNK;     // padded: fewer bank conflicts
static_assert(TM % CHUNK == 0 && TN % CHUNK == 0 && THREADS % 32 == 0, "tile shape");

template <int ROWS, int GROUP> using RowTile = AlongRow<ROWS, BK, GROUP, THREADS>;

struct __align__(16) Chunk {
    A v[CHUNK];
};
struct __align__(16) Sixteen {                            // 16 bytes of storage
    T v[16 / sizeof(T)];
};
struct __align__(16) Tiles {
    A a[2][BK * ROW_A], b[2][BK * ROW_B];
};

// One operand's share of a tile: from memory to registers, then to shared memory as [k][row].
template <class Reader, int G, bool WHOLE, int ROW> struct Share {
    T held[Reader::SLOTS][G];
    __device__ __forceinline__ void load(const Reader& from, const Gather& g) {
#pragma unroll
        for (int s = 0; s < Reader::SLOTS; ++s) {
            if (WHOLE) {
                const T* p = address(from, g, s, 0);
                if (p && from.mine(s)) {
                    const Sixteen all = *(const Sixteen*)p;
#pragma unroll
                    for (int e = 0; e < G; ++e) held[s][e] = all.v[e];
                } else {
#pragma unroll
                    for (int e = 0; e < G; ++e) held[s][e] = (T)0.f;
                }
            } else {
#pragma unroll
                for (int e = 0; e < G; ++e) {
                    const T* p = address(from, g, s, WHOLE ? 0 : e);
                    held[s][e] = p && from.mine(s) ? *p : (T)0.f;
                }
            }
        }
    }
    __device__ __forceinline__ void store(A* tile) const {
#pragma unroll
        for (int s = 0; s < Reader::SLOTS; ++s) {
            if (!Reader::mine(s)) continue;
            if constexpr (Reader::K_INNER) {
#pragma unroll
                for (int e = 0; e < G; ++e)
                    tile[(Reader::k() + e) * ROW + Reader::row(s)] = (A)held[s][e];
            } else {
#pragma unroll
                for (int c = 0; c < G; c += CHUNK) {
                    Chunk out;
#pragma unroll
                    for (int e = 0; e < CHUNK; ++e) out.v[e] = (A)held[s][c + e];
                    *(Chunk*)(tile + Reader::k(s) * ROW + Reader::row() + c) = out;
                }
            }
        }
    }
};

// The sums of one thread: TM by TN, in chunks that lie BM / (TM / CHUNK) rows apart.
struct Sums {
    A v[TM][TN];
    int row0, column0;
    static constexpr int ACROSS = BN / TN, WIDE = ACROSS < 8 ? ACROSS : 8, HIGH = 32 / WIDE;
    static constexpr int COLUMNS = TN, ROWS = TM, APART = WIDE;         // for moments.cuh
    static constexpr int WARPS_DOWN = THREADS / 32 / (ACROSS / WIDE);
    __device__ __forceinline__ Sums() {
        const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
        column0 = (warp % (ACROSS / WIDE) * WIDE + lane % WIDE) * CHUNK;
        row0 = (warp / (ACROSS / WIDE) * HIGH + lane / WIDE) * CHUNK;
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; ++j) v[i][j] = (A)0.f;
    }
    __device__ __forceinline__ int row(int i) const {
        return row0 + i / CHUNK * (BM / (TM / CHUNK)) + i % CHUNK;
    }
    __device__ __forceinline__ int column(int j) const {
        return column0 + j / CHUNK * (BN / (TN / CHUNK)) + j % CHUNK;
    }
    __device__ __forceinline__ A& at(int i, int j) { return v[i][j]; }
    __device__ __forceinline__ A value(int i, int j) const { return v[i][j]; }
    __device__ __forceinline__ int row_of(int i) const { return row(i); }
    __device__ __forceinline__ int column_of(int j) const { return column(j); }
    __device__ __forceinline__ int down() const { return threadIdx.x / 32 / (ACROSS / WIDE); }
    template <int AT_ONCE> __device__ __forceinline__ void add(const A* a, const A* b) {
#pragma unroll AT_ONCE
        for (int k = 0; k < BK; ++k) {
            Chunk left[TM / CHUNK], right[TN / CHUNK];
#pragma unroll
            for (int i = 0; i < TM; i += CHUNK)
                left[i / CHUNK] = *(const Chunk*)(a + k * ROW_A + row(i));
#pragma unroll
            for (int j = 0; j < TN; j += CHUNK)
                right[j / CHUNK] = *(const Chunk*)(b + k * ROW_B + column(j));
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j)
                    v[i][j] += left[i / CHUNK].v[i % CHUNK] * right[j / CHUNK].v[j % CHUNK];
        }
    }
};

template <class ReaderA, class ReaderB>
__device__ __forceinline__ void multiply(ReaderA& a, ReaderB& b, const Gather& g, const Turn& turn,
                                         int k, int end, Sums& sums, Tiles& tiles) {
    Share<ReaderA, GA, VA, ROW_A> share_a;
    Share<ReaderB, GB, VB, ROW_B> share_b;
    a.seek(g, turn, k);
    b.seek(g, turn, k);
    share_a.load(a, g);
    share_b.load(b, g);
    share_a.store(tiles.a[0]);
    share_b.store(tiles.b[0]);
    __syncthreads();
    for (int turn_of = 0; k < end; k += BK, turn_of ^= 1) {
        const bool more = k + BK < end;
        if (more) {
            a.seek(g, turn, k + BK);
            b.seek(g, turn, k + BK);
            share_a.load(a, g);
            share_b.load(b, g);
        }
        // the data gradient's weights need more registers for their addresses
        sums.template add<ReaderB::K_INNER ? 1 : 2>(tiles.a[turn_of], tiles.b[turn_of]);
        if (more) {
            share_a.store(tiles.a[turn_of ^ 1]);
            share_b.store(tiles.b[turn_of ^ 1]);
        }
        __syncthreads();
    }
}

// Chunks go whole where rows have a multiple of their columns.
__device__ __forceinline__ void put_row(const Sums& sums, int i, T* out, int left, int columns) {
    struct __align__(sizeof(T) * CHUNK) Group {
        T v[CHUNK];
    };
#pragma unroll
    for (int j = 0; j < TN; j += CHUNK) {
        const int column = sums.column(j);
        if (columns % CHUNK == 0 && column < left) {
            Group group;
#pragma unroll
            for (int e = 0; e < CHUNK; ++e) group.v[e] = (T)sums.v[i][j + e];
            *(Group*)(out + column) = group;
        } else {
#pragma unroll
            for (int e = 0; e < CHUNK; ++e)
                if (column + e < left) out[column + e] = (T)sums.v[i][j + e];
        }
    }
}

// All splits of this tile, added in their order, in the block that comes last; false in others.
__device__ __forceinline__ bool join(const Gather& g, const Turn& turn, Sums& sums, A* part,
                                     unsigned* tickets) {
    if (g.splits == 1) return true;
    Chunk* mine = (Chunk*)part + (i64)turn.tile * g.splits * (BM * BN / CHUNK) + threadIdx.x;
    const int one = BM * BN / CHUNK;
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; j += CHUNK) {
            Chunk out;
#pragma unroll
            for (int e = 0; e < CHUNK; ++e) out.v[e] = sums.v[i][j + e];
            mine[turn.split * one + (i * TN + j) / CHUNK * THREADS] = out;
        }
    if (!comes_last(tickets + turn.tile, g.splits)) return false;
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) sums.v[i][j] = (A)0.f;
    for (int s = 0; s < g.splits; ++s)
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < TN; j += CHUNK) {
                const Chunk add = mine[s * one + (i * TN + j) / CHUNK * THREADS];
#pragma unroll
                for (int e = 0; e < CHUNK; ++e) sums.v[i][j + e] += add.v[e];
            }
    return true;
}

#include "implicit_products.cuh"

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_fwd(
    const T* __restrict__ x_nsc, const T* __restrict__ w_kcf, const T* __restrict__ bias_f,
    T* __restrict__ y_nsf, A* part, unsigned* tickets, Gather g, int relu) {
    __shared__ Tiles tiles;
    forward(tiles, x_nsc, w_kcf, bias_f, y_nsf, part, tickets, g, relu);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_stats(
    const T* __restrict__ x_nsc, const T* __restrict__ w_kcf, T* __restrict__ y_nsf, A* mean_f,
    A* var_f, A* rstd_f, A* moments, A* part, unsigned* tickets, Gather g, A eps) {
    __shared__ Tiles tiles;
    forward_with_stats(tiles, x_nsc, w_kcf, y_nsf,
                       ColumnMoments{mean_f, var_f, rstd_f, moments, tickets, eps}, part, g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_data(
    const T* __restrict__ gy_nsf, const T* __restrict__ w_kcf, T* __restrict__ gx_nsc, A* part,
    unsigned* tickets, Gather g) {
    __shared__ Tiles tiles;
    data(tiles, gy_nsf, w_kcf, gx_nsc, part, tickets, g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_data_relu(
    const T* __restrict__ gy_nsf, const T* __restrict__ w_kcf, const T* __restrict__ y_nsc,
    T* __restrict__ gx_nsc, T* sum_c, A* totals, A* part, unsigned* tickets, Gather g) {
    __shared__ Tiles tiles;
    data_with_relu(tiles, gy_nsf, w_kcf, y_nsc, gx_nsc, ColumnTotals{sum_c, totals, tickets}, part,
                   g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_weight(
    const T* __restrict__ x_nsc, const T* __restrict__ gy_nsf, T* __restrict__ gw_kcf, A* part,
    unsigned* tickets, Gather g) {
    __shared__ Tiles tiles;
    weight(tiles, x_nsc, gy_nsf, gw_kcf, part, tickets, g);
}
