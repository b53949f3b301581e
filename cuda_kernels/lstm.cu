// lstm.cu - long short-term memory (Hochreiter and Schmidhuber 1997); gates in Keras's order ifco.
//
// lstm_fwd   xw[B,S,4U] r[U,4U] h0[B,U] c0[B,U] mask[B,S]? -> h[B,S,U] c[B,S,U] gates[B,S,4U]
//            one block per ROWS rows, all steps in one launch; xw holds x W + b of every step
//   bytes (xw + gates + h + c) once, r once a block
// lstm_bwd   gates c c0 r gh[B,S,U] gc[B,S,U]? mask? -> gz[B,S,4U] gh0[B,U] gc0[B,U]
//            gz is the gradient of xw; that of r is one product of h and gz afterwards
//   bytes (gates + gz + c + gh) once, r once a block
// lstm_cell_fwd   one step, any U: z[B,4U] = h R from a GEMM before; one thread per row and unit
// lstm_cell_bwd   one step back: writes gz and what stays of gh; a GEMM adds gz R' to that
//
// A masked step leaves h and c as they are. `reverse` walks from the last step to the first.
#include "recurrent.cuh"

#define G (4 * U)

struct Cell {
    A i, f, g, o;
};

// Gradients of the four sums before the gates; gc becomes that of the state before.
__device__ __forceinline__ Cell cell_bwd(const Cell& y, A c_before, A c, A gh, A& gc) {
    const A a = ACT::f(c);
    gc += gh * y.o * ACT::d(a);
    Cell z = {gc * y.g * RACT::d(y.i), gc * c_before * RACT::d(y.f), gc * y.i * ACT::d(y.g),
              gh * a * RACT::d(y.o)};
    gc *= y.f;
    return z;
}

// Nobody leaves before the end: every load and store of a row beyond B is guarded.
extern "C" __global__ __launch_bounds__(THREADS, 1) void lstm_fwd(
    const T* __restrict__ xw_bsg, const T* __restrict__ r_ug, const T* __restrict__ h0_bu,
    const T* __restrict__ c0_bu, const bool* __restrict__ mask_bs, T* __restrict__ h_bsu,
    T* __restrict__ c_bsu, T* __restrict__ gates_bsg, int B, int S, int reverse) {
    extern __shared__ A shared[];
    A* h_s = shared + (U - KREG) * G;  // [ROWS][UPAD]
    A* y_s = h_s + ROWS * UPAD;        // [ROWS][G]
    const int j = threadIdx.x, b0 = blockIdx.x * ROWS;
    const int row = j / U, u = j % U;  // this thread's part of the state
    const bool mine = row < ROWS && b0 + row < B;
    Weights w;
    w.load(r_ug, j, G, shared, G);
    A c = mine ? (A)c0_bu[(i64)(b0 + row) * U + u] : (A)0;
    if (row < ROWS) h_s[row * UPAD + u] = mine ? (A)h0_bu[(i64)(b0 + row) * U + u] : (A)0;
    __syncthreads();
    for (int step = 0; step < S; ++step) {
        const int s = reverse ? S - 1 - step : step;
        if (j < G) {
            A z[ROWS];
#pragma unroll
            for (int n = 0; n < ROWS; ++n)
                z[n] = b0 + n < B ? (A)xw_bsg[((i64)(b0 + n) * S + s) * G + j] : (A)0;
            w.apply<true>(h_s, UPAD, z);
#pragma unroll
            for (int n = 0; n < ROWS; ++n) {
                const A y = j / U == 2 ? ACT::f(z[n]) : RACT::f(z[n]);
                y_s[n * G + j] = y;
                if (b0 + n < B) gates_bsg[((i64)(b0 + n) * S + s) * G + j] = y;
            }
        }
        __syncthreads();
        if (mine) {
            const i64 at = (i64)(b0 + row) * S + s;
            const A* y = y_s + row * G + u;
            if (!mask_bs || mask_bs[at]) {
                c = y[U] * c + y[0] * y[2 * U];
                h_s[row * UPAD + u] = y[3 * U] * ACT::f(c);
            }
            h_bsu[at * U + u] = h_s[row * UPAD + u];
            c_bsu[at * U + u] = c;
        }
        __syncthreads();
    }
}

