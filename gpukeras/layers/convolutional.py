"""Convolutions over one, two and three spatial axes."""
from .. import backend as K
from ..backend.nn import conv_transpose_unsized
from ..utils.conv_utils import deconv_length, normalize_padding, normalize_tuple
from .base import Layer
from .spec import InputSpec


class _Conv(Layer):
    """y = activation(conv(x, kernel) + bias) over `rank` spatial axes.

    kernel (*kernel_size, in, filters) whatever the data format; correlation, the kernel is not
    flipped.
    """

    rank = None

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None,
                 dilation_rate=1, activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(**kwargs)
        rank, padding = self.rank, normalize_padding(padding)
        if padding == "causal" and rank != 1:
            raise ValueError("Causal padding is only supported for `Conv1D`, got it for "
                             f"{type(self).__name__}.")
        self.keep(filters=filters, kernel_size=normalize_tuple(kernel_size, rank, "kernel_size"),
                  strides=normalize_tuple(strides, rank, "strides"), padding=padding,
                  data_format=K.normalize_data_format(data_format),
                  dilation_rate=normalize_tuple(dilation_rate, rank, "dilation_rate"),
                  activation=activation, use_bias=use_bias,
                  kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
                  kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
                  activity_regularizer=activity_regularizer,
                  kernel_constraint=kernel_constraint, bias_constraint=bias_constraint)
        self.input_spec = InputSpec(ndim=rank + 2)

    def _forget(self, *names):
        """Leave arguments out of the config, which a subclass does not have."""
        self._kept = tuple(name for name in self._kept if name not in names)

    @property
    def _channel_axis(self):
        return 1 if self.data_format == "channels_first" else -1

    def _channels(self, input_shape):
        """Number of input channels, fixed from now on. ValueError if it is unknown."""
        channels = input_shape[self._channel_axis]
        if channels is None:
            raise ValueError("The channel dimension of the inputs should be defined. Found "
                             "`None` in "
                             f"{tuple(input_shape)}, axis {self._channel_axis}{self._place()}")
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={self._channel_axis: channels})
        return channels

    def build(self, input_shape):
        shape = (*self.kernel_size, self._channels(input_shape), self.filters)
        self.kernel = self.add_weight("kernel", shape)
        self.bias = self.add_weight("bias", (self.filters,)) if self.use_bias else None
        super().build(input_shape)

    def convolve(self, x):
        """The layer's convolution of `x`, without bias and activation."""
        conv = {1: K.conv1d, 2: K.conv2d, 3: K.conv3d}[self.rank]
        return conv(
            x, self.kernel, strides=self._plain(self.strides), padding=self.padding,
            data_format=self.data_format, dilation_rate=self._plain(self.dilation_rate))

    def _plain(self, values):
        """K's 1D functions take a number, the others a tuple."""
        return values[0] if self.rank == 1 else values

    def call(self, inputs):
        y = self.convolve(inputs)
        if self.bias is not None:
            y = K.bias_add(y, self.bias, self.data_format)
        return self.activation(y)


class Conv1D(_Conv):
    """Convolution of sequences.

    # Arguments
        filters: number of output channels.
        kernel_size: length of the window, int or tuple of one.
        strides: steps between windows.
        padding: `valid`, `same`, or `causal` (output t sees no input after t).
        data_format: `channels_last` (batch, steps, channels) or `channels_first`.
        dilation_rate: distance between the window's elements; not together with strides above 1.
        activation, use_bias, and the rest: as for Dense.
    """

    rank = 1

    def __init__(self, filters, kernel_size, strides=1, padding="valid",
                 data_format="channels_last", dilation_rate=1, activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate,
                         activation, use_bias, kernel_initializer, bias_initializer,
                         kernel_regularizer, bias_regularizer, activity_regularizer,
                         kernel_constraint, bias_constraint, **kwargs)


class Conv2D(_Conv):
    """Convolution of images.

    # Arguments
        filters: number of output channels.
        kernel_size: height and width of the window, int or pair.
        strides: steps between windows, int or pair.
        padding: `valid` or `same`.
        data_format: `channels_last` (batch, rows, cols, channels) or `channels_first`; None for
            `image_data_format()`.
        dilation_rate: distance between the window's elements; not together with strides above 1.
        activation, use_bias, and the rest: as for Dense.
    """

    rank = 2

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format=None,
                 dilation_rate=(1, 1), activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate,
                         activation, use_bias, kernel_initializer, bias_initializer,
                         kernel_regularizer, bias_regularizer, activity_regularizer,
                         kernel_constraint, bias_constraint, **kwargs)


