// conv_implicit_mma.cu - convolution as implicit GEMM on tensor cores, sums in float32.
//
// conv_implicit_mma_fwd     x[N,S,C] w[K,C,F] bias[F] or null -> y[N,S',F] = act(x * w + bias)
//   bytes sizeof(T) * (x + w + y) from memory, x again from cache for each tap; flops 2*rows*K*C*F
// conv_implicit_mma_stats   x[N,S,C] w[K,C,F] -> y[N,S',F], mean[F] var[F] rstd[F] of y
//   (moments.cuh) for batch normalisation: y is not read for it
// conv_implicit_mma_data    gy[N,S',F] w[K,C,F] -> gx[N,S,C]
//   the same with x and y changed about; in phases for strides above 1
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
// else TF32 copies words and the 16-bit types go through registers.
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
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int DOWN = BM / WARPS_M / 16, ACROSS = BN / WARPS_N / 8;  // instructions of a warp
// blocks a multiprocessor: bounds registers, 255 where each element has an address of its own
constexpr int EACH = DOWN * ACROSS;
constexpr int ROOM = EACH < 16 || (THREADS > 128 && sizeof(T) == 2 && AMPERE) ? 512
                     : EACH < 32                                              ? 384
                                                                              : 256;
constexpr int BLOCKS = (VA && VB && RANK < 3 ? ROOM : 256) / THREADS;
static_assert(BM % (16 * WARPS_M) == 0 && BN % (16 * WARPS_N) == 0 && BLOCKS > 0, "tile shape");

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

template <class Reader, bool WHOLE, int PITCH>
__device__ __forceinline__ void fill(const Reader& from, const Gather& g, T* tile) {
#pragma unroll
    for (int s = 0; s < Reader::SLOTS; ++s) {
        if (!Reader::mine(s)) continue;
        T* to;
        if constexpr (Reader::K_INNER)
            to = tile + swizzled(Reader::row(s), Reader::k() / G);
        else
            to = tile + Reader::k(s) * PITCH + Reader::row();
        if constexpr (WHOLE) {
            copy_async<16>(to, from.at(g, s, 0));
        } else {
#pragma unroll
            for (int e = 0; e < G; ++e) {
                const T* p = from.at(g, s, e);
                if constexpr (sizeof(T) == 4)
                    copy_async<4>(to + e, p);
                else
                    to[e] = p ? *p : (T)0.f;
            }
        }
    }
}

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

