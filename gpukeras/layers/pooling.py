"""Largest or mean value of windows, or of everything but batch and channels."""
from .. import backend as K
from ..utils.conv_utils import normalize_padding, normalize_tuple
from .base import Layer
from .spec import InputSpec


class _Pooling(Layer):
    """`pool_mode` of each window over `rank` spatial axes; one class below per mode and rank."""

    rank = None
    pool_mode = None

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format=None, **kwargs):
        super().__init__(**kwargs)
        strides = normalize_tuple(pool_size if strides is None else strides, self.rank, "strides")
        pool_size = normalize_tuple(pool_size, self.rank, "pool_size")
        padding = normalize_padding(padding)
        # in the order in which Keras writes them into a config
        if self.rank == 1:
            self.keep(strides=strides, pool_size=pool_size, padding=padding)
        else:
            self.keep(pool_size=pool_size, padding=padding, strides=strides)
        self.keep(data_format=K.normalize_data_format(data_format))
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs):
        return self._pooling_function(inputs, self.pool_size, self.strides, self.padding,
                                      self.data_format)

    def _pooling_function(self, inputs, pool_size, strides, padding, data_format):
        options = dict(padding=padding, data_format=data_format, pool_mode=self.pool_mode)
        if self.rank > 1:
            return (K.pool2d if self.rank == 2 else K.pool3d)(inputs, pool_size, strides, **options)
        # K has no pool1d: a sequence is an image of width 1.
        axis = 2 if data_format == "channels_last" else 3
        y = K.pool2d(K.expand_dims(inputs, axis), (*pool_size, 1), (*strides, 1), **options)
        return K.squeeze(y, axis)


class _Pooling1D(_Pooling):
    """
    # Arguments
        pool_size: length of the window.
        strides: steps between windows; the window's length if None.
        padding: `valid` or `same`; what is padded counts neither as value nor for the mean.
        data_format: `channels_last` (batch, steps, features) or `channels_first`.
    """

    rank = 1

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format="channels_last",
                 **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)


class _Pooling2D(_Pooling):
    """
    # Arguments
        pool_size: height and width of the window, int or pair.
        strides: steps between windows; the window's size if None.
        padding: `valid` or `same`; what is padded counts neither as value nor for the mean.
        data_format: `channels_last` (batch, rows, cols, channels) or `channels_first`; None for
            `image_data_format()`.
    """

    rank = 2

    def __init__(self, pool_size=(2, 2), strides=None, padding="valid", data_format=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)


class _Pooling3D(_Pooling):
    """
    # Arguments
        pool_size, strides, padding, data_format: as for pooling of images, with three sizes each.
    """

    rank = 3

    def __init__(self, pool_size=(2, 2, 2), strides=None, padding="valid", data_format=None,
                 **kwargs):
        super().__init__(pool_size, strides, padding, data_format, **kwargs)


class MaxPooling1D(_Pooling1D):
    __doc__ = "Largest value of each window of a sequence.\n" + _Pooling1D.__doc__
    pool_mode = "max"


class MaxPooling2D(_Pooling2D):
    __doc__ = "Largest value of each window of an image.\n" + _Pooling2D.__doc__
    pool_mode = "max"


class MaxPooling3D(_Pooling3D):
    __doc__ = "Largest value of each window of a volume.\n" + _Pooling3D.__doc__
    pool_mode = "max"


class AveragePooling1D(_Pooling1D):
    __doc__ = "Mean of each window of a sequence.\n" + _Pooling1D.__doc__
    pool_mode = "avg"


class AveragePooling2D(_Pooling2D):
    __doc__ = "Mean of each window of an image.\n" + _Pooling2D.__doc__
    pool_mode = "avg"


class AveragePooling3D(_Pooling3D):
    __doc__ = "Mean of each window of a volume.\n" + _Pooling3D.__doc__
    pool_mode = "avg"


class _GlobalPooling(Layer):
    """`reduce` over all spatial axes: (batch, *spatial, channels) -> (batch, channels)."""

    rank = None
    reduce = None

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(data_format=K.normalize_data_format(data_format))
        self.input_spec = InputSpec(ndim=self.rank + 2)

    @property
    def _axes(self):
        first = 1 if self.data_format == "channels_last" else 2
        return list(range(first, first + self.rank))

    def call(self, inputs):
        return getattr(K, self.reduce)(inputs, axis=self._axes)


class _GlobalPooling1D(_GlobalPooling):
    rank = 1

    def __init__(self, data_format="channels_last", **kwargs):
        super().__init__(data_format, **kwargs)


class GlobalMaxPooling1D(_GlobalPooling1D):
    """Largest value over time: (batch, steps, features) -> (batch, features)."""

    reduce = "max"


class GlobalMaxPooling2D(_GlobalPooling):
    """Largest value of each channel of an image: rank 4 -> (batch, channels)."""

    rank, reduce = 2, "max"


class GlobalMaxPooling3D(_GlobalPooling):
    """Largest value of each channel of a volume: rank 5 -> (batch, channels)."""

    rank, reduce = 3, "max"


class GlobalAveragePooling1D(_GlobalPooling1D):
    """Mean over time: (batch, steps, features) -> (batch, features); masked steps do not count."""

    reduce = "mean"
    supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return super().call(inputs)
        axis, = self._axes
        weight = K.expand_dims(K.cast(mask, K.dtype(inputs)), 2 if axis == 1 else 1)
        return K.sum(inputs * weight, axis=axis) / K.sum(weight, axis=axis)

    def compute_mask(self, inputs, mask=None):
        return None


class GlobalAveragePooling2D(_GlobalPooling):
    """Mean of each channel of an image: rank 4 -> (batch, channels)."""

    rank, reduce = 2, "mean"


class GlobalAveragePooling3D(_GlobalPooling):
    """Mean of each channel of a volume: rank 5 -> (batch, channels)."""

    rank, reduce = 3, "mean"


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalAvgPool1D = GlobalMaxPooling1D, GlobalAveragePooling1D
GlobalMaxPool2D, GlobalAvgPool2D = GlobalMaxPooling2D, GlobalAveragePooling2D
GlobalMaxPool3D, GlobalAvgPool3D = GlobalMaxPooling3D, GlobalAveragePooling3D

__all__ = [name for name in list(globals()) if name.endswith("D") and not name.startswith("_")]