class Conv3D(_Conv):
    """Convolution of volumes; arguments as for Conv2D, with three sizes each."""

    rank = 3

    def __init__(self, filters, kernel_size, strides=(1, 1, 1), padding="valid", data_format=None,
                 dilation_rate=(1, 1, 1), activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate,
                         activation, use_bias, kernel_initializer, bias_initializer,
                         kernel_regularizer, bias_regularizer, activity_regularizer,
                         kernel_constraint, bias_constraint, **kwargs)


class _Transposed:
    """Convolution backwards, for a subclass of Conv2D or Conv3D: strides above 1 enlarge.

    kernel (*kernel_size, filters, in); y[i * stride + a] += x[i] * kernel[a].
    """

    def _keep_output_padding(self, output_padding):
        if output_padding is not None:
            output_padding = normalize_tuple(output_padding, self.rank, "output_padding")
            if any(p >= s for p, s in zip(output_padding, self.strides)):
                raise ValueError(f"Stride {self.strides} must be greater than output padding "
                                 f"{output_padding}")
        self.keep(output_padding=output_padding)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            "kernel", (*self.kernel_size, self.filters, self._channels(input_shape)))
        self.bias = self.add_weight("bias", (self.filters,)) if self.use_bias else None
        Layer.build(self, input_shape)

    def convolve(self, x):
        first = 2 if self.data_format == "channels_first" else 1
        sizes = K.int_shape(x)[first:first + self.rank]
        padding = self.output_padding or (None,) * self.rank

        def lengths(sizes):
            return [deconv_length(*values) for values in zip(
                sizes, self.strides, self.kernel_size, (self.padding,) * self.rank, padding,
                self.dilation_rate)]

        if None in sizes:
            # a length grows by the stride from one size to the next
            extra = [n - s for n, s in zip(lengths((1,) * self.rank), self.strides)]
            return conv_transpose_unsized(x, self.kernel, extra, self.strides, self.padding,
                                          self.data_format, self.dilation_rate)
        sizes = lengths(sizes)
        batch = K.shape(x)[0]
        shape = ((batch, self.filters, *sizes) if first == 2 else (batch, *sizes, self.filters))
        return self._transposed(x, shape)


class Conv2DTranspose(_Transposed, Conv2D):
    """Convolution of images backwards: from the output of a Conv2D to the shape of its input.

    # Arguments
        output_padding: rows and columns to add at one end; None for the size L * strides (same) or
            L * strides + max(kernel - strides, 0) (valid).
        filters and the rest: as for Conv2D.
    """

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", output_padding=None,
                 data_format=None, dilation_rate=(1, 1), activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, dilation_rate,
                         activation, use_bias, kernel_initializer, bias_initializer,
                         kernel_regularizer, bias_regularizer, activity_regularizer,
                         kernel_constraint, bias_constraint, **kwargs)
        self._keep_output_padding(output_padding)

    def _transposed(self, x, shape):
        return K.conv2d_transpose(x, self.kernel, shape, self.strides, self.padding,
                                  self.data_format, self.dilation_rate)


class Conv3DTranspose(_Transposed, Conv3D):
    """Convolution of volumes backwards; arguments as for Conv2DTranspose, without dilation_rate."""

    def __init__(self, filters, kernel_size, strides=(1, 1, 1), padding="valid",
                 output_padding=None, data_format=None, activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(filters, kernel_size, strides, padding, data_format, 1, activation,
                         use_bias, kernel_initializer, bias_initializer, kernel_regularizer,
                         bias_regularizer, activity_regularizer, kernel_constraint,
                         bias_constraint, **kwargs)
        self._forget("dilation_rate")
        self._keep_output_padding(output_padding)

    def _transposed(self, x, shape):
        return K.conv3d_transpose(x, self.kernel, shape, self.strides, self.padding,
                                  self.data_format)


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Deconvolution2D = Deconv2D = Convolution2DTranspose = Conv2DTranspose
Deconvolution3D = Deconv3D = Conv3DTranspose

_ELSEWHERE = ("separable", "spatial", "pooling", "keras1")      # Keras has these here, too


def __getattr__(name):
    import importlib
    for module in _ELSEWHERE:
        found = importlib.import_module("." + module, __package__)
        if name in found.__all__:
            return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "Convolution1D",
           "Convolution2D", "Convolution3D", "Deconvolution2D", "Deconvolution3D"]
