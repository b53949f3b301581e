"""Copies of models with the same layers and new weights."""
from ..layers import Input, InputLayer
from ..layers.node import keras_shape
from ..utils.generic_utils import to_list
from . import network_config
from .model import Model
from .sequential import Sequential


def clone_model(model, input_tensors=None):
    """A model of the same architecture with weights of its own.

    # Arguments
        model: functional or Sequential model.
        input_tensors: tensors for the new model's inputs; made anew if not given. A tensor that no
            layer made is wrapped in an input layer.

    # Raises
        ValueError: for anything but such a model.
    """
    if isinstance(model, Sequential):
        return _clone_sequential(model, input_tensors)
    if not isinstance(model, Model):
        raise ValueError(f"Expected `model` argument to be a `Model` instance, got {model!r}.")
    if not model._is_graph_network:
        raise ValueError("Expected `model` argument to be a functional `Model` instance, got a "
                         "subclassed model "
                         "instead.")
    names = [x._keras_history[0].name for x in model.inputs]
    new = {}
    if input_tensors is not None:
        given = to_list(input_tensors, allow_tuple=True)
        new = {name: _input_layer(x, name) for name, x in zip(names, given)}
    old = {layer.name: layer for layer in model.layers}
    config = model.get_config()
    inputs, outputs = network_config.to_tensors(
        config, make=lambda entry: new.get(entry["name"]) or _clone_layer(old[entry["name"]]))
    return Model(inputs, outputs, name=model.name)


def _clone_sequential(model, input_tensors):
    layers = [_clone_layer(layer) for layer in model._stack]
    if input_tensors is not None:
        given = to_list(input_tensors, allow_tuple=True)
        if len(given) != 1:
            raise ValueError("To clone a `Sequential` model, we expect at most one tensor as part "
                             "of "
                             f"`input_tensors`, got {len(given)}.")
        layers = [layer for layer in layers if not isinstance(layer, InputLayer)]
        layers.insert(0, _input_layer(given[0], layers[0].name + "_input"))
    copy = Sequential(layers, name=model.name)
    if not copy.inputs and model._build_input_shape:
        copy.build(model._build_input_shape)
    return copy


def _clone_layer(layer):
    if isinstance(layer, Model):
        return clone_model(layer)
    return type(layer).from_config(layer.get_config())


def _input_layer(x, name):
    """The input layer behind `x`, or a new one around it."""
    layer = x._keras_history[0] if hasattr(x, "_keras_history") else None
    if isinstance(layer, InputLayer):
        return layer
    Input(batch_shape=keras_shape(x), tensor=x, name=name)
    return x._keras_history[0]
