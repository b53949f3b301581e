"""Dense layers, activations, dropout, and layers that only rearrange."""
import builtins
import types

import numpy as np

from .. import regularizers
from .. import backend as K
from ..utils.generic_utils import (deserialize_keras_object, func_dump, func_load,
                                   get_custom_objects, has_arg, is_dumped_here)
from . import missing
from .base import Layer
from .spec import InputSpec


class Dense(Layer):
    """y = activation(x @ kernel + bias), over the last axis.

    # Arguments
        units: size of the output's last axis.
        activation: name or function; None for none.
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer: first values of the weights.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties on weights and output.
        kernel_constraint, bias_constraint: applied to the weights after each update.

    # Input shape
        `(batch, ..., in)`, rank 2 or more.

    # Output shape
        `(batch, ..., units)`
    """

    supports_masking = True

    def __init__(self, units, activation=None, use_bias=True,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        if "input_shape" not in kwargs and "input_dim" in kwargs:
            kwargs["input_shape"] = (kwargs.pop("input_dim"),)
        super().__init__(**kwargs)
        self.keep(units=int(units), activation=activation, use_bias=use_bias,
                  kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
                  kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
                  activity_regularizer=activity_regularizer,
                  kernel_constraint=kernel_constraint, bias_constraint=bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units))
        self.bias = self.add_weight("bias", (self.units,)) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        super().build(input_shape)

    def call(self, inputs):
        y = K.dot(inputs, self.kernel)
        if self.bias is not None:
            y = K.bias_add(y, self.bias, "channels_last")
        return self.activation(y)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)


class Activation(Layer):
    """y = activation(x), elementwise or over the last axis.

    activation: name of a function of `activations`, or a function.
    """

    supports_masking = True

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.keep(activation=activation)

    def call(self, inputs):
        return self.activation(inputs)


class Dropout(Layer):
    """In training, sets a random share `rate` of the inputs to 0 and divides the rest by 1 - rate.

    # Arguments
        rate: between 0 and 1, share of the inputs to drop.
        noise_shape: shape of the random mask, 1 where one decision holds for a whole axis:
            `(batch, 1, features)` drops the same features in all time steps. None in it: the
            input's size.
        seed: integer, for a mask that can be repeated.

    Srivastava, Hinton et al. 2014, Dropout.
    """

    supports_masking = True

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(rate=min(1.0, max(0.0, rate)), noise_shape=noise_shape, seed=seed)

    def _get_noise_shape(self, inputs):
        """Shape of the mask: None for that of `inputs`, also for one of its sizes."""
        return self.noise_shape

    def call(self, inputs, training=None):
        if not 0.0 < self.rate < 1.0:
            return inputs
        return K.in_train_phase(
            lambda: K.dropout(inputs, self.rate, self._get_noise_shape(inputs), seed=self.seed),
            inputs, training=training)


class _SpatialDropout(Dropout):
    """Dropout of whole channels (feature maps). Tompson et al. 2014, arXiv:1411.4280."""

    rank = None                                    # number of spatial axes
    data_format = "channels_last"

    def __init__(self, rate, **kwargs):
        super().__init__(rate, **kwargs)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _get_noise_shape(self, inputs):
        ones = (1,) * self.rank
        return (None, None, *ones) if self.data_format == "channels_first" else (None, *ones, None)


class SpatialDropout1D(_SpatialDropout):
    """Dropout of whole features of a sequence (batch, steps, features).  rate: share to drop."""

    rank = 1

    def __init__(self, rate, **kwargs):
        super().__init__(rate, **kwargs)


class SpatialDropout2D(_SpatialDropout):
    """Dropout of whole channels of images, rank 4.  rate: the share; data_format as for Conv2D."""

    rank = 2

    def __init__(self, rate, data_format=None, **kwargs):
        super().__init__(rate, **kwargs)
        self.data_format = K.normalize_data_format(data_format)


class SpatialDropout3D(_SpatialDropout):
    """Dropout of whole channels of volumes, rank 5.  rate: the share; data_format as for Conv3D."""

    rank = 3

    def __init__(self, rate, data_format=None, **kwargs):
        super().__init__(rate, **kwargs)
        self.data_format = K.normalize_data_format(data_format)


