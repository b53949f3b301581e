// cuda_tensor.h - what tensor cores do: ldmatrix and mma.sync as warp collectives, with the
// fragment layouts of the PTX manual (chapter "Warp-level matrix instructions"), and cp.async.
//
// Products are exact and summed with the accumulator in double, then rounded to float once an
// instruction; a GPU keeps fewer bits in between. Operands are rounded by whoever makes them:
// TF32 registers are cut to 10 bits of mantissa here, as the hardware ignores the rest.
#pragma once

namespace emu {
enum { MMA_TF32, MMA_FLOAT16, MMA_BFLOAT16 };

// ldmatrix.x4: lanes 8i to 8i + 7 point at the rows of matrix i, 8 rows of 16 bytes. A lane gets
// the 32 bits `lane % 4` of row `lane / 4` of each; transposed: 16 bits of each of two rows.
static inline void load_matrices(const char* where, unsigned* out, const void* row, bool turned) {
    if ((uintptr_t)row % 16) emu_misuse("ldmatrix: a row is not aligned to 16 bytes", where);
    const uint64_t* rows = gather(where, row);
    const int g = lane() >> 2, t = lane() & 3;
    const char* source[4][2];
    for (int i = 0; i < 4; ++i) {
        source[i][0] = (const char*)rows[8 * i + (turned ? 2 * t : g)] + (turned ? 2 * g : 4 * t);
        source[i][1] = turned ? (const char*)rows[8 * i + 2 * t + 1] + 2 * g : source[i][0] + 2;
    }
    for (int i = 0; i < 4; ++i)
        out[i] = *(const uint16_t*)source[i][0] | (unsigned)*(const uint16_t*)source[i][1] << 16;
}

struct Fragments {   // of one lane, as numbers: a pair for each 32-bit register of 16-bit operands
    float a[4][2], b[2][2];
};

EMU_HIDDEN static float value(unsigned bits, int kind) {
    if (kind == MMA_TF32) return unbits<float>(bits & 0xffffe000u);
    if (kind == MMA_BFLOAT16) return unbits<float>(bits << 16);
    return (float)unbits<_Float16>((uint64_t)(uint16_t)bits);
}

// c[16, 8] += a[16, K] * b[K, 8]. registers: of a, 4 (K 16, or 8 for TF32) or 2 (K 8).
EMU_HIDDEN static void mma(const char* where, float* c, const unsigned* a, const unsigned* b,
                           int registers, int kind) {
    Fragments mine;
    for (int r = 0; r < registers; ++r)
        for (int h = 0; h < 2; ++h) {
            const int shift = kind == MMA_TF32 ? 0 : 16 * h;
            mine.a[r][h] = value(a[r] >> shift, kind);
            if (r < registers / 2) mine.b[r][h] = value(b[r] >> shift, kind);
        }
    const uint64_t* all = gather(where, &mine);
    const Fragments* lanes[32];
    for (int l = 0; l < 32; ++l) lanes[l] = (const Fragments*)all[l];
    const int g = lane() >> 2, t = lane() & 3, halves = kind == MMA_TF32 ? 1 : 2;
    for (int i = 0; i < 4; ++i) {
        const int lower = i >> 1, column = 2 * t + (i & 1);
        double sum = c[i];
        for (int part = 0; part < registers / 2; ++part)   // eight or four k each
            for (int q = 0; q < 4; ++q)
                for (int h = 0; h < halves; ++h)
                    sum += (double)lanes[4 * g + q]->a[2 * part + lower][h] *
                           lanes[4 * column + q]->b[part][h];
        c[i] = (float)sum;
    }
    gather(where, nullptr);                                // `mine` has been read by all
}

static inline float to_tf32(float v) {   // cvt.rna.tf32.f32: nearest, ties away from zero
    unsigned b = (unsigned)bits(v);
    return (b & 0x7f800000u) == 0x7f800000u ? v : unbits<float>((b + 0x1000u) & 0xffffe000u);
}
}  // namespace emu

#if defined(__SANITIZE_THREAD__)
#define EMU_CHECKED 1
#else
#define EMU_CHECKED 0
#endif
