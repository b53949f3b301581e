// philox.cuh - random bits of a counter, bit for bit those of numpy.random.Philox.
//
// Philox4x64-10 (Salmon, Moraes, Dror, Shaw 2011) turns key (seed, salt) and counter
// (b + 1, 0, step, 0) into the 256 bits of block b: 16 elements of a mask.
#pragma once
#include "common.cuh"

struct Block { u64 word[4]; };

__device__ __forceinline__ Block philox(u64 index, u64 step, u64 seed, u64 salt) {
    u64 a = index + 1, b = 0, c = step, d = 0;
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const u64 ha = __umul64hi(a, 0xD2E7470EE14C6C93ULL), la = a * 0xD2E7470EE14C6C93ULL;
        const u64 hc = __umul64hi(c, 0xCA5A826395121157ULL), lc = c * 0xCA5A826395121157ULL;
        a = hc ^ b ^ seed;
        b = lc;
        c = ha ^ d ^ salt;
        d = la;
        seed += 0x9E3779B97F4A7C15ULL;
        salt += 0xBB67AE8584CAA73BULL;
    }
    return {{a, b, c, d}};
}

// The mask of elements 16 * block .. 16 * block + 15, one bit each: 16 random bits >= threshold.
__device__ __forceinline__ unsigned mask_word(u64 block, u64 step, u64 seed, unsigned threshold) {
    const Block r = philox(block, step, seed, 4);
    unsigned word = 0;
#pragma unroll
    for (int i = 0; i < 16; ++i)
        word |= (unsigned)(((unsigned)(r.word[i >> 2] >> (16 * (i & 3))) & 0xffffu) >= threshold)
                << i;
    return word;
}

// The mask of one element: as much work as for 16.
__device__ __forceinline__ bool mask_bit(u64 e, u64 step, u64 seed, unsigned threshold) {
    return mask_word(e / 16, step, seed, threshold) >> (e % 16) & 1;
}
