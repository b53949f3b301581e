"""Network: a graph of layers that is itself a layer."""
import copy
import warnings

from .. import backend as K
from ..graph import Placeholder, Tensor, layer_scope, learning_phase, toposort
from ..layers import InputLayer, Layer
from ..layers.base import is_list_of_shapes
from ..layers.node import Node, collect_masks, keras_shape
from ..layers.spec import InputSpec
from ..layers.terms import on_types, same, unique
from ..utils.generic_utils import nearest_names, to_list, unknown_name, unpack_singleton
from ..utils.layer_utils import print_summary
from . import network_config
from .layer_graph import LayerGraph


class Network(Layer):
    """Layers between inputs and outputs, or a subclass that calls its layers itself.

    # Arguments
        inputs, outputs: tensor or list of tensors, made by `Input` and by layers. Neither is given
            for a subclass with a `call` method.
        name: string, made from the class name if not given.
        trainable: whether training changes the weights.
    """

    casts_inputs = casts_weights = False           # its layers do, each in its own way
    missing_objects = ()                           # (kind, name) of what a loaded model lacks

    def __init__(self, *args, **kwargs):
        inputs, outputs, options = _arguments(type(self), args, kwargs)
        super().__init__(**options)
        self.supports_masking = False
        self.optimizer = None
        self._is_compiled = False
        self._is_graph_network = False
        self._network = None                       # a LayerGraph, once the ends are known
        self.inputs, self.outputs = None, None
        self.input_names, self.output_names = None, None
        if inputs is not None:
            self._init_graph_network(inputs, outputs)

    def __setattr__(self, name, value):
        if isinstance(value, Layer) and "_is_graph_network" not in vars(self):
            raise RuntimeError("It looks like you are subclassing `Model` and you forgot to call "
                               "`super().__init__()`. Always start with this line.")
        super().__setattr__(name, value)

    def _automatic_name(self):
        prefix = type(self).__name__.lower()
        return f"{prefix}_{K.get_uid(prefix)}"

    def _init_graph_network(self, inputs, outputs):
        inputs, outputs = (to_list(x, allow_tuple=True) for x in (inputs, outputs))
        _check_ends(self, inputs, outputs)
        self._network = LayerGraph(inputs, outputs)
        self.inputs, self.outputs = inputs, outputs
        self._is_graph_network = self.built = True
        self.supports_masking = any(layer.supports_masking for layer in self._network.layers)
        self.input_names = [x._keras_history[0].name for x in inputs]
        self._feed_inputs = [x for x in inputs if x._keras_history[0].is_placeholder]
        self._feed_input_names = [x._keras_history[0].name for x in self._feed_inputs]
        self._feed_input_shapes = [keras_shape(x) for x in self._feed_inputs]
        self.output_names = [y._keras_history[0].name for y in outputs]
        self._output_masks = to_list(collect_masks(outputs), allow_tuple=True)
        self._last_run = (inputs, [None] * len(inputs), outputs, self._output_masks)
        self._add_own_node()

    def _add_own_node(self):
        """Node 0: from the model's own inputs to its outputs; made anew when a Sequential grows."""
        later = self._inbound_nodes[1:]
        self._inbound_nodes = []
        Node(self, [], [], [], self.inputs, self.outputs,
             [None] * len(self.inputs), self._output_masks,
             [keras_shape(x) for x in self.inputs], [keras_shape(y) for y in self.outputs])
        self._inbound_nodes += later

    # ---------------------------------------------------------------- layers

    @property
    def layers(self):
        """Layers of the graph, farthest from the outputs first; of a subclass as set."""
        return list(self._network.layers) if self._is_graph_network else Layer._sublayers(self)

    def _sublayers(self):
        return self.layers

    @property
    def _nodes_by_depth(self):
        return self._network.nodes_by_depth

    @property
    def _layers_by_depth(self):
        return self._network.layers_by_depth

    @property
    def _input_layers(self):
        return [x._keras_history[0] for x in self.inputs]

    @property
    def _output_layers(self):
        return [y._keras_history[0] for y in self.outputs]

    def get_layer(self, name=None, index=None):
        """A layer by name, or by its place in `layers`; the index wins if both are given.

        # Raises
            ValueError: if there is none, with the nearest names.
        """
        layers = self.layers
        if index is not None:
            if len(layers) <= index:
                raise ValueError(f"Was asked to retrieve layer at index {index} but model only has "
                                 f"{len(layers)} layers.")
            return layers[index]
        if not name:
            raise ValueError("Provide either a layer name or layer index.")
        for layer in layers:
            if layer.name == name:
                return layer
        text = unknown_name("layer", name, [layer.name for layer in layers])
        raise ValueError(text.replace("Unknown layer", "No such layer", 1))

    def reset_states(self):
        """Set the states of all stateful layers to zero."""
        for layer in self.layers:
            if hasattr(layer, "reset_states") and getattr(layer, "stateful", False):
                layer.reset_states()

    @property
    def stateful(self):
        return any(getattr(layer, "stateful", False) for layer in self.layers)

    @property
    def state_updates(self):
        """Updates of stateful layers, made in training and prediction alike."""
        return [update for layer in self.layers if getattr(layer, "stateful", False)
                for update in layer.updates]

    @property
    def uses_learning_phase(self):
        """True if some output differs between training and test."""
        phase = learning_phase()
        return any(phase is t for node in toposort(self.outputs or []) for t in node.outputs)

    @property
    def input_spec(self):
        """How many inputs; of which shapes they may be is for the layers inside to say."""
        if not self._is_graph_network:
            return None
        return unpack_singleton([InputSpec() for _ in self.inputs])

    # ---------------------------------------------------------------- losses and updates

    def _of_own_calls(self, what):
        """Terms of the layers for the calls in this model, then those that depend on no input."""
        own = self._terms(what, lambda term: len(term.chain) == 1)
        if not self._is_graph_network:
            # what its layers added while the model was called on its inputs is its own too
            called = super()._terms_for(what, self.inputs) if self.inputs else []
            free = [v for layer in self.layers for v in layer._terms_for(what, None)]
            return unique(own + called + free)
        found = []
        for layer in self.layers:
            for node in layer._inbound_nodes:
                if node in self._network.nodes and node.inbound_layers:
                    found += layer._terms_for(what, node.input_tensors)
            found += layer._terms_for(what, None)
        return unique(own + found)

    def _terms_for(self, what, inputs):
        own = self._is_graph_network and same(to_list(inputs, allow_tuple=True), self.inputs)
        return self._of_own_calls(what) if own else super()._terms_for(what, inputs)

    @property
    def losses(self):
        """Terms that layers add to the loss, for the calls that belong to this model."""
        return self._of_own_calls("_losses")

    @property
    def updates(self):
        """Updates of the calls that belong to this model; none if it is frozen and stateless."""
        if not (self.trainable or self.stateful):
            return []
        return self._of_own_calls("_updates")

    # ---------------------------------------------------------------- calling

    def call(self, inputs, mask=None):
        """The outputs for new inputs, with the same weights."""
        masks = [None] * len(to_list(inputs, allow_tuple=True)) if mask is None else to_list(mask)
        outputs, _ = self.run_internal_graph(to_list(inputs, allow_tuple=True), masks)
        return unpack_singleton(outputs)

    def compute_mask(self, inputs, mask=None):
        if not self._is_graph_network:
            return None
        inputs = to_list(inputs, allow_tuple=True)
        masks = [None] * len(inputs) if mask is None else to_list(mask)
        _, output_masks = self.run_internal_graph(inputs, masks)
        return unpack_singleton(output_masks)

    def run_internal_graph(self, inputs, masks=None):
        """Call every layer on new inputs.

        # Returns
            (outputs, output masks), two lists.
        """
        inputs = to_list(inputs, allow_tuple=True)
        masks = [None] * len(inputs) if masks is None else masks
        last_inputs, last_masks, outputs, output_masks = self._last_run
        if same(last_inputs, inputs) and same(last_masks, masks):
            return outputs, output_masks
        values = {id(x): pair for x, pair in zip(self.inputs, zip(inputs, masks))}
        for node in self._network.ordered_nodes():
            if node.inbound_layers:
                _replay(node, values)
            else:
                for x in node.output_tensors:      # an input that comes with its own tensor
                    values.setdefault(id(x), (x, None))
        pairs = [values[id(y)] for y in self.outputs]
        outputs, output_masks = [list(part) for part in zip(*pairs)]
        self._last_run = (list(inputs), list(masks), outputs, output_masks)
        return outputs, output_masks

    def compute_output_shape(self, input_shape):
        if not self._is_graph_network:
            return super().compute_output_shape(input_shape)
        shapes = input_shape if is_list_of_shapes(input_shape) else [input_shape]
        if len(shapes) != len(self.inputs):
            raise ValueError(f"Invalid input_shape argument {input_shape}: model has "
                             f"{len(self.inputs)} tensor "
                             "inputs.")
        with on_types():
            inputs = [Placeholder(x.dtype, tuple(shape)) for x, shape in zip(self.inputs, shapes)]
            last = self._last_run
            outputs, _ = self.run_internal_graph(inputs)
            self._last_run = last
        return unpack_singleton([keras_shape(y) for y in outputs])

    # ---------------------------------------------------------------- weights and files

    def get_weights(self):
        """The values of all weights, layer by layer: of each the trainable, then the other ones."""
        return K.batch_get_value([w for layer in self.layers for w in layer.weights])

    def set_weights(self, weights):
        """Set all weights from a list of arrays in the order of `get_weights`."""
        self._assign([w for layer in self.layers for w in layer.weights], weights)

    def save(self, filepath, overwrite=True, include_optimizer=True):
        """Write architecture, weights and, if compiled, losses and optimizer to one HDF5 file."""
        if not self._is_graph_network:
            raise NotImplementedError("Currently `save` requires model to be a graph network. Try: "
                                      "save_weights(path)")
        from .saving import save_model
        save_model(self, filepath, overwrite, include_optimizer)

    def save_weights(self, filepath, overwrite=True):
        """Write the weights to an HDF5 file, or by name to one that ends in .safetensors;
        overwrite=False asks before replacing one."""
        from .saving import save_weights
        save_weights(self, filepath, overwrite)

    def load_weights(self, filepath, by_name=False, skip_mismatch=False, reshape=False):
        """Read weights from an HDF5 file of weights or of a whole model, or from a .safetensors
        file.

        # Arguments
            by_name: pair layers by name instead of by order.
            skip_mismatch: with `by_name`, leave what does not fit instead of raising.
            reshape: reshape kernels of convolutions whose number of elements fits.
        """
        from .saving import load_weights
        load_weights(self, filepath, by_name, skip_mismatch, reshape)

    # ---------------------------------------------------------------- config

    def get_config(self):
        if not self._is_graph_network:
            raise NotImplementedError(f"{type(self).__name__} is a subclassed model and has no "
                                      "config. Try: "
                                      "save_weights, and build the model by its own code")
        return copy.deepcopy(network_config.of_network(self))

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inputs, outputs = network_config.to_tensors(config, custom_objects)
        return cls(inputs=inputs, outputs=outputs, name=config.get("name"))

    def to_json(self, **kwargs):
        """The architecture as JSON; keyword arguments go to `json.dumps`."""
        return network_config.to_json(self, **kwargs)

    def to_yaml(self, **kwargs):
        """The architecture as YAML; keyword arguments go to `yaml.dump`."""
        return network_config.to_yaml(self, **kwargs)

    def summary(self, line_length=None, positions=None, print_fn=None):
        """Print the layers, their output shapes and numbers of weights.

        # Arguments
            line_length: width in characters.
            positions: where the columns end, as shares of the line or in characters.
            print_fn: called with each line, `print` if not given.
        """
        if not self.built:
            raise ValueError("This model has not yet been built. Build the model first by calling "
                             "build() or "
                             "calling fit() with some data. Or specify input_shape or "
                             "batch_input_shape in the "
                             "first layer for automatic build.")
        print_summary(self, line_length, positions, print_fn)


