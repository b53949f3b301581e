// context.h - what a running kernel sees of its launch; shared by the runtime and every emulated
// kernel.
#pragma once
#include <cstddef>
#include <cstdint>

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

// The runtime rewrites `thread` and `linear` whenever another CUDA thread continues.
struct EmuContext {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
    int linear, n_threads;  // index of this thread in its block, threads in the block
    char* dynamic_shared;
    uint64_t barrier_sum;  // threads whose predicate held at the last __syncthreads_count
};

// One launch, filled in by Python (kernel.py mirrors the layout with ctypes).
struct EmuLaunch {
    void (*call)(void**);
    void** args;
    unsigned grid[3], block[3];
    uint64_t smem;
    char *shared_begin, *shared_end;  // static __shared__ arrays of the module
    char *image_begin, *image_end;    // the module itself: constants and literals may be read
    int schedule;                     // 0 forward, 1 reverse, 2 random
    int message_size;
    uint64_t seed;
    char* message;   // what went wrong, if the result is not 0
    char* fault_pc;  // where in the module, or null
};

// One memory range a kernel may touch (the checker's view of a pointer argument).
struct EmuRange {
    uint64_t begin, end, writable;
};

extern "C" {
extern EmuContext* emu_now;
void emu_barrier(int site, const char* where, int predicate);
uint64_t emu_warp(int op, unsigned mask, uint64_t value, int source, const char* where);
unsigned emu_alive_lanes();
void emu_atomic(const void* p, int size);
void emu_fence();
void emu_copy_async(void* to, const void* from, int bytes, int taken, int checked,
                    const char* where);
void emu_copies_commit();
void emu_copies_wait(int pending);
void emu_proxy_fence();
unsigned emu_shared_address(const void* p, const char* where);
void emu_wgmma_fence(float* sums, int count);
void emu_wgmma(float* sums, int eights, uint64_t a, uint64_t b, int kind, int turned_a,
               int turned_b, int checked, const char* where);
void emu_wgmma_commit();
void emu_wgmma_wait(int pending, const char* where);
void emu_misuse(const char* what, const char* where);
int emu_run(EmuLaunch* launch);
void emu_set_ranges(const EmuRange* ranges, int n, int races);
void emu_counters(uint64_t* out, int reset);
}

enum { EMU_SHFL = 1, EMU_BALLOT, EMU_SYNCWARP, EMU_GATHER };
