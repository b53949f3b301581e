// wgmma.cpp - products of a warpgroup, made while its threads go on (wgmma.mma_async).
//
// Operands are found through their 64-bit descriptors as the PTX manual says (address, leading and
// stride offsets, 128-byte swizzle), never by the kernel's own formulas. What a GPU leaves
// undefined is an error here, or shows in the results:
//   sums        hold NaN from the moment of issue until their group is waited for; writing to them
//               meanwhile, or after the last fence, is an error
//   operands    are read when the product is issued, and again when it is waited for: both must be
//               the same, and the checker sees both reads (barriers before and after)
//   proxies     with the checker: a thread must fence what it wrote, and a barrier must follow
//   threads     of a warpgroup must issue the same products in the same order
#include <cstdio>
#include <cstring>
#include <map>
#include <vector>

#include "runtime.h"

namespace {
enum { TF32, FLOAT16, BFLOAT16 };  // as in cuda_tensor.h
const unsigned WINDOW = 1024 + 272;  // where dynamic shared memory starts: aligned to 16, not more

struct Operand {
    uint64_t descriptor;
    int rows, turned;
};
struct Product {  // what one instruction of a warpgroup multiplies
    Operand a, b;
    int kind, terms;
    std::vector<float> left, right;  // [rows, terms]
};
struct Issued {
    int product, group;
    float* sums;
    int count;
};
struct Sums {  // registers of one thread
    std::vector<float> last;  // as they were at the last fence, or when they were last done
    std::vector<float> now;   // behind the products in flight
    int in_flight;
};
std::vector<Product> products[MAX_THREADS / 128];
std::vector<Issued> flying[MAX_THREADS];
std::map<float*, Sums> registers[MAX_THREADS];
int issued[MAX_THREADS], group_of[MAX_THREADS];

[[noreturn]] void refuse(const char* what, const char* where) {
    char text[300];
    snprintf(text, sizeof text, "wgmma: %s (%s)", what, where);
    emu_fail(text);
}

unsigned field(uint64_t descriptor, int first) { return (descriptor >> first & 0x3fff) << 4; }

// The address of element (row, k), by the canonical layouts with 128-byte swizzle.
unsigned address_of(const Operand& o, int row, int k, int size) {
    const unsigned start = field(o.descriptor, 0), leading = field(o.descriptor, 16),
                   stride = field(o.descriptor, 32);
    unsigned at;
    if (o.turned) {
        const int line = 128 / size;
        at = start + row / line * leading + row % line * size + k % 8 * 128 + k / 8 * stride;
    } else {
        at = start + row / 8 * stride + row % 8 * 128 + k * size;
    }
    return at ^ (at >> 7 & 7) << 4;
}

float number(const char* p, int kind) {
    unsigned bits = 0;
    memcpy(&bits, p, kind == TF32 ? 4 : 2);
    if (kind == FLOAT16) {
        _Float16 half;
        memcpy(&half, p, 2);
        return (float)half;
    }
    bits = kind == TF32 ? bits & 0xffffe000u : bits << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

std::vector<float> read(const Operand& o, int terms, int kind, bool checked, const char* where) {
    const int size = kind == TF32 ? 4 : 2;
    const Runtime& r = *emu_runtime;
    std::vector<float> out(o.rows * terms);
    for (int row = 0; row < o.rows; ++row)
        for (int k = 0; k < terms; ++k) {
            const unsigned at = address_of(o, row, k, size) - WINDOW;
            if (at + size > r.launch->smem) refuse("an operand is outside of shared memory", where);
            const char* p = r.dynamic_shared + at;
            if (checked) emu_async_read(p, size);
            out[row * terms + k] = number(p, kind);
        }
    return out;
}

void check_descriptor(const Operand& o, const char* where) {
    if (o.descriptor >> 62 != 1) refuse("the emulator knows 128-byte swizzle only", where);
    if (o.descriptor >> 49 & 7) refuse("the emulator knows base offset 0 only", where);
    const unsigned start = field(o.descriptor, 0);
    if (start >> 7 & 7) refuse("a pattern does not start at a multiple of 1024 bytes", where);
    if (o.turned && start & 127) refuse("a turned operand starts within a line", where);
}

bool same(const std::vector<float>& a, const float* b) {
    return !memcmp(a.data(), b, a.size() * sizeof(float));
}

// Lane 0 of each warp looks whether the operands are still what they were when first read.
void look_again(const Product& p, bool checked, const char* where) {
    if (emu_runtime->linear % 32) return;
    checked = checked && emu_runtime->linear % 128 == 0;
    if (!same(read(p.a, p.terms, p.kind, checked, where), p.left.data()) ||
        !same(read(p.b, p.terms, p.kind, checked, where), p.right.data()))
        refuse("an operand changed while a product of it was under way", where);
}

void add(const Product& p, float* sums) {
    const int linear = emu_runtime->linear, lane = linear % 32, row0 = linear % 128 / 32 * 16;
    for (int j = 0; j < p.b.rows / 8; ++j)
        for (int e = 0; e < 4; ++e) {
            const float* a = &p.left[(row0 + lane / 4 + e / 2 * 8) * p.terms];
            const float* b = &p.right[(8 * j + lane % 4 * 2 + e % 2) * p.terms];
            double sum = sums[4 * j + e];
            for (int k = 0; k < p.terms; ++k) sum += (double)a[k] * b[k];
            sums[4 * j + e] = (float)sum;
        }
}

bool checked_build;
bool used;  // by the block that runs now
}  // namespace

void emu_wgmma_begin() {
    if (!used) return;
    for (auto& of_group : products) of_group.clear();
    for (int thread = 0; thread < MAX_THREADS; ++thread) {
        flying[thread].clear();
        registers[thread].clear();
        issued[thread] = group_of[thread] = 0;
    }
    used = false;
}

void emu_wgmma_end(int thread) {
    if (!used) return;
    if (!flying[thread].empty()) emu_fail("a thread exits before its products (wgmma) are done");
    if (issued[thread] != (int)products[thread / 128].size())
        emu_fail("wgmma: threads of a warpgroup issue different numbers of products");
}

extern "C" unsigned emu_shared_address(const void* p, const char* where) {
    const Runtime& r = *emu_runtime;
    const uint64_t offset = (uint64_t)p - (uint64_t)r.dynamic_shared;
    if (!r.dynamic_shared || offset > r.launch->smem)
        refuse("a pointer that is not to dynamic shared memory", where);
    return WINDOW + (unsigned)offset;
}

extern "C" void emu_wgmma_fence(float* sums, int count) {
    used = true;
    Sums& s = registers[emu_runtime->linear][sums];
    if (!s.in_flight) s.last.assign(sums, sums + count);
}

extern "C" void emu_wgmma(float* sums, int eights, uint64_t a, uint64_t b, int kind, int turned_a,
                          int turned_b, int checked, const char* where) {
    const int thread = emu_runtime->linear, group = thread / 128, count = 4 * eights;
    checked_build = checked;
    used = true;
    if (emu_runtime->n_threads % 128) refuse("a block that is not of whole warpgroups", where);
    const Operand left{a, 64, turned_a}, right{b, 8 * eights, turned_b};
    std::vector<Product>& all = products[group];
    const int index = issued[thread]++;
    if (index == (int)all.size()) {
        const int terms = kind == TF32 ? 8 : 16;
        check_descriptor(left, where);
        check_descriptor(right, where);
        all.push_back({left, right, kind, terms, read(left, terms, kind, false, where),
                       read(right, terms, kind, false, where)});
    }
    const Product& p = all[index];
    if (p.a.descriptor != a || p.b.descriptor != b || p.kind != kind || p.b.rows != right.rows ||
        p.a.turned != turned_a || p.b.turned != turned_b)
        refuse("threads of a warpgroup issue different products", where);
    look_again(p, checked, where);
    auto found = registers[thread].find(sums);
    if (found == registers[thread].end()) refuse("no fence before the first product", where);
    Sums& s = found->second;
    if (!s.in_flight) {
        if ((int)s.last.size() != count || !same(s.last, sums))
            refuse("sums were written after the last fence", where);
        s.now = s.last;
    }
    add(p, s.now.data());
    ++s.in_flight;
    flying[thread].push_back({index, group_of[thread], sums, count});
    memset(sums, 0xff, count * sizeof(float));
}

extern "C" void emu_wgmma_commit() { ++group_of[emu_runtime->linear]; }

extern "C" void emu_wgmma_wait(int pending, const char* where) {
    const int thread = emu_runtime->linear;
    std::vector<Issued>& waiting = flying[thread];
    size_t done = 0;
    for (; done < waiting.size() && waiting[done].group < group_of[thread] - pending; ++done) {
        const Issued& i = waiting[done];
        look_again(products[thread / 128][i.product], checked_build, where);
        Sums& s = registers[thread][i.sums];
        for (int e = 0; e < i.count; ++e) {
            unsigned bits;
            memcpy(&bits, i.sums + e, 4);
            if (bits != ~0u) refuse("sums were written while products were under way", where);
        }
        if (--s.in_flight) continue;
        s.last = s.now;
        memcpy(i.sums, s.now.data(), i.count * sizeof(float));
    }
    waiting.erase(waiting.begin(), waiting.begin() + done);
}
