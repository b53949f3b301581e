"""A graph of layers as a config, and back."""
import json
import warnings
from collections import deque

import numpy as np

from .. import backend as K
from .. import layers as layers_module
from ..policy import plain_config, with_policies
from ..utils.generic_utils import unpack_singleton
from ..utils.io_utils import clear_errors

KERAS_VERSION = "2.3.1"


def of_network(model):
    """Config of a functional model: its layers with their calls, its inputs and outputs."""
    graph = model._network
    numbers = _call_numbers(graph)

    def place(x):
        layer, index, position = x._keras_history
        return [layer.name, numbers[layer, index], position]

    def calls(layer):
        return [_call(node, numbers) for node in layer._inbound_nodes
                if node in graph.nodes and node.inbound_layers]

    return {"name": model.name,
            "layers": [{"name": layer.name, "class_name": type(layer).__name__,
                        "config": layer.get_config(), "inbound_nodes": calls(layer)}
                       for layer in graph.layers],
            "input_layers": [place(x) for x in model.inputs],
            "output_layers": [place(y) for y in model.outputs]}


def _call_numbers(graph):
    """(layer, node index) -> number of the call among those in the graph.

    Node 0 of a nested model is its own making, so its calls count from 1.
    """
    numbers = {}
    for layer in graph.layers:
        number = 1 if hasattr(layer, "run_internal_graph") else 0
        for index, node in enumerate(layer._inbound_nodes):
            if node in graph.nodes:
                numbers[layer, index] = number
                number += 1
    return numbers


def _call(node, numbers):
    """[[layer name, call number, tensor index, keyword arguments] for each input] of one call."""
    arguments = node.arguments
    try:
        json.dumps(arguments, default=jsonable)
    except TypeError:
        warnings.warn(f"Layer {node.outbound_layer.name} was passed non-serializable keyword "
                      "arguments: "
                      f"{arguments}. They will not be included in the serialized model (and thus "
                      "will be "
                      "missing at deserialization time).", stacklevel=5)
        arguments = {}
    return [[layer.name, numbers[layer, index], position, arguments]
            for layer, index, position in zip(node.inbound_layers, node.node_indices,
                                              node.tensor_indices) if layer is not None]


def to_tensors(config, custom_objects=None, make=None):
    """Make the layers of a config and call them.

    # Arguments
        make: function of one entry of `config["layers"]` that returns the layer.

    # Returns
        (inputs, outputs): lists of tensors.
    """
    make = make or (lambda entry: layers_module.deserialize(entry, custom_objects=custom_objects))
    made = {entry["name"]: make(entry) for entry in config["layers"]}
    waiting = {entry["name"]: deque(entry["inbound_nodes"]) for entry in config["layers"]}
    progress = True
    while progress and any(waiting.values()):
        progress = False
        for name, calls in waiting.items():
            while calls and all(_ready(made, *source[:3]) for source in calls[0]):
                _replay(made, made[name], calls.popleft())
                progress = True
    stuck = [name for name, calls in waiting.items() if calls]
    if stuck:
        raise ValueError(f"The config of model {config.get('name')} cannot be rebuilt: the inputs "
                         "of the layers "
                         f"{stuck} are never made.")
    return tuple([_tensor(made, *place) for place in config[ends]]
                 for ends in ("input_layers", "output_layers"))


def _ready(made, name, index, position):
    if name not in made:
        raise ValueError(f"The config names a layer {name!r} that it does not contain.")
    return index < len(made[name]._inbound_nodes)


def _tensor(made, name, index, position):
    return made[name]._inbound_nodes[index].output_tensors[position]


def _replay(made, layer, sources):
    inputs = [_tensor(made, *source[:3]) for source in sources]
    arguments = sources[-1][3] if sources and len(sources[-1]) > 3 else {}
    layer(unpack_singleton(inputs), **arguments)


def jsonable(value):
    """What `json.dumps` writes for values that JSON does not know."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "get_config"):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    if hasattr(value, "__name__"):
        return value.__name__
    raise TypeError(f"Not JSON serializable: {value!r}")


def _with_versions(model):
    config = plain_config({"class_name": type(model).__name__, "config": model.get_config()})
    return {**config, "keras_version": KERAS_VERSION, "backend": K.backend()}


def to_json(model, **kwargs):
    """The architecture of a model as JSON text."""
    return json.dumps(_with_versions(model), default=jsonable, **kwargs)


def to_yaml(model, **kwargs):
    """The architecture of a model as YAML text; needs PyYAML."""
    plain = json.loads(json.dumps(_with_versions(model), default=jsonable))
    return _yaml().dump(plain, **kwargs)


def model_from_config(config, custom_objects=None):
    """The model of a {"class_name", "config"} dict.

    # Raises
        TypeError: for the bare list of a Sequential's layers.
    """
    if isinstance(config, list):
        raise TypeError("`model_from_config` expects a dictionary, not a list. Maybe you meant to "
                        "use "
                        "`Sequential.from_config(config)`?")
    return layers_module.deserialize(with_policies(config), custom_objects=custom_objects)


def model_from_json(json_string, custom_objects=None):
    """The model, with new weights, of the text that `model.to_json()` gave."""
    with clear_errors("the JSON text of a model"):
        return model_from_config(json.loads(json_string), custom_objects)


def model_from_yaml(yaml_string, custom_objects=None):
    """The model, with new weights, of the text that `model.to_yaml()` gave; needs PyYAML."""
    with clear_errors("the YAML text of a model"):
        return model_from_config(_plain_yaml(yaml_string), custom_objects)


MOST = 1_000_000                                   # values that a YAML text may unfold to


def _plain_yaml(text):
    """The plain values of a YAML text; Keras 2 marks tuples, and texts of Python 2."""
    yaml = _yaml()

    class Loader(yaml.SafeLoader):
        """Knows nothing of Python but its tuples and texts."""

    for tag, make in (("tuple", Loader.construct_yaml_seq), ("unicode", Loader.construct_yaml_str),
                      ("str", Loader.construct_yaml_str)):
        Loader.add_constructor(f"tag:yaml.org,2002:python/{tag}", make)
    try:
        found = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML of plain values: {error}") from None
    left, todo = MOST, [found]
    while todo:                                    # names for parts let a short text unfold
        value = todo.pop()
        todo += value.values() if isinstance(value, dict) else value if isinstance(
            value, list) else ()
        left -= 1
        if left < 0:
            raise ValueError(f"it unfolds to more than {MOST:,} values")
    return found


def _yaml():
    try:
        import yaml
    except ImportError:
        raise ImportError("YAML needs the package PyYAML. Try: pip install pyyaml") from None
    return yaml
