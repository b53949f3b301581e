"""What is in a model file, and will it work?  The commands of `python -m gpukeras`."""
import json
import os
import platform
import warnings
from importlib import metadata

import numpy as np


def doctor(path):
    """Print what a file holds, who saved it, what is converted, whether it loads and predicts."""
    from ..models import keras3_weights, saving
    if saving._is_keras_file(path):
        with keras3_weights.opened(path, str(path)) as (config, file):
            facts = _facts_of_keras3(config, file)
    else:
        with saving._reading(path) as file:
            facts = (_weights_of_keras3(file) if keras3_weights.has_weights(file)
                     else _facts(file))
    print(f"{path}: {os.path.getsize(path):,} bytes")
    for key, value in facts.items():
        print(f"  {key:14} {value}")
    if facts["kind"] == "weights":
        print("  to use it:     make the model by its own code, then model.load_weights(path)")
        return 0
    model, told = _load(path)
    for text in told:
        print(f"  note:          {text}")
    if model is None:
        return 1
    for kind, name in model.missing_objects:
        print(f"  missing:       {kind} {name}")
    for layer in model.layers:
        if hasattr(getattr(layer, "function", None), "dumped"):
            print(f"  decoded:       {layer.name}: {layer.function}")
    print(f"  loads:         yes, {type(model).__name__} with {len(model.layers)} layers and "
          f"{model.count_params():,} weights")
    return _try_prediction(model)


def _weights_of_keras3(file):
    return {"kind": "weights", "saved by": "Keras 3 or tf.keras from 2.12 on",
            "layers": _some(file["layers"]) if "layers" in file else "not told"}


def _facts_of_keras3(config, file):
    """Of a .keras file."""
    layers = [entry["config"].get("name") for entry in config["config"]["layers"]]
    late = "batch_input_shape" not in json.dumps(config)
    facts = {"kind": "model", "saved by": "Keras 3" if late else "tf.keras, from 2.12 on",
             "layers": _some(layers), "class": config.get("class_name")}
    training = config.get("compile_config") or {}
    if training.get("optimizer"):
        optimizer = training["optimizer"]
        facts["optimizer"] = optimizer if isinstance(optimizer, str) else optimizer["class_name"]
        facts["loss"] = training.get("loss")
        facts["state"] = ("of the optimizer is " + ("there" if "optimizer" in file else "missing"))
    else:
        facts["compiled"] = "no"
    facts["converted"] = "names and calls of Keras 3; weights found by class and number"
    return facts


def _some(names):
    names = [str(name) for name in names]
    return f"{len(names)}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"


def _facts(file):
    from ..models.h5_layout import has_names, read_names, read_text
    from ..models.h5_reading import weights_group
    is_model = "model_config" in file.attrs
    facts = {"kind": "model" if is_model else "weights"}
    group = weights_group(file)
    version = read_text(file, "keras_version") or read_text(group, "keras_version")
    facts["saved by"] = f"Keras {version or '1 (it does not say)'}"
    facts["backend"] = read_text(group, "backend") or "not told"
    names = read_names(group, "layer_names")
    facts["layers"] = _some(names)
    if is_model:
        config = json.loads(read_text(file, "model_config"))
        facts["class"] = config.get("class_name")
    text = read_text(file, "training_config")
    if text:
        training = json.loads(text)
        facts["optimizer"] = training["optimizer_config"]["class_name"]
        facts["loss"] = training["loss"]
        has_state = "optimizer_weights" in file and has_names(file["optimizer_weights"],
                                                              "weight_names")
        facts["state"] = "of the optimizer is there" if has_state else "of the optimizer is missing"
    elif is_model:
        facts["compiled"] = "no"
    if (version or "1").startswith("1"):
        facts["converted"] = "names of arguments and order of weights of Keras 1"
    if facts["backend"] == "theano":
        facts["converted"] = "kernels are reversed: Theano convolves, we correlate"
    return facts


def _load(path):
    """(model or None, what the loading had to say)."""
    from ..models import load_model
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told, model = [], None
        for arguments in ({}, {"compile": False}):
            try:
                model = load_model(path, **arguments)
                break
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                how = "load_model(compile=False)" if arguments else "load_model"
                told.append(f"{how} fails: {error}")
    notes = [str(w.message).splitlines()[0] for w in caught]
    notes = [n for n in notes if not n.startswith("Not everything")]     # it is listed
    if any(note.startswith("Update your") for note in notes):
        notes = [n for n in notes if not n.startswith("Update your")]
        notes.insert(0, "arguments of Keras 1 are translated")
    return model, notes + told


def _try_prediction(model):
    shapes = [[size or 4 for size in x.shape[1:]] for x in model.inputs]
    rng = np.random.RandomState(0)
    x = [rng.uniform(0, 1, [2, *shape]) for shape in shapes]
    try:
        outputs = model.predict(x if len(x) > 1 else x[0])
    except Exception as error:                       # any error is what the user wants to be told
        print(f"  predicts:      no: {error}")
        return 1
    outputs = outputs if isinstance(outputs, list) else [outputs]
    finite = all(np.isfinite(y).all() for y in outputs)
    print(f"  predicts:      {'yes' if finite else 'numbers that are not finite'}, from "
          f"{[tuple(v.shape) for v in x]} to {[y.shape for y in outputs]}")
    return 0 if finite else 1


def summary(path):
    """Print the table of a model's layers."""
    from ..models import load_model
    load_model(path, compile=False).summary()


def convert(path, target):
    """Write a model as Keras 2.3.1 does, as .onnx, or its weights alone as .safetensors."""
    from ..exchange import export_onnx, save_safetensors
    from ..models import load_model
    kind = os.path.splitext(target)[1].lower()
    if kind in (".onnx", ".safetensors"):
        write = export_onnx if kind == ".onnx" else save_safetensors
        write(load_model(path, compile=False), target)
    else:
        load_model(path).save(target)
    print(f"{target}: {os.path.getsize(target):,} bytes")


def info():
    """Print versions, the device that will be used, and why."""
    from .. import blas, native
    from ..devices.choose import choose
    from ..models.h5_layout import KERAS_VERSION
    print(f"gpukeras      API of Keras {KERAS_VERSION}")
    print(f"Python        {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("gpukeras", "numpy", "h5py", "cupy-cuda13x", "cupy-cuda12x", "numba"):
        try:
            print(f"{package:13} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            print(f"{package:13} not installed")
    choice = choose()
    print(f"device        {choice.name}: {choice.reason}")
    print(f"CPU products  {blas.info()}")
    print(f"CPU compiled  {native.info()}")
