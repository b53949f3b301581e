// conv_implicit_mma.cu - convolution as implicit GEMM on tensor cores, sums in float32.
//
// conv_implicit_mma_fwd     x[N,S,C] w[K,C,F] bias[F] or null -> y[N,S',F] = act(x * w + bias)
//   bytes sizeof(T) * (x + w + y) from memory, x again from cache for each tap; flops 2*rows*K*C*F
// conv_implicit_mma_stats   x[N,S,C] w[K,C,F] -> y[N,S',F], mean[F] var[F] rstd[F] of y
//   (moments.cuh) for batch normalisation: y is not read for it
// conv_implicit_mma_data    gy[N,S',F] w[K,C,F] -> gx[N,S,C]
//   the same with x and y changed about; in phases for strides above 1
// conv_implicit_mma_data_relu  also y[N,S,C] -> gx where y > 0, else 0; sum[C] of gx or null
// conv_implicit_mma_weight  x[N,S,C] gy[N,S',F] -> gw[K,C,F]
//
// The sum over k may be split as in conv_implicit.cu: part[tiles, splits, BM * BN].
//
// T float: products in TF32, operands rounded to nearest; sm_80 on. T float16, bfloat16: products
// of 16 bits; float16 from sm_75, bfloat16 from sm_80 on.
//
// Rows m, columns n and the sum k: see implicit.cuh. One block makes a tile of BM by BN from tiles
// of 64 bytes along k. STAGES of them are in shared memory: while one is multiplied the next are on
// their way by cp.async, with one barrier for each. WARPS_M by WARPS_N warps share the tile. Rows
// along k are swizzled, those along the other index padded by 16 bytes (TF32: 32): eight rows of
// ldmatrix, or 32 single words, lie in different banks. VA, VB: 1 where the channels that lie side
// by side divide into 16-byte groups (first and second operand), so that one copy moves a group;
// else pieces of PA and PB elements go by copies of 8 or 4 bytes, and single elements of 16 bits
// through registers while the tile before is multiplied.
// Occupancy by registers: tiles of 128x128 2 blocks of 4 or 8 warps a multiprocessor (TF32 with 8
// warps: 1), of 128x64 3, below 4. By count a warp's 64x64 (4 warps) keeps the products as busy as
// shared memory, its 64x32 three quarters of that; sm_75 and sm_100 on would spill with 64x64.
// Not yet run on a GPU: emulator and NVRTC only.
#include "implicit.cuh"
#include "mma.cuh"

#ifndef BM
#define BM 64
#define BN 64
#define WARPS_M 2
#define WARPS_N 2
#endif
#ifndef STAGES
#define STAGES 4
#endif
#ifndef VA
#define VA 0
#define VB 0
#endif

constexpr int G = 16 / sizeof(T), BK = 4 * G, KK = 2 * G;       // KK: of one instruction
constexpr int GA = G, GB = G, THREADS = 32 * WARPS_M * WARPS_N;
constexpr int DOWN = BM / WARPS_M / 16, ACROSS = BN / WARPS_N / 8;  // instructions of a warp
constexpr int ROWS_APART = 16;
// blocks a multiprocessor: bounds registers, 255 where each element has an address of its own
constexpr int EACH = DOWN * ACROSS;
constexpr int ROOM = EACH < 16 || (THREADS > 128 && sizeof(T) == 2 && AMPERE) ? 512
                     : EACH < 32                                              ? 384
                                                                              : 256;
constexpr int BLOCKS = (VA && VB && RANK < 3 ? ROOM : 256) / THREADS;
static_assert(BM % (16 * WARPS_M) == 0 && BN % (16 * WARPS_N) == 0 && BLOCKS > 0, "tile shape");

template <int ROWS, int GROUP> using RowTile = AlongRow<ROWS, BK, GROUP, THREADS>;

// A tile of ROWS by BK in shared memory; elements from one row (K_INNER), or one k, to the next.
template <int ROWS, bool K_INNER> struct Layout {
    static constexpr int PITCH = K_INNER ? BK : ROWS + 8, SIZE = (K_INNER ? ROWS : BK) * PITCH;
};

// Where group `group` of a row along k starts in a K_INNER tile. Two rows share 128 bytes; their
// groups change places with the number of the pair, so that eight rows of ldmatrix, and the eight
// threads that copy two whole rows, touch all banks once.
__device__ __forceinline__ int swizzled(int row, int group) {
    return row * BK + (group ^ (row / 2 % 4)) * G;
}

template <class Reader, int PITCH> __device__ __forceinline__ T* place(T* tile, int slot) {
    if constexpr (Reader::K_INNER)
        return tile + swizzled(Reader::row(slot), Reader::k() / G);
    else
        return tile + Reader::k(slot) * PITCH + Reader::row();
}

