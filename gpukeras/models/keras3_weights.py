"""The .keras file of Keras 3 and late tf.keras: a zip of config.json and model.weights.h5.

Only these members are read, into memory, by their exact names; nothing is unpacked to a folder. The
weights lie in groups that follow the attributes of Keras 3's objects: layers/dense_1/vars/0.
"""
import contextlib
import io
import json
import os
import re
import zipfile
import zlib

from .. import backend as K
from ..utils.io_utils import clear_errors
from .h5_layout import DEFLATE, looks_treacherous, stored_array
from .tf_config import optimizer_state

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
TEXT, MOST = 1 << 26, 1 << 36                      # bytes of a config, of weights
# what holds the weights of a layer, in the order of ours
_PARTS = {"Bidirectional": ("forward_layer", "backward_layer"), "TimeDistributed": ("layer",),
          "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense")}
_CELLS = ("LSTM", "GRU", "SimpleRNN", "ConvLSTM2D", "RNN")


def read_keras_file(source, build, custom_objects=None, compile=True, lenient=True):
    """The model of a .keras file; arguments as for `h5_reading.read_model`."""
    from .restoring import restore
    name = _name(source)
    with opened(source, name) as (config, file), clear_errors(name):
        if not isinstance(config, dict):
            raise ValueError(f"cannot read {name}: its config is no model")

        def state(model):
            arrays = _vars(file["optimizer"]) if "optimizer" in file else []
            names = ["iteration", "learning_rate"] if len(arrays) > 1 and (
                arrays[1].shape == ()) else ["iteration"] * len(arrays)
            count = len(model._collected_trainable_weights)
            return optimizer_state(model.optimizer, names, arrays, count) if arrays else None

        layers = (config.get("config") or {}).get("layers") or []
        return restore(config, build, custom_objects, _training(config.get("compile_config")),
                       lambda layers: assign(file, layers), state, lenient=lenient,
                       stored=_stored(file, layers),
                       compile=compile, version="3")


def _stored(file, entries):
    """Layer name -> [(shape, dtype)] of its own weights, by the layers of a config."""
    part, found = _layers_of(file), {}
    names = [type(entry["class_name"], (), {})() for entry in entries]
    for entry, (group, _) in zip(entries, _numbered(names)):
        group = part[group] if group in part else {}
        group = group["cell"] if "cell" in group else group
        data = [group["vars"][str(i)] for i in range(len(group["vars"]))] if "vars" in group else []
        found[entry["config"].get("name")] = [(d.shape, d.dtype.name) for d in data]
    return found


def _layers_of(group):
    return next((group[name] for name in ("layers", "_layer_checkpoint_dependencies")
                 if name in group), {})


def read_weights(source, layers):
    """Give the weights of a .keras file to layers."""
    name = _name(source)
    with opened(source, name) as (_, file), clear_errors(name):
        assign(file, layers)


def _name(source):
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the data"


def _training(config):
    """What `compile` was given, in Keras 2's words; None if it was not called."""
    if not config or not config.get("optimizer"):
        return None
    optimizer = config["optimizer"]
    if isinstance(optimizer, str):
        optimizer = {"class_name": optimizer, "config": {}}
    return {**config, "optimizer_config": optimizer, "loss": config.get("loss")}


@contextlib.contextmanager
def opened(source, name):
    """(config, open HDF5 file of the weights) of a .keras file.

    # Arguments
        source: path, or a file object.
        name: for messages.
    """
    import h5py
    try:
        with zipfile.ZipFile(source) as archive:
            config = json.loads(_member(archive, CONFIG, TEXT).decode("utf-8"))
            image = _member(archive, WEIGHTS, MOST)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError,
            UnicodeDecodeError, json.JSONDecodeError) as error:
        raise OSError(f"cannot read {name}: it is a broken .keras file ({error})") from None
    except KeyError as error:
        raise OSError(f"cannot read {name}: it is a zip file, but no .keras file of Keras 3 "
                      f"({error.args[0]})") from None
    if looks_treacherous(image):
        raise OSError(f"cannot read {name}: its weights are a broken HDF5 file")
    try:
        file = h5py.File(io.BytesIO(image), "r")
    except OSError as error:
        raise OSError(f"cannot read {name}: its weights are a broken HDF5 file ({error})") from None
    with file:
        yield config, file


