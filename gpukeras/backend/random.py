"""Random tensors.

Numbers depend on the seed, the shape and how often functions that draw numbers were called. Without
a seed one is drawn from NumPy's global generator when the tensor is made.
"""
from ..graph.leaves import Leaf
from ..ops import broadcast
from ..ops import random as op
from ..ops.shape import Slice
from .core import cast, is_tensor, variable
from .settings import floatx


def _sizes(shape):
    """(sizes with None where unknown, a tensor of that rank that has them when they are known).

    shape: `K.shape(x)`, or numbers and entries of it: (K.shape(x)[0], 5).
    """
    if is_tensor(shape):
        if not isinstance(shape.node.op, broadcast.Shape):
            raise ValueError(f"random numbers of shape {shape}: expected a tuple or K.shape(x)")
        return shape.node.inputs[0].shape, shape.node.inputs[0]
    shape = tuple(shape)
    like = None
    for axis, size in enumerate(shape):
        if is_tensor(size):
            part = _of_size(size, axis, len(shape))
            like = part if like is None else like + part
    return tuple(None if is_tensor(size) else int(size) for size in shape), like


def _of_size(size, axis, rank):
    """A tensor of `rank` axes whose size along `axis` is `size`, an entry of some K.shape(x)."""
    entry = size.node
    while not isinstance(entry.op, (Slice, Leaf)):
        entry = entry.inputs[0].node
    of_shape = isinstance(entry.op, Slice) and entry.inputs[0].node
    if not of_shape or not isinstance(of_shape.op, broadcast.Shape):
        raise ValueError(f"random numbers with {size} as a size: expected a number, or an entry "
                         "of K.shape(x)")
    x, ((source, _, _),) = of_shape.inputs[0], entry.op.slices
    others = tuple(i for i in range(x.ndim) if i != source)
    vector = broadcast.sum_(x, others) if others else x
    return broadcast.expand_dims(vector, tuple(i for i in range(rank) if i != axis))


def random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normal distribution with the given mean and standard deviation."""
    sizes, like = _sizes(shape)
    return op.random_normal(sizes, mean, stddev, dtype or floatx(), seed, like=like)


def random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Uniform distribution over [minval, maxval)."""
    sizes, like = _sizes(shape)
    return op.random_uniform(sizes, minval, maxval, dtype or floatx(), seed, like=like)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Normal distribution without what lies beyond two standard deviations."""
    sizes, like = _sizes(shape)
    return op.truncated_normal(sizes, mean, stddev, dtype or floatx(), seed, like=like)


def random_binomial(shape, p=0.0, dtype=None, seed=None):
    """1 with probability p, else 0."""
    sizes, like = _sizes(shape)
    return cast(op.random_mask(sizes, 1.0 - p, seed, like=like), dtype or floatx())


def random_normal_variable(shape, mean, scale, dtype=None, name=None, seed=None):
    """A variable with normally distributed first values of standard deviation `scale`."""
    return variable(random_normal(shape, mean, scale, dtype, seed), dtype, name)


def random_uniform_variable(shape, low, high, dtype=None, name=None, seed=None):
    """A variable with uniformly distributed first values."""
    return variable(random_uniform(shape, low, high, dtype, seed), dtype, name)
