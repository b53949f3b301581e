// checker.cpp - looks at every load and store of a kernel built with -fsanitize=thread.
//
// g++ puts calls to __tsan_read4 and friends before each access; the functions here take the place
// of the sanitizer's own. Each access must lie inside an argument, shared memory, the thread's
// stack or the module; must be aligned; must not write through const. With races on, a shadow cell
// per 4 bytes remembers the last writer and reader (block, thread, barrier and warp-operation
// clocks). Blocks are ordered by an atomic on one address that both use: what a block wrote before
// a fence and its atomic comes before what another does after its own, later atomic and a fence.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "runtime.h"

namespace {
struct Touch {  // one side of a shadow cell; id 0: never touched
    unsigned id, epoch, warp_epoch;
    unsigned char bytes;  // which of the 4 bytes
    bool atomic;
    unsigned stamp;       // number of the access
};
struct Shadow {
    Touch write, read;
};
struct Range {
    uintptr_t begin, end;
    bool writable;
    Shadow* shadow;
};
std::vector<Range> ranges;
Range static_shared, dynamic_shared;
bool check_races;
uint64_t counters[4];  // bytes: global read, global written, shared read, shared written
char* pc_now;

struct Signal {  // what one block gave free at an address, or another took from it
    unsigned block, epoch, thread;
};
struct Order {  // `from` (a signal) happened before what this block does after `to`
    Signal from, to;
};
std::map<uintptr_t, std::vector<Signal>> released;  // by the address of the atomic
std::map<unsigned, Order> acquired;                 // by block, of the block that runs now
std::map<unsigned, bool> fenced;                    // threads of the block that runs now
unsigned acquiring_block;
struct ProxyFence {
    unsigned stamp, epoch;
};
ProxyFence proxy_fences[MAX_THREADS][2];  // of the block that runs now: before its epoch, last
unsigned n_accesses;

void forget(Range& r) {
    free(r.shadow);
    r.shadow = nullptr;
}

void complain(const char* what) {
    emu_runtime->launch->fault_pc = pc_now;
    emu_fail(what);
}

bool inside(const Range& r, uintptr_t p, int size) { return p >= r.begin && p + size <= r.end; }

[[gnu::noinline]] void invalid(uintptr_t p, int size, bool write) {
    uint64_t nearest = ~0ull;
    for (auto& r : ranges) {
        uint64_t d = p > r.end ? p - r.end : p + size > r.begin ? 0 : r.begin - p - size;
        if (d < nearest) nearest = d;
    }
    char text[200];
    snprintf(text, sizeof text,
             "out of bounds: %s of %d bytes, %llu bytes away from the nearest argument",
             write ? "write" : "read", size, (unsigned long long)nearest);
    complain(text);
}

Range* find_argument(uintptr_t p, int size, bool write) {
    bool read_only = false;
    for (auto& r : ranges)
        if (inside(r, p, size)) {
            if (!write || r.writable) return &r;
            read_only = true;
        }
    if (read_only) complain("write through a const argument");
    invalid(p, size, write);
    return nullptr;
}

// A thread's atomic: takes what other blocks released at the address, releases what it fenced.
void synchronise(uintptr_t p, unsigned id, unsigned epoch) {
    unsigned block = id >> 10;
    if (acquiring_block != block) {
        acquired.clear();
        fenced.clear();
        acquiring_block = block;
    }
    for (const Signal& s : released[p])
        if (s.block != block) acquired[s.block] = {s, {block, epoch, id}};
    if (fenced[id]) released[p].push_back({block, epoch, id});
}

bool ordered_by_signals(const Touch& old, const Touch& now) {
    unsigned block = now.id >> 10;
    if (acquiring_block != block) return false;
    auto found = acquired.find(old.id >> 10);
    if (found == acquired.end()) return false;
    const Signal &from = found->second.from, &to = found->second.to;
    bool before = old.id == from.thread || old.epoch < from.epoch;
    bool after = now.id == to.thread || now.epoch > to.epoch;
    return before && after && fenced[now.id];
}

// Do two touches of a cell by different threads happen without anything that orders them?
bool unordered(const Touch& old, const Touch& now, bool shared) {
    if (!old.id || old.id == now.id || !(old.bytes & now.bytes)) return false;
    if ((old.id >> 10) != (now.id >> 10)) return !shared && !ordered_by_signals(old, now);
    if (old.epoch != now.epoch) return false;
    bool same_warp = ((old.id ^ now.id) & 0x3e0) == 0;
    return !(same_warp && old.warp_epoch != now.warp_epoch);
}

void report_race(const Touch& old, const char* before, bool write, bool shared) {
    char text[240];
    snprintf(text, sizeof text,
             "data race on %s memory: this %s and an earlier %s by thread %u of block %u, no "
             "barrier between",
             shared ? "shared" : "global", write ? "write" : "read", before, old.id & 1023,
             (old.id >> 10) - 1);
    complain(text);
}

void track(Range& r, uintptr_t p, int size, bool write, bool atomic, bool shared) {
    Runtime& rt = *emu_runtime;
    Thread* t = rt.current;
    if (!r.shadow) r.shadow = (Shadow*)calloc((r.end - r.begin) / 4 + 2, sizeof(Shadow));
    unsigned id = (unsigned)(rt.block_number * 1024 + t->linear);
    uintptr_t first = p - r.begin, last = first + size - 1;
    for (uintptr_t cell = first / 4; cell <= last / 4; ++cell) {
        unsigned char bytes = 0;
        for (int b = 0; b < 4; ++b)
            if (cell * 4 + b >= first && cell * 4 + b <= last) bytes |= 1 << b;
        Touch now{id, rt.epoch, t->warp_epoch, bytes, atomic, ++n_accesses};
        Shadow& s = r.shadow[cell];
        if (unordered(s.write, now, shared) && !(atomic && s.write.atomic))
            report_race(s.write, "write", write, shared);
        if (write && !atomic && unordered(s.read, now, shared))
            report_race(s.read, "read", write, shared);
        Touch& last_touch = write ? s.write : s.read;
        if (last_touch.id == now.id && last_touch.epoch == now.epoch &&
            last_touch.warp_epoch == now.warp_epoch && last_touch.atomic == now.atomic)
            now.bytes |= last_touch.bytes;  // a thread's 16-bit halves, one after the other
        last_touch = now;
    }
}

void access(const void* address, int size, bool write, bool atomic) {
    Runtime* rt = emu_runtime;
    if (!rt || !rt->current) return;
    uintptr_t p = (uintptr_t)address;
    char* stack = rt->current->fiber->stack;
    if (p >= (uintptr_t)stack && p < (uintptr_t)stack + STACK_BYTES) return;
    if ((p >= (uintptr_t)rt && p < (uintptr_t)(rt + 1)) || p == (uintptr_t)&emu_now) return;
    Range* r;
    bool shared = true;
    if (inside(static_shared, p, size))
        r = &static_shared;
    else if (inside(dynamic_shared, p, size))
        r = &dynamic_shared;
    else if (!write && p >= (uintptr_t)rt->launch->image_begin &&
             p < (uintptr_t)rt->launch->image_end)
        return;
    else {
        r = find_argument(p, size, write);
        shared = false;
    }
    if (p % size) {
        char text[80];
        snprintf(text, sizeof text, "misaligned %d-byte access", size);
        complain(text);
    }
    counters[2 * shared + write] += size;
    if (!check_races) return;
    if (!shared)  // views of one buffer overlap: they must share one shadow
        for (auto& other : ranges)
            if (inside(other, p, size)) {
                r = &other;
                break;
            }
    track(*r, p, size, write, atomic, shared);
    if (atomic && !shared)
        synchronise(p, (unsigned)(rt->block_number * 1024 + rt->current->linear), rt->epoch);
}
}  // namespace

