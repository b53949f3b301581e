"""The functions of common.cuh and elementwise.cuh against NumPy and published numbers."""

import numpy as np
import pytest
from harness import check_nvrtc, run_kernel

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