// One operand's share of a tile, by copies that arrive later...
template <class Reader, int PITCH, bool ASYNC = Reader::PIECE * sizeof(T) >= 4> struct Share {
    __device__ __forceinline__ void fetch(const Reader& from, const Gather& g, T* tile) {
#pragma unroll
        for (int s = 0; s < Reader::SLOTS; ++s) {
            if (!Reader::mine(s)) continue;
            T* to = place<Reader, PITCH>(tile, s);
#pragma unroll
            for (int e = 0; e < Reader::EACH; ++e) {
                const Spot at = from.spot(g, s, e);
                copy_async<Reader::PIECE * sizeof(T)>(to + e * Reader::PIECE, from.from + at.by,
                                                      at.there);
            }
        }
    }
    __device__ __forceinline__ void put(T*) {}
};

// ... or, where single elements of 16 bits lie apart, in registers while others are multiplied.
template <class Reader, int PITCH> struct Share<Reader, PITCH, false> {
    Bits128 held[Reader::SLOTS];
    __device__ __forceinline__ void fetch(const Reader& from, const Gather& g, T*) {
#pragma unroll
        for (int s = 0; s < Reader::SLOTS; ++s) {
            if (!Reader::mine(s)) continue;
#pragma unroll
            for (int e = 0; e < G; e += 2) {
                const T *p = address(from, g, s, e), *q = address(from, g, s, e + 1);
                held[s].v[e / 2] = (p ? bits(*p) : 0u) | (q ? bits(*q) : 0u) << 16;
            }
        }
    }
    __device__ __forceinline__ void put(T* tile) {
#pragma unroll
        for (int s = 0; s < Reader::SLOTS; ++s)
            if (Reader::mine(s)) *(Bits128*)place<Reader, PITCH>(tile, s) = held[s];
    }
    template <class S> static __device__ __forceinline__ unsigned bits(S v) {
        if constexpr (sizeof(S) == 2)
            return v.bits;
        else
            return 0u;
    }
};

__device__ __forceinline__ unsigned word(const T* p) { return *(const unsigned*)p; }

// Rows row0 to row0 + 15 of the first operand, k from k0 on.
template <int PITCH, bool K_INNER>
__device__ __forceinline__ void load_a(unsigned (&a)[4], const T* tile, int row0, int k0) {
    const int lane = threadIdx.x & 31;
    if constexpr (K_INNER) {
        load_matrices(a, tile + swizzled(row0 + lane % 16, k0 / G + lane / 16));
    } else if constexpr (sizeof(T) == 2) {
        load_matrices_turned(a, tile + (k0 + lane % 8 + lane / 16 * 8) * PITCH + row0 +
                                    lane / 8 % 2 * 8);
    } else {
        const T* p = tile + (k0 + lane % 4) * PITCH + row0 + lane / 4;
        a[0] = word(p), a[1] = word(p + 8);
        a[2] = word(p + 4 * PITCH), a[3] = word(p + 4 * PITCH + 8);
    }
    if constexpr (sizeof(T) == 4)
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = to_tf32(a[i]);
}

// Columns n0 to n0 + 15 of the second operand: two registers for each 8 of them.
template <int PITCH, bool K_INNER>
__device__ __forceinline__ void load_b(unsigned (&b)[4], const T* tile, int n0, int k0) {
    const int lane = threadIdx.x & 31;
    if constexpr (K_INNER) {
        load_matrices(b, tile + swizzled(n0 + lane % 8 + lane / 16 * 8, k0 / G + lane / 8 % 2));
    } else if constexpr (sizeof(T) == 2) {
        load_matrices_turned(b, tile + (k0 + lane % 16) * PITCH + n0 + lane / 16 * 8);
    } else {
        const T* p = tile + (k0 + lane % 4) * PITCH + n0 + lane / 4;
        b[0] = word(p), b[1] = word(p + 4 * PITCH);
        b[2] = word(p + 8), b[3] = word(p + 4 * PITCH + 8);
    }
    if constexpr (sizeof(T) == 4)
#pragma unroll
        for (int i = 0; i < 4; ++i) b[i] = to_tf32(b[i]);
}

__device__ __forceinline__ int first_row(int warp) { return warp / WARPS_N * (DOWN * 16); }
__device__ __forceinline__ int first_column(int warp) { return warp % WARPS_N * (ACROSS * 8); }

#include "tensor_sums.cuh"

