"""mma.cuh on the emulator: fragments as the PTX manual draws them, copies that take their time."""
import numpy as np
import pytest

from gpukeras.errors import KernelError
from gpukeras.graph.halves import convert, numpy_dtype, plain

from harness import ALL, ON_GPU, run_kernel

MMA = """
#include "mma.cuh"
extern "C" __global__ void one(const unsigned* a, const unsigned* b, const float* c, float* d) {
    unsigned left[4], right[2];
    float sums[4];
    for (int i = 0; i < 4; ++i) left[i] = a[i * 32 + threadIdx.x];
    for (int i = 0; i < 2; ++i) right[i] = b[i * 32 + threadIdx.x];
    for (int i = 0; i < 4; ++i) sums[i] = c[i * 32 + threadIdx.x];
    mma(T(), sums, left, right);
    for (int i = 0; i < 4; ++i) d[i * 32 + threadIdx.x] = sums[i];
}
"""
LANE = np.arange(32)
GROUP, IN_GROUP = LANE >> 2, LANE & 3


def fragments(matrix, rows, steps, per):
    """Registers [i, lane] of a row-major operand: rows and steps along k say what register i holds,
    each register `per` neighbours along k (PTX manual, figures of m16n8k8 and m16n8k16)."""
    out = []
    for row, step in zip(rows, steps):
        words = [matrix[GROUP + row, per * IN_GROUP + step + h] for h in range(per)]
        out.append(np.stack(words, -1))
    return np.stack(out)


def words(numbers, dtype):
    """Registers of numbers [register, lane, neighbours]."""
    memory = convert(np.ascontiguousarray(numbers), numpy_dtype(dtype))
    return memory.view("u4").reshape(len(numbers), 32)


@pytest.mark.parametrize("extra", [(), (("TURING", "1"),)])
@pytest.mark.parametrize("dtype, name, k", [("float32", "float", 8), ("float16", "float16", 16),
                                            ("bfloat16", "bfloat16", 16)])
