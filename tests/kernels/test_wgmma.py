"""wgmma.cuh on the emulator: operands found through descriptors, products that take their time.

The layouts are written here once more, as the PTX manual states them (canonical layouts of
128-byte swizzle), so that neither the kernel's formulas nor the emulator's stand alone.
"""
import numpy as np
import pytest

from gpukeras.devices import nvrtc
from gpukeras.errors import KernelError
from gpukeras.graph.halves import convert, numpy_dtype

from harness import ALL, HOPPER, ON_GPU, run_kernel, source

pytestmark = HOPPER
TYPES = {"float": ("float32", 8), "float16": ("float16", 16), "bfloat16": ("bfloat16", 16)}
KERNEL = """
#include "mma.cuh"
#include "wgmma.cuh"
// image: A then B, patterns as wgmma wants them; TERMS / K products, one after the other
extern "C" __global__ void product(const unsigned* image, int words, int b_at, float* out) {
    extern __shared__ Bits128 memory[];
    unsigned start = shared_address(memory);
    char* base = (char*)memory + (-start & (PATTERN - 1));
    start += -start & (PATTERN - 1);
    for (int i = threadIdx.x; i < words; i += 128) ((unsigned*)base)[i] = image[i];
    float c[1][N / 8][4];
    for (int j = 0; j < N / 8; ++j)
        for (int e = 0; e < 4; ++e) c[0][j][e] = 1.f;
    proxy_fence();
    __syncthreads();
    sums_fence(c[0]);
#pragma unroll
    for (int k = 0; k < STEPS; ++k) {
        const unsigned a = start + k * (TA ? 2048 : 32), b = start + b_at + k * (TB ? 2048 : 32);
        wgmma<TA, TB>(c[0], descriptor(a, 0, 1024), descriptor(b, STEPS * 2048, 1024), T());
    }
    wgmma_commit();
    wgmma_wait<0>();
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
    for (int j = 0; j < N / 8; ++j)
        for (int e = 0; e < 4; ++e)
            out[(row + e / 2 * 8) * N + 8 * j + lane % 4 * 2 + e % 2] = c[0][j][e];
}
"""


