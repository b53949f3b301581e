"""Activations with parameters, as layers."""
from .. import backend as K
from ..utils.generic_utils import to_list
from .base import Layer
from .spec import InputSpec


def _rounded(value):
    """`value` as floatx holds it, which is how Keras writes it into a config."""
    return float(K.cast_to_floatx(value))


class _Elementwise(Layer):
    """Base: input and output have the same shape and mask."""

    supports_masking = True

    def compute_output_shape(self, input_shape):
        return input_shape


class LeakyReLU(_Elementwise):
    """y = x for x > 0, alpha * x elsewhere.  Maas et al. 2013."""

    def __init__(self, alpha=0.3, **kwargs):
        super().__init__(**kwargs)
        self.keep(alpha=_rounded(alpha))

    def call(self, inputs):
        return K.relu(inputs, alpha=self.alpha)


class PReLU(_Elementwise):
    """y = x for x > 0, alpha * x elsewhere, with a weight alpha of the shape of one sample.

    # Arguments
        alpha_initializer, alpha_regularizer, alpha_constraint: as for the weights of Dense.
        shared_axes: axes, counted from 1, along which alpha is one number: [1, 2] after Conv2D.

    He et al. 2015, arXiv:1502.01852.
    """

    def __init__(self, alpha_initializer="zeros", alpha_regularizer=None, alpha_constraint=None,
                 shared_axes=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(alpha_initializer=alpha_initializer, alpha_regularizer=alpha_regularizer,
                  alpha_constraint=alpha_constraint,
                  shared_axes=shared_axes and to_list(shared_axes, allow_tuple=True))

    def build(self, input_shape):
        shape, shared = list(input_shape[1:]), self.shared_axes or ()
        for axis in shared:
            shape[axis - 1] = 1
        self.alpha = self.add_weight("alpha", shape)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={
            i: size for i, size in enumerate(input_shape) if i and i not in shared})
        super().build(input_shape)

    def call(self, inputs):
        return K.relu(inputs) - self.alpha * K.relu(-inputs)


class ELU(_Elementwise):
    """y = x for x > 0, alpha * (exp(x) - 1) elsewhere.  Clevert et al. 2015, arXiv:1511.07289."""

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.keep(alpha=_rounded(alpha))

    def call(self, inputs):
        return K.elu(inputs, self.alpha)


class ThresholdedReLU(_Elementwise):
    """y = x for x > theta, 0 elsewhere.  Konda et al. 2014, arXiv:1402.3337."""

    def __init__(self, theta=1.0, **kwargs):
        super().__init__(**kwargs)
        self.keep(theta=_rounded(theta))

    def call(self, inputs):
        return inputs * K.cast(K.greater(inputs, self.theta), K.dtype(inputs))


class Softmax(_Elementwise):
    """y = exp(x) / sum(exp(x)) over `axis`."""

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.keep(axis=axis)

    def call(self, inputs):
        return K.softmax(inputs, axis=self.axis)


class ReLU(_Elementwise):
    """y = min(x, max_value) for x >= threshold, negative_slope * (x - threshold) elsewhere.

    # Arguments
        max_value: 0 or more, None for no limit.
        negative_slope: 0 or more.
        threshold: smallest input that passes.
    """

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        super().__init__(**kwargs)
        if max_value is not None and max_value < 0:
            raise ValueError(f"max_value of ReLU layer cannot be negative value: {max_value}")
        if negative_slope < 0:
            raise ValueError("negative_slope of ReLU layer cannot be negative value: "
                             f"{negative_slope}")
        self.keep(max_value=None if max_value is None else _rounded(max_value),
                  negative_slope=_rounded(negative_slope), threshold=_rounded(threshold))

    def call(self, inputs):
        return K.relu(inputs, alpha=self.negative_slope, max_value=self.max_value,
                      threshold=self.threshold)


__all__ = ["ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "ThresholdedReLU"]
