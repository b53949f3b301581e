"""Ops whose host() binds a fast path: it must give what the op's numpy() gives."""

import numpy as np
import pytest

from gpukeras.ops.conv import Conv, ConvDataGrad, ConvWeightGrad
from gpukeras.ops.pool import AveragePool, AveragePoolGrad, MaxPool, MaxPoolGrad

PADS = ((1, 0), (0, 2))
X, W, Y = (2, 9, 8, 3), (3, 2, 3, 5), (2, 4, 9, 5)
P = (2, 5, 5, 3)
CASES = {
    "conv": (Conv((2, 1), PADS, (1, 1)), (X, W)),
    "data grad": (ConvDataGrad((2, 1), PADS, (1, 1), X[1:3]), (Y, W)),
    "data grad like": (ConvDataGrad((2, 1), PADS, (1, 1)), (Y, W, X)),
    "weight grad": (ConvWeightGrad(W[:2], (2, 1), PADS, (1, 1)), (X, Y)),
    "max pool": (MaxPool((2, 3), (2, 2), PADS), (X,)),
    "average pool": (AveragePool((2, 3), (2, 2), PADS), (X,)),
    "average pool grad": (AveragePoolGrad((2, 3), (2, 2), PADS, X[1:3]), ((2, 5, 4, 3),)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_fast_path_agrees_with_numpy(name, dtype):
    op, shapes = CASES[name]
    rng = np.random.default_rng(0)
    ins = tuple(rng.standard_normal(s).astype(dtype) for s in shapes)
    check(op, ins)


def test_max_pool_grad_agrees_with_numpy():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, X).astype("float32")             # many ties
    op = MaxPool((2, 3), (2, 2), PADS)
    y = op.numpy(x)
    check(MaxPoolGrad(*[getattr(op, p) for p in op.params]),
          (x, y, rng.standard_normal(y.shape).astype("float32")))


def check(op, ins):
    expected = op.numpy(*ins)
    out = np.full_like(expected, np.nan)
    run = op.host(ins, (out,))
    assert run is not None
    run()
    tolerance = 1e-10 if expected.dtype == np.float64 else 1e-4
    np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
