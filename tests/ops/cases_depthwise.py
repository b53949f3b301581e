"""Depthwise convolution and its two transposes: ops/depthwise.py."""
import numpy as np
from cases_conv import GEOMETRIES, shapes
from check import SIZES, Case

from gpukeras.ops.depthwise import DepthwiseConv, DepthwiseDataGrad, DepthwiseWeightGrad

ALL = ("float32", "float16", "float64")


def rows(geometry, images=2, filters=1, **more):
    """The three ops on one geometry."""
    how, (size, window) = geometry[:3], geometry[3:5]
    x, w, gy = shapes(*geometry, images)
    channels = x[-1]
    w, gy = (*w[:-1], filters), (*gy[:-1], channels * filters)
    return [Case(DepthwiseConv(*how), (x, w), **more),
            Case(DepthwiseDataGrad(*how, size), (gy, w), **more),
            Case(DepthwiseWeightGrad(window, *how), (x, gy), **more)]


SAME = ((2, 3), "same", (1, 1))
CASES = [
    *(case for g in GEOMETRIES for case in rows(g)),
    *(case for g in GEOMETRIES for case in rows(g, filters=3)),
    *(case for n in SIZES for case in rows(((1,), ((1, 0),), (1,), (4,), (2,), 3, 2), n,
                                           tolerance=4)),
    *(case for g in GEOMETRIES[3:5] for case in rows(g, dtypes=ALL, tolerance=4)),
    *rows(((1, 1), ((1, 1), (1, 1)), (1, 1), (31, 9), (3, 3), 33, 1)),
    Case(DepthwiseConv(*SAME), ((2, 7, 8, 3), (3, 2, 3, 2))),
    Case(DepthwiseDataGrad(*SAME), ((2, 4, 3, 6), (3, 2, 3, 2), np.zeros((2, 7, 8, 1), "int32"))),
    Case(DepthwiseWeightGrad((3, 2), *SAME), ((2, 7, 8, 3), (2, 4, 3, 6))),
]
