// implicit_products.cuh - the products of implicit.cuh: what a block does, but for the arithmetic.
//
// forward, forward_with_stats, data and weight are the bodies of the four entries of a kernel file.
// To be included where the file has defined its tile (BM, BN, BK, THREADS), the elements of a group
// of each operand (GA, GB; VA, VB: do groups lie in one piece? else PA, PB: elements of a piece),
// RowTile (who moves which group of a tile whose neighbours are along the rows: AlongRow of
// implicit.cuh or another), its class Sums and
//   multiply(a, b, g, turn, begin, end, sums, memory)  adds the terms from begin to end - 1
//   join(g, turn, sums, part, tickets)  all splits of the tile, in the block that comes last; false
//                                       in the others
//   put_row(sums, i, out, left, columns)  the sums of row i to the row of `columns` elements whose
//                                       part for this block starts at `out`, `left` elements of it
// Sums: at(i, j) of ROWS by COLUMNS sums, and what moments.cuh wants of it. memory: what multiply
// keeps its tiles in.
#pragma once
#include "implicit.cuh"
#include "column_totals.cuh"

// A tile of the forward product; false in blocks whose split another one joins.
template <class Memory>
__device__ __forceinline__ bool forward_sums(Memory& memory, const T* x_nsc, const T* w_kcf,
                                             A* part, unsigned* tickets, const Gather& g,
                                             const Turn& turn, Sums& sums) {
    PlaceReader<T, AlongK<BM, BK, GA, THREADS>, GA, VA ? GA : PA> a(x_nsc, g, turn, turn.m0);
    MatrixReader<T, RowTile<BN, GB>, GB, VB ? GB : PB> b(w_kcf, g, turn.n0, turn.k);
    const int begin = turn.split * g.run;
    multiply(a, b, g, turn, begin, min(begin + g.run, turn.k), sums, memory);
    return join(g, turn, sums, part, tickets);
}

// bias and rectifier
__device__ __forceinline__ void finish(Sums& sums, const T* bias, int n0, int left, int relu) {
#pragma unroll
    for (int j = 0; j < Sums::COLUMNS; ++j) {
        const int column = sums.column_of(j);
        const A add = bias && column < left ? (A)bias[n0 + column] : (A)0.f;
#pragma unroll
        for (int i = 0; i < Sums::ROWS; ++i) {
            const A v = sums.at(i, j) + add;
            sums.at(i, j) = relu && v < (A)0.f ? (A)0.f : v;
        }
    }
}

// y, or gw: rows m0 on of `rows`
__device__ __forceinline__ void put_tile(const Sums& sums, T* out, const Gather& g,
                                         const Turn& turn, int rows) {
#pragma unroll
    for (int i = 0; i < Sums::ROWS; ++i) {
        const int m = turn.m0 + sums.row_of(i);
        if (m < rows)
            put_row(sums, i, out + (m * g.columns + turn.n0), g.columns - turn.n0, g.columns);
    }
}

template <class Memory>
__device__ __forceinline__ void forward(Memory& memory, const T* x_nsc, const T* w_kcf,
                                        const T* bias_f, T* y_nsf, A* part, unsigned* tickets,
                                        const Gather& g, int relu) {
    const Turn turn(g, BM, BN);
    Sums sums;
    if (!forward_sums(memory, x_nsc, w_kcf, part, tickets, g, turn, sums)) return;
    if (bias_f || relu) finish(sums, bias_f, turn.n0, g.columns - turn.n0, relu);
    put_tile(sums, y_nsf, g, turn, g.rows);
}

// moments, tickets, eps: see moments.cuh; its tickets follow those of the tiles
template <class Memory>
__device__ __forceinline__ void forward_with_stats(Memory& memory, const T* x_nsc, const T* w_kcf,
                                                   T* y_nsf, ColumnMoments moments, A* part,
                                                   const Gather& g) {
    const Turn turn(g, BM, BN);
    Sums sums;
    if (!forward_sums(memory, x_nsc, w_kcf, part, moments.tickets, g, turn, sums)) return;
#pragma unroll
    for (int i = 0; i < Sums::ROWS; ++i) {
        const int m = turn.m0 + sums.row_of(i);
#pragma unroll
        for (int j = 0; j < Sums::COLUMNS; ++j)
            sums.at(i, j) = (A)(T)sums.at(i, j);              // what others will read
        if (m < g.rows)
            put_row(sums, i, y_nsf + (m * g.columns + turn.n0), g.columns - turn.n0, g.columns);
    }
    moments.tickets += gridDim.x;
    column_moments(sums, moments, turn.m0, turn.n0, g.rows, g.columns);
}

