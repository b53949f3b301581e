// runtime.h - the scheduler's state, shared by runtime.cpp (fibers, barriers, warps) and
// checker.cpp.
#pragma once
#include "context.h"

const size_t STACK_BYTES = 128 << 10;  // per fiber; only touched pages take memory
const int MAX_THREADS = 1024;

enum State { NEW, READY, AT_BARRIER, AT_WARP, DONE };

struct Fiber {
    void* sp;
    char* stack;
};
struct Thread {
    uint3 index;
    int linear;
    State state;
    const char* where;  // "pool.cu:57" of the barrier or warp operation it waits at
    int op, source;     // the warp operation: kind, lane it reads from
    unsigned mask;
    unsigned warp_epoch;  // number of the last warp operation it took part in
    uint64_t value, result;
    Fiber* fiber;
};
struct Warp {
    unsigned alive, pending, parity;
    uint64_t gathered[2][32];  // two, so that a lane may still read one while the next is filled
};

struct Runtime : EmuContext {
    Thread* current;
    int n_started, n_done, n_waiting, barrier_site;
    const char* barrier_where;
    uint64_t barrier_count;
    unsigned epoch,
        n_warp_ops;  // barriers passed, warp operations done: the clocks of the race check
    Thread threads[MAX_THREADS];
    Warp warps[32];
    int order[MAX_THREADS];      // in which threads are started
    int queue[2 * MAX_THREADS];  // ring of threads that may go on
    unsigned head, tail;
    Fiber main, fibers[MAX_THREADS + 1];
    Fiber* idle[MAX_THREADS + 1];
    int n_idle, n_fibers;
    Fiber* born;
    EmuLaunch* launch;
    long long block_number;  // 1-based; 0 means "nobody" in the race check
    int error;
    uint64_t random;
    char* map;  // dynamic shared memory ends where this mapping's guard page begins
    size_t map_size;
};
extern Runtime* emu_runtime;

[[noreturn]] void emu_fail(const char* what);
void emu_check_begin(Runtime& r);  // forget the shared memory of an earlier launch
bool emu_checking();
void emu_touch(const void* p, int size, bool write);  // an access the checker is to know of
void emu_copies_begin(int thread);
void emu_copies_end(int thread);
void emu_async_read(const void* p, int size);         // a read that proxy fences must precede
void emu_wgmma_begin();
void emu_wgmma_end(int thread);
