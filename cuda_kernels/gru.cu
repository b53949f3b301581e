// gru.cu - gated recurrent unit (Cho et al. 2014), gates in Keras's order z r h.
//
//   z = ract(x Wz + h Rz), r = ract(x Wr + h Rr), h' = z h + (1 - z) y      with
//   y = act(x Wh + (r h) Rh)                         RESET_AFTER 0 (arXiv:1406.1078v1)
//   y = act(x Wh + r (h Rh + b))                     RESET_AFTER 1 (v3; cuDNN's)
//
// gru_fwd   xw[B,S,3U] r[U,3U] h0[B,U] b[3U]? mask[B,S]? -> h[B,S,U] gates[B,S,3U] inner[B,S,U]
//           one block per ROWS rows, all steps in one launch; gates holds z r y; inner is h Rh + b,
//           or r h, which is what the gradient needs beside the gates; b: recurrent bias
// gru_bwd   gates inner h h0 r gh[B,S,U] mask? -> gz[B,S,3U] gi[B,S,U] gh0[B,U]
//           gz: the gradient of xw. gi: that of h Rh + b where RESET_AFTER, else unused
// Every array is read or written once, r once a block.
// gru_cell_gates, gru_cell_state, gru_cell_bwd, gru_cell_reset_bwd   one step of any size beside
//           GEMMs, one thread per row and unit
#include "recurrent.cuh"

#ifndef RESET_AFTER
#define RESET_AFTER 0
#endif
#define G (3 * U)

// Nobody leaves before the end: every load and store of a row beyond B is guarded.
extern "C" __global__ __launch_bounds__(THREADS, 1) void gru_fwd(
    const T* __restrict__ xw_bsg, const T* __restrict__ r_ug, const T* __restrict__ h0_bu,
    const T* __restrict__ bias_g, const bool* __restrict__ mask_bs, T* __restrict__ h_bsu,
    T* __restrict__ gates_bsg, T* __restrict__ inner_bsu, int B, int S, int reverse) {
    extern __shared__ A shared[];
    A* h_s = shared + ((U - KREG) * G + 3) / 4 * 4;  // [ROWS][UPAD]
    A* rh_s = h_s + ROWS * UPAD;                     // [ROWS][UPAD]  r h
    A* y_s = rh_s + ROWS * UPAD;                     // [ROWS][G]
    const int j = threadIdx.x, b0 = blockIdx.x * ROWS;
    const int gate = j / U, u = j % U;  // also: row of the state, where < ROWS
    const bool mine = gate < ROWS && b0 + gate < B;
    Weights w;
    w.load(r_ug, j, G, shared, G);
    const A bias = j < G && bias_g ? (A)bias_g[j] : (A)0;
    if (gate < ROWS) h_s[gate * UPAD + u] = mine ? (A)h0_bu[(i64)(b0 + gate) * U + u] : (A)0;
    __syncthreads();
    for (int step = 0; step < S; ++step) {
        const int s = reverse ? S - 1 - step : step;
        A x[ROWS], sum[ROWS];
#pragma unroll
        for (int n = 0; n < ROWS; ++n) {
            x[n] = j < G && b0 + n < B ? (A)xw_bsg[((i64)(b0 + n) * S + s) * G + j] : (A)0;
            sum[n] = bias;
        }
        if (gate < 2 || (RESET_AFTER && gate == 2)) {
            w.apply<true>(h_s, UPAD, sum);
#pragma unroll
            for (int n = 0; n < ROWS; ++n) {
                const A y = gate < 2 ? RACT::f(x[n] + sum[n]) : sum[n];
                y_s[n * G + j] = y;
                if (gate == 1) rh_s[n * UPAD + u] = y * h_s[n * UPAD + u];
            }
        }
        __syncthreads();
        if (gate == 2) {
            if (!RESET_AFTER) w.apply<true>(rh_s, UPAD, sum);
#pragma unroll
            for (int n = 0; n < ROWS; ++n) {
                const i64 at = (i64)(b0 + n) * S + s;
                const A r = y_s[n * G + U + u];
                const A y = ACT::f(x[n] + (RESET_AFTER ? r * sum[n] : sum[n]));
                y_s[n * G + j] = y;
                if (b0 + n < B) inner_bsu[at * U + u] = RESET_AFTER ? sum[n] : rh_s[n * UPAD + u];
            }
        }
        __syncthreads();
        if (j < G)
#pragma unroll
            for (int n = 0; n < ROWS; ++n)
                if (b0 + n < B) gates_bsg[((i64)(b0 + n) * S + s) * G + j] = y_s[n * G + j];
        if (mine) {
            const i64 at = (i64)(b0 + gate) * S + s;
            const A* y = y_s + gate * G + u;
            A* h = h_s + gate * UPAD + u;
            if (!mask_bs || mask_bs[at]) *h = y[0] * *h + (1 - y[0]) * y[2 * U];
            h_bsu[at * U + u] = *h;
        }
        __syncthreads();
    }
}