template <class ReaderA, class ReaderB> struct Tiles {
    typedef Layout<BM, ReaderA::K_INNER> A_;
    typedef Layout<BN, ReaderB::K_INNER> B_;
    static constexpr int SIZE = A_::SIZE + B_::SIZE;
    static __device__ __forceinline__ void add(const T* a, Sums& sums) {
        const T* b = a + A_::SIZE;
        const int lane = threadIdx.x & 31;
        const int row0 = sums.row0 - lane / 4, column0 = sums.column0 - lane % 4 * 2;
#pragma unroll
        for (int k = 0; k < BK; k += KK) {
            unsigned left[DOWN][4], right[ACROSS / 2][4];
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
                load_a<A_::PITCH, ReaderA::K_INNER>(left[i], a, row0 + 16 * i, k);
#pragma unroll
            for (int j = 0; j < ACROSS / 2; ++j)
                load_b<B_::PITCH, ReaderB::K_INNER>(right[j], b, column0 + 16 * j, k);
#pragma unroll
            for (int i = 0; i < DOWN; ++i)
#pragma unroll
                for (int j = 0; j < ACROSS; ++j)
                    mma(T(), sums.v[i][j], left[i], right[j / 2] + j % 2 * 2);
        }
    }
};

template <class ReaderA, class ReaderB>
__device__ __forceinline__ void multiply(ReaderA& a, ReaderB& b, const Gather& g, const Turn& turn,
                                         int begin, int end, Sums& sums, Bits128* words) {
    T* memory = (T*)words;
    typedef Tiles<ReaderA, ReaderB> Both;
    Share<ReaderA, Both::A_::PITCH> share_a;
    Share<ReaderB, Both::B_::PITCH> share_b;
    int coming = begin;
    auto fetch = [&](int stage) {
        if (coming < end) {
            T* tile = memory + stage * Both::SIZE;
            a.seek(g, turn, coming);
            b.seek(g, turn, coming);
            share_a.fetch(a, g, tile);
            share_b.fetch(b, g, tile + Both::A_::SIZE);
        }
        copies_commit();              // an empty group too: they are counted
    };
    auto put = [&](int stage) {
        if (coming < end) {
            share_a.put(memory + stage * Both::SIZE);
            share_b.put(memory + stage * Both::SIZE + Both::A_::SIZE);
        }
        coming += BK;
    };
    for (int s = 0; s < STAGES - 1; ++s) {
        fetch(s);
        put(s);
    }
    int stage = 0;
    for (int k = begin; k < end; k += BK) {
        copies_wait<STAGES - 2>();
        __syncthreads();              // this stage is there for all, the one before is free
        const int free = stage == 0 ? STAGES - 1 : stage - 1;
        fetch(free);
        Both::add(memory + stage * Both::SIZE, sums);
        put(free);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
}

#include "implicit_products.cuh"

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_fwd(
    const T* __restrict__ x_nsc, const T* __restrict__ w_kcf, const T* __restrict__ bias_f,
    T* __restrict__ y_nsf, float* part, unsigned* tickets, Gather g, int relu) {
    extern __shared__ Bits128 memory[];
    forward(memory, x_nsc, w_kcf, bias_f, y_nsf, part, tickets, g, relu);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_stats(
    const T* __restrict__ x_nsc, const T* __restrict__ w_kcf, T* __restrict__ y_nsf,
    float* mean_f, float* var_f, float* rstd_f, float* moments, float* part, unsigned* tickets,
    Gather g, float eps) {
    extern __shared__ Bits128 memory[];
    forward_with_stats(memory, x_nsc, w_kcf, y_nsf,
                       ColumnMoments{mean_f, var_f, rstd_f, moments, tickets, eps}, part, g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_data(
    const T* __restrict__ gy_nsf, const T* __restrict__ w_kcf, T* __restrict__ gx_nsc, float* part,
    unsigned* tickets, Gather g) {
    extern __shared__ Bits128 memory[];
    data(memory, gy_nsf, w_kcf, gx_nsc, part, tickets, g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_data_relu(
    const T* __restrict__ gy_nsf, const T* __restrict__ w_kcf, const T* __restrict__ y_nsc,
    T* __restrict__ gx_nsc, T* sum_c, float* totals, float* part, unsigned* tickets, Gather g) {
    extern __shared__ Bits128 memory[];
    data_with_relu(memory, gy_nsf, w_kcf, y_nsc, gx_nsc, ColumnTotals{sum_c, totals, tickets},
                   part, g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_weight(
    const T* __restrict__ x_nsc, const T* __restrict__ gy_nsf, T* __restrict__ gw_kcf, float* part,
    unsigned* tickets, Gather g) {
    extern __shared__ Bits128 memory[];
    weight(memory, x_nsc, gy_nsf, gw_kcf, part, tickets, g);
}
