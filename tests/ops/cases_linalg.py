"""Matrix products: ops/linalg.py."""
import numpy as np
from check import SIZES, Case

from gpukeras.ops.epilogue import DotBias, DotGelu, DotGeluGrad, DotReluGrad, DotSums
from gpukeras.ops.linalg import BatchDot, CutDot, Dot

BOTH = [(False, False), (False, True), (True, False), (True, True)]


def factors(a: tuple, b: tuple, trans: tuple[bool, bool]) -> tuple:
    """Shapes of the two factors, stored transposed where `trans` says so."""
    turn = [(*s[:-2], s[-1], s[-2]) if t else s for s, t in zip((a, b), trans)]
    return tuple(turn)


def relu_grad(m: int, n: int, k: int, trans: tuple[bool, bool]) -> tuple:
    """Inputs of DotReluGrad, the last two from a DotBias."""
    rng = np.random.default_rng(m)
    y, mask = DotBias(relu=True, mask=True).numpy(*(rng.standard_normal(s).astype("float32")
                                                    for s in ((m, 3), (3, n), (n,))))
    return (*factors((m, k), (k, n), trans), y, mask)


HALF = ("float32", "float16")
CASES = [
    *(Case(CutDot(*t, (3, 7), (40, 5)), ((7, 12), (7, 60)), grad=False, dtypes=HALF)
      for t in ((True, False),)),
    Case(CutDot(False, False, (2, 7), ()), ((9, 12), (7, 6)), grad=False, dtypes=HALF),
    Case(CutDot(False, True, (), (0, 7)), ((9, 7), (33, 12)), grad=False),
    Case(CutDot(True, True, (5, 7), (5, 6)), ((6, 12), (33, 11)), grad=False),
    *(Case(DotBias(*t), (*factors((5, 7), (7, 6), t), (6,)), grad=False, dtypes=HALF)
      for t in BOTH),
    *(Case(DotBias(False, False, relu, mask), ((n, 5), (5, 33), (33,)), grad=False, dtypes=HALF)
      for n in SIZES[1:5] for relu, mask in ((True, False), (True, True))),
    *(Case(DotReluGrad(*t, sums), relu_grad(9, 40, 6, t), grad=False) for t in BOTH
      for sums in (False, True)),
    Case(DotReluGrad(False, True, True), relu_grad(700, 10, 6, (False, True)), grad=False,
         tolerance=3),
    *(Case(DotGelu(*t, aux), (*factors((5, 7), (7, 24), t), (24,)), grad=False, dtypes=HALF)
      for t in BOTH for aux in (False, True)),
    *(Case(DotGelu(False, False, aux), ((n, 5), (5, 40), (40,)), grad=False, dtypes=HALF)
      for n in SIZES[1:5] for aux in (False, True)),
    *(Case(DotGeluGrad(*t, sums), (*factors((9, 6), (6, 40), t), (9, 40)), grad=False)
      for t in BOTH for sums in (False, True)),
    Case(DotGeluGrad(False, True, True), (*factors((700, 6), (6, 16), (False, True)), (700, 16)),
         grad=False, tolerance=3),
    *(Case(DotSums(ta), factors((5, n), (n, 6), (ta, False)), grad=False, dtypes=HALF,
           tolerance=3) for n in SIZES[1:] for ta in (False, True)),
    *(Case(Dot(*t), factors((5, 7), (7, 6), t), dtypes=("float32", "float64")) for t in BOTH),
    *(Case(Dot(), ((n, 5), (5, 3))) for n in SIZES),
    *(Case(Dot(), ((3, n), (n, 4))) for n in SIZES[1:]),
    Case(Dot(), ((31, 33), (33, 40))),
    *(Case(BatchDot(*t), factors((3, 5, 7), (3, 7, 6), t)) for t in BOTH),
]
