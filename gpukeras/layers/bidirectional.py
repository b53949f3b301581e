"""Bidirectional: a sequence read from both ends."""
from .. import backend as K
from ..utils.generic_utils import to_list
from .node import keras_shape
from .rnn import _unpack
from .spec import InputSpec
from .wrappers import Wrapper

_MERGE = ("sum", "mul", "ave", "concat", None)


class Bidirectional(Wrapper):
    """Runs a recurrent layer forwards, a copy of it backwards, and merges what they return.

    # Arguments
        layer: a recurrent layer; its config makes both directions.
        merge_mode: "sum", "mul", "ave", "concat" (over the last axis), or None for both outputs.
        weights: arrays for both directions, set when the layer is built.

    # Output shape
        that of `layer`, twice as wide with "concat"; with return_state followed by the states of
        the forward, then of the backward layer.

    Schuster and Paliwal 1997, Bidirectional recurrent neural networks.
    """

    def __init__(self, layer, merge_mode="concat", weights=None, **kwargs):
        if merge_mode not in _MERGE:
            raise ValueError("Invalid merge mode. Merge mode should be one of {'sum', 'mul', "
                             f"'ave', 'concat', None}}: got {merge_mode!r}.")
        super().__init__(layer, weights=weights, **kwargs)
        self.merge_mode = merge_mode
        config = layer.get_config()
        self.forward_layer = self._copy(config, "forward_", layer.go_backwards)
        self.backward_layer = self._copy(config, "backward_", not layer.go_backwards)
        for name in ("stateful", "return_sequences", "return_state"):
            setattr(self, name, getattr(layer, name))
        self.supports_masking = True
        self._num_constants = None
        self.input_spec = layer.input_spec

    def _copy(self, config, prefix, backwards):
        name = prefix + config["name"]
        return type(self.layer).from_config({**config, "name": name, "go_backwards": backwards})

    @property
    def _directions(self):
        return [self.forward_layer, self.backward_layer]

    def _sublayers(self):
        return self._directions                    # `layer` itself is a pattern and has no weights

    @property
    def trainable(self):
        return self.layer.trainable

    @trainable.setter
    def trainable(self, value):
        self.layer.trainable = value
        for layer in [vars(self).get("forward_layer"), vars(self).get("backward_layer")]:
            if layer is not None:
                layer.trainable = value

    def build(self, input_shape):
        for layer in self._directions:
            with K.name_scope(layer.name):
                layer.build(input_shape)
            layer.built = True
        self.built = True

    # ---- shapes and masks

    def compute_output_shape(self, input_shape):
        found = self.forward_layer.compute_output_shape(input_shape)
        shape, states = (found[0], found[1:]) if self.return_state else (found, [])
        if self.merge_mode == "concat":
            outputs = [(*shape[:-1], 2 * shape[-1])]
        else:
            outputs = [shape, shape] if self.merge_mode is None else [shape]
        if not self.return_state:
            return outputs if self.merge_mode is None else outputs[0]
        return outputs + states + states

    def compute_mask(self, inputs, mask):
        mask = mask[0] if isinstance(mask, list) else mask
        output = mask if self.return_sequences else None
        outputs = [output, output] if self.merge_mode is None else [output]
        if not self.return_state:
            return outputs if self.merge_mode is None else outputs[0]
        return outputs + [None] * 2 * len(self.forward_layer.states)

    # ---- calling

    def __call__(self, inputs, initial_state=None, constants=None, **kwargs):
        """Apply; initial_state lists the states of the forward, then of the backward layer."""
        inputs, states, constants = _unpack(inputs, initial_state, constants, self._num_constants)
        if constants:
            self._num_constants = len(constants)
            for layer in self._directions:
                layer._num_constants = len(constants)
        if len(states) % 2:
            raise ValueError("When passing `initial_state` to a Bidirectional RNN, the state "
                             "should be a list containing the states of the underlying RNNs, "
                             f"forward then backward: got {len(states)} tensors, expected an "
                             "even number.")
        extra = states + constants
        if not extra:
            return super().__call__(inputs, **kwargs)
        if all(hasattr(t, "_keras_history") for t in extra):
            spec = self.input_spec
            self.input_spec = to_list(spec)[:1] + [InputSpec(shape=(None, *keras_shape(t)[1:]))
                                                   for t in extra]
            try:
                return super().__call__([inputs, *extra], **kwargs)
            finally:
                self.input_spec = spec
        return super().__call__(inputs, initial_state=states or None,
                                constants=constants or None, **kwargs)

    def call(self, inputs, mask=None, training=None, initial_state=None, constants=None):
        if isinstance(inputs, (list, tuple)):
            inputs, initial_state, constants = _unpack(inputs, None, None, self._num_constants)
        half = len(initial_state or []) // 2
        halves = [initial_state[:half], initial_state[half:]] if initial_state else [None, None]
        outputs, states = [], []
        for layer, state in zip(self._directions, halves, strict=True):
            found = layer.call(inputs, mask=mask, training=training, initial_state=state,
                               constants=constants)
            found = to_list(found, allow_tuple=True)
            outputs.append(found[0])
            states += found[1:]
        forward, backward = outputs
        if self.return_sequences:
            backward = K.reverse(backward, 1)
        merged = self._merge(forward, backward)
        return [*to_list(merged), *states] if self.return_state else merged

    def _merge(self, a, b):
        if self.merge_mode == "concat":
            return K.concatenate([a, b])
        if self.merge_mode is None:
            return [a, b]
        return {"sum": a + b, "ave": (a + b) / 2.0, "mul": a * b}[self.merge_mode]

    def reset_states(self):
        """Set the states of both directions to zero."""
        for layer in self._directions:
            layer.reset_states()

    def get_config(self):
        config = {**super().get_config(), "merge_mode": self.merge_mode}
        if self._num_constants is not None:
            config["num_constants"] = self._num_constants
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        number = config.pop("num_constants", None)
        layer = super().from_config(config, custom_objects)
        layer._num_constants = number
        return layer


__all__ = ["Bidirectional"]
