"""Models and weights from an open HDF5 group."""
import contextlib
import json
import warnings

from .. import backend as K
from .. import losses, metrics, optimizers
from ..layers.missing import Missing, stand_ins
from . import tf_config
from .h5_convert import convert_weights
from .h5_layout import has_names, read_arrays, read_names, read_text
from .missing_shapes import Stored, told_shapes


def read_model(group, build, custom_objects=None, compile=True, lenient=True):
    """The model in a group.

    # Arguments
        build: function (config, custom_objects) -> model.
        custom_objects: dict name -> class or function.
        compile: whether to compile it as it was when it was saved.
        lenient: whether something may stand in for layer classes that are not known.
    """
    config = _json(group, "model_config")
    if config is None:
        raise ValueError("No model found in config. " + _what_is_there(group))
    config, weights = tf_config.translate(config), weights_group(group)
    with stand_ins() if lenient else contextlib.nullcontext(Missing()) as missing:
        missing.shapes, missing.weights = told_shapes(config, weights), Stored(weights)
        try:
            model = build(config, custom_objects)
            assign_by_order(weights, model.layers)
        except ValueError as error:
            if not missing.found:
                raise
            raise ValueError(f"{error}\n  It may be because something is not known and could only "
                             f"be guessed: {missing}. {_give(missing)}") from error
    if compile:
        _compile(model, group, custom_objects or {}, missing)
    model.missing_objects = [*missing.found, *([missing.failed] if missing.failed else [])]
    if missing.found:
        warnings.warn(f"Not everything that the file names is known here, and something stands in "
                      f"its place: {missing}. Weights and graph are loaded. {_give(missing)}")
    return model


def _give(missing):
    names = ", ".join(dict.fromkeys(f"{name!r}: ..." for _, name in missing.found))
    return f"Give it: load_model(path, custom_objects={{{names}}})"


def _json(group, name):
    """The value of an attribute that holds JSON; None if it is not there."""
    text = read_text(group, name)
    try:
        return None if text is None else json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken file: the attribute {name!r} is damaged JSON ({error})") from None


def weights_group(group):
    """The group with the weights of a file of either kind."""
    if not has_names(group, "layer_names") and "model_weights" in group:
        group = group["model_weights"]
    if not has_names(group, "layer_names"):
        raise ValueError("No weights found: " + _what_is_there(group))
    return group


def _what_is_there(group):
    if has_names(group, "layer_names"):
        return ("The file holds weights but no model (it was written by save_weights). "
                "Try: make the model by its own code, then model.load_weights(path)")
    names = ", ".join([*group.attrs, *group][:10]) or "nothing"
    return f"The file was not written by Keras: it holds {names}."


# ---------------------------------------------------------------- weights

def assign_by_order(group, layers, reshape=False):
    """Give the arrays of a group to the layers that have weights, in order; all or none."""
    source = [(name, read_arrays(group[name])) for name in _layer_names(group)]
    source = [(name, arrays) for name, arrays in source if arrays]
    _make_missing(dict(source), layers)
    target = [layer for layer in layers if layer.weights]
    if len(source) != len(target):
        raise ValueError(_count_differs(source, target, layers))
    pairs = []
    for k, ((name, arrays), layer) in enumerate(zip(source, target)):
        arrays = _convert(group, layer, arrays, reshape)
        weights = layer.weights
        if len(arrays) != len(weights):
            raise ValueError(f'Layer #{k} (named "{layer.name}" in the current model) was found to '
                             f"correspond to layer {name} in the save file. However the new layer "
                             f"{layer.name} expects {len(weights)} weights, but the saved weights "
                             f"have {len(arrays)} elements.")
        for weight, array in zip(weights, arrays):
            _check_shape(k, layer, weight, array)
            pairs.append((weight, array))
    K.batch_set_value(pairs)


def _make_missing(stored, layers):
    """Make the weights of layers that stand in for unknown ones, as the file has them."""
    for layer in layers:
        if getattr(layer, "is_missing", False) and layer.name in stored:
            layer.take([(array.shape, array.dtype.name) for array in stored[layer.name]])


def assign_by_name(group, layers, skip_mismatch=False, reshape=False):
    """Give the arrays of a group to the layers of the same names; other layers are left alone."""
    pairs = []
    for k, name in enumerate(_layer_names(group)):
        _make_missing({name: read_arrays(group[name])}, layers)
        for layer in (layer for layer in layers if layer.name == name):
            arrays = _convert(group, layer, read_arrays(group[name]), reshape)
            weights = layer.weights
            if len(arrays) != len(weights):
                text = (f'Layer #{k} (named "{layer.name}") expects {len(weights)} weight(s), but '
                        f"the saved weights have {len(arrays)} element(s).")
                if not skip_mismatch:
                    raise ValueError(text)
                warnings.warn("Skipping loading of weights: " + text)
                continue
            for weight, array in zip(weights, arrays):
                if skip_mismatch and tuple(weight.shape) != array.shape:
                    warnings.warn(f"Skipping loading of weights for layer {layer.name} due to "
                                  f"mismatch in shape ({tuple(weight.shape)} vs {array.shape}).")
                    continue
                _check_shape(k, layer, weight, array)
                pairs.append((weight, array))
    K.batch_set_value(pairs)


def _layer_names(group):
    names = read_names(group, "layer_names")
    missing = [name for name in names if name not in group]
    if missing:
        raise ValueError(f"broken file: it lists the layer {missing[0]!r}, which is not there")
    return names


def _convert(group, layer, arrays, reshape):
    return convert_weights(layer, arrays, read_text(group, "keras_version", "1"),
                           read_text(group, "backend"), reshape)


def _check_shape(k, layer, weight, array):
    if tuple(weight.shape) != array.shape:
        raise ValueError(f'Layer #{k} (named "{layer.name}"), weight {weight.name} has shape '
                         f"{tuple(weight.shape)}, but the saved weight has shape {array.shape}.")


def _count_differs(source, target, layers):
    text = (f"You are trying to load a weight file containing {len(source)} layers into a model "
            f"with {len(target)} layers.")
    if not target and layers:
        return text + " The model has no weights yet. Try: model.build(input_shape)"
    pairs = zip([name for name, _ in source], [layer.name for layer in target])
    k = next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(source), len(target)))
    saved = source[k][0] if k < len(source) else "nothing"
    here = target[k].name if k < len(target) else "nothing"
    return f"{text} First difference: layer #{k} is {saved} in the file and {here} in the model."


# ---------------------------------------------------------------- compiling

def _compile(model, group, custom_objects, missing):
    config = _json(group, "training_config")
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
    if "optimizer_weights" not in group:
        return
    model._make_train_function()                                     # makes the optimizer's state
    state = group["optimizer_weights"]
    try:
        model.optimizer.set_weights(tf_config.optimizer_state(
            model.optimizer, read_names(state, "weight_names"), read_arrays(state)))
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
