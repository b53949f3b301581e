"""Convolution and its two transposes: ops/conv.py."""
import numpy as np
from check import SIZES, Case

from gpukeras.ops.conv import Conv, ConvDataGrad, ConvWeightGrad

ALL = ("float32", "float16", "float64")

# strides, pads, dilation, spatial size, window, channels, filters
GEOMETRIES = [
    ((1,), ((0, 0),), (1,), (7,), (3,), 4, 5),
    ((2,), ((4, 0),), (2,), (9,), (3,), 3, 2),                           # causal, dilated
    ((1, 1), ((0, 0), (0, 0)), (1, 1), (12, 11), (5, 3), 1, 8),          # one channel
    ((1, 1), ((1, 1), (1, 1)), (1, 1), (8, 9), (3, 3), 16, 6),
    ((2, 2), ((0, 1), (1, 1)), (1, 1), (7, 6), (3, 3), 5, 4),
    ((2, 3), ((0, 0), (0, 0)), (1, 1), (8, 8), (2, 2), 3, 4),            # elements in no window
    ((1, 2), ((2, 3), (0, 1)), (2, 3), (8, 9), (3, 2), 2, 3),
    ((1, 1), ((0, 0), (0, 0)), (1, 1), (5, 6), (1, 1), 7, 3),            # a GEMM as it lies
    ((2, 2), ((0, 0), (0, 0)), (1, 1), (5, 6), (1, 1), 3, 4),
    ((1, 1), ((0, 0), (0, 0)), (1, 1), (4, 3), (4, 3), 2, 5),            # one window
    ((1, 1), ((2, 2), (2, 2)), (1, 1), (3, 4), (3, 3), 2, 2),            # padding full
    ((1, 1), ((0, 0), (2, 1)), (1, 2), (9, 22), (5, 1), 7, 3),           # places all in padding
    ((1, 2, 1), ((0, 1), (1, 1), (0, 0)), (1, 1, 2), (5, 4, 7), (2, 3, 2), 3, 4),
]


def shapes(strides, pads, dilation, size, window, channels, filters, images=2):
    """(x, w, gy) of a geometry."""
    out = tuple((n + b + a - (k - 1) * d - 1) // s + 1
                for n, (b, a), k, d, s in zip(size, pads, window, dilation, strides))
    return ((images, *size, channels), (*window, channels, filters), (images, *out, filters))


def rows(geometry, images=2, **more):
    """The three ops on one geometry."""
    how, (size, window) = geometry[:3], geometry[3:5]
    x, w, gy = shapes(*geometry, images)
    return [Case(Conv(*how), (x, w), **more),
            Case(ConvDataGrad(*how, size), (gy, w), **more),
            Case(ConvWeightGrad(window, *how), (x, gy), **more)]


SAME = ((2, 3), "same", (1, 1))
CASES = [
    *(case for g in GEOMETRIES for case in rows(g)),
    *(case for n in SIZES[:5] for case in rows(((1,), ((1, 0),), (1,), (4,), (2,), 3, 2), n)),
    *(case for case in rows(((1,), ((1, 1),), (1,), (3,), (3,), 1, 2), 1000, tolerance=4)),
    *(case for g in GEOMETRIES[3:5] for case in rows(g, dtypes=ALL, tolerance=4)),
    *rows(((1,), ((0, 0),), (1,), (31,), (3,), 33, 32)),
    # a word of Keras, resolved when the size is known
    Case(Conv(*SAME), ((2, 7, 8, 3), (3, 2, 3, 4))),
    Case(ConvDataGrad(*SAME), ((2, 4, 3, 4), (3, 2, 3, 4), np.zeros((2, 7, 8, 3), "int32"))),
    Case(ConvWeightGrad((3, 2), *SAME), ((2, 7, 8, 3), (2, 4, 3, 4))),
]