// Thread (gate, u) holds r[u, gate * U + k]: what the gate's gradients give back to unit u.
// Nobody leaves before the end: every load and store of a row beyond B is guarded.
extern "C" __global__ __launch_bounds__(THREADS, 1) void lstm_bwd(
    const T* __restrict__ gates_bsg, const T* __restrict__ c_bsu, const T* __restrict__ c0_bu,
    const T* __restrict__ r_ug, const T* __restrict__ gh_bsu, const T* __restrict__ gc_bsu,
    const bool* __restrict__ mask_bs, T* __restrict__ gz_bsg, T* __restrict__ gh0_bu,
    T* __restrict__ gc0_bu, int B, int S, int reverse) {
    extern __shared__ A shared[];
    A* z_s = shared + (U - KREG) * G;  // [ROWS][G]  gradients of the sums
    A* back_s = z_s + ROWS * G;        // [ROWS][G]  what each gate gives back to each unit
    const int j = threadIdx.x, b0 = blockIdx.x * ROWS;
    const int row = j / U, u = j % U;
    const bool mine = row < ROWS && b0 + row < B;
    Weights w;
    w.load(r_ug, u * G + row * U, 1, shared, G);
    A gh = 0, gc = 0;
    for (int step = S - 1; step >= 0; --step) {
        const int s = reverse ? S - 1 - step : step, before = reverse ? s + 1 : s - 1;
        if (row < ROWS) {
            Cell z = {0, 0, 0, 0};
            if (mine) {
                const i64 at = (i64)(b0 + row) * S + s;
                gh += (A)gh_bsu[at * U + u];
                if (gc_bsu) gc += (A)gc_bsu[at * U + u];
                if (!mask_bs || mask_bs[at]) {
                    const T* y = gates_bsg + at * G + u;
                    const A c_before = step ? (A)c_bsu[(at - s + before) * U + u]
                                            : (A)c0_bu[(i64)(b0 + row) * U + u];
                    z = cell_bwd({(A)y[0], (A)y[U], (A)y[2 * U], (A)y[3 * U]}, c_before,
                                 (A)c_bsu[at * U + u], gh, gc);
                    gh = 0;
                }
                T* out = gz_bsg + at * G + u;
                out[0] = z.i;
                out[U] = z.f;
                out[2 * U] = z.g;
                out[3 * U] = z.o;
            }
            A* z_row = z_s + row * G + u;
            z_row[0] = z.i;
            z_row[U] = z.f;
            z_row[2 * U] = z.g;
            z_row[3 * U] = z.o;
        }
        __syncthreads();
        if (j < G) {
            A sum[ROWS];
#pragma unroll
            for (int n = 0; n < ROWS; ++n) sum[n] = 0;
            w.apply<U % 4 == 0>(z_s + row * U, G, sum);
#pragma unroll
            for (int n = 0; n < ROWS; ++n) back_s[n * G + j] = sum[n];
        }
        __syncthreads();
        if (mine) {
            const A* back = back_s + row * G + u;
            gh += (back[0] + back[U]) + (back[2 * U] + back[3 * U]);
        }
    }
    if (mine) {
        gh0_bu[(i64)(b0 + row) * U + u] = gh;
        gc0_bu[(i64)(b0 + row) * U + u] = gc;
    }
}

// ---------------------------------------------------------------- one step, units by argument
// xw, h, c, gates point at the step's first row; `S` is the number of steps: the distance of two
// rows is S rows of the step. h_before and c_before have rows `stride` apart.
extern "C" __global__ void lstm_cell_fwd(const T* __restrict__ xw, const T* __restrict__ z_bg,
                                         const T* h_before, const T* c_before,
                                         const bool* __restrict__ mask, T* h, T* c,
                                         T* __restrict__ gates, int B, int units, int S,
                                         i64 stride) {
    const i64 i = grid_start();
    if (i >= (i64)B * units) return;
    const i64 b = i / units, u = i % units, at = b * S * units + u, gate = 4 * b * S * units + u;
    const T* z = z_bg + 4 * b * units + u;
    Cell y;
    y.i = RACT::f((A)xw[gate] + (A)z[0]);
    y.f = RACT::f((A)xw[gate + units] + (A)z[units]);
    y.g = ACT::f((A)xw[gate + 2 * units] + (A)z[2 * units]);
    y.o = RACT::f((A)xw[gate + 3 * units] + (A)z[3 * units]);
    gates[gate] = y.i;
    gates[gate + units] = y.f;
    gates[gate + 2 * units] = y.g;
    gates[gate + 3 * units] = y.o;
    const bool on = !mask || mask[b * S];
    const A old = c_before[b * stride + u], now = y.f * old + y.i * y.g;
    c[at] = on ? now : old;
    h[at] = on ? y.o * ACT::f(now) : (A)h_before[b * stride + u];
}

// keep_bu and gc_bu carry the gradients of the state from step to step.
extern "C" __global__ void lstm_cell_bwd(const T* __restrict__ gates, const T* __restrict__ c,
                                         const T* __restrict__ c_before, const T* __restrict__ gh,
                                         const T* __restrict__ gc_more,
                                         const bool* __restrict__ mask, T* __restrict__ keep_bu,
                                         T* __restrict__ gc_bu, T* __restrict__ gz, int B,
                                         int units, int S, i64 stride) {
    const i64 i = grid_start();
    if (i >= (i64)B * units) return;
    const i64 b = i / units, u = i % units, at = b * S * units + u, gate = 4 * b * S * units + u;
    A g = (A)keep_bu[i] + (A)gh[at], gc = (A)gc_bu[i] + (gc_more ? (A)gc_more[at] : (A)0);
    Cell z = {0, 0, 0, 0};
    const bool on = !mask || mask[b * S];
    if (on)
        z = cell_bwd({(A)gates[gate], (A)gates[gate + units], (A)gates[gate + 2 * units],
                      (A)gates[gate + 3 * units]},
                     c_before[b * stride + u], c[at], g, gc);
    gz[gate] = z.i;
    gz[gate + units] = z.f;
    gz[gate + 2 * units] = z.g;
    gz[gate + 3 * units] = z.o;
    keep_bu[i] = on ? (A)0 : g;
    gc_bu[i] = gc;
}
