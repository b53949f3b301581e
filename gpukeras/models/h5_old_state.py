"""The optimizer's state in files of Keras 1 and 2.0.

They sort the trained weights by name, and have one array for each weight as the file has it: of an
LSTM of Keras 1 twelve, with kernels as its backend wanted them. RMSprop and others do not count
their steps.
"""
import re

import numpy as np

from .h5_layout import read_arrays, read_names

SORTED = (2, 0, 7)                                 # the last version that sorts, about
_UNTRAINED = re.compile(r"(running_(mean|std)|moving_(mean|variance))(:\d+)?(_\d+)?$")


def is_old(version):
    """Whether a version of Keras, "1" if the file does not say, is one of these."""
    return _numbers(version)[:2] in ((1,), (2, 0)) or _numbers(version)[:1] == (1,)


def _numbers(version):
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])


def old_state(model, names, arrays, group, version, convert):
    """The state in the order of ours; as it is if it cannot be told what is what.

    # Arguments
        model: the model, compiled, with the weights of the file.
        names, arrays: of the stored state.
        group: HDF5 group with the weights.
        version: of Keras.
        convert: function (layer, arrays) that lays stored arrays out as ours.
    """
    layers = [layer for layer in model.layers if layer.weights]
    stored = [(read_names(group[name], "weight_names"), read_arrays(group[name]))
              for name in read_names(group, "layer_names")]
    stored = [pair for pair in stored if pair[1]]
    if len(stored) != len(layers) or any(hasattr(layer, "layers") for layer in layers):
        return arrays
    owners = []                                    # (layer, [(name, shape) of what is trained])
    for layer, (weight_names, values) in zip(layers, stored):
        trained = [(name, value.shape) for name, value in zip(weight_names, values)
                   if not _UNTRAINED.search(name)] if layer.trainable_weights else []
        owners.append((layer, trained))
    order = [entry for _, trained in owners for entry in trained]
    counted = len(order) and len(arrays) % len(order) == 1 and arrays[0].size == 1
    slots = arrays[1:] if counted else arrays
    if not order or len(slots) % len(order):
        return arrays
    by_name = sorted(order)
    for candidate in (by_name, order) if _numbers(version) <= SORTED else (order, by_name):
        if all(array.shape == shape for (_, shape), array in zip(candidate * (
                len(slots) // len(order)), slots)):
            break
    else:
        return arrays
    found = [arrays[0].reshape(())] if counted else []
    if not counted and model.optimizer.weights and not model.optimizer.weights[0].shape:
        found.append(np.zeros((), "int64"))        # its steps are not known
    for at in range(0, len(slots), len(order)):
        values = dict(zip([name for name, _ in candidate], slots[at:at + len(order)]))
        found += _laid_out(model, owners, values, convert)
    return found


def _laid_out(model, owners, values, convert):
    """One slot, {stored name: array}, as a list in the order of the trained weights."""
    ours = {}
    for layer, trained in owners:
        arrays = convert(layer, [values[name] for name, _ in trained]) if trained else []
        ours.update(zip(layer.trainable_weights, arrays))
    return [ours[weight] for weight in model._collected_trainable_weights]