// Thread (gate, u) holds r[u, gate * U + k]: what the gate's gradients give back to unit u.
// Nobody leaves before the end: every load and store of a row beyond B is guarded.
extern "C" __global__ __launch_bounds__(THREADS, 1) void gru_bwd(
    const T* __restrict__ gates_bsg, const T* __restrict__ inner_bsu, const T* __restrict__ h_bsu,
    const T* __restrict__ h0_bu, const T* __restrict__ r_ug, const T* __restrict__ gh_bsu,
    const bool* __restrict__ mask_bs, T* __restrict__ gz_bsg, T* __restrict__ gi_bsu,
    T* __restrict__ gh0_bu, int B, int S, int reverse) {
    extern __shared__ A shared[];
    A* z_s = shared + ((U - KREG) * G + 3) / 4 * 4;  // [ROWS][G]  gradients of the sums
    A* back_s = z_s + ROWS * G;                      // [ROWS][G]
    const int j = threadIdx.x, b0 = blockIdx.x * ROWS;
    const int row = j / U, u = j % U;
    const bool mine = row < ROWS && b0 + row < B;
    Weights w;
    w.load(r_ug, u * G + row * U, 1, shared, G);
    A gh = 0;
    for (int step = S - 1; step >= 0; --step) {
        const int s = reverse ? S - 1 - step : step, before = reverse ? s + 1 : s - 1;
        const i64 at = (i64)(b0 + row) * S + s;
        A z = 0, r = 0, y = 0, h = 0, gy = 0, keep = 0;
        bool on = false;
        if (mine) {
            gh += (A)gh_bsu[at * U + u];
            on = !mask_bs || mask_bs[at];
            if (on) {
                const T* gates = gates_bsg + at * G + u;
                z = gates[0], r = gates[U], y = gates[2 * U];
                h = step ? (A)h_bsu[(at - s + before) * U + u] : (A)h0_bu[(i64)(b0 + row) * U + u];
                gy = gh * (1 - z) * ACT::d(y);
                keep = gh * z;
            } else {
                keep = gh;
            }
        }
        const A gz = on ? gh * (h - y) * RACT::d(z) : (A)0;
        A gr = 0;
        if (row < ROWS) {
            if (RESET_AFTER && on) gr = gy * (A)inner_bsu[at * U + u] * RACT::d(r);
            A* sums = z_s + row * G + u;
            sums[0] = gz;
            sums[U] = gr;
            sums[2 * U] = RESET_AFTER ? gy * r : gy;
        }
        __syncthreads();
        A sum[ROWS];
#pragma unroll
        for (int n = 0; n < ROWS; ++n) sum[n] = 0;
        if (row == 2 || (RESET_AFTER && row < 2)) {
            w.apply<U % 4 == 0>(z_s + row * U, G, sum);
#pragma unroll
            for (int n = 0; n < ROWS; ++n) back_s[n * G + j] = sum[n];
        }
        __syncthreads();
        if (!RESET_AFTER) {  // what reaches r h goes on to r and to h
            if (row < ROWS) {
                const A g_rh = back_s[row * G + 2 * U + u];
                gr = on ? g_rh * h * RACT::d(r) : (A)0;
                keep += on ? g_rh * r : (A)0;
                z_s[row * G + U + u] = gr;
            }
            __syncthreads();
            if (row < 2) {
                w.apply<U % 4 == 0>(z_s + row * U, G, sum);
#pragma unroll
                for (int n = 0; n < ROWS; ++n) back_s[n * G + j] = sum[n];
            }
            __syncthreads();
        }
        if (mine) {
            const A* back = back_s + row * G + u;
            gh = keep + (back[0] + back[U]) + (RESET_AFTER ? back[2 * U] : (A)0);
            T* out = gz_bsg + at * G + u;
            out[0] = gz;
            out[U] = gr;
            out[2 * U] = gy;
            gi_bsu[at * U + u] = gy * r;
        }
    }
    if (mine) gh0_bu[(i64)(b0 + row) * U + u] = gh;
}

