"""Enlarging images: ops/upsample.py."""
from check import SIZES, Case

from gpukeras.ops.upsample import UpsampleLinear, UpsampleLinearGrad

ALL = ("float32", "float16", "float64")


def rows(factors, size, channels, images=2, **more):
    """Both directions."""
    large = tuple(d * f for d, f in zip(size, factors))
    return [Case(UpsampleLinear(factors), ((images, *size, channels),), batch=True, **more),
            Case(UpsampleLinearGrad(factors), ((images, *large, channels),), batch=True, **more)]


CASES = [
    *rows((3,), (5,), 4),
    *rows((2, 3), (4, 5), 3),
    *rows((1, 2), (3, 4), 8),
    *rows((1, 1), (3, 4), 2),
    *rows((2, 2), (1, 3), 5),                           # one pixel: nothing to interpolate
    *rows((2, 1, 4), (3, 2, 2), 4),
    *rows((5, 2), (3, 4), 4, dtypes=ALL),
    *(case for n in SIZES for case in rows((2,), (3,), 2, n)),
    *rows((2,), (33,), 31),
]
