"""Reductions: ops/reduce.py and the sum of ops/broadcast.py."""
import numpy as np
from check import SIZES, Case

from gpukeras.ops.broadcast import Sum, SumLike
from gpukeras.ops.reduce import ArgMax, ArgMin, Count, CumProd, CumSum, Max, Min, Prod

ALL = ("float32", "float16", "float64")
TIES = np.array([[1.0, 3, 3, -1], [2, 2, -5, 2], [0, 0, 0, 0]])
WITH_NAN = np.array([[1, np.nan, 3], [np.nan, 0, 1], [-np.inf, -np.inf, -np.inf]])

CASES = [
    *(Case(Sum((0,)), ((n,),)) for n in SIZES),
    *(Case(Sum((1,)), ((3, n),)) for n in SIZES),
    *(Case(Sum((0,)), ((n, 3),)) for n in SIZES),
    Case(Sum((0,)), ((0, 5),)),
    Case(Sum((1,)), ((33, 65),), dtypes=ALL, batch=True),
    Case(Sum((0,)), ((65, 33),), dtypes=ALL),
    Case(Sum((0, 1)), ((31, 9),)),
    Case(Sum((0, 2)), ((3, 5, 33),), dtypes=ALL),
    Case(Sum((1, 3), True), ((2, 5, 3, 34),)),
    Case(Sum((0, 1, 2)), ((7, 5, 6, 33),)),
    Case(Sum((0,)), ((5000,),)),                   # rows in two launches
    Case(Sum((0,)), ((2100, 3),)),                 # columns in two launches
    Case(Sum((0,)), ((1, 3),)),
    Case(Sum((1,)), (np.arange(15).reshape(3, 5) % 2 == 0,), grad=False),
    Case(Sum((1,)), (np.arange(15, dtype="int32").reshape(3, 5),), grad=False),
    Case(SumLike(), ((4, 3, 5), (3, 1))),
    *(Case(op((1,)), ((3, n),), dtypes=ALL if n == 33 else ("float32",))
      for op in (Max, Min, Prod) for n in SIZES[1:]),
    Case(Max((0,)), ((33, 5),), batch=True),
    Case(Max((0,)), ((4000,),)),
    Case(Min((0, 2)), ((3, 4, 5),)),
    Case(Max((1,)), (WITH_NAN,), grad=False),
    Case(Max((0,)), (np.array([[-7, 2], [-9, 3]], "int32"),), grad=False),
    Case(Min((0,)), (np.array([[-7, 2], [-9, 3]], "int64"),), grad=False),
    Case(Prod((0, 1), True), ((3, 4),)),
    *(Case(op(1), ((3, n),), grad=False) for op in (ArgMax, ArgMin) for n in SIZES[1:]),
    *(Case(op(axis), (TIES,), grad=False) for op in (ArgMax, ArgMin) for axis in (0, 1)),
    Case(ArgMax(1), (np.array([[1, np.nan, 9, np.nan]]),), grad=False),
    Case(ArgMax(1), ((5, 7, 33),), grad=False),
    Case(Count((0, 2), "float32"), ((3, 4, 5),), grad=False),
    *(Case(op(axis, reverse), ((4, 5, 33),))
      for op in (CumSum, CumProd) for axis in (0, 2) for reverse in (False, True)),
]
