"""The error function of arrays against that of Python's math, one number at a time."""
import math

import numpy as np
import pytest

from gpukeras.ops.host_erf import erf

X = np.concatenate([np.linspace(-7, 7, 20001), np.logspace(-30, 0, 301),
                    [0.0, -0.0, np.inf, -np.inf, np.nan]])


@pytest.mark.parametrize("dtype, error", [("float64", 3e-15), ("float32", 3e-7), ("float16", 1e-3)])
def test_values(dtype, error):
    x = X.astype(dtype)
    found = np.empty_like(x)
    erf(x, found)
    expected = np.array([math.erf(v) for v in x])
    smallest = np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(found, expected, rtol=error, atol=smallest)
    assert np.signbit(found[-4]) and not np.signbit(found[-5])        # of both zeros


def test_any_shape_and_strides():
    for x in (np.float32(0.3), np.zeros((0, 3), np.float32),
              np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 6)[::2, ::-1]):
        found = np.empty(np.shape(x), np.float32)
        erf(x, found)
        expected = [math.erf(v) for v in np.ravel(x)]
        np.testing.assert_allclose(found.ravel(), expected, rtol=3e-7)