def image(matrix, dtype, turned):
    """Bytes of an operand [rows, k]. Swizzle<3, 4, 3> of
    K-major ((8, m), (T, 2k)) : ((8 T, SBO), (1, T)), SBO 1024 bytes, or
    turned ((T, 8, m), (8, k)) : ((1, T, LBO), (8 T, SBO)), SBO 1024, LBO terms / 8 * 1024 bytes."""
    rows, terms = matrix.shape
    size = 4 if dtype == "float32" else 2
    coded = convert(np.ascontiguousarray(matrix), numpy_dtype(dtype)).view(f"V{size}")
    row, k = np.indices(matrix.shape)
    if turned:
        at = row % 64 * size + row // 64 * (terms // 8 * 1024) + k % 8 * 128 + k // 8 * 1024
    else:
        assert terms * size == 128
        at = row % 8 * 128 + row // 8 * 1024 + k * size
    at = at ^ (at >> 7 & 7) << 4
    out = np.zeros(rows * terms, coded.dtype)
    out[(at // size).ravel()] = coded.ravel()
    return out.view("u4")


def operands(name, n, turned_a, turned_b, seed=0):
    dtype, k = TYPES[name]
    terms = 4 * k
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-8, 8, (64, terms)) / 4, rng.integers(-8, 8, (n, terms)) / 4
    parts = image(a, dtype, turned_a), image(b, dtype, turned_b)
    return a, b, np.concatenate(parts), np.int32(parts[0].nbytes)


def defines(name, n, turned_a, turned_b):
    return (("T", name), ("N", str(n)), ("TA", str(turned_a)), ("TB", str(turned_b)),
            ("STEPS", "4"))


def run(name, n, turned_a=0, turned_b=0, text=KERNEL, **kwargs):
    a, b, words, b_at = operands(name, n, turned_a, turned_b)
    got = run_kernel(text, "product", (1,), (128,),
                     [words, np.int32(words.size), b_at, np.full((64, n), np.nan, "f4")],
                     defines(name, n, turned_a, turned_b), smem=words.nbytes + 1024, **kwargs)[-1]
    return got, 1 + a @ b.T                              # small numbers: exact in every type


CASES = [("float", 64, 0, 0), ("float", 128, 0, 0), ("float16", 64, 0, 0), ("float16", 256, 1, 1),
         ("bfloat16", 128, 0, 1), ("bfloat16", 128, 1, 0), ("bfloat16", 256, 0, 0)]


@pytest.mark.parametrize("name, n, turned_a, turned_b", CASES)
def test_products_of_operands_laid_out_as_the_manual_says(name, n, turned_a, turned_b):
    got, want = run(name, n, turned_a, turned_b)
    assert np.array_equal(got, want)


@pytest.mark.parametrize("name, n, turned_a, turned_b", [*CASES, ("float", 256, 0, 0)])
def test_hopper_takes_the_instructions_and_runs_them_at_once(name, n, turned_a, turned_b):
    """ptxas says so where it has to put waits between them."""
    log = ptxas(source(KERNEL), defines(name, n, turned_a, turned_b))
    assert "wgmma" not in log and "Used" in log


def ptxas(text, names):
    """What ptxas says of a text for Hopper."""
    reason = nvrtc.missing()
    if reason:
        pytest.skip(f"kernels are not compiled here: {reason}")
    assert [nvrtc.target(text, arch) for arch in (80, 90, 100)] == [None, "90a", None]
    whole = nvrtc.module_text(text, names)
    return nvrtc._compile(whole, "wgmma.cu", (*nvrtc.OPTIONS, "-arch=sm_90a"))[1]


def test_tf32_operands_are_cut_not_rounded():
    text = KERNEL.replace("const unsigned* image", "unsigned* image").replace(
        "((unsigned*)base)[i] = image[i]", "((unsigned*)base)[i] = image[i] | 0x1fff")
    got, want = run("float", 64, text=text)
    assert np.array_equal(got, want)


NO_BARRIER = "    proxy_fence();\n    __syncthreads();"
LAST = "    const int lane = threadIdx.x % 32, row"


@pytest.mark.skipif(ON_GPU, reason="a GPU says nothing of these")
@pytest.mark.parametrize("old, new, words", [
    ("    proxy_fence();\n", "", "has not passed fence.proxy.async"),
    (NO_BARRIER, "    __syncthreads();\n    proxy_fence();", "has not passed fence.proxy.async"),
    (NO_BARRIER, "    proxy_fence();", "no barrier between|an operand changed"),
    ("    sums_fence(c[0]);", "", "no fence before the first product"),
    ("    sums_fence(c[0]);", "    sums_fence(c[0]);\n    c[0][0][0] = 2.f;",
     "sums were written after the last fence"),
    ("    wgmma_wait<0>();", "", "exits before its products"),
    ("    wgmma_wait<0>();\n", "    c[0][1][1] += 2.f; c[0][1][2] = 1.f;\n    wgmma_wait<0>();\n",
     "sums were written while products were under way"),
    ("    wgmma_wait<0>();\n", "    *(float*)base = 7.f;\n    wgmma_wait<0>();\n",
     "an operand changed"),
    (LAST, "    if (threadIdx.x == 40) *(float*)base = 7.f;\n" + LAST,
     "data race on shared memory|an operand changed"),
    ("start += -start & (PATTERN - 1);", "base = (char*)memory;", "multiple of 1024 bytes"),
    ("start + k * (TA ? 2048 : 32)", "start + k * 32 + 1024 * (threadIdx.x / 32)",
     "threads of a warpgroup issue different products"),
    ("STEPS * 2048, 1024), T()", "STEPS * 2048, 16384 * 8), T()", "outside of shared memory"),
    ("    wgmma_commit();\n    wgmma_wait<0>();",
     "    if (threadIdx.x < 64) wgmma<TA, TB>(c[0], descriptor(start, 0, 1024), "
     "descriptor(start, 0, 1024), T());\n    wgmma_commit();\n    wgmma_wait<0>();",
     "different numbers of products|outside")])
def test_what_is_wrong_with_products_is_named(old, new, words):
    assert old in KERNEL
    with pytest.raises(KernelError, match=words):
        run("bfloat16", 64, text=KERNEL.replace(old, new), schedules=("forward",))


@pytest.mark.skipif(ON_GPU, reason="a GPU says nothing of these")
@pytest.mark.parametrize("schedule", ALL)
@pytest.mark.parametrize("old, new", [
    ("    wgmma_wait<0>();", ""), ("    wgmma_wait<0>();", "    wgmma_wait<1>();"),
    ("    wgmma_commit();\n    wgmma_wait<0>();", "    wgmma_wait<0>();    wgmma_commit();")])
def test_sums_nobody_waits_for_are_not_there(old, new, schedule):
    text = KERNEL.replace(old, new)
    text = text[:text.rindex("}")] + "    wgmma_wait<0>();\n}\n"
    got, _ = run("float16", 64, text=text, schedules=(schedule,), check=False)
    assert np.isnan(got).all()


@pytest.mark.parametrize("old, new", [
    ("STEPS * 2048, 1024), T()", "STEPS * 2048, 2048), T()"),
    ("descriptor(b, STEPS * 2048,", "descriptor(b, 1024,"),
    ("start + k * (TA ? 2048 : 32)", "start + k * 16")])
def test_a_wrong_descriptor_gives_other_sums(old, new):
    assert old in KERNEL
    text = KERNEL.replace(old, new).replace("i < words", "i < words + 8192")
    text = text.replace("= image[i];", "= i < words ? image[i] : 0u;")
    a, b, words, b_at = operands("bfloat16", 128, 0, 1)
    got = run_kernel(text, "product", (1,), (128,),
                     [words, np.int32(words.size), b_at, np.full((64, 128), np.nan, "f4")],
                     defines("bfloat16", 128, 0, 1), smem=words.nbytes + 1024 + 32768,
                     schedules=("forward",))[-1]
    assert not np.array_equal(got, 1 + a @ b.T)
