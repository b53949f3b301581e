"""Gather, its gradient, one-hot: ops/index.py."""
import numpy as np
from check import SIZES, Case

from gpukeras.ops.index import Gather, GatherGrad, OneHot

ALL = ("float32", "float16", "float64")
rng = np.random.default_rng(9)


def picks(n: int, rows: int = 7, dtype: str = "int32") -> np.ndarray:
    return rng.integers(0, rows, n).astype(dtype)


CASES = [
    *(Case(Gather(), ((7, 5), picks(n))) for n in SIZES),
    *(Case(Gather(), ((7, d), picks(9))) for d in SIZES),
    Case(Gather(), ((7, 3, 4), picks(10, dtype="int64").reshape(2, 5)), dtypes=ALL),
    Case(Gather(), ((7,), picks(10, dtype="uint8"))),
    Case(Gather(), (np.arange(28, dtype="uint8").reshape(7, 4), picks(5)), grad=False),
    *(Case(GatherGrad(7), ((n, 5), picks(n))) for n in SIZES),
    *(Case(GatherGrad(7), ((9, d), picks(9))) for d in SIZES),
    Case(GatherGrad(9), ((2, 5, 3, 4), picks(10, dtype="int64").reshape(2, 5)), dtypes=ALL),
    Case(GatherGrad(30), ((5000, 3), picks(5000, 23)), tolerance=30),   # several sorted chunks
    Case(GatherGrad(2), ((100, 33), np.zeros(100, "int32"))),           # one long segment
    Case(GatherGrad(None), ((9, 5), picks(9), (7, 5))),
    *(Case(OneHot(10), (picks(n),), grad=False) for n in SIZES),
    Case(OneHot(4, "bool"), (np.array([[0, 3], [4, -1]]),), grad=False),
]
