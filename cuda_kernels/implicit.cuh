// implicit.cuh - convolution as a GEMM whose operands are read where they lie: who reads what.
//
// The three products of one convolution, with rows m, columns n and the summed index k:
//   forward   y[m, n]  = sum of x at (place m, tap and channel k) * w[k, n]      n: filters
//   data      gx[m, n] = sum of gy at (the place that tap k of pixel m came from) * w[tap, n, f]
//   weight    gw[m, n] = sum of x at (place k, tap and channel m) * gy[k, n]
//
// Along an axis, tap j of place i reads source element i * stride + start + j * step. For the data
// gradient of a strided convolution the pixels of one axis fall into `stride` phases; within one
// phase it is such a gather too, with the taps first_tap, first_tap + tap_step, ... of the kernel.
//
// A reader hands out, per k-tile, the spots of the groups of G elements that this thread moves to
// shared memory: one for each PIECE of elements that lie side by side (PIECE divides the channels).
// What is not there stands for zero: padding or beyond the edge.
#pragma once
#include "division.cuh"

#ifndef RANK
#define RANK 2  // spatial axes: 3, or up to 2
#endif
#ifndef PA
#define PA 1    // elements of a piece of each operand, where not all of a group is one
#define PB 1
#endif
#define FAR_OUT (-(1 << 30))  // a coordinate that is outside whatever is added to it

const int MOST_PHASES = 4;

struct Phase {       // one axis, one phase
    int start, taps, first_tap;
    Div by_taps;
};

struct Gather {      // axes are D, H, W
    int rows;        // images * places: m of forward and data (each phase), k of weight
    int inner;       // channels of the gathered array
    int columns;     // n
    int run, splits; // k of one split, and their number
    int size[3];     // of the gathered array
    int target[3];   // of the array that rows walk
    int stride[3], step[3];
    int window[3], tap_step[3];
    int phases[3];
    Div by_tiles;    // tiles along n
    Div by_inner, by_places[3];
    Phase phase[3][MOST_PHASES];
};

static_assert(sizeof(Gather) == 452, "plans_implicit.py describes this struct");

// What this block does: its tile, its phase along each axis and its split of k. blockIdx.x counts
// tiles, those along n first, blockIdx.z phases (d, h, w) and splits, which are the inner ones.
struct Turn {
    int m0, n0;
    int at[3];
    int k;           // taps * inner
    int split, tile; // tile of those of all phases
    __device__ __forceinline__ Turn(const Gather& g, int rows, int columns) {
        unsigned q = blockIdx.x;
        n0 = take(q, g.by_tiles) * columns;
        m0 = (int)q * rows;
        int z = blockIdx.z / g.splits;
        split = blockIdx.z % g.splits;
        tile = z * gridDim.x + blockIdx.x;
        at[2] = z % g.phases[2];
        z /= g.phases[2];
        at[1] = z % g.phases[1];
        at[0] = z / g.phases[1];
        k = g.inner;
        for (int a = 0; a < 3; ++a) k *= g.phase[a][at[a]].taps;
    }
};

// Where row m of forward and data lies: image, and its place along each axis.
struct Place {
    int n, d, h, w;
    __device__ __forceinline__ Place(const Gather& g, int m) {
        unsigned q = (unsigned)m;
        w = take(q, g.by_places[2]);
        h = take(q, g.by_places[1]);
        d = RANK > 2 ? take(q, g.by_places[0]) : 0;
        n = (int)q;
    }
};

// The target element of row m in a phase, counted in pixels; -1 if the phase has no such element.
__device__ __forceinline__ int target_of(const Gather& g, const Turn& turn, int m) {
    const Place p(g, m);
    const int d = p.d * g.phases[0] + turn.at[0], h = p.h * g.phases[1] + turn.at[1],
              w = p.w * g.phases[2] + turn.at[2];
    if (d >= g.target[0] || h >= g.target[1] || w >= g.target[2]) return -1;
    return ((p.n * g.target[0] + d) * g.target[1] + h) * g.target[2] + w;
}

