"""Convolution with bias and rectifier, or statistics: ops/conv_attached.py."""
from check import Case

from gpukeras.ops.conv_attached import ConvBias, ConvStats

# strides, pads, dilation; x, w
GEOMETRIES = [
    (((1, 1), ((1, 1), (0, 1)), (1, 1)), (2, 6, 5, 4), (3, 3, 4, 8)),
    (((2, 1), ((0, 1), (1, 1)), (1, 2)), (2, 7, 6, 3), (2, 3, 3, 5)),
    (((1, 1), ((0, 0), (0, 0)), (1, 1)), (2, 3, 4, 8), (1, 1, 8, 4)),
    (((1,), ((2, 0),), (1,)), (2, 9, 4), (3, 4, 6)),
    (((1, 1, 1), ((0, 0), (1, 1), (0, 0)), (1, 1, 1)), (1, 4, 5, 3, 4), (2, 3, 2, 4, 4)),
]

CASES = [Case(ConvBias(*how, rectified), (x, w, (w[-1],)),
              dtypes=("float32", "float16", "float64"), grad=not rectified, tolerance=10)
         for how, x, w in GEOMETRIES for rectified in (0, 1)]
CASES += [Case(ConvStats(*how, 1e-3), (x, w), dtypes=("float32", "float64"), tolerance=10)
          for how, x, w in GEOMETRIES]
