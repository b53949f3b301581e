"""Keras 1 argument names, accepted with a warning that shows the call in Keras 2 form.

`RULES` says for each class or method which arguments may be given by position, which old names mean
what, and what must be prepared before. Conversions of values go by the old name.
"""
import functools
import warnings
from typing import Callable, NamedTuple

_OURS = __name__.partition(".")[0] + "."
_VALUES = {"dim_ordering": {"tf": "channels_last", "th": "channels_first", "default": None},
           "consume_less": {"cpu": 0, "mem": 1, "gpu": 2}}


class Rule(NamedTuple):
    """positional: names that may be given by position, None for all; renames: old -> new name;
    prepare: function of (args, kwargs) that changes both and returns the new names it made."""

    positional: tuple
    renames: dict
    prepare: Callable = None


def accepting(name, rule, constructor=False):
    """Decorator of a method (or an `__init__`): the old names of `rule` are understood too.

    # Raises
        TypeError: for too many positional arguments, or a name given in both its forms.
    """
    def decorate(function):
        @functools.wraps(function)
        def call(self, *args, **kwargs):
            # What one of our constructors hands to that of its base is in the new form already.
            if not constructor or _our_class(self) == name:
                args, kwargs = _converted(name, rule, list(args), kwargs)
            return function(self, *args, **kwargs)
        return call
    return decorate


def _our_class(layer):
    """Name of the first class of `layer`, from its own on, that is not the user's."""
    return next(cls.__name__ for cls in type(layer).__mro__ if cls.__module__.startswith(_OURS))


def _converted(name, rule, args, kwargs):
    made = list(rule.prepare(args, kwargs)) if rule.prepare else []
    if rule.positional is not None and len(args) > len(rule.positional):
        raise TypeError(f"`{name}` can accept only {len(rule.positional)} positional arguments "
                        f"{rule.positional}, but you passed the following positional arguments: "
                        f"{args}")
    for old, new in rule.renames.items():
        if old not in kwargs:
            continue
        if new in kwargs:
            raise TypeError(f"For the `{new}` argument, the layer received both the legacy keyword "
                            f"argument `{old}` and the Keras 2 keyword argument `{new}`. Stick to "
                            "the latter!")
        value = kwargs.pop(old)
        kwargs[new] = _VALUES.get(old, {}).get(value, value) if isinstance(value, str) else value
        made.append(new)
    if made:
        shown = [_short(a) for a in args] + [f"{k}={_short(v)}" for k, v in kwargs.items()]
        warnings.warn(f"Update your `{name}` call to the Keras 2 API: `{name}({', '.join(shown)})`",
                      stacklevel=3)
    return args, kwargs


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else f"<{type(value).__name__}>"


# ---------------------------------------------------------------- preparations

def _window(*names):
    """Sizes given one by one, by position after the filters or by these names, as kernel_size."""
    def prepare(args, kwargs):
        sizes = args[1:]
        several = len(sizes) > 1 and all(isinstance(size, int) for size in sizes[:len(names)])
        if several and any(key in kwargs for key in ("padding", "strides", "data_format")):
            raise ValueError("It seems that you are passing both `kernel_size` and `strides` as "
                             "integer positional arguments. For safety reasons, this is "
                             "disallowed. Pass `strides` as a keyword argument instead.")
        if several and len(sizes) >= len(names):
            args[1:len(names) + 1] = [tuple(sizes[:len(names)])]
            return ["kernel_size"]
        # the first sizes may come by position, the others by name
        named = [name for name in names[len(sizes):] if name in kwargs]
        if named and len(sizes) + len(named) == len(names):
            kwargs["kernel_size"] = (*sizes, *(kwargs.pop(name) for name in named))
            del args[1:]
            return ["kernel_size"]
        return []
    return prepare


def _transposed_window(args, kwargs):
    """As `_window`, and the output_shape that Keras 1 asked for is dropped."""
    made = []
    if len(args) > 3 and isinstance(args[3], tuple):
        del args[3]
        made.append("output_shape")
    if "output_shape" in kwargs:
        del kwargs["output_shape"]
        made.append("output_shape")
    return made + _window("nb_row", "nb_col")(args, kwargs)


def _separable(args, kwargs):
    made = _window("nb_row", "nb_col")(args, kwargs)
    if "init" in kwargs:
        kwargs["depthwise_initializer"] = kwargs["pointwise_initializer"] = kwargs.pop("init")
        made.append("depthwise_initializer")
    return made


