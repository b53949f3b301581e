// async.cpp - copies from global to shared memory that take their time (cp.async).
//
// A copy is done when its thread waits for its group, never earlier; from the moment it is issued
// its target holds NaN. So whoever reads too early, or overwrites what others still read, shows in
// the results, whatever the schedule. The checker sees the read of the source and a write of the
// target when the copy is issued, and another write when it is done: readers need a barrier after
// that, and the threads that read the target before need one before it.
#include <cstdio>
#include <cstring>
#include <vector>

#include "runtime.h"

namespace {
struct Copy {
    char* to;
    const char* from;
    int bytes, taken, group;  // the bytes beyond `taken` become zero
    bool checked;
};
std::vector<Copy> in_flight[MAX_THREADS];
int open_group[MAX_THREADS];

void finish(const Copy& c) {
    if (c.checked) emu_touch(c.to, c.bytes, true);
    memcpy(c.to, c.from, c.taken);
    memset(c.to + c.taken, 0, c.bytes - c.taken);
}
}  // namespace

void emu_copies_begin(int thread) {
    in_flight[thread].clear();
    open_group[thread] = 0;
}

void emu_copies_end(int thread) {
    if (!in_flight[thread].empty())
        emu_fail("a thread exits before its asynchronous copies have arrived");
}

extern "C" void emu_copy_async(void* to, const void* from, int bytes, int taken, int checked,
                               const char* where) {
    if ((uintptr_t)to % bytes || (taken && (uintptr_t)from % bytes)) {
        char text[200];
        snprintf(text, sizeof text, "misaligned asynchronous copy of %d bytes (%s)", bytes, where);
        emu_fail(text);
    }
    int thread = emu_runtime->linear;
    if (checked) {
        if (taken) emu_touch(from, taken, false);
        emu_touch(to, bytes, true);
    }
    memset(to, 0xff, bytes);
    in_flight[thread].push_back({(char*)to, (const char*)from, bytes, taken, open_group[thread],
                                 checked != 0});
}

extern "C" void emu_copies_commit() { ++open_group[emu_runtime->linear]; }

extern "C" void emu_copies_wait(int pending) {
    int thread = emu_runtime->linear;
    std::vector<Copy>& copies = in_flight[thread];
    size_t done = 0;
    while (done < copies.size() && copies[done].group < open_group[thread] - pending)
        finish(copies[done++]);
    copies.erase(copies.begin(), copies.begin() + done);
}