def _arguments(cls, args, kwargs):
    """(inputs, outputs, other keyword arguments) of `Model(...)` in any of Keras's forms."""
    old = [name for name in ("input", "output") if name in kwargs]
    for name in old:
        kwargs[name + "s"] = kwargs.pop(name)
    if old:
        given = ", ".join(f"{name}s=..." for name in old)
        warnings.warn(f"Update your `{cls.__name__}` call to the Keras 2 API: "
                      f"`{cls.__name__}({given})`", stacklevel=3)
    names = ("inputs", "outputs", "name", "trainable", "dtype")
    given_tensors = len(args) >= 2 or "inputs" in kwargs or "outputs" in kwargs
    given = dict(zip(names if given_tensors else names[2:], args))
    given.update(kwargs)
    for name in given:
        if name not in names:
            near = nearest_names(name, names)
            raise TypeError(f"Keyword argument not understood: {name} in {cls.__name__}(...)"
                            + (f". Did you mean {near[0]!r}?" if near else ""))
    inputs, outputs = given.pop("inputs", None), given.pop("outputs", None)
    if (inputs is None) != (outputs is None):
        missing = "inputs" if inputs is None else "outputs"
        raise TypeError(f"{cls.__name__}(inputs, outputs) needs both, got no `{missing}`.")
    return inputs, outputs, given


