"""What `fit`, `evaluate` and `predict` are given: checks and old names."""
import warnings

import numpy as np

from .. import backend as K
from ..utils.generic_utils import nearest_names


def parts(given):
    """The arrays of a dict, list or single array."""
    if isinstance(given, dict):
        return list(given.values())
    return given if isinstance(given, (list, tuple)) else [given]


def legacy_epochs(kwargs, epochs):
    """Number of epochs, also under its name of Keras 1; any other keyword is an error."""
    if "nb_epoch" in kwargs:
        warnings.warn("The `nb_epoch` argument in `fit` has been renamed `epochs`.", stacklevel=3)
        epochs = kwargs.pop("nb_epoch")
    if kwargs:
        known = ("batch_size", "epochs", "verbose", "callbacks", "validation_split",
                 "validation_data", "shuffle", "class_weight", "sample_weight", "initial_epoch",
                 "validation_freq")
        near = nearest_names(next(iter(kwargs)), known)
        raise TypeError(f"Unrecognized keyword arguments: {kwargs}"
                        + (f". Did you mean {near[0]!r}?" if near else ""))
    return epochs


def steps_per_execution(kwargs):
    """The keyword of `compile` that tf.keras has beyond Keras 2.3.1; any other is an error."""
    if kwargs.pop("class_mode", None) is not None:
        warnings.warn("`class_mode` of `compile` is an argument of Keras 0, it is ignored.",
                      stacklevel=3)
    old = kwargs.pop("experimental_steps_per_execution", None)
    several = kwargs.pop("steps_per_execution", old)
    if kwargs:
        known = ("optimizer", "loss", "metrics", "loss_weights", "sample_weight_mode",
                 "weighted_metrics", "target_tensors", "steps_per_execution")
        near = nearest_names(next(iter(kwargs)), known)
        raise TypeError(f"Unrecognized keyword arguments: {kwargs}"
                        + (f". Did you mean {near[0]!r}?" if near else ""))
    if several is None:
        return 1
    if isinstance(several, bool) or not isinstance(several, (int, np.integer)) or several < 1:
        raise ValueError(f"`steps_per_execution` should be an integer from 1 on, got {several!r}")
    return int(several)


def check_validation_steps(steps, validation_steps, held):
    """Raise where only one of training and validation counts its steps."""
    if validation_steps and steps is None:
        raise ValueError("Can only use `validation_steps` when doing step-wise training, i.e. "
                         "`steps_per_epoch` must be set.")
    if held is not None and steps is not None and not validation_steps:
        raise ValueError("Must specify `validation_steps` to perform validation when doing "
                         "step-wise training.")


def only_arrays(**arguments):
    """Raise for arguments that a generator makes senseless."""
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"`{name}` argument is not supported when data is a generator or a "
                             "Sequence: these yield whole batches, (x, y) or (x, y, sample_weight)")


def all_arrays(held):
    """Validation data as one list for the callbacks: inputs, targets, weights or ones."""
    if held is None:
        return []
    xs, ys, weights = held
    if not ys or any(K.is_tensor(part) for part in [*xs, *ys]):
        return [*xs, *ys, *[w for w in weights if w is not None]]
    return [*xs, *ys, *[np.ones(len(y), "float32") if w is None else w
                        for y, w in zip(ys, weights, strict=True)]]


def check_frequency(frequency):
    if isinstance(frequency, (int, np.integer)):
        if frequency < 1:
            raise ValueError(f"`validation_freq` can not be less than 1, got {frequency}.")
    elif not isinstance(frequency, (list, tuple, set)):
        raise ValueError("`validation_freq` must be an Integer or a list of epochs, got "
                         f"{type(frequency).__name__}.")
