"""Where a layer was called: one Node per call, and the properties that read the nodes."""
from ..utils.generic_utils import to_list, unpack_singleton


class Node:
    """One call of a layer: `outbound_layer` turned `input_tensors` into `output_tensors`.

    Making a node appends it to the layer's `_inbound_nodes` and to the `_outbound_nodes` of the
    layers that made the inputs, and marks each output with `_keras_history` = (layer, node index,
    tensor index).

    # Arguments
        outbound_layer: the layer that was called.
        inbound_layers, node_indices, tensor_indices: for each input the layer that made it, the
            number of that call and the position among its outputs; three lists of equal length.
        input_tensors, output_tensors, input_masks, output_masks, input_shapes, output_shapes:
            lists.
        arguments: dict, the keyword arguments of the call.
    """

    def __init__(self, outbound_layer, inbound_layers, node_indices, tensor_indices,
                 input_tensors, output_tensors, input_masks, output_masks,
                 input_shapes, output_shapes, arguments=None):
        self.outbound_layer = outbound_layer
        self.inbound_layers = inbound_layers
        self.node_indices = node_indices
        self.tensor_indices = tensor_indices
        self.input_tensors = input_tensors
        self.output_tensors = output_tensors
        self.input_masks = input_masks
        self.output_masks = output_masks
        self.input_shapes = input_shapes
        self.output_shapes = output_shapes
        self.arguments = arguments or {}

        for layer in inbound_layers:
            if layer is not None:
                layer._outbound_nodes.append(self)
        outbound_layer._inbound_nodes.append(self)

    def get_config(self):
        return {"outbound_layer": self.outbound_layer.name if self.outbound_layer else None,
                "inbound_layers": [layer.name if layer else None for layer in self.inbound_layers],
                "node_indices": self.node_indices,
                "tensor_indices": self.tensor_indices}


def connect(layer, inputs, outputs, input_masks, output_masks, arguments=None):
    """Record a call of `layer`; the outputs, fresh tensors, get their history. Returns the Node."""
    inputs, outputs, input_masks, output_masks = (
        to_list(x, allow_tuple=True) for x in (inputs, outputs, input_masks, output_masks))
    histories = [getattr(x, "_keras_history", (None, None, None)) for x in inputs]
    node = Node(layer, *(list(part) for part in zip(*histories)),
                inputs, outputs, input_masks, output_masks,
                [keras_shape(x) for x in inputs], [keras_shape(y) for y in outputs], arguments)
    for i, y in enumerate(outputs):
        y._keras_history = (layer, len(layer._inbound_nodes) - 1, i)
        y._keras_shape = keras_shape(y)
    return node


def keras_shape(x):
    """Shape of a tensor as Keras sees it: `_keras_shape` where a layer has set it."""
    return getattr(x, "_keras_shape", None) or tuple(x.shape)


def collect_masks(inputs):
    """Mask of each tensor, as the layer that made it left it; None for other tensors."""
    masks = []
    for x in to_list(inputs, allow_tuple=True):
        layer, node_index, tensor_index = getattr(x, "_keras_history", (None, None, None))
        masks.append(None if layer is None
                     else layer._inbound_nodes[node_index].output_masks[tensor_index])
    return unpack_singleton(masks)


class NodeProperties:
    """`input`, `output`, their shapes and masks, of the only call; `get_..._at` for one of many."""

    def get_input_at(self, node_index):
        return self._at(node_index, "input_tensors", "input")

    def get_output_at(self, node_index):
        return self._at(node_index, "output_tensors", "output")

    def get_input_mask_at(self, node_index):
        return self._at(node_index, "input_masks", "input mask")

    def get_output_mask_at(self, node_index):
        return self._at(node_index, "output_masks", "output mask")

    def get_input_shape_at(self, node_index):
        return self._at(node_index, "input_shapes", "input shape")

    def get_output_shape_at(self, node_index):
        return self._at(node_index, "output_shapes", "output shape")

    @property
    def input(self):
        """Input of the only call: a tensor or a list. AttributeError for no call, or several."""
        return self._only("input_tensors", "input", "get_input_at")

    @property
    def output(self):
        return self._only("output_tensors", "output", "get_output_at")

    @property
    def input_mask(self):
        return self._only("input_masks", "input mask", "get_input_mask_at")

    @property
    def output_mask(self):
        return self._only("output_masks", "output mask", "get_output_mask_at")

    @property
    def input_shape(self):
        """Shape (or list of shapes) that all calls have in common, batch axis included."""
        return self._common("input_shapes", "input shape", "get_input_shape_at")

    @property
    def output_shape(self):
        return self._common("output_shapes", "output shape", "get_output_shape_at")

    def _at(self, node_index, attribute, words):
        count = len(self._inbound_nodes)
        if not count:
            raise RuntimeError(f"The layer {self.name} has never been called and thus has no "
                               f"defined {words}.")
        if node_index >= count:
            raise ValueError(f"Asked to get {words} at node {node_index}, but the layer "
                             f"{self.name} has only "
                             f"{count} inbound nodes.")
        return unpack_singleton(getattr(self._inbound_nodes[node_index], attribute))

    def _only(self, attribute, words, alternative):
        if len(self._inbound_nodes) > 1:
            raise AttributeError(
                f"Layer {self.name} has multiple inbound nodes, hence the notion of \"layer "
                f"{words}\" is "
                f"ill-defined. Use `{alternative}(node_index)` instead.")
        if not self._inbound_nodes:
            raise AttributeError(f"Layer {self.name} is not connected, no {words} to return.")
        return self._at(0, attribute, words)

    def _common(self, attribute, words, alternative):
        if not self._inbound_nodes:
            raise AttributeError(f"The layer {self.name} has never been called and thus has no "
                                 f"defined {words}.")
        shapes = [getattr(node, attribute) for node in self._inbound_nodes]
        if any(shape != shapes[0] for shape in shapes):
            raise AttributeError(
                f"The layer \"{self.name}\" has multiple inbound nodes, with different {words}s. "
                "Hence the "
                f"notion of \"{words}\" is ill-defined for the layer. Use "
                f"`{alternative}(node_index)` instead.")
        return unpack_singleton(shapes[0])
