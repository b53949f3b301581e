// random.cu - counter-based random numbers, bit for bit those of numpy.random.Philox.
//
// Element e uses part e % k of block e / k of 256 bits (philox.cuh): k = 4 for float64, 8 for
// float32 and narrower, 16 for masks. What NumPy must repeat exactly is written
// with _rn intrinsics, which the compiler does not contract to FMA.
//
// random_uniform_fwd     step[1] -> y[n]     low + span * u, u in [0, 1) of 24 (float64: 53) bits
// random_normal_fwd      step[1] -> y[n]     Box-Muller in double, rounded once: as NumPy, but for
//                                            one element in 1e8 on a rounding edge
// truncated_normal_fwd   step[1] -> y[n]     the normal quantile of p_low + p_span * u; no
//                                            rejection: an element depends on its bits only
// random_mask_fwd        step[1] -> y[n]     bool: 16 bits >= threshold
// One thread per block; n*sizeof(T) bytes.
#include "philox.cuh"

// elements of type T in a block, and the bits of element i
#define PER_BLOCK (sizeof(A) == 8 ? 4 : 8)

__device__ __forceinline__ u64 bits_of(const Block& r, int i) {
    if (sizeof(A) == 8) return r.word[i & 3];
    return (r.word[(i >> 1) & 3] >> (32 * (i & 1))) & 0xffffffffULL;
}

// uniform on [0, 1), exact
__device__ __forceinline__ A unit(u64 bits) {
    return sizeof(A) == 8 ? (A)(bits >> 11) * (A)0x1p-53 : (A)(bits >> 8) * (A)0x1p-24;
}

// uniform on (0, 1), exact
__device__ __forceinline__ double open_unit(u64 bits) {
    return sizeof(A) == 8 ? ((double)(bits >> 12) + 0.5) * 0x1p-52 : ((double)bits + 0.5) * 0x1p-32;
}

__device__ __forceinline__ float mul_add(float a, float b, float c) {
    return __fadd_rn(__fmul_rn(a, b), c);
}
__device__ __forceinline__ double mul_add(double a, double b, double c) {
    return __dadd_rn(__dmul_rn(a, b), c);
}

// N elements of one thread to y[first ..], 16 bytes at a time where all of them fit.
template <int N, class S>
__device__ __forceinline__ void store(S* y, i64 first, i64 n, const S* v) {
    struct alignas(16) Wide {
        S v[16 / sizeof(S)];
    };
    if (first + N <= n && ((u64)(y + first) & 15) == 0) {
#pragma unroll
        for (int i = 0; i < N; i += 16 / (int)sizeof(S))
            *(Wide*)(y + first + i) = *(const Wide*)(v + i);
    } else {
        for (int i = 0; i < N; ++i)
            if (first + i < n) y[first + i] = v[i];
    }
}

extern "C" __global__ void random_uniform_fwd(const i64* __restrict__ step, T* __restrict__ y_n,
                                              i64 n, u64 seed, u64 salt, A low, A span) {
    const i64 block = grid_start(), first = block * PER_BLOCK;
    if (first >= n) return;
    const Block r = philox((u64)block, (u64)step[0], seed, salt);
    alignas(16) T v[PER_BLOCK];
#pragma unroll
    for (int i = 0; i < PER_BLOCK; ++i) v[i] = (T)mul_add(unit(bits_of(r, i)), span, low);
    store<PER_BLOCK>(y_n, first, n, v);
}

extern "C" __global__ void random_normal_fwd(const i64* __restrict__ step, T* __restrict__ y_n,
                                             i64 n, u64 seed, u64 salt, double mean,
                                             double stddev) {
    const i64 block = grid_start(), first = block * PER_BLOCK;
    if (first >= n) return;
    const Block r = philox((u64)block, (u64)step[0], seed, salt);
    alignas(16) T v[PER_BLOCK];
#pragma unroll
    for (int i = 0; i < PER_BLOCK; i += 2) {         // radius from the even, angle from the odd
        const double radius = sqrt(__dmul_rn(-2.0, log(open_unit(bits_of(r, i)))));
        const double angle = __dmul_rn(6.283185307179586, open_unit(bits_of(r, i + 1)));
        const double even = mul_add(__dmul_rn(radius, cos(angle)), stddev, mean);
        const double odd = mul_add(__dmul_rn(radius, sin(angle)), stddev, mean);
        v[i] = (T)(A)even;
        v[i + 1] = (T)(A)odd;
    }
    store<PER_BLOCK>(y_n, first, n, v);
}

// k[0] r^7 + ... + k[7]
__device__ __forceinline__ double poly7(const double* k, double r) {
    double sum = k[0];
#pragma unroll
    for (int i = 1; i < 8; ++i) sum = mul_add(sum, r, k[i]);
    return sum;
}

// Quantile of the standard normal for 1e-10 < p < 1 - 1e-10, relative error 1e-16: Wichura 1988,
// algorithm AS 241 (PPND16) with its constants.
__device__ __noinline__ double normal_quantile(double p) {
    const double a[8] = {2509.0809287301226727, 33430.575583588128105, 67265.770927008700853,
                         45921.953931549871457, 13731.693765509461125, 1971.5909503065514427,
                         133.14166789178437745, 3.3871328727963666080};
    const double b[8] = {5226.4952788528545610, 28729.085735721942674, 39307.895800092710610,
                         21213.794301586595867, 5394.1960214247511077, 687.18700749205790830,
                         42.313330701600911252, 1.0};
    const double c[8] = {7.74545014278341407640e-4, 2.27238449892691845833e-2,
                         2.41780725177450611770e-1, 1.27045825245236838258, 3.64784832476320460504,
                         5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734};
    const double d[8] = {1.05075007164441684324e-9, 5.47593808499534494600e-4,
                         1.51986665636164571966e-2, 1.48103976427480074590e-1,
                         6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187,
                         1.0};
    const double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        const double r = __dadd_rn(0.180625, -__dmul_rn(q, q));
        return __dmul_rn(poly7(a, r), q) / poly7(b, r);
    }
    const double r = sqrt(-log(q < 0 ? p : 1.0 - p)) - 1.6;
    const double x = poly7(c, r) / poly7(d, r);
    return q < 0 ? -x : x;
}

extern "C" __global__ void truncated_normal_fwd(const i64* __restrict__ step, T* __restrict__ y_n,
                                                i64 n, u64 seed, u64 salt, double mean,
                                                double stddev, double p_low, double p_span) {
    const i64 block = grid_start(), first = block * PER_BLOCK;
    if (first >= n) return;
    const Block r = philox((u64)block, (u64)step[0], seed, salt);
    alignas(16) T v[PER_BLOCK];
#pragma unroll
    for (int i = 0; i < PER_BLOCK; ++i) {
        const double p = mul_add(open_unit(bits_of(r, i)), p_span, p_low);
        v[i] = (T)(A)mul_add(normal_quantile(p), stddev, mean);
    }
    store<PER_BLOCK>(y_n, first, n, v);
}

extern "C" __global__ void random_mask_fwd(const i64* __restrict__ step, bool* __restrict__ y_n,
                                           i64 n, u64 seed, u64 salt, unsigned threshold) {
    const i64 block = grid_start(), first = block * 16;
    if (first >= n) return;
    const Block r = philox((u64)block, (u64)step[0], seed, salt);
    alignas(16) bool v[16];
#pragma unroll
    for (int i = 0; i < 16; ++i)
        v[i] = ((unsigned)(r.word[i >> 2] >> (16 * (i & 3))) & 0xffffu) >= threshold;
    store<16>(y_n, first, n, v);
}
