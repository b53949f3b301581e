"""reduce.cu against NumPy: every entry, one slice and several, NaN, ties, integers."""
import numpy as np
import pytest
from check import prove

from gpukeras.ops.broadcast import Sum
from gpukeras.ops.reduce import ArgMax, ArgMin, CumProd, CumSum, Max, Min, Prod

BUDGETS = {"reduce_rows": 64, "reduce_warps": 56, "reduce_middle": 72, "arg_rows": 40,
           "arg_middle": 48, "cumulate_fwd": 48}
VARIANTS = [(("T", "float"),), (("T", "double"),), (("T", "float16"),), (("T", "long long"),),
            (("T", "bool"), ("Y", "int"), ("W", "int")),
            (("T", "float"), ("FOLD", "Max"), ("NEUTRAL", "((W)-POS_INF)"))]
KINDS = {Sum: np.sum, Prod: np.prod, Max: np.max, Min: np.min}

# shape, axes, entries
SHAPES = [((5, 33), (1,), ["reduce_warps"]),
          ((3, 1100), (1,), ["reduce_rows"]),
          ((9000,), (0,), ["reduce_rows"]),
          ((33, 5), (0,), ["reduce_middle"]),
          ((300, 40), (0,), ["reduce_middle"]),
          ((2, 5000, 3), (1,), ["reduce_middle"]), ((3, 7000), (1,), ["reduce_rows"]),
          ((3, 5, 33), (0, 2), ["reduce_warps", "reduce_middle"])]


@pytest.mark.parametrize("shape, axes, entries", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_numpy(kind, shape, axes, entries):
    x = np.random.default_rng(1).uniform(0.99, 1.01, shape).astype("f4")
    y, = prove(kind(axes), x, entries=entries)
    np.testing.assert_allclose(y, KINDS[kind](x.astype("f8"), axes), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["i4", "i8", "u1"])
@pytest.mark.parametrize("kind", [Sum, Max, Min])
def test_integers_are_exact(kind, dtype):
    x = np.random.default_rng(1).integers(1, 7, (9, 31)).astype(dtype)
    x = -x if dtype != "u1" else x
    for axis in (0, 1):
        y, = prove(kind((axis,)), x, entries=["reduce_middle" if axis == 0 else "reduce_warps"])
        np.testing.assert_array_equal(y, KINDS[kind](x, axis, dtype=dtype) if kind is Sum
                                      else KINDS[kind](x, axis))


def test_a_sum_of_truth_values_counts():
    x = np.random.default_rng(1).random((40, 50)) < 0.5
    y, = prove(Sum((0, 1)), x, entries=["reduce_rows"])
    assert y == x.sum() and y.dtype == np.int32


def test_half_precision_is_summed_in_float32():
    y, = prove(Sum((0,)), np.ones(9000, "f2"), entries=["reduce_rows"])
    assert y == 9000                               # a float16 sum of ones stops at 2048


@pytest.mark.parametrize("kind, find", [(ArgMax, np.argmax), (ArgMin, np.argmin)])
@pytest.mark.parametrize("shape, axis, entry", [((5, 33), 1, "arg_rows"), ((3, 700), 1, "arg_rows"),
                                                ((33, 5), 0, "arg_middle")])
def test_places_of_extremes(kind, find, shape, axis, entry):
    x = np.random.default_rng(4).integers(0, 6, shape).astype("f4")        # many ties
    y, = prove(kind(axis), x, entries=[entry])
    np.testing.assert_array_equal(y, find(x, axis))
    x[1, 2] = x[2, 1] = np.nan
    y, = prove(kind(axis), x, entries=[entry])
    np.testing.assert_array_equal(y, find(x, axis))


def test_running_sums():
    x = np.random.default_rng(4).standard_normal((3, 40, 5)).astype("f4")
    y, = prove(CumSum(1), x, entries=["cumulate_fwd"])
    np.testing.assert_allclose(y, np.cumsum(x.astype("f8"), 1), rtol=1e-5, atol=1e-5)
    y, = prove(CumSum(2, True), x, entries=["cumulate_fwd"])
    np.testing.assert_allclose(y, np.cumsum(x[..., ::-1].astype("f8"), 2)[..., ::-1], rtol=1e-5,
                               atol=1e-5)
    x = np.random.default_rng(4).uniform(0.5, 1.5, (3, 40, 5)).astype("f4")
    y, = prove(CumProd(1), x, entries=["cumulate_fwd"])
    np.testing.assert_allclose(y, np.cumprod(x.astype("f8"), 1), rtol=1e-5)
