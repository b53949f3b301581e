"""Pooling and its gradients: ops/pool.py."""
import numpy as np
from check import SIZES, Case

from gpukeras.ops.pool import AveragePool, AveragePoolGrad, MaxPool, MaxPoolGrad, MaxPoolPick

ALL = ("float32", "float16", "float64")

# window, strides, pads, spatial size, channels
GEOMETRIES = [
    ((2,), (2,), ((0, 0),), (7,), 4),
    ((3,), (1,), ((1, 1),), (8,), 3),
    ((2, 2), (2, 2), ((0, 0), (0, 0)), (6, 8), 8),
    ((3, 3), (2, 2), ((1, 1), (0, 1)), (7, 5), 2),
    ((3, 2), (1, 3), ((2, 1), (1, 0)), (7, 8), 1),
    ((2, 2), (4, 4), ((0, 0), (0, 0)), (6, 6), 3),                       # elements in no window
    ((2, 3, 2), (2, 1, 2), ((0, 1), (1, 1), (0, 0)), (5, 4, 6), 4),
]


def rows(geometry, images=2, values=None, **more):
    """All five ops on one geometry. values: draws x, default normal numbers (no ties)."""
    how, size, channels = geometry[:3], geometry[3], geometry[4]
    rng = np.random.default_rng(3)
    shape = (images, *size, channels)
    x = rng.standard_normal(shape) if values is None else values(rng, shape)
    # float32 values: y stays the maximum of x when both are made float32
    x = x.astype("float32").astype("float64")
    y = MaxPool(*how).numpy(x)
    smooth = values is None
    # gradients towards x jump where the largest element changes: only gy's is compared, in
    # test_conv.py
    return [Case(MaxPool(*how), (x,), grad=smooth, **more),
            Case(MaxPoolGrad(*how), (x, y, y.shape), grad=False, **more),
            Case(MaxPoolPick(*how), (x, y, x.shape), grad=False, **more),
            Case(AveragePool(*how), (x,), **more),
            Case(AveragePoolGrad(*how, size), (y.shape,), **more)]


def ties(rng, shape):
    return rng.integers(0, 2, shape).astype("float64")


CASES = [
    *(case for g in GEOMETRIES for case in rows(g, batch=True)),
    *(case for g in GEOMETRIES for case in rows(g, values=ties)),
    *(case for n in SIZES for case in rows(GEOMETRIES[0], n)),
    *(case for case in rows(GEOMETRIES[3], values=ties, dtypes=ALL)),
    *(case for case in rows(((2,), (2,), ((0, 0),), (33,), 31))),
    Case(MaxPool((3, 2), (2, 2), "same"), ((2, 6, 7, 3),), batch=True),
    Case(AveragePool((3, 2), (2, 2), "same"), ((2, 6, 7, 3),)),
    Case(AveragePoolGrad((3, 2), (2, 2), "same"), ((2, 3, 4, 3), np.zeros((2, 6, 7, 1), "int32"))),
    Case(MaxPool((2,), (2,), ((0, 0),)), (np.arange(24).reshape(2, 6, 2) % 7,), grad=False),
]
