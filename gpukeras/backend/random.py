"""Random tensors.

Numbers depend on the seed, the shape and how often functions that draw numbers were called. Without
a seed one is drawn from NumPy's global generator when the tensor is made.
"""
from ..ops import random as op
from .core import cast, variable
from .settings import floatx


def random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normal distribution with the given mean and standard deviation."""
    return op.random_normal(shape, mean, stddev, dtype or floatx(), seed)


def random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Uniform distribution over [minval, maxval)."""
    return op.random_uniform(shape, minval, maxval, dtype or floatx(), seed)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normal distribution without what lies beyond two standard deviations."""
    return op.truncated_normal(shape, mean, stddev, dtype or floatx(), seed)


def random_binomial(shape, p=0.0, dtype=None, seed=None):
    """1 with probability p, else 0."""
    return cast(op.random_mask(shape, 1.0 - p, seed), dtype or floatx())


def random_normal_variable(shape, mean, scale, dtype=None, name=None, seed=None):
    """A variable with normally distributed first values of standard deviation `scale`."""
    return variable(random_normal(shape, mean, scale, dtype, seed), dtype, name)


def random_uniform_variable(shape, low, high, dtype=None, name=None, seed=None):
    """A variable with uniformly distributed first values."""
    return variable(random_uniform(shape, low, high, dtype, seed), dtype, name)