// A tile of the data gradient; false in blocks whose split another one joins.
template <class Memory>
__device__ __forceinline__ bool data_sums(Memory& memory, const T* gy_nsf, const T* w_kcf, A* part,
                                          unsigned* tickets, const Gather& g, const Turn& turn,
                                          Sums& sums) {
    PlaceReader<T, AlongK<BM, BK, GA, THREADS>, GA, VA ? GA : PA> a(gy_nsf, g, turn, turn.m0);
    WeightReader<T, AlongK<BN, BK, GB, THREADS>, GB, VB ? GB : PB> b(w_kcf, g, turn.n0);
    const int begin = turn.split * g.run;
    multiply(a, b, g, turn, begin, min(begin + g.run, turn.k), sums, memory);
    return join(g, turn, sums, part, tickets);
}

template <class Memory>
__device__ __forceinline__ void data(Memory& memory, const T* gy_nsf, const T* w_kcf, T* gx_nsc,
                                     A* part, unsigned* tickets, const Gather& g) {
    const Turn turn(g, BM, BN);
    Sums sums;
    if (!data_sums(memory, gy_nsf, w_kcf, part, tickets, g, turn, sums)) return;
#pragma unroll
    for (int i = 0; i < Sums::ROWS; ++i) {
        const int m = turn.m0 + sums.row_of(i);
        const int to = m < g.rows ? target_of(g, turn, m) : -1;
        if (to >= 0)
            put_row(sums, i, gx_nsc + (to * g.columns + turn.n0), g.columns - turn.n0, g.columns);
    }
}

// gx = 0 where y, what a relu gave, is not positive; totals: of the columns of gx, or sum_c null.
// Their tickets follow those of the tiles.
template <class Memory>
__device__ __forceinline__ void data_with_relu(Memory& memory, const T* gy_nsf, const T* w_kcf,
                                               const T* y_nsc, T* gx_nsc, ColumnTotals totals,
                                               A* part, const Gather& g) {
    const Turn turn(g, BM, BN);
    Sums sums;
    if (!data_sums(memory, gy_nsf, w_kcf, part, totals.tickets, g, turn, sums)) return;
    const int left = g.columns - turn.n0;
#pragma unroll
    for (int i = 0; i < Sums::ROWS; ++i) {
        const int m = turn.m0 + sums.row_of(i);
        const int to = m < g.rows ? target_of(g, turn, m) : -1;
        const int at = to * g.columns + turn.n0;
#pragma unroll
        for (int j = 0; j < Sums::COLUMNS; ++j) {
            const int column = sums.column_of(j);
            if (to < 0 || column >= left || !((A)y_nsc[at + column] > (A)0)) sums.at(i, j) = 0;
        }
        if (to >= 0) put_row(sums, i, gx_nsc + at, left, g.columns);
    }
    if (!totals.sum_c) return;
    const int tiles = (g.rows + BM - 1) / BM, layers = gridDim.z / g.splits;
    totals.tickets += gridDim.x * layers;
    column_totals(sums, totals, turn.tile / gridDim.x * tiles + turn.m0 / BM, tiles * layers,
                  turn.n0, g.columns);
}

template <class Memory>
__device__ __forceinline__ void weight(Memory& memory, const T* x_nsc, const T* gy_nsf, T* gw_kcf,
                                       A* part, unsigned* tickets, const Gather& g) {
    const Turn turn(g, BM, BN);
    const int begin = turn.split * g.run, end = min(begin + g.run, g.rows);
    TapReader<T, RowTile<BM, GA>, GA, VA ? GA : PA> a(x_nsc, g, turn, turn.m0, end);
    MatrixReader<T, RowTile<BN, GB>, GB, VB ? GB : PB> b(gy_nsf, g, turn.n0, end);
    Sums sums;
    multiply(a, b, g, turn, begin, end, sums, memory);
    if (join(g, turn, sums, part, tickets)) put_tile(sums, gw_kcf, g, turn, turn.k);
}