// A tap and a channel of it, as moves away from tap 0, channel 0.
struct Move {
    int d, h, w;
    int by;          // elements of the gathered array, which has fewer than 2^31
    __device__ __forceinline__ void set(const Gather& g, const Turn& turn, int k, bool valid) {
        unsigned q = (unsigned)k;
        const int c = take(q, g.by_inner);
        w = take(q, g.phase[2][turn.at[2]].by_taps) * g.step[2];
        h = take(q, g.phase[1][turn.at[1]].by_taps) * g.step[1];
        d = RANK > 2 ? (int)q * g.step[0] : 0;
        by = ((d * g.size[1] + h) * g.size[2] + w) * g.inner + c;
        if (!valid) h = FAR_OUT;
    }
};

// Tap 0 of a place.
struct Corner {
    int d, h, w, at;
    __device__ __forceinline__ void set(const Gather& g, const Turn& turn, int m, bool valid) {
        const Place p(g, m);
        w = p.w * g.stride[2] + g.phase[2][turn.at[2]].start;
        h = p.h * g.stride[1] + g.phase[1][turn.at[1]].start;
        d = RANK > 2 ? p.d * g.stride[0] + g.phase[0][turn.at[0]].start : 0;
        at = (((p.n * g.size[0] + d) * g.size[1] + h) * g.size[2] + w) * g.inner;
        if (!valid) h = FAR_OUT;
    }
};

// Where a piece lies: `by` elements from the array's first, or nowhere.
struct Spot {
    int by;
    bool there;
};

__device__ __forceinline__ Spot spot_of(const Gather& g, const Corner& c, const Move& m) {
    bool inside = (unsigned)(c.h + m.h) < (unsigned)g.size[1] &&
                  (unsigned)(c.w + m.w) < (unsigned)g.size[2];
    if (RANK > 2) inside = inside && (unsigned)(c.d + m.d) < (unsigned)g.size[0];
    return Spot{c.at + m.by, inside};
}

// ---------------------------------------------------------------- who moves which group of a tile
// Tiles of R rows by BK whose elements along k are neighbours in memory...
template <int R, int BK, int G, int THREADS> struct AlongK {
    static constexpr int ACROSS = BK / G, STEP = THREADS / ACROSS, SLOTS = (R + STEP - 1) / STEP;
    static constexpr bool K_INNER = true, FULL = R % STEP == 0;
    static_assert(THREADS % ACROSS == 0 && (FULL || R < STEP), "a group for every thread");
    static __device__ __forceinline__ int k() { return threadIdx.x % ACROSS * G; }
    static __device__ __forceinline__ int row(int slot) {
        return threadIdx.x / ACROSS + slot * STEP;
    }
    static __device__ __forceinline__ bool mine(int slot) { return FULL || row(slot) < R; }
};

// ... and tiles whose neighbours are along the rows.
template <int R, int BK, int G, int THREADS> struct AlongRow {
    static constexpr int ACROSS = R / G, STEP = THREADS / ACROSS, SLOTS = (BK + STEP - 1) / STEP;
    static constexpr bool K_INNER = false, FULL = BK % STEP == 0;
    static_assert(THREADS % ACROSS == 0 && (FULL || BK < STEP), "a group for every thread");
    static __device__ __forceinline__ int row() { return threadIdx.x % ACROSS * G; }
    static __device__ __forceinline__ int k(int slot) { return threadIdx.x / ACROSS + slot * STEP; }
    static __device__ __forceinline__ bool mine(int slot) { return FULL || k(slot) < BK; }
};

// ---------------------------------------------------------------- readers
// Rows are places, k taps and channels: the first operand of forward and data.
template <class S, class Tile, int G, int PIECE_> struct PlaceReader : Tile {
    static constexpr int PIECE = PIECE_, EACH = G / PIECE;
    const S* from;
    Corner corner[Tile::SLOTS];
    Move move[EACH];
    __device__ __forceinline__ PlaceReader(const S* x, const Gather& g, const Turn& turn, int m0)
        : from(x) {
#pragma unroll
        for (int s = 0; s < Tile::SLOTS; ++s) {
            const int m = m0 + Tile::row(s);
            corner[s].set(g, turn, m, m < g.rows);
        }
    }
    __device__ __forceinline__ void seek(const Gather& g, const Turn& turn, int k0) {
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            const int k = k0 + Tile::k() + e * PIECE;
            move[e].set(g, turn, k, k < turn.k);
        }
    }
    __device__ __forceinline__ Spot spot(const Gather& g, int slot, int e) const {
        return spot_of(g, corner[slot], move[e]);
    }
};

