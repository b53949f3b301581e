"""Sums bound to arrays, against numpy.sum in float64."""

import numpy as np
import pytest

from gpukeras.ops import host_sum
from gpukeras.ops.broadcast import Sum

CASES = [((6, 5, 4), axes) for axes in ((0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2))]
CASES += [((7,), (0,)), ((1, 3), (0,)), ((640, 3), (0,)), ((1024, 32), (0,)), ((977, 8), (0,)),
          ((32, 16, 16, 24), (0, 1, 2)), ((3, 5000), (0,)), ((5, 1), (0,))]


@pytest.mark.parametrize("small", [0, 1 << 20], ids=["wide rows", "products"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape,axes", CASES)
def test_every_way_to_sum(shape, axes, keepdims, small, monkeypatch):
    monkeypatch.setattr(host_sum, "PRODUCT_BYTES", small)
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64", "int32"):
        x = (rng.standard_normal(shape) * 10).astype(dtype)
        want = x.astype("float64").sum(axes, keepdims=keepdims)
        y = np.full(want.shape, 99, dtype)
        Sum(axes, keepdims).host((x,), (y,))()
        np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-3)


def test_what_is_left_to_numpy():
    x = np.ones((4, 6), "float32")
    assert Sum((0,)).host((x[:, ::2],), (np.empty(3, "float32"),)) is None
    assert Sum((0,)).host((x > 0,), (np.empty(6, "int32"),)) is None
    assert Sum((0,)).host((x[:0],), (np.empty(6, "float32"),)) is None
