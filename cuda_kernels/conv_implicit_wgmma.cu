// conv_implicit_wgmma.cu - convolution as implicit GEMM on Hopper's tensor cores (sm_90a).
//
// conv_implicit_wgmma_fwd     x[N,S,C] w[K,C,F] bias[F] or null -> y[N,S',F] = act(x * w + bias)
//   bytes sizeof(T) * (x + w + y) from memory, x again from cache for each tap; flops 2*rows*K*C*F
// conv_implicit_wgmma_stats   x[N,S,C] w[K,C,F] -> y[N,S',F], mean[F] var[F] rstd[F] of y
//   (moments.cuh) for batch normalisation: y is not read for it
// conv_implicit_wgmma_data    gy[N,S',F] w[K,C,F] -> gx[N,S,C]
//   the same with x and y changed about; in phases for strides above 1
// conv_implicit_wgmma_data_relu  also y[N,S,C] -> gx where y is positive, else 0; sum[C] of gx or
//   null
// conv_implicit_wgmma_weight  x[N,S,C] gy[N,S',F] -> gw[K,C,F]
//
// The sum over k may be split as in conv_implicit.cu: part[tiles, splits, BM * BN].
//
// T float: products in TF32, operands cut to 10 bits of mantissa (wgmma reads them from shared
// memory as they lie; conv_implicit_mma.cu rounds them). T float16, bfloat16: products of 16 bits.
//
// Rows m, columns n and the sum k: see implicit.cuh. GROUPS warpgroups of 128 threads make a tile
// of BM by BN from tiles of 128 bytes along k, STAGES of them in shared memory; each warpgroup has
// DOWN times 64 rows and all columns. All threads bring tiles (by cp.async, as each piece has an
// address of its own) and all multiply: while products of one tile are under way, a later tile is
// asked for, and the next one's products are queued before those are done. A stage is filled again
// once the products of two tiles ago are done in all warpgroups, which the barrier says.
//
// Operands whose neighbours are along k lie K-major, the others turned (16 bits). wgmma takes TF32
// operands K-major only: those of forward (w) and weight gradient (both) are copied word by word to
// their places, which Turned shares among lanes so that 32 words go to different banks. In all
// other cases one copy moves 16 bytes: the channels that lie side by side must divide into such
// groups, or conv_implicit_mma.cu takes the product.
//
// Counted, by NVRTC 13 and by hand; not yet run on a GPU. Clocks of the tensor cores (2048 products
// of 16 bits each) and of shared memory (128 bytes each) for one instruction's k; instructions of
// a k-tile (4 such) in one of the four schedulers, where the tensor cores take 4 times `products`:
// forward and data gradient of 16 bits, in parentheses the weight gradient and (TF32) forward.
//   tile     registers blocks shared memory    products reads + writes ceiling instructions
//   128x256  254       1      193 KB, 4 stages 256      160 + 96       1.0     338 (422, 500)
//   256x128  254       1      193 KB, 4 stages 256      192 + 96       0.89    394 (616, 502)
//   128x128  128       2       97 KB, 3 stages 128       96 + 64       0.8     300 (368, 410)
//   128x64   168       3       73 KB, 3 stages  64       64 + 48       0.57    198 (308, 250)
//   64x128   168       3       73 KB, 3 stages  64       48 + 48       0.67    163 (204, 244)
// TF32's weight gradient is short of schedulers in the small tiles: 557 of 256 clocks in 128x64,
// 762 of 1024 in 128x256. mma.sync has about 0.6 of wgmma's rate on Hopper. Caches deliver perhaps
// 30 bytes a clock to a multiprocessor, and 128x256 asks for 48, 128x128 for 64: the share of the
// gather that hits the first level (.cg does not look there) and two blocks of a cluster would be
// the next to try.
#include "implicit.cuh"
#include "mma.cuh"
#include "wgmma.cuh"

#ifndef BM
#define BM 128
#define BN 128
#define GROUPS 2
#endif
#ifndef STAGES
#define STAGES 3
#endif
#ifndef VA
#define VA 1
#define VB 1
#endif