// ---------------------------------------------------------------- one step, units by argument
// Pointers of the step's first row; rows of a sequence are S steps apart, of h_before `stride`.
extern "C" __global__ void gru_cell_gates(const T* __restrict__ xw, const T* __restrict__ sum_b,
                                          const T* __restrict__ bias_g, const T* h_before,
                                          T* __restrict__ gates, T* __restrict__ inner, int B,
                                          int units, int S, i64 stride) {
    const i64 i = grid_start();
    if (i >= (i64)B * units) return;
    const i64 b = i / units, u = i % units, at = b * S * units + u, gate = 3 * b * S * units + u;
    const T* sum = sum_b + (RESET_AFTER ? 3 : 2) * b * units + u;
    A z = (A)xw[gate] + (A)sum[0], r = (A)xw[gate + units] + (A)sum[units];
    if (bias_g) z += (A)bias_g[u], r += (A)bias_g[units + u];
    z = RACT::f(z), r = RACT::f(r);
    gates[gate] = z;
    gates[gate + units] = r;
    if (RESET_AFTER)
        inner[at] = (A)sum[2 * units] + (bias_g ? (A)bias_g[2 * units + u] : (A)0);
    else
        inner[at] = r * (A)h_before[b * stride + u];
}

// sum_bu: (r h) Rh where not RESET_AFTER
extern "C" __global__ void gru_cell_state(const T* __restrict__ xw, const T* __restrict__ sum_bu,
                                          const T* __restrict__ bias_g,
                                          const T* __restrict__ inner, const T* h_before,
                                          const bool* __restrict__ mask, T* __restrict__ gates,
                                          T* h, int B, int units, int S, i64 stride) {
    const i64 i = grid_start();
    if (i >= (i64)B * units) return;
    const i64 b = i / units, u = i % units, at = b * S * units + u, gate = 3 * b * S * units + u;
    const A z = gates[gate], r = gates[gate + units], old = h_before[b * stride + u];
    A sum = RESET_AFTER ? r * (A)inner[at] : (A)sum_bu[i];
    if (!RESET_AFTER && bias_g) sum += (A)bias_g[2 * units + u];
    const A y = ACT::f((A)xw[gate + 2 * units] + sum);
    gates[gate + 2 * units] = y;
    h[at] = !mask || mask[b * S] ? z * old + (1 - z) * y : old;
}

// keep_bu carries the gradient of the state; GEMMs add what comes through the weights.
extern "C" __global__ void gru_cell_bwd(const T* __restrict__ gates, const T* __restrict__ inner,
                                        const T* __restrict__ h_before, const T* __restrict__ gh,
                                        const bool* __restrict__ mask, T* __restrict__ keep_bu,
                                        T* __restrict__ gz, T* __restrict__ gi, int B, int units,
                                        int S, i64 stride) {
    const i64 i = grid_start();
    if (i >= (i64)B * units) return;
    const i64 b = i / units, u = i % units, at = b * S * units + u, gate = 3 * b * S * units + u;
    const A g = (A)keep_bu[i] + (A)gh[at];
    A g_z = 0, g_r = 0, g_y = 0, g_i = 0, keep = g;
    if (!mask || mask[b * S]) {
        const A z = gates[gate], r = gates[gate + units], y = gates[gate + 2 * units];
        g_y = g * (1 - z) * ACT::d(y);
        g_z = g * ((A)h_before[b * stride + u] - y) * RACT::d(z);
        g_i = g_y * r;
        if (RESET_AFTER) g_r = g_y * (A)inner[at] * RACT::d(r);
        keep = g * z;
    }
    gz[gate] = g_z;
    gz[gate + units] = g_r;
    gz[gate + 2 * units] = g_y;
    gi[at] = g_i;
    keep_bu[i] = keep;
}

// Where not RESET_AFTER: what reaches r h (g_rh) goes on to r and to h.
extern "C" __global__ void gru_cell_reset_bwd(const T* __restrict__ g_rh_bu,
                                              const T* __restrict__ gates,
                                              const T* __restrict__ h_before,
                                              const bool* __restrict__ mask,
                                              T* __restrict__ keep_bu, T* __restrict__ gz, int B,
                                              int units, int S, i64 stride) {
    const i64 i = grid_start();
    if (i >= (i64)B * units) return;
    const i64 b = i / units, u = i % units, gate = 3 * b * S * units + u;
    if (mask && !mask[b * S]) return;
    const A g = g_rh_bu[i], r = gates[gate + units];
    gz[gate + units] = g * (A)h_before[b * stride + u] * RACT::d(r);
    keep_bu[i] = (A)keep_bu[i] + g * r;
}