class Flatten(Layer):
    """(batch, a, b, ...) -> (batch, a * b * ...)

    data_format: `channels_first` moves the channels behind the other axes first, so that the order
    is the same as for `channels_last`.
    """

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(data_format=K.normalize_data_format(data_format))
        self.input_spec = InputSpec(min_ndim=3)

    def call(self, inputs):
        if self.data_format == "channels_first":
            inputs = K.permute_dimensions(inputs, (0, *range(2, K.ndim(inputs)), 1))
        return K.batch_flatten(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape[0], _product(input_shape[1:])


class Reshape(Layer):
    """(batch, *shape) -> (batch, *target_shape), in row-major order.

    target_shape: tuple without batch axis; one size may be -1: whatever is left.
    """

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        self.keep(target_shape=tuple(target_shape))

    def compute_output_shape(self, input_shape):
        shape, total = self.target_shape, _product(input_shape[1:])
        if total is None:
            return (input_shape[0], *(None if size == -1 else size for size in shape))
        known = _product(size for size in shape if size != -1)
        rest, left = divmod(total, known) if known else (0, total)
        free = shape.count(-1)
        if free > 1 or left or (not free and rest != 1 and total != known):
            raise ValueError("total size of new array must be unchanged: got "
                             f"{tuple(input_shape[1:])} of "
                             f"{total} elements, expected {known} for target_shape={shape}")
        return (input_shape[0], *(rest if size == -1 else size for size in shape))

    def call(self, inputs):
        try:
            shape = self.compute_output_shape(K.int_shape(inputs))[1:]
        except ValueError as error:
            raise ValueError(f"{error}{self._place()}") from None
        if None in shape:
            shape = self.target_shape
        return K.reshape(inputs, (K.shape(inputs)[0] if -1 in shape else -1, *shape))


class Permute(Layer):
    """Reorder the axes.

    dims: tuple of axes counted from 1 without the batch axis: (2, 1) swaps the two axes of a rank
        3 input.
    """

    def __init__(self, dims, **kwargs):
        super().__init__(**kwargs)
        self.keep(dims=tuple(dims))
        if sorted(dims) != list(range(1, len(dims) + 1)):
            raise ValueError(f"Invalid permutation `dims` for Permute Layer: {tuple(dims)}, "
                             "expected each of 1 to "
                             f"{len(dims)} once (the batch axis is not counted).")
        self.input_spec = InputSpec(ndim=len(dims) + 1)

    def call(self, inputs):
        return K.permute_dimensions(inputs, (0, *self.dims))


class RepeatVector(Layer):
    """(batch, features) -> (batch, n, features)"""

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        self.keep(n=n)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs):
        return K.repeat(inputs, self.n)


