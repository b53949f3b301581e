"""Convolutions that treat each channel by itself."""
from .. import backend as K
from .base import Layer
from .convolutional import Conv2D, _Conv


class _SeparableConv(_Conv):
    """One convolution per channel, then a convolution with windows of size 1 across channels."""

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None,
                 dilation_rate=1, depth_multiplier=1, activation=None, use_bias=True,
                 depthwise_initializer="glorot_uniform", pointwise_initializer="glorot_uniform",
                 bias_initializer="zeros", depthwise_regularizer=None, pointwise_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, depthwise_constraint=None,
                 pointwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate,
                         activation, use_bias, bias_initializer=bias_initializer,
                         bias_regularizer=bias_regularizer,
                         activity_regularizer=activity_regularizer,
                         bias_constraint=bias_constraint, **kwargs)
        self._forget("kernel_initializer", "kernel_regularizer", "kernel_constraint")
        self.keep(depth_multiplier=depth_multiplier,
                  depthwise_initializer=depthwise_initializer,
                  pointwise_initializer=pointwise_initializer,
                  depthwise_regularizer=depthwise_regularizer,
                  pointwise_regularizer=pointwise_regularizer,
                  depthwise_constraint=depthwise_constraint,
                  pointwise_constraint=pointwise_constraint)

    def build(self, input_shape):
        channels, m = self._channels(input_shape), self.depth_multiplier
        self.depthwise_kernel = self._add("depthwise", (*self.kernel_size, channels, m))
        self.pointwise_kernel = self._add(
            "pointwise", (*(1,) * self.rank, channels * m, self.filters))
        self.bias = self.add_weight("bias", (self.filters,)) if self.use_bias else None
        Layer.build(self, input_shape)

    def _add(self, part, shape):
        """Weight `<part>_kernel`, with the initializer and so on of that part."""
        return self.add_weight(
            part + "_kernel", shape, initializer=getattr(self, part + "_initializer"),
            regularizer=getattr(self, part + "_regularizer"),
            constraint=getattr(self, part + "_constraint"))

    def convolve(self, x):
        conv = K.separable_conv1d if self.rank == 1 else K.separable_conv2d
        return conv(x, self.depthwise_kernel, self.pointwise_kernel,
                    strides=self._plain(self.strides), padding=self.padding,
                    data_format=self.data_format, dilation_rate=self._plain(self.dilation_rate))


class SeparableConv1D(_SeparableConv):
    """Separable convolution of sequences.

    # Arguments
        depth_multiplier: number of outputs of each channel in the first step.
        depthwise_initializer, pointwise_initializer, depthwise_regularizer, pointwise_regularizer,
        depthwise_constraint, pointwise_constraint: for the kernels of the two steps.
        filters and the rest: as for Conv1D.
    """

    rank = 1

    def __init__(self, filters, kernel_size, strides=1, padding="valid",
                 data_format="channels_last", dilation_rate=1, depth_multiplier=1, activation=None,
                 use_bias=True, depthwise_initializer="glorot_uniform",
                 pointwise_initializer="glorot_uniform", bias_initializer="zeros",
                 depthwise_regularizer=None, pointwise_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, depthwise_constraint=None, pointwise_constraint=None,
                 bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate,
                         depth_multiplier, activation, use_bias, depthwise_initializer,
                         pointwise_initializer, bias_initializer, depthwise_regularizer,
                         pointwise_regularizer, bias_regularizer, activity_regularizer,
                         depthwise_constraint, pointwise_constraint, bias_constraint, **kwargs)


class SeparableConv2D(_SeparableConv):
    """Separable convolution of images; arguments as for SeparableConv1D and Conv2D.

    Chollet 2016, arXiv:1610.02357.
    """

    rank = 2

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None,
                 dilation_rate=(1, 1), depth_multiplier=1, activation=None, use_bias=True,
                 depthwise_initializer="glorot_uniform", pointwise_initializer="glorot_uniform",
                 bias_initializer="zeros", depthwise_regularizer=None, pointwise_regularizer=None,
                 bias_regularizer=None, activity_regularizer=None, depthwise_constraint=None,
                 pointwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate,
                         depth_multiplier, activation, use_bias, depthwise_initializer,
                         pointwise_initializer, bias_initializer, depthwise_regularizer,
                         pointwise_regularizer, bias_regularizer, activity_regularizer,
                         depthwise_constraint, pointwise_constraint, bias_constraint, **kwargs)


class DepthwiseConv2D(Conv2D):
    """Convolution of each channel of an image by itself.

    Output channel c * depth_multiplier + j belongs to input channel c.

    # Arguments
        depth_multiplier: number of outputs of each channel.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: for the kernel.
        kernel_size and the rest: as for Conv2D.
    """

    def __init__(self, kernel_size, strides=(1, 1), padding="valid", depth_multiplier=1,
                 data_format=None, dilation_rate=(1, 1), activation=None, use_bias=True,
                 depthwise_initializer="glorot_uniform", bias_initializer="zeros",
                 depthwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(None, kernel_size, strides, padding, data_format, dilation_rate,
                         activation, use_bias, bias_initializer=bias_initializer,
                         bias_regularizer=bias_regularizer,
                         activity_regularizer=activity_regularizer,
                         bias_constraint=bias_constraint, **kwargs)
        self._forget("filters", "kernel_initializer", "kernel_regularizer", "kernel_constraint")
        self.keep(depth_multiplier=depth_multiplier, depthwise_initializer=depthwise_initializer,
                  depthwise_regularizer=depthwise_regularizer,
                  depthwise_constraint=depthwise_constraint)

    def build(self, input_shape):
        channels, m = self._channels(input_shape), self.depth_multiplier
        self.depthwise_kernel = self.add_weight(
            "depthwise_kernel", (*self.kernel_size, channels, m),
            initializer=self.depthwise_initializer, regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint)
        self.bias = self.add_weight("bias", (channels * m,)) if self.use_bias else None
        Layer.build(self, input_shape)

    def convolve(self, x):
        return K.depthwise_conv2d(x, self.depthwise_kernel, strides=self.strides,
                                  padding=self.padding, data_format=self.data_format,
                                  dilation_rate=self.dilation_rate)


SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D

__all__ = ["DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D",
           "SeparableConvolution2D"]