constexpr int G = 16 / sizeof(T), BK = 8 * G, KK = 2 * G;       // KK: of one instruction
constexpr int GA = G, GB = G, THREADS = 128 * GROUPS;
constexpr int DOWN = BM / 64 / GROUPS, ACROSS = BN / 8, ROWS_APART = 64;
constexpr int WARPS_M = 4 * GROUPS, WARPS_N = 1;
constexpr int STAGE_BYTES = (BM + BN) * LINE;
constexpr bool WIDE = sizeof(T) == 4;
// blocks a multiprocessor: bounds registers
constexpr int BLOCKS = DOWN * ACROSS > 16 || RANK > 2 ? 1 : GROUPS == 1 ? 3 : 2;
static_assert(VA && VB, "conv_implicit_mma.cu takes channels that do not divide into groups");
static_assert(BM == 64 * GROUPS * DOWN && BN % 64 == 0 && STAGES > 2 && BLOCKS > 0, "tile shape");

// Who moves which group of 4 rows at one k of a tile of TF32 that is turned on its way. A warp has
// PAIRS rows' groups (LANES_K k each) at a time; word e goes to row `row() + order(e)`.
template <int ROWS, int GROUP> struct Turned {
    static constexpr int ACROSS = ROWS / GROUP / (THREADS / 32), LANES_K = 32 / ACROSS;
    static constexpr int SLOTS = BK / LANES_K;
    static constexpr bool K_INNER = false;
    static_assert(ACROSS == 2 || ACROSS == 4 || ACROSS == 8, "lanes for rows and for k");
    static __device__ __forceinline__ int row() {
        return (threadIdx.x / 32 * ACROSS + threadIdx.x % ACROSS) * GROUP;
    }
    static __device__ __forceinline__ int k(int slot) {
        return threadIdx.x % 32 / ACROSS + slot * LANES_K;
    }
    static __device__ __forceinline__ bool mine(int) { return true; }
    // 8 groups: 4 pairs take their words in 4 orders; 4 groups of 8 k: in two
    static __device__ __forceinline__ int order(int e) {
        const int pair = threadIdx.x % ACROSS / 2;
        return ACROSS == 2 ? e : ACROSS == 4 ? e ^ 2 * pair : e ^ pair;
    }
};

template <bool, int ROWS, int GROUP> struct RowTileOf {
    typedef AlongRow<ROWS, BK, GROUP, THREADS> type;
};
template <int ROWS, int GROUP> struct RowTileOf<true, ROWS, GROUP> {
    typedef Turned<ROWS, GROUP> type;
};
template <int ROWS, int GROUP> using RowTile = typename RowTileOf<WIDE, ROWS, GROUP>::type;

// Where piece `group` of a row along k lies, and piece row / G of one k: bytes from the tile.
__device__ __forceinline__ int along_k(int row, int group) {
    return row * LINE + (group ^ (row % 8)) * 16;
}
__device__ __forceinline__ int along_rows(int row, int k) {
    return (row / 64 * (BK / 8) + k / 8) * PATTERN + k % 8 * LINE + ((row % 64 / 8) ^ (k % 8)) * 16;
}

template <class Reader>
__device__ __forceinline__ void fill(const Reader& from, const Gather& g, char* tile) {
#pragma unroll
    for (int s = 0; s < Reader::SLOTS; ++s) {
        if (!Reader::mine(s)) continue;
        const Spot at = from.spot(g, s, 0);
        const T* p = from.from + at.by;
        if constexpr (Reader::K_INNER) {
            copy_async<16>(tile + along_k(Reader::row(s), Reader::k() / G), p, at.there);
        } else if constexpr (!WIDE) {
            copy_async<16>(tile + along_rows(Reader::row(), Reader::k(s)), p, at.there);
        } else {
            const int k = Reader::k(s);
#pragma unroll
            for (int e = 0; e < G; ++e) {
                const int word = Reader::order(e);
                copy_async<4>(tile + along_k(Reader::row() + word, k / G) + k % G * 4, p + word,
                              at.there);
            }
        }
    }
}

__device__ __forceinline__ int first_row(int warp) {
    return warp / 4 * (DOWN * 64) + warp % 4 * 16;
}
__device__ __forceinline__ int first_column(int) { return 0; }

#include "tensor_sums.cuh"