def _check_ends(model, inputs, outputs):
    """Raise ValueError for inputs or outputs that no layer made, or inputs given twice."""
    if len({id(x) for x in inputs}) != len(inputs):
        raise ValueError("The list of inputs passed to the model is redundant. All inputs should "
                         "only appear once. "
                         f"Found: {inputs}")
    for kind, tensors in (("Input", inputs), ("Output", outputs)):
        for x in tensors:
            if not isinstance(x, Tensor) or not hasattr(x, "_keras_history"):
                fix = ("Try: Input(shape)" if kind == "Input" else
                       "Try: put the K functions that made it into a Lambda layer")
                raise ValueError(f"{kind} tensors to a {type(model).__name__} must be the output "
                                 "of a Keras `Layer` "
                                 f"(thus holding past layer metadata). Found: {x}. {fix}.")
    for x in inputs:
        layer = x._keras_history[0]
        if not isinstance(layer, InputLayer):
            raise TypeError(f"Input layers to a `{type(model).__name__}` must be `InputLayer` "
                            f"objects. Received: {x}, "
                            f"made by layer \"{layer.name}\". Try: a new Input of the same shape, "
                            "and the layers "
                            "after it called on that.")


def _replay(node, values):
    """Call `node`'s layer on the values found so far, and add its outputs."""
    layer = node.outbound_layer
    pairs = [values.get(id(x), (x, None)) for x in node.input_tensors]
    inputs = unpack_singleton([x for x, _ in pairs])
    masks = unpack_singleton([mask for _, mask in pairs])
    with layer_scope(layer.name):
        outputs, output_masks = layer._apply(inputs, masks, dict(node.arguments))
    for y, new, mask in zip(node.output_tensors, to_list(outputs, allow_tuple=True), output_masks):
        values[id(y)] = (new, mask)