// wgmma reads in the async proxy: the writer must have fenced what it wrote, then a barrier.
void emu_async_read(const void* p, int size) {
    emu_touch(p, size, false);
    if (!check_races || !dynamic_shared.shadow) return;
    const Runtime& rt = *emu_runtime;
    const Touch& w = dynamic_shared.shadow[((uintptr_t)p - dynamic_shared.begin) / 4].write;
    if (!w.id || w.id >> 10 != rt.block_number)
        emu_fail("wgmma reads shared memory that nobody wrote");
    for (const ProxyFence& f : proxy_fences[w.id & 1023])
        if (f.stamp > w.stamp && f.epoch < rt.epoch) return;
    emu_fail("wgmma reads shared memory whose writer has not passed fence.proxy.async and a "
             "barrier since");
}

void emu_touch(const void* p, int size, bool write) {
    pc_now = nullptr;
    access(p, size, write, false);
}

bool emu_checking() { return static_shared.end || dynamic_shared.end || !ranges.empty(); }

void emu_check_begin(Runtime& r) {
    forget(static_shared);
    forget(dynamic_shared);
    uintptr_t d = (uintptr_t)r.dynamic_shared;
    static_shared = {(uintptr_t)r.launch->shared_begin, (uintptr_t)r.launch->shared_end, true,
                     nullptr};
    dynamic_shared = {d, d + r.launch->smem, true, nullptr};
}

