// cuda_sync.h - barriers, warp operations and atomics, as calls into the runtime.
#pragma once

#define __syncthreads() emu_barrier(__COUNTER__, EMU_HERE, 0)
#define __syncthreads_count(p) \
    (emu_barrier(__COUNTER__, EMU_HERE, (p) != 0), (int)emu_now->barrier_sum)
#define __syncthreads_or(p) (__syncthreads_count(p) != 0)
#define __syncthreads_and(p) (__syncthreads_count(p) == emu_now->n_threads)

#if defined(__SANITIZE_THREAD__)
static inline void __threadfence() { emu_fence(); }
#else
static inline void __threadfence() {}
#endif
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}

namespace emu {
static inline int lane() { return emu_now->linear & 31; }

template <class X> static inline X shuffle(unsigned mask, X v, int source, const char* where) {
    return unbits<X>(emu_warp(EMU_SHFL, mask, bits(v), source, where));
}
template <class X>
static inline X shfl(const char* where, unsigned mask, X v, int source, int width = 32) {
    return shuffle(mask, v, (lane() & ~(width - 1)) | (source & (width - 1)), where);
}
template <class X>
static inline X shfl_xor(const char* where, unsigned mask, X v, int x, int width = 32) {
    int source = lane() ^ x;
    if ((source & ~(width - 1)) > (lane() & ~(width - 1))) source = lane();
    return shuffle(mask, v, source, where);
}
template <class X>
static inline X shfl_down(const char* where, unsigned mask, X v, unsigned by, int width = 32) {
    bool inside = (lane() & (width - 1)) + (int)by < width;
    return shuffle(mask, v, inside ? lane() + (int)by : lane(), where);
}
template <class X>
static inline X shfl_up(const char* where, unsigned mask, X v, unsigned by, int width = 32) {
    bool inside = (lane() & (width - 1)) >= (int)by;
    return shuffle(mask, v, inside ? lane() - (int)by : lane(), where);
}
static inline unsigned ballot(const char* where, unsigned mask, int p) {
    return (unsigned)emu_warp(EMU_BALLOT, mask, p != 0, 0, where);
}
static inline void syncwarp(const char* where, unsigned mask = ~0u) {
    emu_warp(EMU_SYNCWARP, mask, 0, 0, where);
}
// all lanes of a full warp hand over one pointer; returns the 32 pointers by lane
static inline const uint64_t* gather(const char* where, const void* mine) {
    return (const uint64_t*)emu_warp(EMU_GATHER, ~0u, (uint64_t)mine, 0, where);
}
}  // namespace emu

#define __shfl_sync(...) emu::shfl(EMU_HERE, __VA_ARGS__)
#define __shfl_xor_sync(...) emu::shfl_xor(EMU_HERE, __VA_ARGS__)
#define __shfl_down_sync(...) emu::shfl_down(EMU_HERE, __VA_ARGS__)
#define __shfl_up_sync(...) emu::shfl_up(EMU_HERE, __VA_ARGS__)
#define __ballot_sync(...) emu::ballot(EMU_HERE, __VA_ARGS__)
#define __any_sync(mask, p) (emu::ballot(EMU_HERE, mask, (p) != 0) != 0)
#define __all_sync(mask, p) (emu::ballot(EMU_HERE, mask, (p) == 0) == 0)
#define __syncwarp(...) emu::syncwarp(EMU_HERE __VA_OPT__(, ) __VA_ARGS__)
static inline unsigned __activemask() { return emu_alive_lanes(); }

#if defined(__SANITIZE_THREAD__)
#define EMU_NOTE(p) emu_atomic(p, sizeof *(p))
#else
#define EMU_NOTE(p) (void)0
#endif
#define EMU_ATOMIC(NAME, RESULT)                             \
    template <class X> EMU_HIDDEN static X NAME(X* p, X v) { \
        EMU_NOTE(p);                                         \
        X old = *p;                                          \
        *p = RESULT;                                         \
        return old;                                          \
    }
EMU_ATOMIC(atomicAdd, old + v)
EMU_ATOMIC(atomicSub, old - v)
EMU_ATOMIC(atomicMax, (v > old ? v : old))
EMU_ATOMIC(atomicMin, (v < old ? v : old))
EMU_ATOMIC(atomicExch, v)
EMU_ATOMIC(atomicOr, (old | v))
EMU_ATOMIC(atomicAnd, (old & v))
#undef EMU_ATOMIC
template <class X> EMU_HIDDEN static X atomicCAS(X* p, X expected, X v) {
    EMU_NOTE(p);
    X old = *p;
    if (old == expected) *p = v;
    return old;
}
EMU_HIDDEN static unsigned atomicInc(unsigned* p, unsigned limit) {
    EMU_NOTE(p);
    unsigned old = *p;
    *p = old >= limit ? 0 : old + 1;
    return old;
}
