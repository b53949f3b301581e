// cuda_math.h - the device intrinsics our kernels use. More accurate than a GPU's: compare with
// tolerances.
#pragma once

template <class X> static inline X __ldg(const X* p) { return *p; }
template <class X> static inline X __ldcs(const X* p) { return *p; }
template <class X> static inline X __ldcg(const X* p) { return *p; }
template <class X> static inline void __stcs(X* p, X v) { *p = v; }
template <class X> static inline void __stcg(X* p, X v) { *p = v; }

static inline float rsqrtf(float v) { return 1.f / sqrtf(v); }
static inline double rsqrt(double v) { return 1. / sqrt(v); }
static inline float rsqrt(float v) { return rsqrtf(v); }
static inline float normcdff(float v) { return 0.5f * erfcf(-v * 0.70710678f); }
static inline void sincospif(float v, float* s, float* c) {
    *s = (float)sin(v * 3.14159265358979323846);
    *c = (float)cos(v * 3.14159265358979323846);
}
#define __expf(v) expf(v)
#define __logf(v) logf(v)
#define __log2f(v) log2f(v)
#define __powf(a, b) powf(a, b)
#define __sinf(v) sinf(v)
#define __cosf(v) cosf(v)
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1.f / a; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frsqrt_rn(float a) { return 1.f / sqrtf(a); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline float __saturatef(float v) {
    return v < 0.f ? 0.f : v > 1.f ? 1.f : v == v ? v : 0.f;
}

static inline float __int_as_float(int v) { return emu::unbits<float>((uint32_t)v); }
static inline int __float_as_int(float v) { return (int)emu::bits(v); }
static inline float __uint_as_float(unsigned v) { return emu::unbits<float>(v); }
static inline unsigned __float_as_uint(float v) { return (unsigned)emu::bits(v); }
static inline double __longlong_as_double(long long v) { return emu::unbits<double>((uint64_t)v); }
static inline long long __double_as_longlong(double v) { return (long long)emu::bits(v); }
static inline int __float2int_rn(float v) { return (int)nearbyintf(v); }
static inline int __float2int_rd(float v) { return (int)floorf(v); }
static inline int __float2int_rz(float v) { return (int)v; }
static inline float __int2float_rn(int v) { return (float)v; }
static inline float __uint2float_rn(unsigned v) { return (float)v; }

static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)(((uint64_t)a * b) >> 32);
}
static inline int __mulhi(int a, int b) { return (int)(((int64_t)a * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
static inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline unsigned __brev(unsigned v) {
    unsigned r = 0;
    for (int i = 0; i < 32; ++i) r |= ((v >> i) & 1) << (31 - i);
    return r;
}
static inline long long clock64() { return 0; }
static inline void __nanosleep(unsigned) {}

#define EMU_MIN_MAX(TYPE)                                            \
    static inline TYPE min(TYPE a, TYPE b) { return b < a ? b : a; } \
    static inline TYPE max(TYPE a, TYPE b) { return a < b ? b : a; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
#undef EMU_MIN_MAX
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
