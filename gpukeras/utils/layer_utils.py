"""The table that `model.summary()` prints, and questions about layers."""
import math

import numpy as np

from .conv_utils import convert_kernel


def count_params(weights):
    """Number of scalars in a list of weights, each weight counted once."""
    return sum(math.prod(w.shape) for w in {id(w): w for w in weights}.values())


def print_summary(model, line_length=None, positions=None, print_fn=None):
    """Print a table of a model's layers, line by line as Keras 2.3.1 does.

    # Arguments
        model: a built model.
        line_length: characters in a line; 65, or 98 with the column "Connected to".
        positions: where each column ends, in characters or as parts of the line length.
        print_fn: function that takes a line; `print` if None.
    """
    nodes = None if _is_chain(model) else _own_nodes(model)
    line_length = line_length or (65 if nodes is None else 98)
    positions = positions or ([.45, .85, 1.] if nodes is None else [.33, .55, .67, 1.])
    if positions[-1] <= 1:
        positions = [int(line_length * p) for p in positions]
    print_fn = print_fn or print

    print_fn(f'Model: "{model.name}"')
    print_fn("_" * line_length)
    headers = ["Layer (type)", "Output Shape", "Param #", "Connected to"]
    print_fn(_row(headers[:3] if nodes is None else headers, positions))
    print_fn("=" * line_length)
    for layer in model.layers:
        for row in _layer_rows(layer, nodes):
            print_fn(_row(row, positions))
        print_fn(("=" if layer is model.layers[-1] else "_") * line_length)

    trainable, fixed = _counts(model)
    print_fn(f"Total params: {trainable + fixed:,}")
    print_fn(f"Trainable params: {trainable:,}")
    print_fn(f"Non-trainable params: {fixed:,}")
    print_fn("_" * line_length)


def _is_chain(model):
    """True if the layers of a model form one line, each called once; also for subclassed models."""
    if model.__class__.__name__ == "Sequential" or not model._is_graph_network:
        return True
    levels = model._nodes_by_depth.values()
    if any(len(level) > 1 or len(level[0].inbound_layers) > 1 for level in levels):
        return False
    nodes = _own_nodes(model)
    return all(sum(node in nodes for node in layer._inbound_nodes) <= 1 for layer in model.layers)


def _own_nodes(model):
    return {node for level in model._nodes_by_depth.values() for node in level}


def _layer_rows(layer, nodes):
    """Cells of a layer: one row, and one more for every connection beyond the first."""
    try:
        shape = layer.output_shape
    except AttributeError:                                       # called several times, or never
        shape = "multiple"
    first = [f"{layer.name} ({layer.__class__.__name__})", shape, layer.count_params()]
    if nodes is None:
        return [first]
    sources = [f"{source.name}[{index}][{tensor}]"
               for node in layer._inbound_nodes if node in nodes
               for source, index, tensor in zip(node.inbound_layers, node.node_indices,
                                                node.tensor_indices)]
    return [first + (sources[:1] or [""])] + [["", "", "", source] for source in sources[1:]]


def _row(cells, positions):
    """Cells cut at, and filled up to, the ends of their columns."""
    line = ""
    for i, (cell, end) in enumerate(zip(cells, positions)):
        line = (line[:-1] + " " if i else "") + str(cell)
        line = line[:end].ljust(end)
    return line


def _counts(model):
    """Trainable and other scalars; as compiled, if `trainable` was changed after compile."""
    if hasattr(model, "_check_trainable_weights_consistency"):
        model._check_trainable_weights_consistency()
    trainable = getattr(model, "_collected_trainable_weights", None)
    if trainable is None:
        trainable = model.trainable_weights
    return count_params(trainable), count_params(model.non_trainable_weights)


def get_source_inputs(tensor, layer=None, node_index=None):
    """The tensors of input layers that `tensor` is made from, as a list without repetitions.

    # Arguments
        tensor: output of a layer.
        layer, node_index: the layer that made it and the number of its call; known if not given.
    """
    if not hasattr(tensor, "_keras_history"):
        return tensor
    if layer is None or node_index:
        layer, node_index, _ = tensor._keras_history
    if not layer._inbound_nodes:
        return [tensor]
    node = layer._inbound_nodes[node_index]
    if not node.inbound_layers:
        return node.input_tensors
    sources = [source for x, inner, index in zip(node.input_tensors, node.inbound_layers,
                                                 node.node_indices)
               for source in get_source_inputs(x, inner, index)]
    return list({id(source): source for source in sources}.values())


def convert_all_kernels_in_model(model):
    """Reverse the kernels of all convolutions along their spatial axes, in place.

    That turns weights made for a backend that convolves (Theano) into ones for a backend that
    correlates, and back.
    """
    for layer in model.layers:
        if layer.__class__.__name__ in ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose"):
            kernel, *others = layer.get_weights()
            layer.set_weights([convert_kernel(kernel), *others])


def convert_dense_weights_data_format(dense, previous_feature_map_shape,
                                      target_data_format="channels_first"):
    """Reorder the kernel of the Dense layer behind a Flatten for the other data format, in place.

    # Arguments
        dense: the layer; kernel (channels * pixels, units).
        previous_feature_map_shape: (channels, rows, cols) if the target is channels_first, else
            (rows, cols, channels): shape before the Flatten in the target's format.
        target_data_format: `channels_first` or `channels_last`.
    """
    if target_data_format not in ("channels_last", "channels_first"):
        raise ValueError("target_data_format: expected 'channels_last' or 'channels_first', got "
                         f"{target_data_format!r}")
    kernel, *others = dense.get_weights()
    if target_data_format == "channels_first":
        channels, *pixels = previous_feature_map_shape
        order = kernel.reshape(*pixels, channels, -1)
        order = np.moveaxis(order, -2, 0)
    else:
        *pixels, channels = previous_feature_map_shape
        order = kernel.reshape(channels, *pixels, -1)
        order = np.moveaxis(order, 0, -2)
    dense.set_weights([order.reshape(kernel.shape), *others])