def _member(archive, name, most):
    """The bytes of a member; what it claims is compared with the bytes that it has."""
    info = archive.getinfo(name)
    claimed, there = info.file_size, info.compress_size
    if claimed > most or claimed > there * DEFLATE + 1024:
        raise zipfile.BadZipFile(f"{name} claims {claimed:,} bytes from {there:,}")
    with archive.open(info) as file:
        data = file.read(claimed + 1)
    if len(data) != claimed:
        raise zipfile.BadZipFile(f"{name} has {len(data):,} bytes, expected {claimed:,}")
    return data


def has_weights(group):
    """Whether a group has weights in Keras 3's layout."""
    return "layers" in group and hasattr(group["layers"], "keys") or (
        "_layer_checkpoint_dependencies" in group)


def assign(group, layers):
    """Give stored weights to the layers of a model; all or none."""
    pairs = []
    for layer, arrays in _of_layers(group, layers):
        if getattr(layer, "is_missing", False):
            layer.take([(array.shape, array.dtype.name) for array in arrays])
        weights = layer.weights
        if len(arrays) != len(weights):
            raise ValueError(f"layer {layer.name} ({type(layer).__name__}) has {len(weights)} "
                             f"weights, the file has {len(arrays)} for it")
        for weight, array in zip(weights, arrays):
            if tuple(weight.shape) != array.shape:
                raise ValueError(f"weight {weight.name} of layer {layer.name} has the shape "
                                 f"{tuple(weight.shape)}, the file has {array.shape}")
            pairs.append((weight, array))
    K.batch_set_value(pairs)


def _of_layers(group, layers):
    """(layer, its arrays) of the layers of a model: their groups are numbered by class."""
    part = _layers_of(group)
    for name, layer in _numbered(layers):
        if hasattr(layer, "layers") and hasattr(layer, "run_internal_graph"):
            if name not in part and layer.weights:
                raise ValueError(f"the file has no weights for the model {layer.name} ({name})")
            if name in part:
                yield from _of_layers(part[name], layer.layers)
        elif name in part:
            yield layer, _arrays(layer, part[name])
        elif layer.weights:
            raise ValueError(f"the file has no weights for the layer {layer.name} ({name})")


def _numbered(objects):
    """(name of its group, object): the class, with a number from the second one on."""
    used = {}
    for item in objects:
        name = type(item).__name__
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", "Functional" if name == "Model" else name)
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        number = used[name] = used.get(name, -1) + 1
        yield f"{name}_{number}" if number else name, item


def _arrays(layer, group):
    """The arrays of one layer in the order of its weights."""
    name, found = type(layer).__name__, []
    if name in _PARTS:
        for part in _PARTS[name]:
            inner = next((group[n] for n in (part, f"_{part}") if n in group), None)
            if inner is None:
                raise ValueError(f"the file has no {part} for the layer {layer.name}")
            found += _arrays(getattr(layer, part), inner) if hasattr(layer, part) else _vars(inner)
        return found
    if name in _CELLS and "cell" in group:
        group = group["cell"]
        if "cells" in group:                       # of StackedRNNCells
            return [array for name, _ in _numbered(layer.cell.cells)
                    for array in _vars(group["cells"][name])]
    return _vars(group)


def _vars(group):
    """vars/0, vars/1 ... of a group."""
    if "vars" not in group:
        return []
    found, values = [], group["vars"]
    while str(len(found)) in values:
        found.append(stored_array(values, str(len(found))))
    return found

