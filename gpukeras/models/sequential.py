"""Sequential: layers one after another."""
import copy
import warnings

import numpy as np

from .. import backend as K
from .. import layers as layers_module
from ..layers import Input, InputLayer, Layer
from ..utils.generic_utils import to_list
from .model import Model


class Sequential(Model):
    """A stack of layers, each called on the output of the one before.

    # Arguments
        layers: list of layers to add.
        name: string.

    The shape of the input is that of the first layer (`input_shape=`), or that of the first data
    seen.

        model = Sequential([Dense(32, activation="relu", input_shape=(784,)), Dense(10)])
    """

    def __init__(self, layers=None, name=None):
        super().__init__(name=name)
        self._stack = []                           # all layers, an InputLayer too
        self._build_input_shape = None
        for layer in layers or ():
            self.add(layer)

    @property
    def layers(self):
        """The layers without the input layer."""
        stack = self.__dict__.get("_stack", [])
        return stack[1:] if stack and isinstance(stack[0], InputLayer) else stack[:]

    @property
    def model(self):
        """The model itself, as scripts for old versions of Keras expect."""
        warnings.warn("`Sequential.model` is deprecated. `Sequential` is a subclass of `Model`, "
                      "you can just use "
                      "your `Sequential` instance directly.", stacklevel=2)
        return self

    def add(self, layer):
        """Add a layer on top of the stack.

        # Raises
            TypeError: for what is not a layer.
            ValueError: if a layer of the stack has several outputs, or names repeat.
        """
        if not isinstance(layer, Layer):
            fix = ". Try: an instance, Dense(...), not the class" if isinstance(layer, type) else ""
            raise TypeError("The added layer must be an instance of class Layer. Found: "
                            f"{layer}{fix}")
        if any(layer.name == other.name for other in self._stack):
            raise ValueError("All layers added to a Sequential model should have unique names. "
                             f"Name \"{layer.name}\" "
                             "is already the name of a layer in this model. Update the `name` "
                             "argument to pass a "
                             "unique name.")
        self.built = False
        outputs = self.outputs
        if not self._stack:
            outputs = self._first_outputs(layer)
        elif self.outputs:
            outputs = [layer(self.outputs[0])]
        if outputs:
            _require_one(layer, outputs)
            self.outputs = outputs
        self._stack.append(layer)
        if self.inputs:
            self.build()

    def _first_outputs(self, layer):
        """Output of the first layer if its input shape is known (and sets `inputs`), else None."""
        if isinstance(layer, InputLayer):
            self.inputs = layer._inbound_nodes[-1].output_tensors
            return list(self.inputs)
        first = layer
        while isinstance(first, Model) and first.layers:
            first = first.layers[0]
        if getattr(first, "batch_input_shape", None) is None:
            return None
        x = Input(batch_shape=first.batch_input_shape, dtype=first.dtype,
                  name=layer.name + "_input")
        self.inputs = [x]
        return to_list(layer(x), allow_tuple=True)

    def pop(self):
        """Take the last layer off the stack. TypeError if there is none."""
        if not self.layers:
            raise TypeError("There are no layers in the model.")
        last = self._stack.pop()
        self.built = False
        if not self.layers:
            self.outputs = list(self.inputs) if self._stack else None
            self.inputs = self.inputs if self._stack else None
            self._is_graph_network, self._network, self._inbound_nodes = False, None, []
        elif self.outputs:
            nodes = self._stack[-1]._outbound_nodes
            nodes[:] = [node for node in nodes if node.outbound_layer is not last]
            self.outputs = [self._stack[-1].output]
            self.build()

    def build(self, input_shape=None):
        """Call the layers on an input of that shape, batch axis included, if not done before."""
        if input_shape is not None and not self.inputs:
            shape = tuple(input_shape)
            x = Input(batch_shape=shape, dtype=K.floatx(), name=self.name + "_input")
            self._build_input_shape, self.inputs = input_shape, [x]
            for layer in self._stack:
                x = layer(x)
            _require_one(self._stack[-1], to_list(x, allow_tuple=True))
            self.outputs = [x]
        if self.inputs:
            self._init_graph_network(self.inputs, self.outputs)
            self.built = True

    def count_params(self):
        if not self.built:
            self.build()
        return super().count_params()

    def predict_proba(self, x, batch_size=32, verbose=0):
        """`predict`, with a warning if the values are no probabilities."""
        y = self.predict(x, batch_size, verbose)
        if y.min() < 0.0 or y.max() > 1.0:
            warnings.warn("Network returning invalid probability values. The last layer might not "
                          "normalize "
                          "predictions into probabilities (like softmax or sigmoid would).",
                          stacklevel=2)
        return y

    def predict_classes(self, x, batch_size=32, verbose=0):
        """Class of each sample: the largest output, or 1 where a single output exceeds 0.5."""
        y = self.predict(x, batch_size=batch_size, verbose=verbose)
        return np.argmax(y, axis=-1) if y.shape[-1] > 1 else (y > 0.5).astype("int32")

    def get_config(self):
        config = {"name": self.name, "layers": [
            {"class_name": type(layer).__name__, "config": copy.deepcopy(layer.get_config())}
            for layer in self._saved_layers()]}
        if self._build_input_shape:
            config["build_input_shape"] = self._build_input_shape
        return config

    def _saved_layers(self):
        """Layers for a config: an InputLayer only if the next layer has no input shape itself."""
        layers = self.layers
        known = layers and getattr(layers[0], "batch_input_shape", None) is not None
        explicit = self._stack and isinstance(self._stack[0], InputLayer) and not known
        return self._stack if explicit else layers

    @classmethod
    def from_config(cls, config, custom_objects=None):
        if isinstance(config, list):               # files before 2.2.3 hold the bare list of layers
            config = {"layers": config}
        model = cls(name=config.get("name"))
        for entry in config["layers"]:
            model.add(layers_module.deserialize(entry, custom_objects=custom_objects))
        if not model.inputs and config.get("build_input_shape"):
            model.build(config["build_input_shape"])
        return model


def _require_one(layer, outputs):
    if len(outputs) != 1:
        raise ValueError("All layers in a Sequential model should have a single output tensor. "
                         f"Layer {layer.name} has "
                         f"{len(outputs)}. For multi-output layers, use the functional API.")