// The sums of one thread, as instructions leave them.
struct Sums {
    float v[DOWN][ACROSS][4];
    int row0, column0;
    static constexpr int COLUMNS = 2 * ACROSS, ROWS = 2 * DOWN, APART = 4;     // for moments.cuh
    static constexpr int WARPS_DOWN = WARPS_M;
    __device__ __forceinline__ Sums() {
        const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
        row0 = warp / WARPS_N * (DOWN * 16) + lane / 4;
        column0 = warp % WARPS_N * (ACROSS * 8) + lane % 4 * 2;
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
    // half 0 and 1: rows 8 apart
    __device__ __forceinline__ int row(int i, int half) const { return row0 + 16 * i + 8 * half; }
    __device__ __forceinline__ int column(int j) const { return column0 + 8 * j; }
    __device__ __forceinline__ float value(int i, int j) const {
        return v[i / 2][j / 2][i % 2 * 2 + j % 2];
    }
    __device__ __forceinline__ int row_of(int i) const { return row(i / 2, i % 2); }
    __device__ __forceinline__ int column_of(int j) const { return column(j / 2) + j % 2; }
    __device__ __forceinline__ int down() const { return threadIdx.x / 32 / WARPS_N; }
};

#include "moments.cuh"

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
                                         int begin, int end, Sums& sums, T* memory) {
    typedef Tiles<ReaderA, ReaderB> Both;
    int coming = begin;
    auto fetch = [&](int stage) {
        if (coming < end) {
            T* tile = memory + stage * Both::SIZE;
            a.seek(g, turn, coming);
            b.seek(g, turn, coming);
            fill<ReaderA, VA, Both::A_::PITCH>(a, g, tile);
            fill<ReaderB, VB, Both::B_::PITCH>(b, g, tile + Both::A_::SIZE);
        }
        coming += BK;
        copies_commit();              // an empty group too: they are counted
    };
    for (int s = 0; s < STAGES - 1; ++s) fetch(s);
    int stage = 0;
    for (int k = begin; k < end; k += BK) {
        copies_wait<STAGES - 2>();
        __syncthreads();              // this stage is there for all, the one before is free
        fetch(stage == 0 ? STAGES - 1 : stage - 1);
        Both::add(memory + stage * Both::SIZE, sums);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
}

// Two neighbours to out, which points at their row and this block's first column.
__device__ __forceinline__ void put(float first, float second, T* out, int column, int left,
                                    bool pairs) {
    struct __align__(2 * sizeof(T)) Pair {
        T a, b;
    };
    if (pairs && column < left) {
        *(Pair*)(out + column) = Pair{(T)first, (T)second};
    } else {
        if (column < left) out[column] = (T)first;
        if (column + 1 < left) out[column + 1] = (T)second;
    }
}

__device__ __forceinline__ void put_row(const Sums& sums, int i, int half, T* out, int left,
                                        bool pairs) {
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
        put(sums.v[i][j][2 * half], sums.v[i][j][2 * half + 1], out, sums.column(j), left, pairs);
}

// bias and rectifier
__device__ __forceinline__ void finish(Sums& sums, const T* bias, int n0, int left, int relu) {
#pragma unroll
    for (int j = 0; j < ACROSS; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int column = sums.column(j) + e % 2;
            const float add = bias && column < left ? (float)bias[n0 + column] : 0.f;
#pragma unroll
            for (int i = 0; i < DOWN; ++i) {
                const float v = sums.v[i][j][e] + add;
                sums.v[i][j][e] = relu && v < 0.f ? 0.f : v;
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

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_fwd(
    const T* __restrict__ x_nsc, const T* __restrict__ w_kcf, const T* __restrict__ bias_f,
    T* __restrict__ y_nsf, float* part, unsigned* tickets, Gather g, int relu) {
    extern __shared__ Bits128 memory[];
    const Turn turn(g, BM, BN);
    const int m0 = turn.m0, n0 = turn.n0;
    PlaceReader<T, AlongK<BM, BK, G, THREADS>, G, VA> a(x_nsc, g, turn, m0);
    MatrixReader<T, AlongRow<BN, BK, G, THREADS>, G, VB> b(w_kcf, g, n0, turn.k);
    Sums sums;
    const int begin = turn.split * g.run;
    multiply(a, b, g, turn, begin, min(begin + g.run, turn.k), sums, (T*)memory);
    if (!join(g, turn, sums, part, tickets)) return;
    const int left = g.columns - n0;
    if (bias_f || relu) finish(sums, bias_f, n0, left, relu);
#pragma unroll
    for (int i = 0; i < 2 * DOWN; ++i) {
        const int m = m0 + sums.row(i / 2, i % 2);
        if (m < g.rows)
            put_row(sums, i / 2, i % 2, y_nsf + (m * g.columns + n0), left, !(g.columns & 1));
    }
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_stats(
    const T* __restrict__ x_nsc, const T* __restrict__ w_kcf, T* __restrict__ y_nsf,
    float* mean_f, float* var_f, float* rstd_f, float* moments, float* part, unsigned* tickets,
    Gather g, float eps) {
    extern __shared__ Bits128 memory[];
    const Turn turn(g, BM, BN);
    const int m0 = turn.m0, n0 = turn.n0;
    PlaceReader<T, AlongK<BM, BK, G, THREADS>, G, VA> a(x_nsc, g, turn, m0);
    MatrixReader<T, AlongRow<BN, BK, G, THREADS>, G, VB> b(w_kcf, g, n0, turn.k);
    Sums sums;
    const int begin = turn.split * g.run;
    multiply(a, b, g, turn, begin, min(begin + g.run, turn.k), sums, (T*)memory);
    if (!join(g, turn, sums, part, tickets)) return;
#pragma unroll
    for (int i = 0; i < 2 * DOWN; ++i) {
        const int m = m0 + sums.row(i / 2, i % 2);
#pragma unroll
        for (int j = 0; j < 2 * ACROSS; ++j) {            // what others will read
            float& v = sums.v[i / 2][j / 2][i % 2 * 2 + j % 2];
            v = (float)(T)v;
        }
        if (m < g.rows)
            put_row(sums, i / 2, i % 2, y_nsf + (m * g.columns + n0), g.columns - n0,
                    !(g.columns & 1));
    }
    column_moments(
        sums, ColumnMoments{mean_f, var_f, rstd_f, moments, tickets + gridDim.x, eps}, m0, n0,
        g.rows, g.columns);
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_data(
    const T* __restrict__ gy_nsf, const T* __restrict__ w_kcf, T* __restrict__ gx_nsc, float* part,
    unsigned* tickets, Gather g) {
    extern __shared__ Bits128 memory[];
    const Turn turn(g, BM, BN);
    const int m0 = turn.m0, n0 = turn.n0;
    PlaceReader<T, AlongK<BM, BK, G, THREADS>, G, VA> a(gy_nsf, g, turn, m0);
    WeightReader<T, AlongK<BN, BK, G, THREADS>, G, VB> b(w_kcf, g, n0);
    Sums sums;
    const int begin = turn.split * g.run;
    multiply(a, b, g, turn, begin, min(begin + g.run, turn.k), sums, (T*)memory);
    if (!join(g, turn, sums, part, tickets)) return;
#pragma unroll
    for (int i = 0; i < 2 * DOWN; ++i) {
        const int m = m0 + sums.row(i / 2, i % 2);
        const int to = m < g.rows ? target_of(g, turn, m) : -1;
        if (to >= 0)
            put_row(sums, i / 2, i % 2, gx_nsc + (to * g.columns + n0), g.columns - n0,
                    !(g.columns & 1));
    }
}

extern "C" __global__ __launch_bounds__(THREADS, BLOCKS) void conv_implicit_mma_weight(
    const T* __restrict__ x_nsc, const T* __restrict__ gy_nsf, T* __restrict__ gw_kcf, float* part,
    unsigned* tickets, Gather g) {
    extern __shared__ Bits128 memory[];
    const Turn turn(g, BM, BN);
    const int m0 = turn.m0, n0 = turn.n0;
    const int begin = turn.split * g.run, end = min(begin + g.run, g.rows);
    TapReader<T, AlongRow<BM, BK, G, THREADS>, G, VA> a(x_nsc, g, turn, m0, end);
    MatrixReader<T, AlongRow<BN, BK, G, THREADS>, G, VB> b(gy_nsf, g, n0, end);
    Sums sums;
    multiply(a, b, g, turn, begin, end, sums, (T*)memory);
    if (!join(g, turn, sums, part, tickets)) return;
#pragma unroll
    for (int i = 0; i < 2 * DOWN; ++i) {
        const int m = m0 + sums.row(i / 2, i % 2);
        if (m < turn.k)
            put_row(sums, i / 2, i % 2, gw_kcf + (m * g.columns + n0), g.columns - n0,
                    !(g.columns & 1));
    }
}
