"""Layers of Keras 1 that Keras 2.3.1 still has, with their old argument names."""
from .. import backend as K
from .. import initializers
from .base import Layer
from .convolutional import Conv1D, Conv2D
from .spec import InputSpec


class _Keras1(Layer):
    """Base: what MaxoutDense and Highway have in common; x (batch, in)."""

    def __init__(self, weights, input_dim, **kwargs):
        if input_dim:
            kwargs["input_shape"] = (input_dim,)
        if weights is not None:
            kwargs["weights"] = weights
        super().__init__(**kwargs)
        self.input_spec = InputSpec(ndim=2)

    def get_config(self):
        return {**super().get_config(), "init": initializers.serialize(self.init)}


class MaxoutDense(_Keras1):
    """The largest of `nb_feature` dense layers: y = max over k of x @ W[k] + b[k].

    # Arguments
        output_dim: size of the output.
        nb_feature: number of dense layers.
        init: first values of W.
        W_regularizer, b_regularizer, activity_regularizer, W_constraint, b_constraint: as for
            Dense.
        bias: whether there is a b.
        input_dim: size of the input.

    Goodfellow et al. 2013, arXiv:1302.4389.
    """

    def __init__(self, output_dim, nb_feature=4, init="glorot_uniform", weights=None,
                 W_regularizer=None, b_regularizer=None, activity_regularizer=None,
                 W_constraint=None, b_constraint=None, bias=True, input_dim=None, **kwargs):
        super().__init__(weights, input_dim, **kwargs)
        self.keep(output_dim=output_dim, init=initializers.get(init), nb_feature=nb_feature,
                  W_regularizer=W_regularizer, b_regularizer=b_regularizer,
                  activity_regularizer=activity_regularizer, W_constraint=W_constraint,
                  b_constraint=b_constraint, bias=bias, input_dim=input_dim)

    def build(self, input_shape):
        size = input_shape[1]
        self.input_spec = InputSpec(ndim=2, axes={1: size})
        self.W = self.add_weight("W", (self.nb_feature, size, self.output_dim),
                                 initializer=self.init)
        self.b = self.add_weight("b", (self.nb_feature, self.output_dim),
                                 initializer="zeros") if self.bias else None
        super().build(input_shape)

    def call(self, x):
        y = K.dot(x, self.W)
        return K.max(y if self.b is None else y + self.b, axis=1)


class Highway(_Keras1):
    """y = t * activation(x @ W + b) + (1 - t) * x, with t = sigmoid(x @ W_carry + b_carry).

    # Arguments
        init: first values of W and W_carry.
        activation and the rest: as for Dense, under their old names.

    Srivastava, Greff, Schmidhuber 2015, arXiv:1505.00387.
    """

    def __init__(self, init="glorot_uniform", activation=None, weights=None, W_regularizer=None,
                 b_regularizer=None, activity_regularizer=None, W_constraint=None,
                 b_constraint=None, bias=True, input_dim=None, **kwargs):
        kwargs.pop("transform_bias", None)
        super().__init__(weights, input_dim, **kwargs)
        self.keep(init=initializers.get(init), activation=activation, W_regularizer=W_regularizer,
                  b_regularizer=b_regularizer, activity_regularizer=activity_regularizer,
                  W_constraint=W_constraint, b_constraint=b_constraint, bias=bias,
                  input_dim=input_dim)

    def build(self, input_shape):
        size = input_shape[1]
        self.input_spec = InputSpec(ndim=2, axes={1: size})
        self.W = self.add_weight("W", (size, size), initializer=self.init)
        self.W_carry = self.add_weight("W_carry", (size, size), initializer=self.init)
        self.b = self.b_carry = None
        if self.bias:
            self.b = self.add_weight("b", (size,), initializer="zeros")
            self.b_carry = self.add_weight("b_carry", (size,), initializer="ones")
        super().build(input_shape)

    def call(self, x):
        def dense(kernel, bias):
            y = K.dot(x, kernel)
            return y if bias is None else y + bias

        t = K.sigmoid(dense(self.W_carry, self.b_carry))
        return t * self.activation(dense(self.W, self.b)) + (1.0 - t) * x


def AtrousConvolution1D(*args, **kwargs):
    """Conv1D with the argument `atrous_rate` for `dilation_rate`."""
    return Conv1D(*args, dilation_rate=kwargs.pop("atrous_rate", 1), **kwargs)


def AtrousConvolution2D(*args, **kwargs):
    """Conv2D with the argument `atrous_rate` for `dilation_rate`."""
    return Conv2D(*args, dilation_rate=kwargs.pop("atrous_rate", 1), **kwargs)


AtrousConv1D, AtrousConv2D = AtrousConvolution1D, AtrousConvolution2D

__all__ = ["AtrousConv1D", "AtrousConv2D", "AtrousConvolution1D", "AtrousConvolution2D", "Highway",
           "MaxoutDense"]