void emu_set_ranges(const EmuRange* list, int n, int races) {
    for (auto& r : ranges) forget(r);
    ranges.clear();
    released.clear();
    acquired.clear();
    fenced.clear();
    acquiring_block = 0;
    n_accesses = 0;
    memset(proxy_fences, 0, sizeof proxy_fences);
    check_races = races;
    for (int i = 0; i < n; ++i)
        ranges.push_back(
            {(uintptr_t)list[i].begin, (uintptr_t)list[i].end, list[i].writable != 0, nullptr});
}

void emu_counters(uint64_t* out, int reset) {
    memcpy(out, counters, sizeof counters);
    if (reset) memset(counters, 0, sizeof counters);
}

// ------------------------------------------------------------------ what -fsanitize=thread calls
#define HERE(p, n, w, a) (pc_now = (char*)__builtin_return_address(0), access(p, n, w, a))
extern "C" {
#define CALLBACKS(N)                                                     \
    void __tsan_read##N(void* p) { HERE(p, N, false, false); }           \
    void __tsan_write##N(void* p) { HERE(p, N, true, false); }           \
    void __tsan_unaligned_read##N(void* p) { HERE(p, N, false, false); } \
    void __tsan_unaligned_write##N(void* p) { HERE(p, N, true, false); } \
    void __tsan_volatile_read##N(void* p) { HERE(p, N, false, true); }   \
    void __tsan_volatile_write##N(void* p) { HERE(p, N, true, true); }
CALLBACKS(1)
CALLBACKS(2)
CALLBACKS(4)
CALLBACKS(8)
CALLBACKS(16)
void __tsan_read_range(void* p, unsigned long n) {
    pc_now = (char*)__builtin_return_address(0);
    for (unsigned long i = 0; i < n; ++i) access((char*)p + i, 1, false, false);
}
void __tsan_write_range(void* p, unsigned long n) {
    pc_now = (char*)__builtin_return_address(0);
    for (unsigned long i = 0; i < n; ++i) access((char*)p + i, 1, true, false);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}
void emu_atomic(const void* p, int size) { HERE(p, size, true, true); }
void emu_proxy_fence() {
    Runtime* rt = emu_runtime;
    ProxyFence* f = proxy_fences[rt->linear];
    if (f[1].epoch != rt->epoch) f[0] = f[1];
    f[1] = {++n_accesses, rt->epoch};
}
void emu_fence() {
    Runtime* rt = emu_runtime;
    if (!rt || !rt->current || !check_races) return;
    unsigned id = (unsigned)(rt->block_number * 1024 + rt->current->linear);
    if (acquiring_block != id >> 10) {
        acquired.clear();
        fenced.clear();
        acquiring_block = id >> 10;
    }
    fenced[id] = true;
}
}
