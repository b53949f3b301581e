"""The ends of small classifiers: ops/head.py."""
import numpy as np
from check import Case

from gpukeras.ops.head import (CrossEntropyRows, CrossEntropySum, LabelCount, MatchCount,
                               SparseCrossEntropyRows, SparseCrossEntropySum)

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
    *(Case(CrossEntropyRows(hits), ((n, c), (n, c), (n,)), grad=False, tolerance=3)
      for n, c in ((1, 1), (31, 10), (5, 300), (3, 1500)) for hits in (False, True)),
    Case(CrossEntropyRows(True), ((4, 3, 5), (4, 3, 5), (4, 3)), grad=False),
    *(Case(SparseCrossEntropyRows(hits), ((33, c), LABELS.astype(t), (33,)), grad=False)
      for c, t in ((5, "int32"), (1100, "int64")) for hits in (False, True)),
    *(Case(MatchCount(), ((n, c), (n, c)), grad=False) for n, c in ((1, 1), (33, 10), (1000, 4))),
    Case(MatchCount(), (TIES, OTHERS), grad=False),
    Case(LabelCount(), (LABELS.astype("int32"), (33, 5)), grad=False),
]
