"""Cropping, padding and repeating along the spatial axes of sequences, images and volumes."""
from .. import backend as K
from ..utils.conv_utils import normalize_tuple
from .base import Layer
from .spec import InputSpec


def _pairs(value, rank, name):
    """An int, `rank` ints or `rank` pairs of ints as pairs (before, after)."""
    if isinstance(value, int):
        return ((value, value),) * rank
    if not hasattr(value, "__len__") or len(value) != rank:
        raise ValueError(f"`{name}` should have {rank} elements. Found: {value!r}")
    return tuple(normalize_tuple(part, 2, f"{i + 1}. entry of `{name}`")
                 for i, part in enumerate(value))


class _Spatial(Layer):
    """Base: `rank` spatial axes, behind the channels or before them."""

    rank = None
    data_format = "channels_last"

    @property
    def _first(self):
        """The first spatial axis."""
        return 1 if self.data_format == "channels_last" else 2


class _Cropping(_Spatial):
    def __init__(self, cropping, data_format="channels_last", **kwargs):
        super().__init__(**kwargs)
        self.keep(cropping=cropping)
        if self.rank > 1:
            self.keep(data_format=K.normalize_data_format(data_format))
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs):
        ends = [self.cropping] if self.rank == 1 else self.cropping
        sizes = K.int_shape(inputs)[self._first:]
        for (start, end), size in zip(ends, sizes):
            if size is not None and start + end >= size:
                raise ValueError(f"cropping {self.cropping} leaves nothing of an input of shape "
                                 f"{K.int_shape(inputs)}{self._place()}")
        cut = tuple(slice(start, -end or None) for start, end in ends)
        return inputs[(slice(None),) * self._first + cut]


class Cropping1D(_Cropping):
    """(batch, steps, features) without the first and last steps.

    cropping: int, or pair of ints: steps to take off at the beginning and the end.
    """

    rank = 1

    def __init__(self, cropping=(1, 1), **kwargs):
        super().__init__(normalize_tuple(cropping, 2, "cropping"), **kwargs)


class Cropping2D(_Cropping):
    """Images without their borders.

    # Arguments
        cropping: int, pair of ints, or ((top, bottom), (left, right)).
        data_format: as for Conv2D.
    """

    rank = 2

    def __init__(self, cropping=((0, 0), (0, 0)), data_format=None, **kwargs):
        super().__init__(_symmetric(cropping, 2, "cropping"), data_format, **kwargs)


class Cropping3D(_Cropping):
    """Volumes without their borders; arguments as for Cropping2D, with three entries."""

    rank = 3

    def __init__(self, cropping=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(_symmetric(cropping, 3, "cropping"), data_format, **kwargs)


def _symmetric(value, rank, name):
    """As `_pairs`; plain ints stand for the same number at both ends of an axis."""
    if hasattr(value, "__len__") and all(isinstance(part, int) for part in value):
        if len(value) != rank:
            raise ValueError(f"`{name}` should have {rank} elements. Found: {value!r}")
        return tuple((part, part) for part in value)
    return _pairs(value, rank, name)


class _ZeroPadding(_Spatial):
    def __init__(self, padding, data_format="channels_last", **kwargs):
        super().__init__(**kwargs)
        self.keep(padding=padding)
        if self.rank > 1:
            self.keep(data_format=K.normalize_data_format(data_format))

    def call(self, inputs):
        if self.rank == 1:
            return K.temporal_padding(inputs, self.padding)
        pad = K.spatial_2d_padding if self.rank == 2 else K.spatial_3d_padding
        return pad(inputs, self.padding, self.data_format)


class ZeroPadding1D(_ZeroPadding):
    """(batch, steps, features) with steps of zeros added.

    padding: int, or pair of ints: steps to add at the beginning and the end.
    """

    rank = 1

    def __init__(self, padding=1, **kwargs):
        super().__init__(normalize_tuple(padding, 2, "padding"), **kwargs)


class ZeroPadding2D(_ZeroPadding):
    """Images with a border of zeros.

    # Arguments
        padding: int, pair of ints, or ((top, bottom), (left, right)).
        data_format: as for Conv2D.
    """

    rank = 2

    def __init__(self, padding=(1, 1), data_format=None, **kwargs):
        super().__init__(_symmetric(padding, 2, "padding"), data_format, **kwargs)


class ZeroPadding3D(_ZeroPadding):
    """Volumes with a border of zeros; arguments as for ZeroPadding2D, with three entries."""

    rank = 3

    def __init__(self, padding=(1, 1, 1), data_format=None, **kwargs):
        super().__init__(_symmetric(padding, 3, "padding"), data_format, **kwargs)


class _UpSampling(_Spatial):
    def __init__(self, size, data_format="channels_last", **kwargs):
        super().__init__(**kwargs)
        self.keep(size=size)
        if self.rank > 1:
            self.keep(data_format=K.normalize_data_format(data_format))

    def call(self, inputs):
        for i, times in enumerate([self.size] if self.rank == 1 else self.size):
            if times != 1:
                inputs = K.repeat_elements(inputs, times, axis=self._first + i)
        return inputs


class UpSampling1D(_UpSampling):
    """Every step of (batch, steps, features) `size` times in a row."""

    rank = 1

    def __init__(self, size=2, **kwargs):
        super().__init__(int(size), **kwargs)


class UpSampling2D(_UpSampling):
    """Images enlarged by whole numbers.

    # Arguments
        size: int or pair: how many times higher and wider.
        data_format: as for Conv2D.
        interpolation: `nearest` (every pixel repeated) or `bilinear`; TensorFlow 2 and Keras 3 mean
            by it what is `bilinear_half_pixel` here, and so have their files.
    """

    rank = 2

    def __init__(self, size=(2, 2), data_format=None, interpolation="nearest", **kwargs):
        super().__init__(normalize_tuple(size, 2, "size"), data_format, **kwargs)
        if interpolation not in ("nearest", "bilinear", "bilinear_half_pixel"):
            raise ValueError('interpolation should be one of "nearest" or "bilinear". Received: '
                             f"{interpolation!r}")
        self.keep(interpolation=interpolation)

    def call(self, inputs):
        if self.interpolation == "nearest":
            return super().call(inputs)
        return K.resize_images(inputs, *self.size, self.data_format, self.interpolation)


class UpSampling3D(_UpSampling):
    """Volumes with every element repeated; arguments as for UpSampling2D, with three sizes."""

    rank = 3

    def __init__(self, size=(2, 2, 2), data_format=None, **kwargs):
        super().__init__(normalize_tuple(size, 3, "size"), data_format, **kwargs)


__all__ = [f"{kind}{rank}D" for kind in ("Cropping", "UpSampling", "ZeroPadding")
           for rank in (1, 2, 3)]
