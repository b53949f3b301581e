"""First values of weights.

An initializer is called with the shape and dtype of a weight and returns a tensor or an array. One
without a seed draws its seed from NumPy's global generator, so `np.random.seed(...)` before
building a model makes the whole of it repeatable; one with a seed counts it up with each call.
"""
import math

import numpy as np

from . import backend as K
from .configured import Configured, interpret
from .graph.halves import values_dtype
from .utils.generic_utils import deserialize_keras_object, serialize_keras_object

# standard deviation of a standard normal distribution cut off at -2 and 2
_STDDEV_CUT_AT_TWO = 0.87962566103423978


class Initializer(Configured):
    """Base: shape and dtype in, first value out."""

    def __call__(self, shape, dtype=None):
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype=None)")

    def _next_seed(self):
        """The seed of this call, or None; the next call gets another one."""
        seed = self.seed
        if seed is not None:
            self.seed = seed + 1
        return seed


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape, dtype=None):
        return K.constant(0, shape=shape, dtype=dtype)


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape, dtype=None):
        return K.constant(1, shape=shape, dtype=dtype)


class Constant(Initializer):
    """All entries `value`."""

    def __init__(self, value=0):
        self.keep(value=value)

    def __call__(self, shape, dtype=None):
        return K.constant(self.value, shape=shape, dtype=dtype)


class RandomNormal(Initializer):
    """Normal distribution with `mean` and standard deviation `stddev`."""

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.keep(mean=mean, stddev=stddev, seed=seed)

    def __call__(self, shape, dtype=None):
        return K.random_normal(shape, self.mean, self.stddev, dtype=dtype, seed=self._next_seed())


class RandomUniform(Initializer):
    """Uniform distribution over [minval, maxval)."""

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        self.keep(minval=minval, maxval=maxval, seed=seed)

    def __call__(self, shape, dtype=None):
        return K.random_uniform(shape, self.minval, self.maxval, dtype=dtype,
                                seed=self._next_seed())


class TruncatedNormal(Initializer):
    """Normal distribution whose values beyond two standard deviations are drawn again."""

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.keep(mean=mean, stddev=stddev, seed=seed)

    def __call__(self, shape, dtype=None):
        return K.truncated_normal(shape, self.mean, self.stddev, dtype=dtype,
                                  seed=self._next_seed())


class VarianceScaling(Initializer):
    """Values of variance scale / n, so that signals keep their size from layer to layer.

    # Arguments
        scale: positive factor of the variance.
        mode: n is the number of inputs of one output ("fan_in"), the number of outputs that one
            input reaches ("fan_out"), or the mean of both ("fan_avg").
        distribution: "normal" (cut off at two standard deviations) or "uniform".
        seed: integer, or None.

    # Raises
        ValueError: for a scale that is not positive, an unknown mode or distribution.
    """

    def __init__(self, scale=1.0, mode="fan_in", distribution="normal", seed=None):
        if scale <= 0:
            raise ValueError(f"`scale` must be a positive float. Got: {scale}")
        mode, distribution = mode.lower(), distribution.lower()
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"Invalid `mode` argument: expected one of 'fan_in', 'fan_out', "
                             f"'fan_avg' but got {mode!r}")
        if distribution not in ("normal", "uniform"):
            raise ValueError("Invalid `distribution` argument: expected one of 'normal', 'uniform' "
                             f"but got {distribution!r}")
        self.keep(scale=scale, mode=mode, distribution=distribution, seed=seed)

    def __call__(self, shape, dtype=None):
        fan_in, fan_out = _compute_fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return K.random_uniform(shape, -limit, limit, dtype=dtype, seed=self._next_seed())
        stddev = math.sqrt(variance) / _STDDEV_CUT_AT_TWO
        return K.truncated_normal(shape, 0.0, stddev, dtype=dtype, seed=self._next_seed())