def _sequence_shape(args, kwargs):
    """input_dim and input_length as input_shape."""
    if "input_dim" not in kwargs:
        return []
    length = kwargs.pop("input_length", None) or None
    kwargs["input_shape"] = (length, kwargs.pop("input_dim"))
    return ["input_shape"]


def _recurrent(args, kwargs):
    made = _sequence_shape(args, kwargs)
    if "forget_bias_init" in kwargs:
        if kwargs.pop("forget_bias_init") == "one":
            kwargs["unit_forget_bias"] = True
            made.append("unit_forget_bias")
        else:
            warnings.warn("The `forget_bias_init` argument has been ignored. Use "
                          "`unit_forget_bias=True` instead to initialize with ones.", stacklevel=5)
    return made


def _convolutional_recurrent(args, kwargs):
    return _window("nb_row", "nb_col")(args, kwargs) + _recurrent(args, kwargs)


def _batch_norm(args, kwargs):
    if "mode" not in kwargs:
        return []
    if kwargs.pop("mode") != 0:
        raise TypeError("The `mode` argument of `BatchNormalization` no longer exists. `mode=1` "
                        "and `mode=2` are no longer supported.")
    return ["mode"]


def _embedding(args, kwargs):
    if "dropout" in kwargs:
        del kwargs["dropout"]
        warnings.warn("The `dropout` argument is no longer support in `Embedding`. You can apply a "
                      "`keras.layers.SpatialDropout1D` layer right after the `Embedding` layer to "
                      "get the same behavior.", stacklevel=5)
    return []


def _padding_dict(args, kwargs):
    padding = kwargs.get("padding")
    names = ("top_pad", "bottom_pad", "left_pad", "right_pad")
    if not isinstance(padding, dict) or not set(padding) <= set(names):
        return []
    top, bottom, left, right = (padding.get(name, 0) for name in names)
    kwargs["padding"] = ((top, bottom), (left, right))
    return ["padding"]


_KERAS_1_COUNTS = {"samples_per_epoch", "val_samples", "nb_epoch", "nb_val_samples", "nb_worker"}


def _steps(args, kwargs):
    """samples_per_epoch, which counted samples, as a number of batches."""
    if _KERAS_1_COUNTS.intersection(kwargs):
        warnings.warn("The semantics of the Keras 2 argument `steps_per_epoch` is not the same as "
                      "the Keras 1 argument `samples_per_epoch`. `steps_per_epoch` is the number "
                      "of batches to draw from the generator at each epoch. Basically "
                      "steps_per_epoch = samples_per_epoch/batch_size. Similarly "
                      "`nb_val_samples`->`validation_steps` and `val_samples`->`steps` arguments "
                      "have changed. Update your method calls accordingly.", stacklevel=4)
    if "samples_per_epoch" not in kwargs or len(args) >= 2:
        return []
    generator = args[0] if args else kwargs.get("generator")
    samples = kwargs.pop("samples_per_epoch")
    size = getattr(generator, "batch_size", None)
    kwargs["steps_per_epoch"] = samples // size if size else samples
    return ["steps_per_epoch"]


# ---------------------------------------------------------------- the rules

_BIAS = {"b_regularizer": "bias_regularizer", "b_constraint": "bias_constraint",
         "bias": "use_bias"}
_KERNEL = {**_BIAS, "init": "kernel_initializer", "W_regularizer": "kernel_regularizer",
           "W_constraint": "kernel_constraint"}
_FORMAT = {"dim_ordering": "data_format"}
_IMAGE = {"nb_filter": "filters", "subsample": "strides", "border_mode": "padding", **_FORMAT}
_SEQUENCE = {"nb_filter": "filters", "filter_length": "kernel_size",
             "subsample_length": "strides", "border_mode": "padding"}
_RECURRENT = {"init": "kernel_initializer", "inner_init": "recurrent_initializer",
              "inner_activation": "recurrent_activation", "W_regularizer": "kernel_regularizer",
              "b_regularizer": "bias_regularizer", "U_regularizer": "recurrent_regularizer",
              "dropout_W": "dropout", "dropout_U": "recurrent_dropout"}
