// runtime.cpp - runs one launch: a fiber per CUDA thread, started lazily.
//
// A thread that never waits runs to its end as an ordinary call and the next one starts on the same
// stack, so a kernel without barriers never switches. A fiber is taken only when a thread blocks.
// A barrier costs about 8 ns a thread, a shuffle 11 ns a lane (x86-64, 2 cores).
#include "runtime.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

Runtime* emu_runtime;
EmuContext* emu_now;
extern "C" __attribute__((visibility("hidden"))) void emu_switch(void** save, void* to);

// Saves the callee-saved registers on the stack, stores the stack pointer, continues on another
// stack.
#if defined(__x86_64__)
const int SAVED_WORDS = 6;
asm(R"(
.text
.p2align 4
.globl emu_switch
.hidden emu_switch
.type emu_switch,@function
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp,(%rdi)
    movq %rsi,%rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emu_switch,.-emu_switch
)");
#elif defined(__aarch64__)
const int SAVED_WORDS = 20;
asm(R"(
.text
.p2align 4
.globl emu_switch
.hidden emu_switch
.type emu_switch,%function
emu_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size emu_switch,.-emu_switch
)");
#else
#error "the emulator knows x86-64 and AArch64"
#endif

static void fiber_main();

// A stack that, when switched to, "returns" into fiber_main.
static void prepare(Fiber* f) {
    uint64_t* s = (uint64_t*)(f->stack + STACK_BYTES - 64);
#if defined(__x86_64__)
    *--s = 0;
    *--s = (uint64_t)(void*)fiber_main;
    for (int i = 0; i < SAVED_WORDS; ++i) *--s = 0;
#else
    s -= SAVED_WORDS;
    memset(s, 0, SAVED_WORDS * 8);
    s[11] = (uint64_t)(void*)fiber_main;  // x30, the link register
#endif
    f->sp = s;
}

static inline void go(Fiber* from, Fiber* to) { emu_switch(&from->sp, to->sp); }

static inline void enter(Thread* t) {
    Runtime& r = *emu_runtime;
    r.current = t;
    r.thread = t->index;
    r.linear = t->linear;
}

// Writes the message with block, thread and a census of the block, and leaves the launch.
void emu_fail(const char* what) {
    Runtime& r = *emu_runtime;
    Thread* t = r.current;
    r.error = 1;
    int count[5] = {};
    for (int i = 0; i < r.n_threads; ++i) ++count[r.threads[i].state];
    snprintf(r.launch->message, r.launch->message_size,
             "%s; block (%u,%u,%u) thread (%u,%u,%u); of %d threads %d wait at __syncthreads, "
             "%d at a warp operation, %d exited, %d not started",
             what, r.block.x, r.block.y, r.block.z, t->index.x, t->index.y, t->index.z, r.n_threads,
             count[AT_BARRIER], count[AT_WARP], count[DONE], count[NEW]);
    go(t->fiber, &r.main);
    abort();
}

void emu_misuse(const char* what, const char* where) {
    char text[300];
    snprintf(text, sizeof text, "%s (%s)", what, where);
    emu_fail(text);
}

// ------------------------------------------------------------------ scheduling
static Fiber* fresh_fiber() {
    Runtime& r = *emu_runtime;
    Fiber* f = r.n_idle ? r.idle[--r.n_idle] : &r.fibers[r.n_fibers++];
    if (!f->stack) {
        f->stack = (char*)mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        mprotect(f->stack, 4096, PROT_NONE);
    }
    prepare(f);
    r.born = f;
    return f;
}

static inline uint64_t next_random() {
    uint64_t& s = emu_runtime->random;
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return s;
}

static inline void wake(int i) {
    Runtime& r = *emu_runtime;
    r.threads[i].state = READY;
    r.queue[r.tail++ % (2 * MAX_THREADS)] = i;
}

// The fiber to run next: a thread that was woken, else a new thread, else nobody.
static Fiber* pick() {
    Runtime& r = *emu_runtime;
    const unsigned ring = 2 * MAX_THREADS;
    if (r.head == r.tail) return r.n_started < r.n_threads ? fresh_fiber() : nullptr;
    if (r.launch->schedule == 2) {
        unsigned k = r.head + next_random() % (r.tail - r.head);
        int t = r.queue[k % ring];
        r.queue[k % ring] = r.queue[r.head % ring];
        r.queue[r.head % ring] = t;
    }
    Thread* t = &r.threads[r.queue[r.head++ % ring]];
    enter(t);
    return t->fiber;
}

