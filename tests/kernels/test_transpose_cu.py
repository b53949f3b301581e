"""transpose.cu against NumPy: tiles cut at every border, batches, all sizes of element."""
import numpy as np
import pytest
from check import prove

from gpukeras.ops.shape import Transpose

BUDGETS = {"transpose_fwd": 40}
VARIANTS = [(("T", t),) for t in ("float", "double", "float16", "bool", "int")]


@pytest.mark.parametrize("shape, perm", [
    ((32, 32), (1, 0)), ((31, 33), (1, 0)), ((8, 100), (1, 0)), ((3, 40, 9), (0, 2, 1)),
    ((2, 5, 7, 33), (0, 3, 1, 2)), ((2, 33, 5, 7), (0, 2, 3, 1))])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "?"])
def test_agrees_with_numpy(shape, perm, dtype):
    x = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 100, shape).astype(dtype)
    y, = prove(Transpose(perm), x, entries=["transpose_fwd"])
    np.testing.assert_array_equal(y, x.transpose(perm))
