"""The calls that lie between given inputs and outputs, and their order."""
from collections import Counter

from ..graph import Placeholder, learning_phase, toposort


class LayerGraph:
    """Nodes and layers that lead from `inputs` to `outputs`.

    `nodes_by_depth`: depth -> nodes; the depth of a node is the length of the longest way to an
    output. `layers`: by falling depth, at equal depth in the order in which the walk from the
    outputs met them.

    # Raises
        ValueError: if an output cannot be computed from the inputs, the calls form a circle, or two
            layers have the same name.
    """

    def __init__(self, inputs, outputs):
        order, met = _walk(outputs)
        node_depth, layer_depth = _depths(order)
        for x in inputs:                           # one that no output needs is also part of it
            layer, index, _ = x._keras_history
            if layer not in layer_depth:
                layer_depth[layer], met[layer] = 0, -1
                node_depth[layer._inbound_nodes[index]] = 0
        self.nodes = set(node_depth)
        self.nodes_by_depth = _group(node_depth)
        self.layers_by_depth = {depth: sorted(layers, key=met.get)
                                for depth, layers in _group(layer_depth).items()}
        self.layers = [layer for depth in sorted(self.layers_by_depth, reverse=True)
                       for layer in self.layers_by_depth[depth]]
        self._check_connected(inputs)
        _check_names(self.layers)

    def ordered_nodes(self):
        """All nodes, each after the nodes that make its inputs."""
        return [node for depth in sorted(self.nodes_by_depth, reverse=True)
                for node in self.nodes_by_depth[depth]]

    def owns(self, layer, index):
        """True if the call number `index` of `layer` belongs to the graph."""
        return layer._inbound_nodes[index] in self.nodes

    def _check_connected(self, inputs):
        computable = {id(x) for x in inputs}
        done = []
        for node in self.ordered_nodes():
            layer = node.outbound_layer
            if node.inbound_layers:
                for x, source in zip(node.input_tensors, node.inbound_layers):
                    if id(x) not in computable and source is not None:
                        raise ValueError(
                            f"Graph disconnected: cannot obtain value for tensor {x} at layer "
                            f"\"{layer.name}\". "
                            f"The following previous layers were accessed without issue: {done}")
                done.append(layer.name)
                computable.update(id(y) for y in node.output_tensors)
            elif not layer.is_placeholder:         # an Input made of a tensor brings its own value
                computable.update(id(y) for y in node.output_tensors)


def _walk(outputs):
    """Nodes above `outputs`, inputs first, and the order in which layers were met, users first."""
    order, met, state = [], {}, {}
    for output in outputs:
        stack = [(_node_of(output), False)]
        while stack:
            node, finished = stack.pop()
            if finished:
                state[node] = "done"
                order.append(node)
                continue
            if state.get(node) == "done":
                continue
            if state.get(node) == "open":
                raise ValueError(f"The tensor at layer \"{node.outbound_layer.name}\" is part of "
                                 "a cycle.")
            state[node] = "open"
            met.setdefault(node.outbound_layer, len(met))
            stack.append((node, True))
            above = [_node_of(x) for x, layer in zip(node.input_tensors, node.inbound_layers)
                     if layer is not None or not _stands_alone(x, node)]
            stack.extend((source, False) for source in reversed(above))
    return order, met


def _node_of(x):
    layer, index, _ = x._keras_history
    return layer._inbound_nodes[index]


def _stands_alone(x, user):
    """True if `x`, which no layer made, depends on no data. ValueError if it does."""
    for node in toposort([x]):
        for t in node.outputs:
            data = isinstance(t, Placeholder) and t is not learning_phase()
            if data or hasattr(t, "_keras_history"):
                raise ValueError(
                    f"The input {x} of layer \"{user.outbound_layer.name}\" was made outside of a "
                    "layer, so the "
                    "model cannot follow it back to its inputs. Try: put the K functions that "
                    "made it into a "
                    "Lambda layer.")
    return True


def _depths(order):
    """Depth of each node and layer; a layer lies as deep as its deepest call."""
    node_depth, layer_depth = {}, {}
    for node in reversed(order):
        depth = max(node_depth.get(node, 0), layer_depth.get(node.outbound_layer, 0))
        node_depth[node] = layer_depth[node.outbound_layer] = depth
        for x, layer in zip(node.input_tensors, node.inbound_layers):
            if layer is not None:
                source = _node_of(x)
                node_depth[source] = max(node_depth.get(source, 0), depth + 1)
    return node_depth, layer_depth


def _group(depths):
    groups = {}
    for item, depth in depths.items():
        groups.setdefault(depth, []).append(item)
    return groups


def _check_names(layers):
    for name, count in Counter(layer.name for layer in layers).items():
        if count > 1:
            raise ValueError(f"The name \"{name}\" is used {count} times in the model. All layer "
                             "names should be "
                             "unique.")
