"""copy.cu: boxes with any strides against NumPy's views; boxes cut in parts; filling."""
import numpy as np
import pytest
from check import prove
from harness import run_kernel

from gpukeras.ops import plans_copy
from gpukeras.ops.plans_copy import copy_box, fill_value, merged, strides_of
from gpukeras.ops.record import Out
from gpukeras.ops.shape import (Concat, Pad, Reverse, Shift, Slice, Tile, Transpose,
                                Unslice)

BUDGETS = {"copy_strided": 40, "join_fwd": 40, "fill_value": 16}
VARIANTS = [(("T", t),) for t in ("float", "double", "float16", "bool")]
X = np.arange(2 * 3 * 4 * 5, dtype="f4").reshape(2, 3, 4, 5)
FULL = (None, None, None)


@pytest.mark.parametrize("op, want", [
    (Transpose((3, 1, 0, 2)), X.transpose(3, 1, 0, 2)),
    (Slice((FULL, (2, None, -1), (1, 3, None), (None, None, 2))), X[:, 2::-1, 1:3, ::2]),
    (Reverse((1, 3)), X[:, ::-1, :, ::-1]),
    (Tile((1, 2, 1, 3)), np.tile(X, (1, 2, 1, 3)))])
def test_one_copy_agrees_with_numpy(op, want):
    y, = prove(op, X, entries=["copy_strided"])
    np.testing.assert_array_equal(y, want)


def test_borders_are_filled_first():
    y, = prove(Pad(((0, 0), (1, 0), (0, 2), (0, 0)), -1.5), X, entries=["fill_value",
                                                                       "copy_strided"])
    np.testing.assert_array_equal(y, np.pad(X, ((0, 0), (1, 0), (0, 2), (0, 0)),
                                            constant_values=-1.5))
    y, = prove(Unslice(((1, 9, 3),), (10,)), np.array([1, 2, 3], "f4"), entries=["copy_strided"])
    np.testing.assert_array_equal(y, [0, 1, 0, 0, 2, 0, 0, 3, 0, 0])


def test_joined_inputs_lie_side_by_side():
    parts = np.split(X, [1, 3], 2)
    y, = prove(Concat(2), *parts, entries=["join_fwd"])
    np.testing.assert_array_equal(y, X)
    y, = prove(Concat(3), *np.split(X, 5, 3), entries=["copy_strided"])       # more than four
    np.testing.assert_array_equal(y, X)


@pytest.mark.parametrize("op, ins, want", [
    (Unslice((FULL, FULL, (1, 3, None), FULL), X.shape), (X[:, :, 1:3],),
     np.where(np.isin(np.arange(4), (1, 2))[:, None], X, 0)),
    (Unslice((FULL, (-1, None, None), FULL, FULL), X.shape), (X[:, -1:],),
     np.where((np.arange(3) == 2)[:, None, None], X, 0)),
    (Pad(((0, 0), (0, 0), (2, 1), (0, 0)), -1.5), (X,),
     np.pad(X, ((0, 0), (0, 0), (2, 1), (0, 0)), constant_values=-1.5)),
    (Shift(1), (X[:, 2:], X), np.roll(X, 1, 1)),
    (Shift(2, True), (X[:, :, :1], X), np.roll(X, -1, 2)),
    (Shift(0), (X[1:2], X), np.roll(X, 1, 0))], ids=repr)
def test_parts_along_one_axis_are_joined_in_one_launch(op, ins, want):
    y, = prove(op, *map(np.ascontiguousarray, ins), entries=["join_fwd"])
    np.testing.assert_array_equal(y, want)


def test_large_boxes_are_several_launches(monkeypatch):
    monkeypatch.setattr(plans_copy, "_MOST", 8)
    steps = copy_box(None, None, "float32", (5, 4), (1, 5), (4, 1))
    assert len(steps) == 4 and all(step.args[2]["n"] < 8 for step in steps)
    x, y = np.arange(20, dtype="f4"), np.full(20, np.nan, "f4")
    for step in steps:
        y = run_kernel("copy.cu", "copy_strided", step.grid, step.block, [x, y, step.args[2]],
                       step.defines)[1]
    np.testing.assert_array_equal(y.reshape(5, 4), x.reshape(4, 5).T)


def test_values_of_any_type_are_filled():
    from gpukeras.graph import TensorType
    step = fill_value(Out(0), TensorType("float16", (33,)), 1.5)
    y, = run_kernel("copy.cu", "fill_value", step.grid, step.block,
                    [np.zeros(33, "f2"), *step.args[1:]], step.defines)
    assert (y == 1.5).all()


def test_axes_that_walk_on_are_merged():
    assert strides_of((2, 3, 4)) == (12, 4, 1)
    assert merged((2, 3, 4), (12, 4, 1), (12, 4, 1)) == [(24, 1, 1)]
    assert merged((2, 3, 4), (12, 4, 1), (4, 8, 1)) == [(2, 12, 4), (3, 4, 8), (4, 1, 1)]
    assert merged((2, 1, 4), (4, 0, 1), (4, 4, 1)) == [(8, 1, 1)]
