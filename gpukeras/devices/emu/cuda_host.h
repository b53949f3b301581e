// cuda_host.h - lets g++ compile CUDA C++ kernels; they run with real grid, block and warp
// semantics.
//
// Every emulated .cu file starts with this header. `__shared__` arrays land in one ELF section,
// which the runtime fills with NaN bytes before each block; barriers and warp operations call the
// runtime. Template parameters avoid the names T and A: kernels define those two as macros.
#pragma once
#include <math.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "context.h"

#define __CUDA_HOST_EMU__ 1
#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 900
#endif
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__ static
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("emu_shared")))

#define threadIdx (emu_now->thread)
#define blockIdx (emu_now->block)
#define blockDim (emu_now->block_dim)
#define gridDim (emu_now->grid_dim)
#define warpSize 32
#define EMU_DYNAMIC(TYPE) ((TYPE*)emu_now->dynamic_shared)

#define EMU_TEXT2(x) #x
#define EMU_TEXT(x) EMU_TEXT2(x)
#define EMU_HERE __FILE__ ":" EMU_TEXT(__LINE__)
// code that plays hardware must not be seen by the access checker
#define EMU_HIDDEN __attribute__((no_sanitize("thread"), noinline))

#include "cuda_types.h"
#include "cuda_sync.h"
#include "cuda_math.h"
#include "cuda_tensor.h"

// ------------------------------------------------------------------ what the loader asks for
// The section must exist; -fno-weak (build.py) keeps shared arrays of inline functions in it too.
__shared__ char emu_anchor[0] __attribute__((used));
extern "C" {
extern char __ehdr_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));
extern char __start_emu_shared[] __attribute__((visibility("hidden")));
extern char __stop_emu_shared[] __attribute__((visibility("hidden")));

__attribute__((visibility("default"))) void emu_image(char** out) {
    out[0] = __start_emu_shared;
    out[1] = __stop_emu_shared;
    out[2] = __ehdr_start;
    out[3] = _end;
}
}

namespace emu {
template <int... I> struct indices {};
template <int N, int... I> struct count_to : count_to<N - 1, N - 1, I...> {};
template <int... I> struct count_to<0, I...> {
    using type = indices<I...>;
};
template <class... X, int... I>
__attribute__((no_sanitize("thread"))) static void apply(void (*f)(X...), void** args,
                                                         indices<I...>) {
    f(*(X*)args[I]...);
}
template <class... X>
__attribute__((no_sanitize("thread"))) static void unpack(void (*f)(X...), void** args) {
    apply(f, args, typename count_to<sizeof...(X)>::type());
}
// "const f4*,i4,?:24,": the types of a kernel's parameters, as kernel.py reads them; a struct that
// is passed by value has its size
template <class X> static int describe(char* out, int n) {
    using Y = typename pointee<X>::type;
    const char* text = code<Y>::text;
    int k = snprintf(out, n, "%s%s", pointee<X>::is_const ? "const " : "", text);
    if (pointee<X>::is_pointer) return k + snprintf(out + k, n - k, "*,");
    return k + (text[0] == '?' ? snprintf(out + k, n - k, ":%zu,", sizeof(X))
                               : snprintf(out + k, n - k, ","));
}
template <class... X> static void signature(void (*)(X...), char* out, int n) {
    int k = 0;
    out[0] = 0;
    ((k += describe<X>(out + k, n - k)), ...);
}
}  // namespace emu

// exports one kernel: emu_call_<name> runs one thread, emu_signature_<name> tells its parameters
#define EMU_EXPORT(name)                                                                           \
    extern "C" __attribute__((visibility("default"), no_sanitize("thread"))) void emu_call_##name( \
        void** args) {                                                                             \
        emu::unpack(&name, args);                                                                  \
    }                                                                                              \
    extern "C" __attribute__((visibility("default"))) void emu_signature_##name(char* out,         \
                                                                                int n) {           \
        emu::signature(&name, out, n);                                                             \
    }
