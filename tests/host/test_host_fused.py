"""Fused programs bound to arrays: the values of the op's own numpy(), and of NumPy written out."""

import numpy as np
import pytest

from gpukeras.ops import host_fused
from gpukeras.ops import math as m
from gpukeras.ops.broadcast import BroadcastTo
from gpukeras.ops.fused import Fused, FusedStep as Step
from gpukeras.team import Team

SHAPE = (6, 5, 4)


@pytest.fixture(params=[(1, 1 << 13, 1 << 20, 4096), (3, 8, 0, 8)],
                ids=["plain", "team, tiny blocks"], autouse=True)
def arrangement(request, monkeypatch):
    size, least, worth, tile = request.param
    crew = Team(size)
    monkeypatch.setattr(host_fused, "team", lambda: crew)
    monkeypatch.setattr(host_fused, "LEAST", least)
    monkeypatch.setattr(host_fused, "MOST", max(least, 16))
    monkeypatch.setattr(host_fused, "WORTH_SHARING", worth)
    monkeypatch.setattr(host_fused, "TILE", tile)


def arrays(*shapes, dtype="float32"):
    rng = np.random.default_rng(0)
    return [np.asarray(rng.standard_normal(s).astype(dtype)) for s in shapes]


def outputs(op, ins):
    values = op.numpy(*ins)
    values = values if isinstance(values, tuple) else (values,)
    return [np.array(v, order="C") for v in values]


def check(op, ins, outs=None):
    expected = outputs(op, ins)
    if outs is None:
        outs = [np.full_like(v, 99) for v in expected]
    run = op.host(tuple(ins), tuple(outs))
    run()
    for got, want in zip(outs, expected):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    return run


# narrow shapes that meet SHAPE: scalars, rows, columns, a middle axis, lower rank
@pytest.mark.parametrize("narrow", [(), (1,), (1, 1, 1), (4,), (1, 4), (1, 1, 4), (6, 1, 1), (5, 1),
                                    (1, 5, 1), (5, 4), (6, 1, 4)])
def test_broadcast_inputs(narrow):
    op = Fused(2, (("float32", 3.0),), (Step(m.Mul(), (0, 1)), Step(m.Add(), (3, 2)),
                                        Step(m.Tanh(), (4,))), (5, 3), SHAPE)
    check(op, arrays(SHAPE, narrow))
    op = Fused(2, (), (Step(m.Square(), (1,)), Step(BroadcastTo(SHAPE), (2,)),
                       Step(m.Sub(), (3, 0))), (4, 3), SHAPE)
    check(op, arrays(SHAPE, narrow))


def test_values_are_read_when_it_runs():
    op = Fused(3, (("float32", 0.5),), (Step(m.Mul(), (1, 3)), Step(m.Mul(), (0, 4)),
                                        Step(m.Add(), (5, 2))), (6,), SHAPE)
    ins = arrays(SHAPE, (), (4,))
    out = np.empty(SHAPE, "float32")
    run = check(op, ins, [out])
    for x in ins:
        x[...] = x * 2 + 1
    run()
    np.testing.assert_allclose(out, ins[0] * (ins[1] * np.float32(0.5)) + ins[2], rtol=1e-5)


def test_adam_in_place():
    """p, m, v are overwritten by their new values, as the planner lays them out."""
    size = (1000,)
    p, g, m1, v = arrays(size, size, size, size)
    v = np.abs(v)
    lr = np.asarray(np.float32(0.01))
    consts = tuple(("float32", c) for c in (0.9, 0.1, 0.999, 0.001, 1e-7))
    # slots: p 0, g 1, m 2, v 3, lr 4, constants 5..9, steps from 10
    steps = (Step(m.Mul(), (2, 5)), Step(m.Mul(), (1, 6)), Step(m.Add(), (10, 11)),
             Step(m.Mul(), (3, 7)), Step(m.Square(), (1,)), Step(m.Mul(), (14, 8)),
             Step(m.Add(), (13, 15)), Step(m.Mul(), (12, 4)), Step(m.Sqrt(), (16,)),
             Step(m.Add(), (18, 9)), Step(m.Div(), (17, 19)), Step(m.Sub(), (0, 20)))
    op = Fused(5, consts, steps, (21, 12, 16), size)
    m2 = m1 * 0.9 + g * 0.1
    v2 = v * 0.999 + g * g * 0.001
    p2 = p - lr * m2 / (np.sqrt(v2) + 1e-7)
    op.host((p, g, m1, v, lr), (p, m1, v))()
    for got, want in ((p, p2), (m1, m2), (v, v2)):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


def test_an_old_value_that_is_read_late_survives():
    """out = x + y lies on x, but x is read again after it is known."""
    x, y = arrays(SHAPE, SHAPE)
    op = Fused(2, (), (Step(m.Add(), (0, 1)), Step(m.Mul(), (0, 2))), (2, 3), SHAPE)
    want = x + y, x * (x + y)
    other = np.empty(SHAPE, "float32")
    op.host((x, y), (x, other))()
    np.testing.assert_allclose(x, want[0])
    np.testing.assert_allclose(other, want[1])


def test_partial_overlap_and_gaps_are_left_to_numpy():
    base, = arrays((40,))
    op = Fused(1, (), (Step(m.Neg(), (0,)), Step(m.Neg(), (1,))), (2,), (30,))
    assert op.host((base[:30],), (base[5:35],)) is None
    assert op.host((base[:30],), (base[:30],)) is not None
    op = Fused(1, (), (Step(m.Neg(), (0,)),), (1,), (20,))
    assert op.host((base[::2],), (np.empty(20, "float32"),)) is None


def test_one_result_twice_and_an_input_as_result():
    x, = arrays(SHAPE)
    op = Fused(1, (), (Step(m.Neg(), (0,)),), (1, 1, 0), SHAPE)
    check(op, [x])


def test_results_of_other_types():
    x, y = arrays(SHAPE, SHAPE)
    op = Fused(2, (), (Step(m.Greater(), (0, 1)), Step(m.Cast("int32"), (2,)),
                       Step(m.Where(), (2, 0, 1))), (2, 3, 4), SHAPE)
    check(op, [x, y])


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (7,), (100_003,)])
def test_sizes(shape):
    x, y = arrays(shape, shape)
    op = Fused(2, (), (Step(m.Add(), (0, 1)), Step(m.Sigmoid(), (2,))), (3,), shape)
    check(op, [x, y])


ONE = [m.Neg, m.Abs, m.Sign, m.Square, m.Exp, m.Tanh, m.Sigmoid, m.Softplus, m.Relu, m.Floor]
TWO = [m.Add, m.Sub, m.Mul, m.Div, m.Maximum, m.Minimum, m.ReluGrad]


@pytest.mark.parametrize("op_class", ONE + TWO)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_single_op_fresh_and_in_place(op_class, dtype):
    ins = arrays(*[SHAPE] * (1 if op_class in ONE else 2), dtype=dtype)
    op = op_class()
    want = op.numpy(*ins)
    out = np.full_like(want, 99)
    op.host(tuple(ins), (out,))()
    np.testing.assert_allclose(out, want, rtol=1e-6)
    for i in range(len(ins)):
        copies = [x.copy() for x in ins]
        op.host(tuple(copies), (copies[i],))()
        np.testing.assert_allclose(copies[i], want, rtol=1e-6)


def test_relu_grad_by_a_row():
    gy, y = arrays(SHAPE, (4,))
    check(Fused(2, (), (Step(m.ReluGrad(), (0, 1)),), (2,), SHAPE), [gy, y])
