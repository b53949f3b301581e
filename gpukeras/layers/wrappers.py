"""Layers around another layer."""
from .. import backend as K
from ..utils.generic_utils import has_arg
from .base import Layer
from .spec import InputSpec


class Wrapper(Layer):
    """Base: holds `layer`, and is trainable when that is."""

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError("Please initialize `" + type(self).__name__ + "` layer with a "
                             f"`Layer` instance. You passed: {layer!r}")
        self.layer = layer
        frozen = not layer.trainable
        super().__init__(**kwargs)
        if frozen and "trainable" not in kwargs:
            layer.trainable = False

    @property
    def trainable(self):
        return self.layer.trainable

    @trainable.setter
    def trainable(self, value):
        self.layer.trainable = value

    @property
    def activity_regularizer(self):
        return self.layer.activity_regularizer

    def get_config(self):
        inner = {"class_name": type(self.layer).__name__, "config": self.layer.get_config()}
        return {**super().get_config(), "layer": inner}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        from . import deserialize
        config = dict(config)
        layer = deserialize(config.pop("layer"), custom_objects=custom_objects)
        return cls(layer, **config)


class TimeDistributed(Wrapper):
    """The same layer applied to every time step.

    # Input shape
        `(batch, steps, ...)`, rank 3 or more.

    # Output shape
        `(batch, steps, ...)`, the rest as the layer gives it.

        model.add(TimeDistributed(Dense(8), input_shape=(10, 16)))       # (batch, 10, 8)
    """

    supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 3:
            raise ValueError(f"TimeDistributed needs a time axis: got shape {tuple(input_shape)}, "
                             f"expected rank 3 or more{self._place()}")
        self.input_spec = InputSpec(shape=(None, None, *input_shape[2:]))
        if not self.layer.built:
            self.layer.build((input_shape[0], *input_shape[2:]))
            self.layer.built = True
        super().build(input_shape)

    def compute_output_shape(self, input_shape):
        inner = self.layer.compute_output_shape((input_shape[0], *input_shape[2:]))
        return (inner[0], input_shape[1], *inner[1:])

    def call(self, inputs, training=None, mask=None):
        options = {}
        if has_arg(self.layer.call, "training"):
            options["training"] = training
        inner_mask = self._merged_mask(mask)
        if inner_mask is not None and has_arg(self.layer.call, "mask"):
            options["mask"] = inner_mask
        return self._split(self.layer.call(_merged(inputs), **options), inputs)

    def _merged_mask(self, mask):
        """Mask of single steps, if `mask` says more than which steps count."""
        return None if mask is None or K.ndim(mask) < 3 else _merged(mask)

    def _split(self, y, inputs):
        """`y` (batch * steps, ...) as (batch, steps, ...)."""
        steps = K.int_shape(inputs)[1]
        return K.reshape(y, (-1, K.shape(inputs)[1] if steps is None else steps, *_sizes(y, 1)))

    def compute_mask(self, inputs, mask=None):
        """What the layer makes of the single steps; if nothing, which steps count at all."""
        made = self.layer.compute_mask(_merged(inputs), self._merged_mask(mask))
        if made is not None:
            return self._split(made, inputs)
        while mask is not None and K.ndim(mask) > 2:
            mask = K.any(mask, axis=-1)
        return mask


def _merged(x):
    """`x` (batch, steps, ...) as (batch * steps, ...)."""
    return K.reshape(x, (-1, *_sizes(x, 2)))


def _sizes(x, first):
    """Sizes of `x` from axis `first` on, as tensors where they are unknown."""
    return [K.shape(x)[i] if size is None else size
            for i, size in enumerate(K.int_shape(x)) if i >= first]


def __getattr__(name):
    if name == "Bidirectional":                    # Keras has it in this module too
        from .bidirectional import Bidirectional
        return Bidirectional
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["TimeDistributed", "Wrapper"]
