// simple_rnn.cu - fully recurrent network (Elman 1990): h = act(x W + b + h R).
//
// simple_rnn_fwd   xw[B,S,U] r[U,U] h0[B,U] mask[B,S]? -> h[B,S,U] y[B,S,U]
//                  one block per ROWS rows, all steps in one launch; y is act(...) also where the
//                  mask leaves h as it was
// simple_rnn_bwd   y r gh[B,S,U] mask? -> gz[B,S,U] gh0[B,U]     gz: the gradient of xw
// Every array is read or written once, r once a block.
// simple_rnn_cell_fwd, simple_rnn_cell_bwd   one step of any size beside a GEMM, one thread per
//                  row and unit; as in lstm.cu
#include "recurrent.cuh"

// Nobody leaves before the end: every load and store of a row beyond B is guarded.
extern "C" __global__ __launch_bounds__(THREADS, 1) void simple_rnn_fwd(
    const T* __restrict__ xw_bsu, const T* __restrict__ r_uu, const T* __restrict__ h0_bu,
    const bool* __restrict__ mask_bs, T* __restrict__ h_bsu, T* __restrict__ y_bsu, int B, int S,
    int reverse) {
    extern __shared__ A shared[];
    A* h_s = shared + (U - KREG) * U + (4 - (U - KREG) * U % 4) % 4;  // [2][ROWS][UPAD]
    const int u = threadIdx.x, b0 = blockIdx.x * ROWS;
    Weights w;
    w.load(r_uu, u, U, shared, U);
    A h[ROWS];
    for (int n = 0; n < ROWS; ++n) {
        h[n] = u < U && b0 + n < B ? (A)h0_bu[(i64)(b0 + n) * U + u] : (A)0;
        if (u < U) h_s[n * UPAD + u] = h[n];
    }
    __syncthreads();
    for (int step = 0; step < S; ++step) {
        const int s = reverse ? S - 1 - step : step;
        const A* now = h_s + (step & 1) * ROWS * UPAD;
        A* next = h_s + (~step & 1) * ROWS * UPAD;
        if (u < U) {
            A z[ROWS];
#pragma unroll
            for (int n = 0; n < ROWS; ++n)
                z[n] = b0 + n < B ? (A)xw_bsu[((i64)(b0 + n) * S + s) * U + u] : (A)0;
            w.apply<true>(now, UPAD, z);
#pragma unroll
            for (int n = 0; n < ROWS; ++n) {
                const i64 at = (i64)(b0 + n) * S + s;
                if (b0 + n < B) {
                    const A y = ACT::f(z[n]);
                    y_bsu[at * U + u] = y;
                    if (!mask_bs || mask_bs[at]) h[n] = y;
                    h_bsu[at * U + u] = h[n];
                }
                next[n * UPAD + u] = h[n];
            }
        }
        __syncthreads();
    }
}

// Thread u holds row u of r. Nobody leaves before the end.
extern "C" __global__ __launch_bounds__(THREADS, 1) void simple_rnn_bwd(
    const T* __restrict__ y_bsu, const T* __restrict__ r_uu, const T* __restrict__ gh_bsu,
    const bool* __restrict__ mask_bs, T* __restrict__ gz_bsu, T* __restrict__ gh0_bu, int B, int S,
    int reverse) {
    extern __shared__ A shared[];
    A* z_s = shared + (U - KREG) * U + (4 - (U - KREG) * U % 4) % 4;  // [2][ROWS][UPAD]
    const int u = threadIdx.x, b0 = blockIdx.x * ROWS;
    Weights w;
    w.load(r_uu, u * U, 1, shared, U);
    A gh[ROWS];
#pragma unroll
    for (int n = 0; n < ROWS; ++n) gh[n] = 0;
    for (int step = S - 1; step >= 0; --step) {
        const int s = reverse ? S - 1 - step : step;
        A* z = z_s + (step & 1) * ROWS * UPAD;
        if (u < U)
#pragma unroll
            for (int n = 0; n < ROWS; ++n) {
                const i64 at = (i64)(b0 + n) * S + s;
                A gz = 0;
                if (b0 + n < B) {
                    gh[n] += (A)gh_bsu[at * U + u];
                    if (!mask_bs || mask_bs[at]) {
                        gz = gh[n] * ACT::d((A)y_bsu[at * U + u]);
                        gh[n] = 0;
                    }
                    gz_bsu[at * U + u] = gz;
                }
                z[n * UPAD + u] = gz;
            }
        __syncthreads();
        if (u < U) w.apply<true>(z, UPAD, gh);
    }
    if (u < U)
#pragma unroll
        for (int n = 0; n < ROWS; ++n)
            if (b0 + n < B) gh0_bu[(i64)(b0 + n) * U + u] = gh[n];
}

// ---------------------------------------------------------------- one step, units by argument
// Pointers of the step's first row; rows of a sequence are S steps apart, of h_before `stride`.
extern "C" __global__ void simple_rnn_cell_fwd(const T* __restrict__ xw, const T* __restrict__ z_bu,
                                               const T* h_before, const bool* __restrict__ mask,
                                               T* h, T* __restrict__ y, int B, int units, int S,
                                               i64 stride) {
    const i64 i = grid_start();
    if (i >= (i64)B * units) return;
    const i64 b = i / units, u = i % units, at = b * S * units + u;
    const A now = ACT::f((A)xw[at] + (A)z_bu[i]);
    y[at] = now;
    h[at] = !mask || mask[b * S] ? now : (A)h_before[b * stride + u];
}

extern "C" __global__ void simple_rnn_cell_bwd(const T* __restrict__ y, const T* __restrict__ gh,
                                               const bool* __restrict__ mask,
                                               T* __restrict__ keep_bu, T* __restrict__ gz, int B,
                                               int units, int S) {
    const i64 i = grid_start();
    if (i >= (i64)B * units) return;
    const i64 b = i / units, u = i % units, at = b * S * units + u;
    const A g = (A)keep_bu[i] + (A)gh[at];
    const bool on = !mask || mask[b * S];
    gz[at] = on ? g * ACT::d((A)y[at]) : (A)0;
    keep_bu[i] = on ? (A)0 : g;
}
