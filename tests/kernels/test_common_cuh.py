"""The functions of common.cuh and elementwise.cuh against NumPy and published numbers."""

import numpy as np
import pytest
from harness import ON_GPU, check_nvrtc, run_kernel

from gpukeras.errors import KernelError

REDUCE = """
#include "common.cuh"
extern "C" __global__ void reduce(const T* x, T* y, int n) {
    __shared__ A scratch[32];
    A v = threadIdx.x < n ? (A)x[threadIdx.x] : (A)0;
    A low = threadIdx.x < n ? (A)x[threadIdx.x] : -POS_INF;
    A s = block_sum(v, scratch), m = block_max(low, (A)-POS_INF, scratch);
    if (threadIdx.x == 0) { y[0] = s; y[1] = m; }
}
"""
CAST = """
#include "common.cuh"
extern "C" __global__ void cast(const float* x, T* y, float* z, int n) {
    for (i64 i = grid_start(); i < n; i += grid_step()) { y[i] = x[i]; z[i] = y[i]; }
}
"""


@pytest.mark.parametrize("block", [32, 96, 1024])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 1000])
def test_block_reductions(block, n):
    n = min(n, block)
    x = np.random.default_rng(n).normal(size=n).astype("f4")
    y = run_kernel(REDUCE, "reduce", (1,), (block,), (x, np.full(2, np.nan, "f4"), np.int32(n)))[1]
    np.testing.assert_allclose(y, [x.astype("f8").sum(), x.max()], rtol=1e-5, atol=1e-5)


def test_block_max_passes_nan_on():
    x = np.array([1, np.nan, 3], "f4")
    y = run_kernel(REDUCE, "reduce", (1,), (32,), (x, np.zeros(2, "f4"), np.int32(3)))[1]
    assert np.isnan(y).all()


EDGES = np.array([0, -0.0, 1, -1.5, 65504, 65520, 1e-8, 6e-5, 3.14159, np.inf, -np.inf, np.nan,
                  1.0009765625, 1.00048828125, 1.00390625, 1.005859375, 3.4e38], np.float32)


def test_float16_rounds_as_numpy():
    y, z = run_kernel(CAST, "cast", (1,), (32,), (EDGES, np.zeros(EDGES.size, "f2"),
                      np.zeros(EDGES.size, "f4"), np.int32(EDGES.size)), (("T", "float16"),))[1:]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y, EDGES.astype("f2"))
    np.testing.assert_array_equal(z, y.astype("f4"))


def test_bfloat16_rounds_as_torch():
    torch = pytest.importorskip("torch")
    text = CAST.replace("T* y", "unsigned short* y").replace(
        "y[i] = x[i]; z[i] = y[i];", "bfloat16 h = x[i]; y[i] = h.bits; z[i] = h;")
    z = run_kernel(text, "cast", (1,), (32,), (EDGES, np.zeros(EDGES.size, "u2"),
                   np.zeros(EDGES.size, "f4"), np.int32(EDGES.size)))[2]
    np.testing.assert_array_equal(z, torch.tensor(EDGES).to(torch.bfloat16).to(torch.float32))


@pytest.mark.parametrize("dtype", ["float", "double", "float16", "bfloat16"])
def test_they_compile_for_every_architecture(dtype):
    check_nvrtc(REDUCE, (("T", dtype),), {"reduce": 24})
    check_nvrtc(CAST, (("T", dtype),), {"cast": 40})


LAST = """
#include "common.cuh"
extern "C" __global__ void total(const float* x, float* part, float* y, unsigned* ticket, int n) {
    __shared__ float scratch[32];
    const float v = block_sum(grid_start() < n ? x[grid_start()] : 0.f, scratch);
    if (threadIdx.x == 0) part[blockIdx.x] = v;
    if (!comes_last(ticket, gridDim.x)) return;
    const float p = threadIdx.x < gridDim.x ? part[threadIdx.x] : 0.f;
    const float sum = block_sum(p, scratch);
    if (threadIdx.x == 0) y[0] = sum;
}
"""


@pytest.mark.parametrize("blocks", [1, 2, 7])
def test_the_block_that_comes_last_sees_what_the_others_wrote(blocks):
    x = np.random.default_rng(0).normal(size=blocks * 64 - 5).astype("f4")
    _, _, y, ticket = run_kernel(LAST, "total", (blocks,), (64,), (
        x, np.full(blocks, np.nan, "f4"), np.full(1, np.nan, "f4"), np.zeros(1, "u4"),
        np.int32(x.size)))
    np.testing.assert_allclose(y, x.astype("f8").sum(), rtol=1e-5, atol=1e-5)
    assert not ticket.any()


@pytest.mark.skipif(ON_GPU, reason="the race checker is the emulator's")
@pytest.mark.parametrize("wrong", ["no fence before the ticket", "no ticket"])
def test_reading_what_other_blocks_wrote_needs_the_ticket_and_the_fence(wrong):
    from gpukeras.devices.sources import expand_includes
    text = expand_includes(LAST, "test.cu")
    if wrong == "no ticket":
        text = text.replace("!comes_last(ticket, gridDim.x)", "blockIdx.x + 1 != gridDim.x")
    else:
        text = text.replace("    __threadfence();\n    __syncthreads();", "    __syncthreads();")
    x = np.ones(128, "f4")
    with pytest.raises(KernelError, match="data race"):
        run_kernel(text, "total", (2,), (64,), (x, np.zeros(2, "f4"), np.zeros(1, "f4"),
                   np.zeros(1, "u4"), np.int32(128)), schedules=("forward",))