static void block_here(Thread* t) {
    Fiber* f = pick();
    if (!f) {
        enter(t);
        char text[300];
        if (t->state == AT_BARRIER)
            snprintf(text, sizeof text,
                     "barrier divergence: not every thread reaches __syncthreads (%s)", t->where);
        else
            snprintf(text, sizeof text,
                     "deadlock: a lane named in the mask of a warp operation never arrives (%s)",
                     t->where);
        emu_fail(text);
    }
    if (f != t->fiber) go(t->fiber, f);
}

// ------------------------------------------------------------------ warp operations
// When every lane of the mask has arrived: exchange the values and wake them.
static bool complete_warp(int index, unsigned mask, int op, const char* where) {
    Runtime& r = *emu_runtime;
    Warp& w = r.warps[index];
    mask &= w.alive;
    if (!mask || (w.pending & mask) != mask) return false;
    Thread* lanes = &r.threads[index * 32];
    unsigned votes = 0;
    for (unsigned m = mask; m; m &= m - 1) {
        int l = __builtin_ctz(m);
        if (lanes[l].op != op || (lanes[l].mask & w.alive) != mask) {
            char text[300];
            snprintf(text, sizeof text,
                     "warp operations with different masks or kinds meet (%s and %s)", where,
                     lanes[l].where);
            emu_fail(text);
        }
        votes |= (unsigned)(lanes[l].value & 1) << l;
    }
    unsigned epoch = ++r.n_warp_ops;
    uint64_t* gathered = w.gathered[w.parity ^= 1];
    for (unsigned m = mask; m; m &= m - 1)
        gathered[__builtin_ctz(m)] = lanes[__builtin_ctz(m)].value;
    for (unsigned m = mask; m; m &= m - 1) {
        Thread& t = lanes[__builtin_ctz(m)];
        if (op != EMU_GATHER) t.warp_epoch = epoch;
        if (op == EMU_SHFL)  // a lane outside the mask is undefined: all ones reads as NaN
            t.result = (mask >> t.source) & 1 ? gathered[t.source] : ~0ull;
        else
            t.result = op == EMU_GATHER ? (uint64_t)(uintptr_t)gathered : votes;
    }
    w.pending &= ~mask;
    for (unsigned m = mask; m; m &= m - 1) {
        int l = __builtin_ctz(m);
        if (&lanes[l] == r.current)
            lanes[l].state = READY;
        else
            wake(index * 32 + l);
    }
    return true;
}

uint64_t emu_warp(int op, unsigned mask, uint64_t value, int source, const char* where) {
    Runtime& r = *emu_runtime;
    Thread* t = r.current;
    int warp = t->linear >> 5, lane = t->linear & 31;
    t->where = where;
    if (!((mask >> lane) & 1)) {
        char text[300];
        snprintf(text, sizeof text,
                 "a lane executes a warp operation without its own bit in the mask %#x (%s)", mask,
                 where);
        emu_fail(text);
    }
    t->op = op;
    t->mask = mask;
    t->value = value;
    t->source = source;
    t->state = AT_WARP;
    r.warps[warp].pending |= 1u << lane;
    if (!complete_warp(warp, mask, op, where)) block_here(t);
    enter(t);
    return t->result;
}

unsigned emu_alive_lanes() { return emu_runtime->warps[emu_runtime->linear >> 5].alive; }

