"""The ends of small classifiers: ops/head.py."""
import numpy as np
from check import Case

from gpukeras.ops.head import (CrossEntropySum, LabelCount, MatchCount, SparseCrossEntropySum)

RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 5, 33)
TIES = np.array([[0, 2, 2], [1, 1, 1], [np.nan, 3, 9], [4, np.nan, np.nan]])
OTHERS = np.array([[5.0, 6, 6], [0, 0, 1], [7, 2, 1], [1, 2, 3]])

CASES = [
    *(Case(CrossEntropySum(), ((n, c), (n, c), (n,)), grad=False)
      for n, c in ((1, 1), (31, 10), (33, 33), (1000, 3))),
    Case(CrossEntropySum(), ((4, 3, 5), (4, 3, 5), (4, 3)), grad=False),
    *(Case(SparseCrossEntropySum(), ((33, 5), LABELS.astype(t), (33,)), grad=False)
      for t in ("int32", "int64")),
    *(Case(MatchCount(), ((n, c), (n, c)), grad=False) for n, c in ((1, 1), (33, 10), (1000, 4))),
    Case(MatchCount(), (TIES, OTHERS), grad=False),
    Case(LabelCount(), (LABELS.astype("int32"), (33, 5)), grad=False),
]
