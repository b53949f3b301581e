"""depthwise.cu against the ops' NumPy meaning, which tests/ops/test_conv.py holds against torch."""
import numpy as np
import pytest
from harness import run_kernel

from gpukeras.graph import TensorType
from gpukeras.ops.depthwise import DepthwiseConv, DepthwiseDataGrad, DepthwiseWeightGrad
from gpukeras.ops.record import In, Out, Temp

BUDGETS = {"depthwise_fwd": 64, "depthwise_bwd": 72, "depthwise_weight": 48, "depthwise_join": 56}
VARIANTS = [(("T", t), ("V", v)) for t, v in (("float", "4"), ("float", "1"), ("float16", "8"),
                                              ("double", "2"))]

# strides, pads, dilation, spatial size, window, channels, filters per channel, images
CASES = [
    ((1, 1), ((1, 1), (1, 1)), (1, 1), (6, 7), (3, 3), 8, 1, 3),
    ((2, 1), ((0, 1), (1, 0)), (1, 2), (7, 8), (3, 2), 5, 1, 2),
    ((1,), ((2, 0),), (1,), (9,), (3,), 3, 4, 33),
    ((1, 2, 1), ((0, 1), (1, 1), (0, 0)), (1, 1, 1), (4, 5, 4), (2, 3, 2), 4, 2, 1),
    ((1, 1), ((0, 0), (0, 0)), (1, 1), (20, 18), (2, 2), 40, 1, 2),     # several parts of places
]


def run(op, arrays, **kwargs):
    """The output of an op's launch plan."""
    types = tuple(TensorType(a.dtype.name, a.shape) for a in arrays)
    out = op.infer(*types)
    plan = op.cuda.plan(op, types, (out,))
    buffers = {Out(0): np.full(out.shape, np.nan, out.dtype),
               **{In(i): a for i, a in enumerate(arrays)}}
    sums = np.float64 if out.dtype == "float64" else np.float32
    buffers.update((Temp(i), np.full(n // np.dtype(sums).itemsize, np.nan, sums))
                   for i, n in enumerate(plan.temps))
    for step in plan.steps:
        refs = [a for a in step.args if isinstance(a, (In, Out, Temp))]
        args = [buffers[a] if a in refs else a for a in step.args]
        after = run_kernel("depthwise.cu", step.entry, step.grid, step.block, args, step.defines,
                           **kwargs)
        buffers.update(zip(refs, after))
    return buffers[Out(0)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_depthwise_kernels(case, dtype):
    *how, size, window, channels, filters, images = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, *size, channels)).astype(dtype)
    w = rng.standard_normal((*window, channels, filters)).astype(dtype)
    out = DepthwiseConv(*how).infer(*(TensorType(dtype, a.shape) for a in (x, w))).shape
    gy = rng.standard_normal(out).astype(dtype)
    full = {"schedules": ("forward", "reverse", "random") if dtype == "float32" else ("random",)}
    tolerance = {"float32": 2e-5, "float64": 1e-12, "float16": 4e-3}[dtype]
    for op, arrays in ((DepthwiseConv(*how), (x, w)), (DepthwiseDataGrad(*how, size), (gy, w)),
                       (DepthwiseWeightGrad(window, *how), (x, gy))):
        want = op.numpy(*(a.astype("float64") for a in arrays))
        got = run(op, arrays, **full)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())


def test_all_entries_are_launched():
    op, types = DepthwiseWeightGrad((2,), (1,), ((0, 0),), (1,)), []
    types = [TensorType("float32", (2, 400, 3)), TensorType("float32", (2, 399, 3))]
    plan = op.cuda.plan(op, types, (op.infer(*types),))
    assert [s.entry for s in plan.steps] == ["depthwise_weight", "depthwise_join"]
    assert plan.steps[0].grid[2] > 1                        # the parts that depthwise_join adds
    forward = DepthwiseConv((1,), ((0, 0),), (1,))
    types = (TensorType("float32", (2, 9, 8)), TensorType("float32", (3, 8, 1)))
    plan = forward.cuda.plan(forward, types, (forward.infer(*types),))
    assert plan.steps[0].entry == "depthwise_fwd" and ("V", "4") in plan.steps[0].defines
    back = DepthwiseDataGrad((1,), ((0, 0),), (1,), (9,))
    types = (TensorType("float32", (2, 7, 16)), TensorType("float32", (3, 8, 2)))
    plan = back.cuda.plan(back, types, (back.infer(*types),))
    assert plan.steps[0].entry == "depthwise_bwd" and ("V", "1") in plan.steps[0].defines
