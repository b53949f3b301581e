"""Layers that add or multiply random numbers in training, and do nothing at test time."""
import math

from .. import backend as K
from .base import Layer

# AlphaDropout: where SELU saturates, -alpha * scale
_SATURATION = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946


class _Noise(Layer):
    """Base: `disturb(inputs)` in training, the inputs at test time."""

    supports_masking = True

    def disturb(self, inputs):
        raise NotImplementedError(f"{type(self).__name__}.disturb")

    def call(self, inputs, training=None):
        return K.in_train_phase(lambda: self.disturb(inputs), inputs, training=training)

    def compute_output_shape(self, input_shape):
        return input_shape


class GaussianNoise(_Noise):
    """Adds normal noise of mean 0 and standard deviation `stddev`."""

    def __init__(self, stddev, **kwargs):
        super().__init__(**kwargs)
        self.keep(stddev=stddev)

    def disturb(self, inputs):
        return inputs + K.random_normal(K.shape(inputs), 0.0, self.stddev, dtype=K.dtype(inputs))


class GaussianDropout(_Noise):
    """Multiplies by normal noise of mean 1 and standard deviation sqrt(rate / (1 - rate)).

    Srivastava, Hinton et al. 2014, Dropout, section 10.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.keep(rate=rate)

    def call(self, inputs, training=None):
        return super().call(inputs, training) if 0 < self.rate < 1 else inputs

    def disturb(self, inputs):
        stddev = math.sqrt(self.rate / (1.0 - self.rate))
        return inputs * K.random_normal(K.shape(inputs), 1.0, stddev, dtype=K.dtype(inputs))


class AlphaDropout(_Noise):
    """Sets a share `rate` of the inputs to the value at which SELU saturates.

    A scale and a shift then bring mean 0 and variance 1 back.

    # Arguments
        rate: share of the inputs to drop.
        noise_shape: shape of the mask, as for Dropout.
        seed: integer, for a mask that can be repeated.

    Klambauer et al. 2017, arXiv:1706.02515.
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(rate=rate)                       # 2.3.1 saves neither noise_shape nor seed
        self.noise_shape, self.seed = noise_shape, seed

    def call(self, inputs, training=None):
        return super().call(inputs, training) if 0 < self.rate < 1 else inputs

    def disturb(self, inputs):
        p, q, like = self.rate, _SATURATION, inputs
        shape = K.shape(like) if self.noise_shape is None else [
            K.shape(like)[i] if size is None else size for i, size in enumerate(self.noise_shape)]
        kept = K.greater_equal(K.random_uniform(shape, seed=self.seed), p)
        kept = K.cast(kept, K.dtype(inputs))
        scale = ((1 - p) * (1 + p * q ** 2)) ** -0.5
        return scale * (inputs * kept + q * (1 - kept)) - scale * q * p


__all__ = ["AlphaDropout", "GaussianDropout", "GaussianNoise"]