// Rows are taps and channels, k places: the first operand of weight.
template <class S, class Tile, int G, int PIECE_> struct TapReader : Tile {
    static constexpr int PIECE = PIECE_, EACH = G / PIECE;
    const S* from;
    int end;
    Corner corner[Tile::SLOTS];
    Move move[EACH];
    __device__ __forceinline__ TapReader(const S* x, const Gather& g, const Turn& turn, int m0,
                                         int k_end)
        : from(x), end(k_end) {
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            const int m = m0 + Tile::row() + e * PIECE;
            move[e].set(g, turn, m, m < turn.k);
        }
    }
    __device__ __forceinline__ void seek(const Gather& g, const Turn& turn, int k0) {
#pragma unroll
        for (int s = 0; s < Tile::SLOTS; ++s) {
            const int k = k0 + Tile::k(s);
            corner[s].set(g, turn, k, k < end);
        }
    }
    __device__ __forceinline__ Spot spot(const Gather& g, int slot, int e) const {
        return spot_of(g, corner[slot], move[e]);
    }
};

// A matrix [k, columns] as it lies: the second operand of forward (w) and weight (gy).
template <class S, class Tile, int G, int PIECE_> struct MatrixReader : Tile {
    static constexpr int PIECE = PIECE_, EACH = G / PIECE;
    const S* from;
    int column, end, k0;
    __device__ __forceinline__ MatrixReader(const S* w, const Gather&, int n0, int k_end)
        : from(w), column(n0 + Tile::row()), end(k_end), k0(0) {}
    __device__ __forceinline__ void seek(const Gather&, const Turn&, int k) { k0 = k; }
    __device__ __forceinline__ Spot spot(const Gather& g, int slot, int e) const {
        const int k = k0 + Tile::k(slot), n = column + e * PIECE;
        return Spot{k * g.columns + n, k < end && n < g.columns};
    }
};

// Weights w[tap, n, f] with k = (tap of the phase, f): the second operand of data.
template <class S, class Tile, int G, int PIECE_> struct WeightReader : Tile {
    static constexpr int PIECE = PIECE_, EACH = G / PIECE;
    const S* from;
    int first, left; // row 0 of this thread; rows of the matrix from there on
    int move[EACH];  // -1: beyond the last k
    __device__ __forceinline__ WeightReader(const S* w, const Gather& g, int n0)
        : from(w), first((n0 + Tile::row(0)) * g.inner), left(g.columns - n0 - Tile::row(0)) {}
    __device__ __forceinline__ void seek(const Gather& g, const Turn& turn, int k0) {
#pragma unroll
        for (int e = 0; e < EACH; ++e) {
            const int k = k0 + Tile::k() + e * PIECE;
            unsigned q = (unsigned)k;
            const int f = take(q, g.by_inner);
            int tap[3];
            tap[2] = take(q, g.phase[2][turn.at[2]].by_taps);
            tap[1] = take(q, g.phase[1][turn.at[1]].by_taps);
            tap[0] = (int)q;
#pragma unroll
            for (int a = 0; a < 3; ++a)
                tap[a] = tap[a] * g.tap_step[a] + g.phase[a][turn.at[a]].first_tap;
            const int flat = (tap[0] * g.window[1] + tap[1]) * g.window[2] + tap[2];
            move[e] = k < turn.k ? flat * g.columns * g.inner + f : -1;
        }
    }
    __device__ __forceinline__ Spot spot(const Gather& g, int slot, int e) const {
        const int down = slot * Tile::STEP;
        return Spot{first + move[e] + down * g.inner, move[e] >= 0 && down < left};
    }
};

// The address of a piece, or null.
template <class Reader>
__device__ __forceinline__ auto address(const Reader& reader, const Gather& g, int slot, int e) {
    const Spot at = reader.spot(g, slot, e);
    return at.there ? reader.from + at.by : nullptr;
}
