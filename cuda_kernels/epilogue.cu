// epilogue.cu - what follows a matrix product where cuBLASLt has no epilogue for it. All in place.
//
// bias_fwd   y[M,N] += bias[N], and relu of that if `relu`; n = M*N elements
//                                                                          2*M*N*sizeof(T) bytes
// relu_bwd   g[n] = 0 where y[n] is not positive                               3*n*sizeof(T) bytes
// gelu_fwd   x[M,N] += bias[N], y[M,N] = gelu(x) by tanh; y may be x   2 or 3 * M*N*sizeof(T) bytes
// gelu_bwd   g[n] *= gelu'(x[n]), by tanh                                      3*n*sizeof(T) bytes
// One thread per element.
#include "gelu.cuh"

extern "C" __global__ void bias_fwd(const T* __restrict__ bias_n, T* __restrict__ y_mn, i64 n,
                                    int N, int relu) {
    const i64 i = grid_start();
    if (i >= n) return;
    const A v = (A)y_mn[i] + (A)bias_n[i % N];
    y_mn[i] = (T)(relu && v <= (A)0 ? (A)0 : v);      // NaN stays NaN
}

extern "C" __global__ void relu_bwd(const T* __restrict__ y_n, T* __restrict__ g_n, i64 n) {
    const i64 i = grid_start();
    if (i >= n) return;
    if (!((A)y_n[i] > (A)0)) g_n[i] = (T)(A)0;
}

extern "C" __global__ void gelu_fwd(const T* __restrict__ bias_n, T* x_mn, T* y_mn, i64 n, int N) {
    const i64 i = grid_start();
    if (i >= n) return;
    const A v = (A)x_mn[i] + (A)bias_n[i % N];
    x_mn[i] = (T)v;
    y_mn[i] = (T)gelu(v, true);
}

extern "C" __global__ void gelu_bwd(const T* __restrict__ x_n, T* __restrict__ g_n, i64 n) {
    const i64 i = grid_start();
    if (i >= n) return;
    g_n[i] = (T)((A)g_n[i] * gelu_slope((A)x_n[i], true));
}
