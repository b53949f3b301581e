// copy.cu - strided copies: slices, pads, concatenations, tiles, any order of axes.
//
// copy_strided   x -> y    y[y0 + sum t_k i_k] = x[x0 + sum s_k i_k], n elements in a box d0 .. d5;
//                          strides in elements: 0 repeats, negative walks backwards; one thread an
//                          element, last axis fastest                          2*n*sizeof(T) bytes
// join_fwd       a b c d -> y[O,N,K]   places begin[p] .. begin[p+1] of the middle axis come from
//                          part p, an array [O,len,K] from its place `skip` on; `value` where the
//                          part is null. Concatenations, shifts, gradients of slices, pads.
//                          One thread an element                               2*n*sizeof(T) bytes
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

struct Join {
    i64 n;
    Div by_k, by_n;
    int begin[4], len[4], skip[4];
};

static_assert(sizeof(Join) == 80, "plans_copy.py describes this struct");

extern "C" __global__ void join_fwd(const T* __restrict__ a, const T* __restrict__ b,
                                    const T* __restrict__ c, const T* __restrict__ d,
                                    T* __restrict__ y, Join join, double value) {
    const i64 i = grid_start();
    if (i >= join.n) return;
    unsigned rest = (unsigned)i;
    const int k = take(rest, join.by_k), n = take(rest, join.by_n);
    const T* x = a;
    int len = join.len[0], shift = join.skip[0];
#define FROM(p, source)                           \
    if (n >= join.begin[p]) {                     \
        x = source;                               \
        len = join.len[p];                        \
        shift = join.skip[p] - join.begin[p];     \
    }
    FROM(1, b)
    FROM(2, c)
    FROM(3, d)
#undef FROM
    y[i] = x ? x[((i64)rest * len + n + shift) * join.by_k.d + k] : (T)(A)value;
}

extern "C" __global__ void fill_value(T* __restrict__ y_n, i64 n, double value) {
    const i64 i = grid_start();
    if (i >= n) return;
    y_n[i] = (T)(A)value;
}