class Orthogonal(Initializer):
    """A random matrix with orthonormal rows or columns, times `gain`.

    A weight of more than two axes is the matrix (product of all axes but the last, last axis).
    Saxe et al. 2013, arXiv:1312.6120.
    """

    def __init__(self, gain=1.0, seed=None):
        self.keep(gain=gain, seed=seed)

    def __call__(self, shape, dtype=None):
        flat = (int(np.prod(shape[:-1])), shape[-1])
        seed = self._next_seed()
        random = np.random if seed is None else np.random.RandomState(seed)
        u, _, v = np.linalg.svd(random.normal(0.0, 1.0, flat), full_matrices=False)
        q = u if u.shape == flat else v         # the factor of the right shape
        return (self.gain * q.reshape(shape)).astype(values_dtype(dtype or K.floatx()))


class Identity(Initializer):
    """The identity matrix (ones on the diagonal of a rectangle), times `gain`; rank 2 only."""

    def __init__(self, gain=1.0):
        self.keep(gain=gain)

    def __call__(self, shape, dtype=None):
        if len(shape) != 2:
            raise ValueError("Identity matrix initializer can only be used for 2D matrices, "
                             f"got the shape {tuple(shape)}.")
        return (self.gain * np.eye(*shape)).astype(values_dtype(dtype or K.floatx()))


def glorot_normal(seed=None):
    """Variance 2 / (fan_in + fan_out), truncated normal.  Glorot and Bengio 2010."""
    return VarianceScaling(scale=1.0, mode="fan_avg", distribution="normal", seed=seed)


def glorot_uniform(seed=None):
    """Variance 2 / (fan_in + fan_out), uniform.  Glorot and Bengio 2010."""
    return VarianceScaling(scale=1.0, mode="fan_avg", distribution="uniform", seed=seed)


def he_normal(seed=None):
    """Variance 2 / fan_in, truncated normal.  He et al. 2015, arXiv:1502.01852."""
    return VarianceScaling(scale=2.0, mode="fan_in", distribution="normal", seed=seed)


def he_uniform(seed=None):
    """Variance 2 / fan_in, uniform.  He et al. 2015, arXiv:1502.01852."""
    return VarianceScaling(scale=2.0, mode="fan_in", distribution="uniform", seed=seed)


def lecun_normal(seed=None):
    """Variance 1 / fan_in, truncated normal.  LeCun et al. 1998, Efficient Backprop."""
    return VarianceScaling(scale=1.0, mode="fan_in", distribution="normal", seed=seed)


def lecun_uniform(seed=None):
    """Variance 1 / fan_in, uniform.  LeCun et al. 1998, Efficient Backprop."""
    return VarianceScaling(scale=1.0, mode="fan_in", distribution="uniform", seed=seed)


zero = zeros = Zeros
one = ones = Ones
constant = Constant
normal = random_normal = RandomNormal
uniform = random_uniform = RandomUniform
truncated_normal = TruncatedNormal
orthogonal = Orthogonal
identity = Identity


def _compute_fans(shape, data_format="channels_last"):
    """Inputs of one output and outputs of one input, by the shape of the weight alone.

    A kernel (*window, in, out) in channels_last, (out, in, *window) in channels_first.
    """
    if len(shape) == 2:
        return shape
    if len(shape) not in (3, 4, 5):
        return (math.sqrt(np.prod(shape)),) * 2
    if data_format == "channels_first":
        window, (outs, ins) = shape[2:], shape[:2]
    elif data_format == "channels_last":
        window, (ins, outs) = shape[:-2], shape[-2:]
    else:
        raise ValueError(f"Invalid data_format: {data_format}")
    size = int(np.prod(window))
    return ins * size, outs * size


def serialize(initializer):
    """{"class_name", "config"} of an initializer."""
    return serialize_keras_object(initializer)


def deserialize(config, custom_objects=None):
    """The initializer of a config."""
    return deserialize_keras_object(config, module_objects=globals(), custom_objects=custom_objects,
                                    printable_module_name="initializer")


def get(identifier):
    """The initializer for a name, a config or a callable taking (shape, dtype=None)."""
    return interpret(identifier, deserialize, "initializer")
