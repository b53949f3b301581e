// cuda_types.h - CUDA's vector types, and the codes by which Python checks kernel arguments.
#pragma once

#define EMU_VECTOR(TYPE, NAME, ALIGN2, ALIGN4)                              \
    struct NAME##1 { TYPE x; };                                             \
    struct alignas(ALIGN2) NAME##2 { TYPE x, y; };                          \
    struct alignas(ALIGN4) NAME##4 { TYPE x, y, z, w; };                    \
    static inline NAME##2 make_##NAME##2(TYPE a, TYPE b) { return {a, b}; } \
    static inline NAME##4 make_##NAME##4(TYPE a, TYPE b, TYPE c, TYPE d) { return {a, b, c, d}; }
EMU_VECTOR(float, float, 8, 16)
EMU_VECTOR(double, double, 16, 16)
EMU_VECTOR(int, int, 8, 16)
EMU_VECTOR(unsigned, uint, 8, 16)
EMU_VECTOR(long long, longlong, 16, 16)
EMU_VECTOR(unsigned long long, ulonglong, 16, 16)
EMU_VECTOR(short, short, 4, 8)
EMU_VECTOR(unsigned short, ushort, 4, 8)
EMU_VECTOR(char, char, 2, 4)
EMU_VECTOR(unsigned char, uchar, 2, 4)
#undef EMU_VECTOR

struct float3 {
    float x, y, z;
};
struct int3 {
    int x, y, z;
};
static inline float3 make_float3(float a, float b, float c) { return {a, b, c}; }
static inline int3 make_int3(int a, int b, int c) { return {a, b, c}; }
static inline uint3 make_uint3(unsigned a, unsigned b, unsigned c) { return {a, b, c}; }

struct float16;  // common.cuh defines both
struct bfloat16;

namespace emu {
// type -> code: NumPy kind and size in bytes; "?" marks a type that Python does not check
template <class X> struct code {
    static constexpr const char* text = "?";
};
#define EMU_CODE(TYPE, TEXT)                      \
    template <> struct code<TYPE> {               \
        static constexpr const char* text = TEXT; \
    };
EMU_CODE(float, "f4")
EMU_CODE(double, "f8")
EMU_CODE(int, "i4")
EMU_CODE(unsigned, "u4")
EMU_CODE(long, "i8")
EMU_CODE(unsigned long, "u8")
EMU_CODE(long long, "i8")
EMU_CODE(unsigned long long, "u8")
EMU_CODE(short, "i2")
EMU_CODE(unsigned short, "u2")
EMU_CODE(signed char, "i1")
EMU_CODE(char, "i1")
EMU_CODE(unsigned char, "u1")
EMU_CODE(bool, "b1")
EMU_CODE(float16, "f2")
EMU_CODE(bfloat16, "bf")
EMU_CODE(float2, "f4")
EMU_CODE(float4, "f4")
EMU_CODE(int2, "i4")
EMU_CODE(int4, "i4")
EMU_CODE(uint4, "u4")
EMU_CODE(uchar4, "u1")
#undef EMU_CODE

template <class X> struct pointee {
    using type = X;
    static constexpr bool is_pointer = false, is_const = false;
};
template <class X> struct pointee<X*> {
    using type = X;
    static constexpr bool is_pointer = true, is_const = false;
};
template <class X> struct pointee<const X*> {
    using type = X;
    static constexpr bool is_pointer = true, is_const = true;
};

template <class X> static inline uint64_t bits(X v) {
    static_assert(sizeof(X) <= 8, "warp operations move at most 8 bytes");
    uint64_t r = 0;
    memcpy(&r, &v, sizeof v);
    return r;
}
template <class X> static inline X unbits(uint64_t r) {
    X v;
    memcpy(&v, &r, sizeof v);
    return v;
}
}  // namespace emu