// Queues the products of one stage. at: its address; group: the warpgroup.
template <class ReaderA, class ReaderB>
__device__ __forceinline__ void add(Sums& sums, unsigned at, int group) {
    constexpr bool TURNED_A = !WIDE && !ReaderA::K_INNER, TURNED_B = !WIDE && !ReaderB::K_INNER;
    constexpr int TO_64_ROWS = BK / 8 * PATTERN;                        // of a turned operand
    constexpr int STEP_A = TURNED_A ? 2 * PATTERN : 32, STEP_B = TURNED_B ? 2 * PATTERN : 32;
    const u64 a = descriptor(at + group * (DOWN * 64 * LINE), TO_64_ROWS, PATTERN),
              b = descriptor(at + BM * LINE, TO_64_ROWS, PATTERN);
    static_assert(TO_64_ROWS == 64 * LINE || WIDE, "both layouts: 64 rows are 64 lines");
#pragma unroll
    for (int i = 0; i < DOWN; ++i) sums_fence(sums.v[i]);
#pragma unroll
    for (int k = 0; k < BK / KK; ++k)
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
            wgmma<TURNED_A, TURNED_B>(sums.v[i], further(a, i * 64 * LINE + k * STEP_A),
                                      further(b, k * STEP_B), T());
    wgmma_commit();
}

template <class ReaderA, class ReaderB>
__device__ __forceinline__ void multiply(ReaderA& a, ReaderB& b, const Gather& g, const Turn& turn,
                                         int begin, int end, Sums& sums, Bits128* memory) {
    const unsigned given = shared_address(memory), start = (given + PATTERN - 1) & ~(PATTERN - 1u);
    char* tiles = (char*)memory + (start - given);
    const int group = __shfl_sync(FULL_WARP, threadIdx.x / 128, 0);     // one for the whole warp
    int coming = begin;
    auto fetch = [&](int stage) {
        if (coming < end) {
            char* tile = tiles + stage * STAGE_BYTES;
            a.seek(g, turn, coming);
            b.seek(g, turn, coming);
            fill(a, g, tile);
            fill(b, g, tile + BM * LINE);
        }
        coming += BK;
        copies_commit();              // an empty group too: they are counted
    };
    for (int s = 0; s < STAGES - 2; ++s) fetch(s);
    int stage = 0;
    for (int k = begin; k < end; k += BK) {
        copies_wait<STAGES - 3>();
        proxy_fence();
        __syncthreads();              // this stage is there for all, the one before last is free
        add<ReaderA, ReaderB>(sums, start + stage * STAGE_BYTES, group);
        fetch(stage < 2 ? stage + STAGES - 2 : stage - 2);
        wgmma_wait<1>();
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < DOWN; ++i) pin(sums.v[i]);
}

#include "implicit_products.cuh"

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_wgmma_fwd(
    const T* __restrict__ x_nsc, const T* __restrict__ w_kcf, const T* __restrict__ bias_f,
    T* __restrict__ y_nsf, float* part, unsigned* tickets, Gather g, int relu) {
    extern __shared__ Bits128 memory[];
    forward(memory, x_nsc, w_kcf, bias_f, y_nsf, part, tickets, g, relu);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_wgmma_stats(
    const T* __restrict__ x_nsc, const T* __restrict__ w_kcf, T* __restrict__ y_nsf,
    float* mean_f, float* var_f, float* rstd_f, float* moments, float* part, unsigned* tickets,
    Gather g, float eps) {
    extern __shared__ Bits128 memory[];
    forward_with_stats(memory, x_nsc, w_kcf, y_nsf,
                       ColumnMoments{mean_f, var_f, rstd_f, moments, tickets, eps}, part, g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_wgmma_data(
    const T* __restrict__ gy_nsf, const T* __restrict__ w_kcf, T* __restrict__ gx_nsc, float* part,
    unsigned* tickets, Gather g) {
    extern __shared__ Bits128 memory[];
    data(memory, gy_nsf, w_kcf, gx_nsc, part, tickets, g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_wgmma_data_relu(
    const T* __restrict__ gy_nsf, const T* __restrict__ w_kcf, const T* __restrict__ y_nsc,
    T* __restrict__ gx_nsc, T* sum_c, float* totals, float* part, unsigned* tickets, Gather g) {
    extern __shared__ Bits128 memory[];
    data_with_relu(memory, gy_nsf, w_kcf, y_nsc, gx_nsc, ColumnTotals{sum_c, totals, tickets},
                   part, g);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_wgmma_weight(
    const T* __restrict__ x_nsc, const T* __restrict__ gy_nsf, T* __restrict__ gw_kcf, float* part,
    unsigned* tickets, Gather g) {
    extern __shared__ Bits128 memory[];
    weight(memory, x_nsc, gy_nsf, gw_kcf, part, tickets, g);
}
