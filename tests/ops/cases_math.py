"""Elementwise ops: ops/math.py. Their CUDA expressions run in the tests of the fused shell."""
import numpy as np
from check import SIZES, Case

from gpukeras.graph import Mark
from gpukeras.ops import math as m
from gpukeras.ops.gelu import Gelu, GeluGrad

X = np.random.default_rng(3).standard_normal((4, 33))
X = X + 0.05 * np.sign(X)                          # no number near a kink
POSITIVE = np.abs(X) + 0.3
A, B = X, X[::-1].copy() * 1.7 + 0.01
CLOSE = np.array([[1.0, 2.0, np.nan, -0.0], [1.0, 3.0, np.nan, 0.0]])
FAR = np.array([-30.0, -8, -3, 0, 3, 8, 30])
TRUTH = X > 0
WHOLE = np.array([[-7, 7, 3, -3, 0]])
ONE = (m.Neg, m.Abs, m.Sign, m.Square, m.Exp, m.Expm1, m.Sin, m.Cos, m.Tanh, m.Sigmoid, m.Softplus,
       m.Relu, m.Erf, m.Floor, m.Ceil, m.Round)
TWO = (m.Add, m.Sub, m.Mul, m.Div, m.Maximum, m.Minimum)
COMPARE = (m.Equal, m.NotEqual, m.Less, m.LessEqual, m.Greater, m.GreaterEqual)

CASES = [
    *(Case(op(), (X,), batch=True) for op in ONE),
    *(Case(op(), (POSITIVE,)) for op in (m.Sqrt, m.Rsqrt, m.Log, m.Log1p)),
    *(Case(op(), ((n,),)) for op in (m.Exp, m.Relu) for n in SIZES),
    *(Case(op(), (np.array([-800.0, -90, 90, 800, np.nan, np.inf, -np.inf]),), grad=False)
      for op in (m.Sigmoid, m.Softplus, m.Tanh, m.Relu)),
    *(Case(op(), (A, B), batch=True) for op in TWO),
    *(Case(op(), ((4, 1, 5), (3, 1))) for op in (m.Add, m.Sub, m.Mul)),
    Case(m.Pow(), (POSITIVE, B)),
    Case(m.Pow(), (POSITIVE, (33,))),
    *(Case(op(), (A, B), grad=False) for op in (m.FloorDiv, m.Mod)),
    *(Case(op(), (WHOLE, WHOLE.T + 10), grad=False) for op in (m.FloorDiv, m.Mod)),
    *(Case(op(), tuple(CLOSE), grad=False) for op in COMPARE),
    *(Case(op(), (A, B), grad=False) for op in COMPARE),
    *(Case(op(), (TRUTH, ~TRUTH), grad=False) for op in (m.LogicalAnd, m.LogicalOr)),
    Case(m.LogicalNot(), (TRUTH,), grad=False),
    Case(m.IsNan(), (CLOSE,), grad=False),
    Case(m.ReluGrad(), (A, B), grad=False),
    *(Case(Gelu(tanh), (X,), batch=True) for tanh in (False, True)),
    *(Case(GeluGrad(tanh), (A, B), batch=True) for tanh in (False, True)),
    *(Case(op(tanh), given, grad=False) for tanh in (False, True)
      for op, given in ((Gelu, (FAR,)), (GeluGrad, (np.ones(7), FAR)))),
    Case(m.Clip(-0.5, 0.75), (X,)),
    Case(m.Cast("float32"), (X,), grad=False),
    Case(m.Cast("int32"), (X * 10,), grad=False),
    Case(m.Cast("bool"), (WHOLE,), grad=False),
    Case(m.StopGradient(), (X,), grad=False),
    Case(m.Copy(), (X,)),
    Case(m.Where(), (TRUTH, A, B)),
    Case(m.Where(), (TRUTH[0], (4, 1), (33,))),
    Case(Mark("layer", 0), (X,)),
]
