"""Elementwise functions, comparisons and reductions."""
import builtins

import numpy as np

from ..ops import broadcast, reduce
from ..ops import math as op
from ..ops.shape import any_
from .core import cast, constant, is_tensor
from .settings import floatx


def _tensor(x):
    return x if is_tensor(x) else constant(x)


def _float(x):
    """`x` as a tensor that is not of truth values, which have no mean."""
    x = _tensor(x)
    return cast(x, floatx()) if x.dtype == "bool" else x


# ---------------------------------------------------------------- elementwise

def abs(x):
    """|x|"""
    return op.abs_(_tensor(x))


def sqrt(x):
    """Square root; what is below 0 counts as 0."""
    return op.sqrt(op.maximum(_tensor(x), 0))


def square(x):
    """x * x"""
    return op.square(_tensor(x))


def exp(x):
    """e^x"""
    return op.exp(_tensor(x))


def log(x):
    """Natural logarithm."""
    return op.log(_tensor(x))


def sin(x):
    """sin x, x in radians"""
    return op.sin(_tensor(x))


def cos(x):
    """cos x, x in radians"""
    return op.cos(_tensor(x))


def round(x):
    """The nearest integer, halves to the even one."""
    return op.round_(_tensor(x))


def sign(x):
    """-1, 0 or 1"""
    return op.sign(_tensor(x))


def pow(x, a):
    """x ** a"""
    return op.pow_(x, a)


def clip(x, min_value, max_value):
    """x limited to [min_value, max_value]; None means no limit on that side."""
    low = -np.inf if min_value is None else min_value
    high = np.inf if max_value is None else max_value
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        high = builtins.max(low, high)
    return op.clip(_tensor(x), low, high)


def maximum(x, y):
    """The larger of x and y, elementwise."""
    return op.maximum(x, y)


def minimum(x, y):
    """The smaller of x and y, elementwise."""
    return op.minimum(x, y)


def equal(x, y):
    """x == y, elementwise, as truth values."""
    return op.equal(x, y)


def not_equal(x, y):
    """x != y"""
    return op.not_equal(x, y)


def greater(x, y):
    """x > y"""
    return op.greater(x, y)


def greater_equal(x, y):
    """x >= y"""
    return op.greater_equal(x, y)


def less(x, y):
    """x < y"""
    return op.less(x, y)


def less_equal(x, y):
    """x <= y"""
    return op.less_equal(x, y)


# ---------------------------------------------------------------- reductions

def sum(x, axis=None, keepdims=False):
    """Sum over `axis` (a number, a list, or None for all axes)."""
    return broadcast.sum_(_tensor(x), axis, keepdims)


def prod(x, axis=None, keepdims=False):
    """Product over `axis`."""
    return reduce.prod_(_tensor(x), axis, keepdims)


def max(x, axis=None, keepdims=False):
    """Largest value over `axis`."""
    return reduce.max_(_tensor(x), axis, keepdims)


def min(x, axis=None, keepdims=False):
    """Smallest value over `axis`."""
    return reduce.min_(_tensor(x), axis, keepdims)


def mean(x, axis=None, keepdims=False):
    """Mean over `axis`; truth values count as 0 and 1."""
    return reduce.mean(_float(x), axis, keepdims)


def var(x, axis=None, keepdims=False):
    """Variance over `axis`: the mean of (x - mean)^2."""
    return reduce.variance(_float(x), axis, keepdims)


def std(x, axis=None, keepdims=False):
    """Standard deviation over `axis`: the square root of `var`."""
    return op.sqrt(var(x, axis, keepdims))


def any(x, axis=None, keepdims=False):
    """True where some element along `axis` is not 0."""
    return any_(_tensor(x), axis, keepdims)


def all(x, axis=None, keepdims=False):
    """True where no element along `axis` is 0."""
    return op.logical_not(any_(op.logical_not(cast(_tensor(x), "bool")), axis, keepdims))


def argmax(x, axis=-1):
    """Place of the largest value along `axis`, as int64; of equal ones the first."""
    return reduce.argmax(_tensor(x), axis)


def argmin(x, axis=-1):
    """Place of the smallest value along `axis`, as int64; of equal ones the first."""
    return reduce.argmin(_tensor(x), axis)


def logsumexp(x, axis=None, keepdims=False):
    """log(sum(exp(x))) over `axis`, without overflow."""
    x = _tensor(x)
    top = op.stop_gradient(reduce.max_(x, axis, True))
    total = op.log(broadcast.sum_(op.exp(x - top), axis, True)) + top
    return total if keepdims else broadcast.squeeze(total, broadcast.normal_axes(axis, x.ndim))


def cumsum(x, axis=0):
    """Running sum along `axis`."""
    return reduce.cumsum(_tensor(x), axis)


def cumprod(x, axis=0):
    """Running product along `axis`."""
    return reduce.cumprod(_tensor(x), axis)


def l2_normalize(x, axis=None):
    """x / its L2 norm over `axis`, the norm at least 1e-6."""
    x = _tensor(x)
    squares = broadcast.sum_(op.square(x), axis, True)
    return x * op.rsqrt(op.maximum(squares, 1e-12))
