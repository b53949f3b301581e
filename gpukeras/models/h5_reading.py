"""Models and weights from an open HDF5 group."""
import json
import warnings

from .. import backend as K
from . import tf_config
from .h5_convert import convert_weights
from .h5_layout import has_names, read_arrays, read_names, read_text
from .h5_old_state import is_old, old_state
from .missing_shapes import Stored
from .restoring import restore


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
    weights = weights_group(group)
    version = read_text(group, "keras_version") or read_text(weights, "keras_version", "1")

    def state(model):
        if "optimizer_weights" not in group:
            return None
        stored = group["optimizer_weights"]
        names, arrays = read_names(stored, "weight_names"), read_arrays(stored)
        if is_old(version):
            arrays = old_state(model, names, arrays, weights, version, lambda layer, values:
                               _convert(weights, layer, values, False))
        return tf_config.optimizer_state(model.optimizer, names, arrays,
                                         len(model._collected_trainable_weights))

    return restore(config, build, custom_objects, compile and _json(group, "training_config"),
                   lambda layers: assign_by_order(weights, layers), state,
                   lenient=lenient, stored=Stored(weights), compile=compile,
                   version=version)


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
    version = read_text(group, "keras_version", "1")
    backend = read_text(group, "backend") or (_backend_of_keras1(group) if version.startswith("1")
                                              else None)
    return convert_weights(layer, arrays, version, backend, reshape)


def _backend_of_keras1(group):
    """Keras 1 does not say: TensorFlow's names of weights end in :0, Theano's do not."""
    for layer in _layer_names(group):
        for name in read_names(group[layer], "weight_names"):
            if not name.startswith("param_"):
                return "tensorflow" if name.endswith(":0") else "theano"
    return None


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
