"""y + s x as one pass in fused programs: the op's own values, and that it is one pass."""
import numpy as np
import pytest
from test_host_fused import SHAPE, Step, arrangement, arrays, check  # noqa: F401  (a fixture)

from gpukeras.blas import bind_axpy, has_axpy
from gpukeras.ops import math as m
from gpukeras.ops.fused import Fused
from gpukeras.ops.host_axpy import AddScaled
from gpukeras.ops.host_fused import _Program

ADAM = (Step(m.Mul(), (1, 4)), Step(m.Mul(), (3, 5)), Step(m.Add(), (8, 9)),       # 8 9 10 m
        Step(m.Mul(), (2, 6)), Step(m.Square(), (3,)), Step(m.Mul(), (12, 7)),     # 11 12 13
        Step(m.Add(), (11, 13)), Step(m.Sqrt(), (14,)), Step(m.Mul(), (10, 5)),    # 14 v 15 16
        Step(m.Div(), (16, 15)), Step(m.Sub(), (0, 17)))                           # 17 18 p


def sums_in(op, ins, outs):
    return sum(isinstance(s.op, AddScaled) for s in _Program(op, ins, outs).steps)


@pytest.mark.skipif(not has_axpy(), reason="no OpenBLAS wheel")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("steps, outs, merged", [
    ((Step(m.Mul(), (1, 2)), Step(m.Add(), (0, 3))), (4,), 1),              # y + x s
    ((Step(m.Mul(), (2, 1)), Step(m.Add(), (3, 0))), (4,), 1),              # s x + y
    ((Step(m.Mul(), (2, 1)), Step(m.Sub(), (0, 3))), (4,), 1),              # y - s x
    ((Step(m.Mul(), (2, 1)), Step(m.Sub(), (3, 0))), (4,), 0),              # s x - y
    ((Step(m.Mul(), (2, 1)), Step(m.Add(), (1, 3))), (4,), 0),              # x + s x
    ((Step(m.Mul(), (2, 1)), Step(m.Div(), (3, 0)), Step(m.Add(), (0, 4))), (5,), 1),
    ((Step(m.Mul(), (2, 1)), Step(m.Add(), (0, 3))), (4, 3), 0),            # s x is wanted, too
    ((Step(m.Mul(), (2, 1)), Step(m.Add(), (0, 3)), Step(m.Mul(), (3, 4))), (5,), 0),
    ((Step(m.Mul(), (0, 2)), Step(m.Mul(), (1, 2)), Step(m.Add(), (3, 4))), (5,), 1),
    ((Step(m.Square(), (2,)), Step(m.Mul(), (3, 1)), Step(m.Tanh(), (0,)),
      Step(m.Sub(), (5, 4)), Step(m.Add(), (6, 5))), (7, 6), 1),            # s is made on the way
])
def test_sums_with_a_number_are_one_pass(steps, outs, merged, dtype):
    op = Fused(3, (), steps, outs, SHAPE)
    ins = arrays(SHAPE, SHAPE, (1,), dtype=dtype)
    check(op, ins)
    results = [np.empty(SHAPE, dtype) for _ in outs]
    assert sums_in(op, ins, results) == merged
    if len(outs) == 1:
        for k in (0, 1):                           # where an input lies
            again = [np.array(x) for x in ins]
            check_in_place(op, again, k)


def check_in_place(op, ins, k):
    want = np.array(op.numpy(*ins))
    op.host(tuple(ins), (ins[k],))()
    np.testing.assert_allclose(ins[k], want, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not has_axpy(), reason="no OpenBLAS wheel")
def test_adam_is_three_sums_and_updates_in_place():
    constants = (("float32", 0.9), ("float32", 0.1), ("float32", 0.99), ("float32", 0.01))
    op = Fused(4, constants, ADAM, (18, 10, 14), SHAPE)
    p, mean, square, g = arrays(SHAPE, SHAPE, SHAPE, SHAPE)
    square = np.abs(square) + 1
    ins = (p, mean, square, g)
    assert sums_in(op, ins, ins[:3]) == 3
    for _ in range(3):
        want = [np.array(v) for v in op.numpy(*ins)]
        op.host(ins, (p, mean, square))()
        for got, value in zip((p, mean, square), want):
            np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not has_axpy(), reason="no OpenBLAS wheel")
def test_bind_axpy_reads_its_number_at_each_call_and_refuses_what_it_cannot_do():
    x, y = np.arange(5.0), np.ones(5)
    s = np.array(2.0)
    run = bind_axpy(s, x, y)
    run()
    np.testing.assert_array_equal(y, 1 + 2 * np.arange(5))
    s[...] = -2.0
    run()
    np.testing.assert_array_equal(y, np.ones(5))
    assert bind_axpy(s, x[::2], y[:3]) is None
    assert bind_axpy(np.array(2.0, "float32"), x, y) is None
    assert bind_axpy(s, np.arange(5), np.arange(5)) is None
