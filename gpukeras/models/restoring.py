"""A model from what a file of any kind holds: config, weights, training."""
import contextlib
import warnings

from .. import losses, metrics, optimizers
from ..layers.missing import Missing, stand_ins
from . import keras3, tf_config
from .missing_shapes import told_shapes


def restore(config, build, custom_objects, training, assign, state, *, stored, version,
            compile=True, lenient=True):
    """The model of a config, with its weights, compiled.

    # Arguments
        config: {"class_name", "config"} of any dialect.
        build: function (config, custom_objects) -> model.
        custom_objects: dict name -> class or function.
        training: what `compile` was given, as stored; None if it was not compiled.
        assign: function (layers) that gives them their weights.
        state: function (model) -> arrays of the optimizer's state, or None.
        stored: layer name -> [(shape, dtype)] of the weights in the file, with a method `get`.
        version: of the Keras that saved it, None if the file does not say.
        compile: whether to compile it.
        lenient: whether something may stand in for layer classes that are not known.
    """
    if keras3.is_config(config):
        config = keras3.translate(config)
    config = tf_config.translate(config)
    if tf_config.is_of_tensorflow(version):
        tf_config.use_half_pixels(config)
    with stand_ins() if lenient else contextlib.nullcontext(Missing()) as missing:
        missing.shapes, missing.weights = told_shapes(config, stored), stored
        try:
            model = build(config, custom_objects)
            assign(model.layers)
        except ValueError as error:
            if not missing.found:
                raise
            raise ValueError(f"{error}\n  It may be because something is not known and could only "
                             f"be guessed: {missing}. {_give(missing)}") from error
    if compile:
        _compile(model, training, state, custom_objects or {}, missing)
    model.missing_objects = [*missing.found, *([missing.failed] if missing.failed else [])]
    if missing.found:
        warnings.warn(f"Not everything that the file names is known here, and something stands in "
                      f"its place: {missing}. Weights and graph are loaded. {_give(missing)}")
    return model


def _give(missing):
    names = ", ".join(dict.fromkeys(f"{name!r}: ..." for _, name in missing.found))
    return f"Give it: load_model(path, custom_objects={{{names}}})"


def _compile(model, config, state, custom_objects, missing):
    if config is None:
        warnings.warn("No training configuration found in save file: the model was *not* compiled. "
                      "Compile it manually.")
        return
    try:
        optimizer = tf_config.optimizer_config(config["optimizer_config"])
        optimizer = optimizers.deserialize(optimizer, custom_objects=custom_objects)
        if config.get("loss_scale"):
            optimizer = optimizers.LossScaleOptimizer.of_scale_config(optimizer,
                                                                      config["loss_scale"])
        model.compile(
            optimizer=optimizer,
            loss=_revive(config["loss"], losses, custom_objects),
            metrics=_known(_revive_metrics(config.get("metrics"), custom_objects), missing),
            weighted_metrics=_known(_revive_metrics(config.get("weighted_metrics"),
                                                    custom_objects), missing),
            sample_weight_mode=config.get("sample_weight_mode"),
            loss_weights=config.get("loss_weights"))
    except ValueError as error:
        if not str(error).startswith("Unknown"):
            raise
        # weights and graph are good without it: better a model to predict with than none
        missing.failed = _unknown(error)
        model.optimizer = None
        warnings.warn(f"The model was *not* compiled: {error} Give it in custom_objects, or "
                      "compile the model yourself.")
        return
    if not model.inputs:                           # saved before it was built: there is no state
        return
    model._make_train_function()                                     # makes the optimizer's state
    try:
        arrays = state(model)
        if arrays is not None:
            model.optimizer.set_weights(arrays)
    except ValueError as error:
        warnings.warn("Error in loading the saved optimizer state. As a result, your model is "
                      f"starting with a freshly initialized optimizer. ({error})")


def _unknown(error):
    """(kind, name) of what an error says is unknown."""
    kind, _, rest = str(error).removeprefix("Unknown ").partition(":")
    return kind, rest.split(". ")[0].strip()


def _revive_metrics(value, custom_objects):
    """As `_revive`, with an `_Unknown` for each metric that is not known."""
    value = tf_config.loss_or_metric(value)
    if isinstance(value, list):
        return [_revive_metrics(v, custom_objects) for v in value]
    if isinstance(value, dict) and set(value) != {"class_name", "config"}:
        return {key: _revive_metrics(v, custom_objects) for key, v in value.items()}
    try:
        found = _revive(value, metrics, custom_objects)
        if isinstance(found, str) and found not in ("accuracy", "acc", "crossentropy", "ce"):
            metrics.get(found)
        return found
    except ValueError as error:
        if not str(error).startswith("Unknown"):
            raise
        return _Unknown(*_unknown(error))


class _Unknown:
    """A metric that is not known."""

    def __init__(self, kind, name):
        self.kind, self.name = kind, name


def _known(value, missing):
    """Metrics without those that are not known, which `missing` lists."""
    if isinstance(value, list):
        return [_known(v, missing) for v in value if not _note(v, missing)]
    if isinstance(value, dict):
        return {key: _known(v, missing) for key, v in value.items() if not _note(v, missing)}
    return value


def _note(value, missing):
    if isinstance(value, _Unknown):
        missing.note(value.kind, value.name)
    return isinstance(value, _Unknown)


def _revive(value, module, custom_objects):
    """Custom objects in the place of their names, objects in the place of their configs."""
    value = tf_config.loss_or_metric(value)
    if isinstance(value, list):
        return [_revive(v, module, custom_objects) for v in value]
    if isinstance(value, dict):
        if set(value) == {"class_name", "config"}:
            return module.deserialize(value, custom_objects)
        return {key: _revive(v, module, custom_objects) for key, v in value.items()}
    return custom_objects.get(value, value)
