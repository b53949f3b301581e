"""Convolutions with other weights at every position."""
from .. import backend as K
from ..utils.conv_utils import conv_output_length
from .base import Layer
from .convolutional import Conv1D, Conv2D
from .spec import InputSpec


class _Local:
    """Convolution without shared weights, for a subclass of Conv1D or Conv2D."""

    def _require_valid(self):
        if self.padding != "valid":
            raise ValueError(f"Invalid border mode for {type(self).__name__} (only \"valid\" is "
                             f"supported): {self.padding}")

    def build(self, input_shape):
        channels, first = self._channels(input_shape), 2 if self._channel_axis == 1 else 1
        sizes = input_shape[first:first + self.rank]
        if None in sizes:
            raise ValueError(f"The spatial dimensions of the inputs to a {type(self).__name__} "
                             f"layer should be fully-defined, but layer received the inputs shape "
                             f"{tuple(input_shape)}{self._place()}")
        self.output_size = tuple(
            conv_output_length(size, k, self.padding, s)
            for size, k, s in zip(sizes, self.kernel_size, self.strides))
        positions = patch = 1
        for n, k in zip(self.output_size, self.kernel_size):
            positions, patch = positions * n, patch * k
        self.kernel = self.add_weight("kernel", (positions, patch * channels, self.filters))
        self.bias = self.add_weight("bias", (*self.output_size, self.filters)) \
            if self.use_bias else None
        self.input_spec = InputSpec(shape=(None, *input_shape[1:]))
        Layer.build(self, input_shape)


class LocallyConnected1D(_Local, Conv1D):
    """As Conv1D, but with other weights at every step; the length must be known.

    kernel (steps', kernel_size * in, filters), bias (steps', filters).
    """

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None,
                 activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, 1, activation,
                         use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
                         bias_regularizer, activity_regularizer, kernel_constraint,
                         bias_constraint, **kwargs)
        self._forget("dilation_rate", "data_format")
        self._require_valid()

    def convolve(self, x):
        return K.local_conv1d(x, self.kernel, self.kernel_size, self.strides)


class LocallyConnected2D(_Local, Conv2D):
    """As Conv2D, but with other weights at every position; rows and columns must be known.

    kernel (rows' * cols', kernel rows * kernel cols * in, filters), bias (rows', cols', filters).
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None,
                 activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, 1, activation,
                         use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
                         bias_regularizer, activity_regularizer, kernel_constraint,
                         bias_constraint, **kwargs)
        self._forget("dilation_rate")
        self._require_valid()

    def convolve(self, x):
        return K.local_conv2d(x, self.kernel, self.kernel_size, self.strides, self.output_size,
                              self.data_format)


__all__ = ["LocallyConnected1D", "LocallyConnected2D"]
