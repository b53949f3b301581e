"""Convolution with bias and rectifier, or statistics: ops/conv_attached.py."""
from check import Case

from gpukeras.ops.conv import Conv
from gpukeras.ops.conv_attached import ConvBias, ConvDataRelu, ConvStats

# strides, pads, dilation; x, w
GEOMETRIES = [
    (((1, 1), ((1, 1), (0, 1)), (1, 1)), (2, 6, 5, 4), (3, 3, 4, 8)),
    (((2, 1), ((0, 1), (1, 1)), (1, 2)), (2, 7, 6, 3), (2, 3, 3, 5)),
    (((1, 1), ((0, 0), (0, 0)), (1, 1)), (2, 3, 4, 8), (1, 1, 8, 4)),
    (((1,), ((2, 0),), (1,)), (2, 9, 4), (3, 4, 6)),
    (((1, 1, 1), ((0, 0), (1, 1), (0, 0)), (1, 1, 1)), (1, 4, 5, 3, 4), (2, 3, 2, 4, 4)),
]



def out(how, x, w):
    """Shape of the convolution's result."""
    return (x[0], *Conv(*how).geometry(x, w).out, w[-1])


CASES = [Case(ConvBias(*how, rectified), (x, w, (w[-1],)),
              dtypes=("float32", "float16", "float64"), grad=not rectified, tolerance=10)
         for how, x, w in GEOMETRIES for rectified in (0, 1)]
CASES += [Case(ConvStats(*how, 1e-3), (x, w), dtypes=("float32", "float64"), tolerance=10)
          for how, x, w in GEOMETRIES]
CASES += [Case(ConvDataRelu(*how, x[1:-1], total), (out(how, x, w), w, x),
               dtypes=("float32", "float16", "float64"), grad=False, tolerance=10)
          for how, x, w in GEOMETRIES for total in (False, True)]
