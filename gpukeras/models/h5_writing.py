"""Models and weights into an open HDF5 group."""
import json

from .. import backend as K
from ..optimizers import LossScaleOptimizer
from ..policy import plain_config
from .h5_layout import BACKEND, KERAS_VERSION, write_arrays, write_names, write_text
from .network_config import jsonable


def write_model(group, model, include_optimizer=True):
    """Config and weights; of a compiled model also losses, metrics and the optimizer's state."""
    config = plain_config({"class_name": model.__class__.__name__, "config": model.get_config()})
    write_text(group, "keras_version", KERAS_VERSION)
    write_text(group, "backend", BACKEND)
    write_text(group, "model_config", to_json(config))
    write_weights(group.create_group("model_weights"), model.layers)
    if include_optimizer and getattr(model, "optimizer", None):
        write_text(group, "training_config", to_json(training_config(model)))
        state = getattr(model.optimizer, "inner_optimizer", model.optimizer).weights
        if state:
            write_arrays(group.create_group("optimizer_weights"), [w.name for w in state],
                         K.batch_get_value(state))


def write_weights(group, layers):
    """Weights of layers, all read from the device at once."""
    write_names(group, "layer_names", [layer.name for layer in layers])
    write_text(group, "backend", BACKEND)
    write_text(group, "keras_version", KERAS_VERSION)
    values = iter(K.batch_get_value([w for layer in layers for w in layer.weights]))
    for layer in layers:
        weights = layer.weights
        write_arrays(group.create_group(layer.name), [w.name for w in weights],
                     [next(values) for _ in weights])


def training_config(model):
    """What `compile` was given, and the optimizer as it stands now."""
    optimizer, scaled = model.optimizer, {}
    if isinstance(optimizer, LossScaleOptimizer):  # which Keras 2.3.1 does not know
        scaled = {"loss_scale": optimizer.scale_config()}
        optimizer = optimizer.inner_optimizer
    return {**scaled,
            "optimizer_config": {"class_name": optimizer.__class__.__name__,
                                 "config": optimizer.get_config()},
            "loss": model.loss,
            "metrics": model._compile_metrics,
            "weighted_metrics": model._compile_weighted_metrics,
            "sample_weight_mode": model.sample_weight_mode,
            "loss_weights": model.loss_weights}


def to_json(config):
    return json.dumps(config, default=jsonable)
