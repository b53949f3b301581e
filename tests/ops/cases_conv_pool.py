"""Convolution and max pooling as one: ops/conv_pool.py."""
import numpy as np
from check import Case

from gpukeras.ops.conv_pool import ConvMaxPool, MaskedConvWeightGrad, MaskedSpread

# conv strides, pads, dilation, window; x, w
GEOMETRIES = [
    (((1, 1), ((0, 0), (0, 0)), (1, 1), (2, 2)), (3, 8, 10, 1), (3, 3, 1, 5)),
    (((1, 1), ((1, 1), (1, 1)), (1, 1), (2, 2)), (3, 8, 12, 16), (3, 3, 16, 4)),
    (((2, 1), ((1, 0), (1, 1)), (1, 1), (4, 1)), (2, 17, 8, 16), (3, 3, 16, 4)),
    (((1, 1), ((0, 0), (0, 0)), (1, 1), (1, 3)), (2, 10, 11, 12), (2, 3, 12, 4)),
    (((1,), ((2, 0),), (1,), (4,)), (3, 20, 5), (3, 5, 4)),
    (((1, 1, 1), ((0, 0), (1, 1), (0, 0)), (1, 1, 1), (2, 3, 2)), (2, 5, 6, 6, 3), (2, 3, 3, 3, 2)),
]


def rows(how, x_shape, w_shape, values):
    rng = np.random.default_rng(3)
    x, w = values(rng, x_shape), values(rng, w_shape)
    fused = ConvMaxPool(*how)
    pooled, mask = fused.numpy(x, w)
    return [Case(fused, (x, w), grad=False, tolerance=10),
            Case(MaskedSpread(how[3]), (mask, pooled.shape), grad=False),
            Case(MaskedConvWeightGrad(w_shape[:-2], *how), (x, mask, pooled.shape), grad=False,
                 tolerance=10)]


def normal(rng, shape):
    return rng.standard_normal(shape).astype("float32").astype("float64")


def ties(rng, shape):
    return rng.integers(-1, 2, shape).astype("float64")


CASES = [case for g in GEOMETRIES for values in (normal, ties) for case in rows(*g, values)]