class Lambda(Layer):
    """y = function(x), for a function written with K.

    # Arguments
        function: takes the input, and `mask` if it has such an argument.
        output_shape: not needed, as shapes are inferred; kept for Keras's sake. A tuple without
            batch axis or a function of the input's shape.
        mask: mask of the output: a tensor, or a function (inputs, mask) -> tensor.
        arguments: dict of further keyword arguments of `function`.
    """

    def __init__(self, function, output_shape=None, mask=None, arguments=None, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.arguments = arguments or {}
        if mask is not None:
            self.supports_masking = True
        self.mask = mask
        if output_shape is not None and not callable(output_shape) \
                and not isinstance(output_shape, (tuple, list)):
            raise TypeError("In Lambda, `output_shape` must be a list, a tuple, or a function, got "
                            f"{output_shape!r}.")
        self._output_shape = output_shape

    def compute_output_shape(self, input_shape):
        if self._output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return self._output_shape(input_shape)
        several = isinstance(input_shape, list)
        return ((input_shape[0] if several else input_shape)[0], *self._output_shape)

    def call(self, inputs, mask=None):
        arguments = dict(self.arguments)
        if has_arg(self.function, "mask"):
            arguments["mask"] = mask
        y = self.function(inputs, **arguments)
        return y if not isinstance(y, tuple) else list(y)

    def compute_mask(self, inputs, mask=None):
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self):
        config = super().get_config()
        for key, value in (("function", self.function), ("output_shape", self._output_shape)):
            if isinstance(value, types.LambdaType):
                config[key], config[f"{key}_type"] = func_dump(value), "lambda"
            elif hasattr(value, "dumped"):         # came as bytecode, goes as bytecode
                config[key], config[f"{key}_type"] = value.dumped, "lambda"
            elif callable(value):
                config[key], config[f"{key}_type"] = value.__name__, "function"
            else:
                config[key], config[f"{key}_type"] = value, "raw"
        config["arguments"] = {key: {"type": "ndarray", "value": value.tolist()}
                               if isinstance(value, np.ndarray) else value
                               for key, value in self.arguments.items()}
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        stored, config = config, dict(config)
        known = {**get_custom_objects(), **(custom_objects or {})}
        given = known.get(config.get("name"))
        if callable(given):                        # the file's own code is never needed then
            config.update(function=given, function_type="raw")
        for key, default in (("function", "function"), ("output_shape", "raw")):
            kind, value = config.pop(f"{key}_type", default), config.get(key)
            config.pop(f"{key}_module", None)
            try:
                if kind == "lambda" or isinstance(value, dict):
                    config[key] = _from_bytecode(key, value, known, config.get("name"))
                elif kind == "function":
                    config[key] = deserialize_keras_object(
                        value, custom_objects=custom_objects,
                        printable_module_name=f"{key} in Lambda layer")
            except (ValueError, ImportError) as error:
                if missing.current() is None:
                    raise
                return _without_function(stored, error)
        config.pop("module", None)
        arguments = config["arguments"] = dict(config.get("arguments") or {})
        for key, value in arguments.items():
            if isinstance(value, dict) and value.get("type") == "ndarray":
                arguments[key] = np.array(value["value"])
        return cls(**config)


def _without_function(config, why):
    """In the place of a Lambda layer whose function is not known."""
    kind = type("Lambda", (missing.MissingLayer,), {})
    text = str(why)
    if "custom_objects" not in text:
        text += f" Try: custom_objects={{{config.get('name')!r}: function}}"
    return kind.from_config(config, text)


def _from_bytecode(key, dumped, known, name):
    """The function that a file holds as bytecode; see `bytecode`.

    A shape that cannot be told is None: it is inferred.
    """
    from .bytecode import DecodedFunction
    if isinstance(dumped, (list, tuple)) and dumped and is_dumped_here(dumped[0]):
        return func_load(dumped, globs=known)
    try:
        return DecodedFunction(dumped, known)
    except (ValueError, ImportError) as error:
        if key == "output_shape":
            return None
        given = f"custom_objects={{{name!r}: function}}"
        name_of = getattr(error.__cause__, "name", None)
        if name_of and name_of.isidentifier() and not hasattr(builtins, name_of):
            given += f", or custom_objects={{{name_of!r}: what it is}}"
        raise type(error)(f"Bytecode is never run, and the function of the Lambda layer {name!r} "
                          f"cannot be used without: {error}\nTry: {given}") from None


class ActivityRegularization(Layer):
    """y = x; adds l1 * sum(abs(x)) + l2 * sum(x ** 2) to the loss."""

    supports_masking = True

    def __init__(self, l1=0.0, l2=0.0, **kwargs):
        super().__init__(**kwargs)
        self.keep(l1=l1, l2=l2)
        self.activity_regularizer = regularizers.L1L2(l1=l1, l2=l2)


class Masking(Layer):
    """Mark the time steps whose features all equal `mask_value`, so that later layers skip them.

    # Input shape
        `(batch, steps, features)`; the marked steps are also set to 0.
    """

    supports_masking = True

    def __init__(self, mask_value=0.0, **kwargs):
        super().__init__(**kwargs)
        self.keep(mask_value=mask_value)

    def compute_mask(self, inputs, mask=None):
        return K.any(K.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs):
        kept = K.any(K.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return inputs * K.cast(kept, K.dtype(inputs))


def _product(sizes):
    """Product of sizes, None if one is unknown."""
    sizes = list(sizes)
    return None if None in sizes else int(np.prod(sizes, dtype=np.int64))


__all__ = ["Activation", "ActivityRegularization", "Dense", "Dropout", "Flatten", "Lambda",
           "Masking", "Permute", "RepeatVector", "Reshape", "SpatialDropout1D", "SpatialDropout2D",
           "SpatialDropout3D"]
