"""Weights by name in the safetensors format, through its own library.

The format holds numbers and names only: nothing in such a file can be run.
"""
import os
import warnings

import numpy as np

from ..utils.io_utils import atomic_write

_MISSING = "safetensors files need the package safetensors. Try: pip install safetensors"


def save_safetensors(model, path):
    """Write the weights of a model under their names ("dense_1/kernel").

    # Raises
        ImportError: without the package safetensors.
        ValueError: the model has no weights yet, or two weights of one name.
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise ImportError(_MISSING) from None
    values = dict(zip(_names(model), map(np.ascontiguousarray, model.get_weights())))
    data = save(values, {"format": "gpukeras", "keras_version": "2.3.1"})
    with atomic_write(path) as part, open(part, "wb") as file:
        file.write(data)


def load_safetensors(model, path, by_name=False, skip_mismatch=False):
    """Give a built model the weights of a file, paired by name; all are checked before one is set.

    # Arguments
        by_name: names that only the file or only the model has are left alone, not an error.
        skip_mismatch: weights of another shape are left as they are, with a warning.

    # Raises
        ImportError: without the package safetensors.
        OSError: there is no such file.
        ValueError: the file is damaged, or names or shapes differ from the model's.
    """
    names, values = _names(model), _read(path)
    path = os.fspath(path)
    for what, others in (("lacks", [n for n in names if n not in values]),
                         ("has no use for", [n for n in values if n not in names])):
        if others and not by_name:
            raise ValueError(f"{path!r} does not fit this model of {len(names)} weights: it {what} "
                             f"{', '.join(others[:6])}{', ...' if len(others) > 6 else ''}. Try: "
                             "by_name=True to load what both have")
    new = model.get_weights()
    for i, (name, old) in enumerate(zip(names, new)):
        value = values.get(name, old)
        if value.shape == old.shape:
            new[i] = value
        elif skip_mismatch:
            warnings.warn(f"{name} is left as it is: {path!r} has shape {value.shape}, the model "
                          f"{old.shape}")
        else:
            raise ValueError(f"{name} in {path!r}: got shape {value.shape}, expected {old.shape}")
    model.set_weights(new)


def _read(path):
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError:
        raise ImportError(_MISSING) from None
    with open(path, "rb") as file:
        data = file.read()
    try:
        return load(data)
    except (SafetensorError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot read {os.fspath(path)!r}: it is damaged or no safetensors file "
                         f"({error})") from None


def _names(model):
    """The names of the weights, each once, in the order of `get_weights`."""
    if not model.weights:
        raise ValueError(f"{model.name} has no weights. Try: build it first, by an input_shape or "
                         "by calling it on data")
    names = [weight.name.removesuffix(":0") for weight in model.weights]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two weights of {model.name} are named {twice[0]!r}. Try: give its "
                         "layers names of their own")
    return names