_GENERATOR = {"samples_per_epoch": "steps_per_epoch", "val_samples": "steps", "nb_epoch": "epochs",
              "nb_val_samples": "validation_steps", "nb_worker": "workers",
              "pickle_safe": "use_multiprocessing", "max_q_size": "max_queue_size"}

_CONV = ("filters", "kernel_size")
_conv1d = Rule(_CONV, {**_SEQUENCE, **_KERNEL}, _sequence_shape)
_conv2d = Rule(_CONV, {**_IMAGE, **_KERNEL}, _window("nb_row", "nb_col"))
_recurrent_layer = Rule(("units",), {"output_dim": "units", **_RECURRENT,
                                     "consume_less": "implementation"}, _recurrent)
_pool_arguments = ("pool_size", "strides", "padding")
_pooling1d = Rule(_pool_arguments, {"pool_length": "pool_size", "stride": "strides",
                                    "border_mode": "padding"})
_pooling = Rule(_pool_arguments, {"border_mode": "padding", **_FORMAT})
_generator = Rule(None, _GENERATOR, _steps)         # Keras 2.3.1 takes three by position


def _only(name, prepare=None, **renames):
    """One positional argument and these renames."""
    return Rule((name,), renames, prepare)


RULES = {
    "InputLayer": Rule(None, {"input_dtype": "dtype"}),
    "Dense": Rule(("units",), {"output_dim": "units", **_KERNEL}),
    "Dropout": Rule(("rate", "noise_shape", "seed"), {"p": "rate"}),
    "Lambda": Rule(("function", "output_shape"), {}),
    "Embedding": Rule(("input_dim", "output_dim"), {
        "init": "embeddings_initializer", "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint"}, _embedding),
    "PReLU": _only("alpha_initializer", init="alpha_initializer"),
    "GaussianNoise": _only("stddev", sigma="stddev"),
    "GaussianDropout": _only("rate", p="rate"),
    "SpatialDropout1D": _only("rate", p="rate"),
    "SpatialDropout2D": _only("rate", p="rate", **_FORMAT),
    "SpatialDropout3D": _only("rate", p="rate", **_FORMAT),
    "BatchNormalization": Rule((), {"beta_init": "beta_initializer",
                                    "gamma_init": "gamma_initializer"}, _batch_norm),
    "Conv1D": _conv1d, "LocallyConnected1D": _conv1d,
    "Conv2D": _conv2d, "LocallyConnected2D": _conv2d,
    "Conv2DTranspose": Rule(_CONV, {**_IMAGE, **_KERNEL}, _transposed_window),
    "SeparableConv2D": Rule(_CONV, {**_IMAGE, **_BIAS}, _separable),
    "Conv3D": Rule(_CONV, {**_IMAGE, **_KERNEL},
                   _window("kernel_dim1", "kernel_dim2", "kernel_dim3")),
    "ConvLSTM2D": Rule(_CONV, {**_IMAGE, **_RECURRENT, "bias": "use_bias"},
                       _convolutional_recurrent),
    "SimpleRNN": _recurrent_layer, "GRU": _recurrent_layer, "LSTM": _recurrent_layer,
    "MaxPooling1D": _pooling1d, "AveragePooling1D": _pooling1d,
    "MaxPooling2D": _pooling, "AveragePooling2D": _pooling,
    "MaxPooling3D": _pooling, "AveragePooling3D": _pooling,
    **{f"Global{kind}Pooling{rank}D": Rule(None, _FORMAT)
       for kind in ("Max", "Average") for rank in (2, 3)},
    "UpSampling1D": _only("size", length="size"),
    "UpSampling2D": _only("size", **_FORMAT), "UpSampling3D": _only("size", **_FORMAT),
    "Cropping2D": _only("cropping", **_FORMAT), "Cropping3D": _only("cropping", **_FORMAT),
    "ZeroPadding2D": _only("padding", _padding_dict, **_FORMAT),
    "ZeroPadding3D": _only("padding", **_FORMAT),
    "fit_generator": _generator, "evaluate_generator": _generator,
    "predict_generator": _generator,
}


def understand_old_names(classes):
    """Let the constructors of these classes take the old names of `RULES`."""
    for cls in classes:
        if cls.__name__ in RULES:
            cls.__init__ = accepting(cls.__name__, RULES[cls.__name__], True)(cls.__init__)


def old_names(method):
    """Decorator of a method with a rule of its own name."""
    return accepting(method.__name__, RULES[method.__name__])(method)
