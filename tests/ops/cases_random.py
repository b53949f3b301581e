"""Random numbers and dropout: ops/random.py."""
import numpy as np
from check import SIZES, Case

from gpukeras.ops.random import (Dropout, MaskBits, RandomMask, RandomNormal, RandomUniform,
                                 TruncatedNormal)

ALL = ("float32", "float16", "float64")
STEP, BIG = np.int64(3), np.int64(-(1 << 40))


def op(kind, shape, dtype="float32", a=-0.5, b=2.0, seed=1234567890123):
    return kind(shape, a, b, seed, dtype)


CASES = [
    *(Case(op(kind, (n,)), (np.array(STEP),), grad=False)
      for kind in (RandomUniform, RandomNormal, TruncatedNormal) for n in SIZES),
    *(Case(op(kind, (3, 13), dtype), (np.array(BIG),), grad=False)
      for kind in (RandomUniform, RandomNormal, TruncatedNormal) for dtype in ALL),
    *(Case(MaskBits((n,), 20000), (np.array(STEP), np.array([5, 0])), grad=False)
      for n in SIZES if n),
    *(Case(RandomMask((n,), 0.3, 5), (np.array(STEP),), grad=False) for n in SIZES),
    *(Case(RandomMask((9, 7), rate, 5), (np.array(STEP),), grad=False) for rate in (0.0, 1.0)),
    Case(RandomMask((None, 1, 4), 0.5, 5), (np.array(STEP), (3, 2, 4)), grad=False),
    Case(Dropout(2.0), (np.arange(132).reshape(4, 33) % 3 == 0, (4, 33))),
    Case(Dropout(1.25), (np.array([[True], [False], [True], [True]]), (4, 33))),
]