// ------------------------------------------------------------------ barriers
void emu_barrier(int site, const char* where, int predicate) {
    Runtime& r = *emu_runtime;
    Thread* t = r.current;
    t->state = AT_BARRIER;
    t->where = where;
    char text[300];
    if (r.n_waiting == 0) {
        r.barrier_site = site;
        r.barrier_where = where;
        r.barrier_count = 0;
    } else if (r.barrier_site != site) {
        snprintf(text, sizeof text,
                 "barrier divergence: threads meet at different __syncthreads (%s and %s)",
                 r.barrier_where, where);
        emu_fail(text);
    }
    r.barrier_count += predicate;
    ++r.n_waiting;
    if (r.n_done) {
        snprintf(text, sizeof text,
                 "barrier divergence: %d threads exited before __syncthreads (%s)", r.n_done,
                 where);
        emu_fail(text);
    }
    if (r.n_waiting == r.n_threads) {
        r.barrier_sum = r.barrier_count;
        r.n_waiting = 0;
        ++r.epoch;
        for (int k = 0; k < r.n_threads; ++k) wake(r.order[k]);
    }
    block_here(t);
    enter(t);
}

static void thread_ends(Thread* t) {
    Runtime& r = *emu_runtime;
    emu_copies_end(t->linear);
    emu_wgmma_end(t->linear);
    t->state = DONE;
    ++r.n_done;
    Warp& w = r.warps[t->linear >> 5];
    w.alive &= ~(1u << (t->linear & 31));
    if (r.n_waiting) {
        char text[300];
        snprintf(text, sizeof text,
                 "barrier divergence: a thread exits while %d wait at __syncthreads (%s)",
                 r.n_waiting, r.barrier_where);
        emu_fail(text);
    }
    if (w.pending) {  // the lanes that wait may have waited for this one only
        Thread* other = &r.threads[(t->linear & ~31) + __builtin_ctz(w.pending)];
        complete_warp(t->linear >> 5, other->mask, other->op, other->where);
    }
}

static void fiber_main() {
    Runtime& r = *emu_runtime;
    Fiber* me = r.born;
    for (;;) {
        if (r.head == r.tail && r.n_started < r.n_threads) {
            Thread* t = &r.threads[r.order[r.n_started++]];
            t->fiber = me;
            t->state = READY;
            enter(t);
            r.launch->call(r.launch->args);
            thread_ends(r.current);
        } else if (r.head != r.tail) {
            r.idle[r.n_idle++] = me;
            go(me, pick());
        } else {
            if (r.n_done != r.n_threads)
                emu_fail("deadlock: the remaining threads wait for a lane that has exited");
            go(me, &r.main);
        }
    }
}

// ------------------------------------------------------------------ faults become messages
static char fault_text[160];
extern "C" void emu_abort() { emu_fail(fault_text); }

static void on_signal(int sig, siginfo_t* info, void* user) {
    Runtime& r = *emu_runtime;
    ucontext_t* u = (ucontext_t*)user;
    if (!r.current) {  // not ours: let it happen again under the default action
        signal(sig, SIG_DFL);
        return;
    }
    if (sig == SIGFPE)
        snprintf(fault_text, sizeof fault_text, "integer division by zero");
    else if (sig == SIGILL)
        snprintf(fault_text, sizeof fault_text, "undefined behaviour (trap)");
    else
        snprintf(fault_text, sizeof fault_text, "illegal memory access (address %p)",
                 info->si_addr);
#if defined(__x86_64__)
    auto* regs = u->uc_mcontext.gregs;
    r.launch->fault_pc = (char*)regs[REG_RIP];
    regs[REG_RIP] = (greg_t)(void*)emu_abort;
    regs[REG_RSP] = ((regs[REG_RSP] - 512) & ~15ll) - 8;
#else
    r.launch->fault_pc = (char*)u->uc_mcontext.pc;
    u->uc_mcontext.pc = (uint64_t)(void*)emu_abort;
    u->uc_mcontext.sp = (u->uc_mcontext.sp - 512) & ~15ull;
#endif
}

struct FaultGuard {  // our handlers are installed during a launch only
    int signals[4] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct sigaction old[4];
    stack_t old_stack;
    FaultGuard() {
        static char alternate[64 << 10];
        stack_t ss{};
        ss.ss_sp = alternate;
        ss.ss_size = sizeof alternate;
        sigaltstack(&ss, &old_stack);
        struct sigaction sa{};
        sa.sa_sigaction = on_signal;
        sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (int i = 0; i < 4; ++i) sigaction(signals[i], &sa, &old[i]);
    }
    ~FaultGuard() {
        for (int i = 0; i < 4; ++i) sigaction(signals[i], &old[i], nullptr);
        sigaltstack(&old_stack, nullptr);
    }
};

