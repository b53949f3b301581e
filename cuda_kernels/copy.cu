// copy.cu - strided copies: slices, pads, concatenations, tiles, any order of axes.
//
// copy_strided   x -> y    y[y0 + sum t_k i_k] = x[x0 + sum s_k i_k], n elements in a box d0 .. d5;
//                          strides in elements: 0 repeats, negative walks backwards; one thread an
//                          element, last axis fastest                          2*n*sizeof(T) bytes
// fill_value     -> y[n]   y = value                                             n*sizeof(T) bytes
// A box has fewer than 2^31 elements (larger ones are several launches): indices are 32 bits
// wide and divided by multiplication.
#include "division.cuh"

struct Box {
    i64 n, x0, y0;
    i64 s[6], t[6];                                  // strides in x and y
    Div d[6];
};

static_assert(sizeof(Box) == 192, "plans_copy.py describes this struct");

extern "C" __global__ void copy_strided(const T* __restrict__ x, T* __restrict__ y, Box box) {
    const i64 i = grid_start();
    if (i >= box.n) return;
    unsigned rest = (unsigned)i;
    i64 from = box.x0, to = box.y0;
#pragma unroll
    for (int k = 5; k > 0; --k) {
        const int here = take(rest, box.d[k]);
        from += here * box.s[k];
        to += here * box.t[k];
    }
    y[to + (i64)rest * box.t[0]] = x[from + (i64)rest * box.s[0]];
}

extern "C" __global__ void fill_value(T* __restrict__ y_n, i64 n, double value) {
    const i64 i = grid_start();
    if (i >= n) return;
    y_n[i] = (T)(A)value;
}
