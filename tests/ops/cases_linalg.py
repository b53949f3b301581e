"""Matrix products: ops/linalg.py."""
from check import SIZES, Case

from gpukeras.ops.linalg import BatchDot, Dot

BOTH = [(False, False), (False, True), (True, False), (True, True)]


def factors(a: tuple, b: tuple, trans: tuple[bool, bool]) -> tuple:
    """Shapes of the two factors, stored transposed where `trans` says so."""
    turn = [(*s[:-2], s[-1], s[-2]) if t else s for s, t in zip((a, b), trans)]
    return tuple(turn)


CASES = [
    *(Case(Dot(*t), factors((5, 7), (7, 6), t), dtypes=("float32", "float64")) for t in BOTH),
    *(Case(Dot(), ((n, 5), (5, 3))) for n in SIZES),
    *(Case(Dot(), ((3, n), (n, 4))) for n in SIZES[1:]),
    Case(Dot(), ((31, 33), (33, 40))),
    *(Case(BatchDot(*t), factors((3, 5, 7), (3, 7, 6), t)) for t in BOTH),
]