def test_fragments_are_those_of_the_manual(dtype, name, k, extra):
    per, half = (1, 4) if k == 8 else (2, 8)
    rng = np.random.default_rng(0)
    a, b = rng.integers(-8, 8, (16, k)) / 4, rng.integers(-8, 8, (k, 8)) / 4
    c = rng.integers(-8, 8, (16, 8)).astype("f4")
    left = words(fragments(a, (0, 8, 0, 8), (0, 0, half, half), per), dtype)
    right = words(fragments(b.T, (0, 0), (0, half), per), dtype)

    def sums(i):
        return GROUP + 8 * (i // 2), 2 * IN_GROUP + i % 2

    third = np.stack([c[sums(i)] for i in range(4)])
    *_, got = run_kernel(MMA, "one", (1,), (32,), [left, right, third, np.full_like(third, np.nan)],
                         (("T", name), *extra))
    want = a @ b + c                                         # small numbers: exact in every type
    assert np.array_equal(got, np.stack([want[sums(i)] for i in range(4)]))


LOAD = """
#include "mma.cuh"
extern "C" __global__ void load(const unsigned* x, unsigned* y, int turned) {
    __shared__ __align__(16) unsigned tile[32 * 4];
    for (int i = 0; i < 4; ++i) tile[i * 32 + threadIdx.x] = x[i * 32 + threadIdx.x];
    __syncthreads();
    unsigned out[4];
    if (turned) load_matrices_turned(out, tile + threadIdx.x * 4);
    else load_matrices(out, tile + threadIdx.x * 4);
    for (int i = 0; i < 4; ++i) y[i * 32 + threadIdx.x] = out[i];
}
"""


@pytest.mark.parametrize("turned", [0, 1])
def test_matrices_are_dealt_out_to_lanes(turned):
    x = np.arange(32 * 8, dtype="u2").reshape(4, 8, 8)       # four matrices of 8 rows of 16 bytes
    _, got = run_kernel(LOAD, "load", (1,), (32,), [x.view("u4"), np.zeros((4, 32), "u4"),
                                                    np.int32(turned)])
    pairs = x.transpose(0, 2, 1) if turned else x
    want = np.stack([pairs[:, GROUP, 2 * IN_GROUP], pairs[:, GROUP, 2 * IN_GROUP + 1]], -1)
    assert np.array_equal(got.view("u2").reshape(4, 32, 2), want)


def copies(body):
    return """
#include "mma.cuh"
extern "C" __global__ void copy(const float* x, float* y, int n) {
    __shared__ __align__(16) float tile[2][256];
    const int i = threadIdx.x, j = i ^ 37;
    tile[0][i] = tile[1][i] = 7.f;
    __syncthreads();
""" + body + "\n}\n"


GOOD = """
    copy_async<4>(&tile[0][i], i < n ? x + i : nullptr);
    copies_commit();
    copy_async<4>(&tile[1][i], x + 64 + i);
    copies_commit();
    copies_wait<1>();
    __syncthreads();
    y[i] = tile[0][j];
    copies_wait<0>();
    __syncthreads();
    y[64 + i] = tile[1][j];
"""


def run(body, n=40, **kwargs):
    x = np.arange(128, dtype="f4")
    return run_kernel(copies(body), "copy", (1,), (64,), [x, np.full(128, np.nan, "f4"),
                                                          np.int32(n)], **kwargs)[1]


def test_copies_arrive_group_by_group_with_zeros_at_the_edge():
    other = np.arange(64) ^ 37
    want = np.concatenate([np.where(other < 40, other, 0), 64 + other])
    assert np.array_equal(run(GOOD), want)


@pytest.mark.skipif(ON_GPU, reason="a GPU says nothing of these")
@pytest.mark.parametrize("schedule", ALL)
def test_a_copy_nobody_waits_for_has_not_arrived(schedule):
    early = GOOD.replace("copies_wait<1>();", "copies_wait<2>();", 1)
    got = run(early, schedules=(schedule,), check=False)
    assert np.isnan(got[:64]).any() and not np.isnan(got[64:]).any()


@pytest.mark.skipif(ON_GPU, reason="a GPU says nothing of these")
@pytest.mark.parametrize("old, new, words", [
    ("copies_wait<1>();\n    __syncthreads();", "copies_wait<1>();", "data race on shared memory"),
    ("copies_wait<0>();\n    __syncthreads();\n    y[64 + i] = tile[1][j];", "",
     "exits before its asynchronous copies have arrived"),
    ("&tile[0][i], i < n ? x + i", "&tile[0][i], i < n ? x + 100 + i",
     "out of bounds|illegal memory"),
    ("copy_async<4>(&tile[0][i]", "copy_async<16>(&tile[0][i]", "misaligned asynchronous copy"),
    ("y[i] = tile[0][j];", "y[i] = tile[0][j]; copy_async<4>(&tile[0][i], x + i);"
     "copies_commit();",
     "data race on shared memory")])
def test_what_is_wrong_with_copies_is_named(old, new, words):
    assert old in GOOD
    with pytest.raises(KernelError, match=words):
        run(GOOD.replace(old, new), schedules=("forward",))


def test_tf32_is_rounded_to_nearest():
    text = """
#include "mma.cuh"
extern "C" __global__ void rounding(unsigned* x) { x[threadIdx.x] = to_tf32(x[threadIdx.x]); }
"""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(32).astype("f4") * 10.0 ** rng.integers(-30, 30, 32)
    x = x.astype("f4")
    got, = run_kernel(text, "rounding", (1,), (32,), [x.view("u4")])
    got = got.view("f4")
    assert not (got.view("u4") & 0x1fff).any()
    assert (np.abs(got - x.astype("f8")) <= np.abs(x) * 2.0 ** -11).all()
    assert plain(got).dtype == np.float32


@pytest.mark.skipif(ON_GPU, reason="a GPU says nothing of it")
def test_a_race_of_two_halves_is_noticed():
    """A pair of 16-bit numbers is two stores into one cell of the checker's memory."""
    text = """
#include "common.cuh"
struct __align__(4) Pair { float16 a, b; };
extern "C" __global__ void pairs(float16* y) {
    *(Pair*)(y + 2 * threadIdx.x) = Pair{(float16)1.f, (float16)2.f};
}
"""
    with pytest.raises(KernelError, match="data race on global memory"):
        run_kernel(text, "pairs", (3,), (64,), [np.zeros(128, "f2")])