// ------------------------------------------------------------------ a launch
static void map_dynamic_shared(Runtime& r, size_t bytes) {
    size_t need = (bytes + 15) & ~15ull, body = (need + 4095) & ~4095ull;
    if (body + 4096 > r.map_size) {
        if (r.map) munmap(r.map, r.map_size);
        r.map_size = body + 4096;
        r.map = (char*)mmap(nullptr, r.map_size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(r.map + body, 4096, PROT_NONE);
    }
    r.dynamic_shared = bytes ? r.map + r.map_size - 4096 - need : nullptr;
}

static void number_threads(Runtime& r) {
    int k = 0;
    for (unsigned z = 0; z < r.block_dim.z; ++z)
        for (unsigned y = 0; y < r.block_dim.y; ++y)
            for (unsigned x = 0; x < r.block_dim.x; ++x, ++k) {
                r.threads[k].index = {x, y, z};
                r.threads[k].linear = k;
                r.threads[k].warp_epoch = 0;
                r.order[k] = r.launch->schedule == 1 ? r.n_threads - 1 - k : k;
            }
}

// A step coprime to n: i * step mod n visits every block once, far from in order.
static long long block_step(long long n) {
    for (long long step = n / 2 + 1;; ++step) {
        long long a = n, b = step;
        while (b) {
            long long t = a % b;
            a = b;
            b = t;
        }
        if (a == 1) return step;
    }
}

static void run_block(Runtime& r, long long j) {
    const EmuLaunch& l = *r.launch;
    r.block_number = j + 1;
    ++r.epoch;
    r.block = {(unsigned)(j % l.grid[0]), (unsigned)(j / l.grid[0] % l.grid[1]),
               (unsigned)(j / l.grid[0] / l.grid[1])};
    memset(l.shared_begin, 0xff, l.shared_end - l.shared_begin);
    if (l.smem) memset(r.dynamic_shared, 0xff, l.smem);
    if (l.schedule == 2)
        for (int a = r.n_threads - 1; a > 0; --a) {
            int b = next_random() % (a + 1), t = r.order[a];
            r.order[a] = r.order[b];
            r.order[b] = t;
        }
    r.n_started = r.n_done = r.n_waiting = 0;
    r.head = r.tail = 0;
    r.n_idle = 0;
    for (int f = 0; f < r.n_fibers; ++f) r.idle[r.n_idle++] = &r.fibers[r.n_fibers - 1 - f];
    emu_wgmma_begin();
    for (int t = 0; t < r.n_threads; ++t) {
        r.threads[t].state = NEW;
        r.threads[t].fiber = nullptr;
        emu_copies_begin(t);
    }
    for (int w = 0; w < (r.n_threads + 31) / 32; ++w) {
        int left = r.n_threads - w * 32;
        r.warps[w].alive = left >= 32 ? ~0u : (1u << left) - 1;
        r.warps[w].pending = 0;
    }
    go(&r.main, fresh_fiber());
}

int emu_run(EmuLaunch* l) {
    if (!emu_runtime) {
        emu_runtime = (Runtime*)mmap(nullptr, sizeof(Runtime), PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        emu_now = emu_runtime;
    }
    Runtime& r = *emu_runtime;
    r.launch = l;
    r.grid_dim = dim3(l->grid[0], l->grid[1], l->grid[2]);
    r.block_dim = dim3(l->block[0], l->block[1], l->block[2]);
    r.n_threads = (int)(l->block[0] * l->block[1] * l->block[2]);
    r.error = 0;
    r.random = l->seed * 0x9E3779B97F4A7C15ull + 88172645463325252ull;
    l->fault_pc = nullptr;
    map_dynamic_shared(r, l->smem);
    number_threads(r);
    emu_check_begin(r);
    long long n = (long long)l->grid[0] * l->grid[1] * l->grid[2];
    long long step = l->schedule == 2 && n > 2 ? block_step(n) : 1;
    {
        FaultGuard guard;
        for (long long i = 0; i < n && !r.error; ++i)
            run_block(r, l->schedule == 1 ? n - 1 - i : (long long)((__int128)i * step % n));
    }
    r.current = nullptr;
    return r.error;
}
