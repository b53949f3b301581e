"""RNN: a cell run over the time steps of a sequence."""
from .. import backend as K
from ..graph import Tensor
from ..utils.generic_utils import has_arg, to_list
from .base import Layer
from .cells import StackedRNNCells, _Cell, run_cell, sizes
from .node import keras_shape
from .sequences import whole_sequence
from .spec import InputSpec
from .terms import types_only


class RNN(Layer):
    """Run a cell over the time axis.

    # Arguments
        cell: a cell, or a list of cells to be stacked. A cell is a layer with `state_size` (an int
            or a tuple of them) and `call(inputs, states) -> (output, new states)`; it may have
            `output_size` and `get_initial_state(inputs)`.
        return_sequences: return the outputs of all steps, not of the last alone.
        return_state: return the last states too.
        go_backwards: walk from the last step to the first; outputs come in the order walked.
        stateful: the states at the end of a batch are where the next batch begins.
        unroll: write the loop out in the graph; the number of steps must be known.

    # Input shape
        `(batch, steps, features)`

    # Output shape
        `(batch, units)`, or `(batch, steps, units)` with return_sequences; a list of it and the
        states with return_state.
    """

    supports_masking = True

    def __init__(self, cell, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, unroll=False, **kwargs):
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        for needed in ("call", "state_size"):
            if not hasattr(cell, needed):
                raise ValueError(f"`cell` should have a `{needed}`: got {cell!r}. Try: a layer with"
                                 " `state_size` and `call(inputs, states)`.")
        if "input_shape" not in kwargs and {"input_dim", "input_length"} & set(kwargs):
            kwargs["input_shape"] = (kwargs.pop("input_length", None),
                                     kwargs.pop("input_dim", None))
        super().__init__(**kwargs)
        self.cell = cell
        self._options = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")
        for name, value in zip(self._options, (return_sequences, return_state, go_backwards,
                                               stateful, unroll), strict=True):
            setattr(self, name, value)
        self.input_spec = [InputSpec(ndim=3)]
        self.constants_spec, self._num_constants, self._state_variables = None, None, None

    # ---- shapes and masks

    @property
    def state_spec(self):
        """What initial states must look like."""
        return [InputSpec(shape=(None, *_dims(size))) for size in sizes(self.cell)]

    def compute_output_shape(self, input_shape):
        shape = input_shape[0] if isinstance(input_shape, list) else input_shape
        size = getattr(self.cell, "output_size", None) or sizes(self.cell)[0]
        output = (*shape[:2 if self.return_sequences else 1], *_dims(size))
        if not self.return_state:
            return output
        return [output] + [(shape[0], *_dims(size)) for size in sizes(self.cell)]

    def compute_mask(self, inputs, mask):
        mask = mask[0] if isinstance(mask, list) else mask
        output = mask if self.return_sequences else None
        return [output] + [None] * len(sizes(self.cell)) if self.return_state else output

    def build(self, input_shape):
        shapes = input_shape if isinstance(input_shape, list) else [input_shape]
        constants = shapes[len(shapes) - (self._num_constants or 0):]
        shape = shapes[0]
        self.input_spec[0] = InputSpec(shape=(shape[0] if self.stateful else None, None,
                                              *shape[2:]))
        if isinstance(self.cell, Layer) and not self.cell.built:
            step = (shape[0], *shape[2:])
            self.cell.build([step, *constants] if constants else step)
            self.cell.built = True
        if self.stateful and not types_only():
            self._make_states(shape[0])
        super().build(input_shape)

    # ---- calling

    def __call__(self, inputs, initial_state=None, constants=None, **kwargs):
        """Apply to a tensor (batch, steps, features).

        initial_state: list of tensors, one for each state; constants: tensors given to each step.
        Both may also follow the input in a list.
        """
        inputs, states, constants = _unpack(inputs, initial_state, constants, self._num_constants)
        if constants:
            self._num_constants = len(constants)
        if not states and not constants:
            return super().__call__(inputs, **kwargs)
        self._check_states(states)
        extra = states + constants
        if all(hasattr(t, "_keras_history") for t in extra):
            spec = self.input_spec
            self.input_spec = to_list(spec)[:1] + [InputSpec(shape=(None, *keras_shape(t)[1:]))
                                                   for t in extra]
            try:
                return super().__call__([inputs, *extra], **kwargs)
            finally:
                self.input_spec = to_list(self.input_spec)[:1]
        if states:
            kwargs["initial_state"] = states
        if constants:
            kwargs["constants"] = constants
        return super().__call__(inputs, **kwargs)

    def _check_states(self, states):
        if states and len(states) != len(sizes(self.cell)):
            raise ValueError(f"Layer {self.name} has {len(sizes(self.cell))} states but was passed "
                             f"{len(states)} initial states.")

    def call(self, inputs, mask=None, training=None, initial_state=None, constants=None):
        if isinstance(inputs, (list, tuple)):
            inputs, initial_state, constants = _unpack(inputs, None, None, self._num_constants)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        steps = keras_shape(inputs)[1]
        if self.unroll and steps is None:
            raise ValueError("Cannot unroll a RNN if the time dimension is undefined. Try: "
                             "input_shape=(steps, features), or unroll=False.")
        states = self._first_states(inputs, initial_state)
        if hasattr(self.cell, "forget_masks"):
            self.cell.forget_masks()
        given = bool(initial_state) or self.stateful
        last, outputs, states = self._walk(inputs, states, mask, training, constants, given)
        if self.stateful and not types_only():
            self.add_update(list(zip(self._state_variables, states, strict=True)))
        output = outputs if self.return_sequences else last
        return [output, *states] if self.return_state else output

    def _first_states(self, inputs, given):
        if given:
            return list(given)
        return list(self._state_variables if self.stateful and self._state_variables
                    else self.get_initial_state(inputs))

    def _walk(self, inputs, states, mask, training, constants, given):
        """(last output, outputs, last states) of the loop over time."""
        options = dict(go_backwards=self.go_backwards, mask=mask, unroll=self.unroll,
                       input_length=keras_shape(inputs)[1])
        if isinstance(self.cell, _Cell) and not constants:
            # all input projections in one product
            projected = self.cell.project(inputs, training)
            # a masked step before all others gives zeros, which only zero states do in the op
            known = None if mask is not None and given else whole_sequence(
                self.cell, projected, states, mask, self.go_backwards)
            if known is not None:
                return known
            return K.rnn(lambda z, s: self.cell.advance(z, s, training), projected, states,
                         **options)
        n, kwargs = len(states), {}
        if has_arg(self.cell.call, "training") or isinstance(self.cell, StackedRNNCells):
            kwargs["training"] = training

        def step(x, s):
            return run_cell(self.cell, x, s[:n], s[n:], kwargs)
        return K.rnn(step, inputs, states, constants=constants, **options)

    def get_initial_state(self, inputs):
        """Zeros for every state, or what the cell's own `get_initial_state` says."""
        if hasattr(self.cell, "get_initial_state"):
            return to_list(self.cell.get_initial_state(inputs))
        # (batch, 1) zeros that follow the batch size of the input, spread over each state
        column = K.sum(K.zeros_like(inputs), axis=list(range(1, K.ndim(inputs))))
        column = K.expand_dims(column, 1)
        return [K.tile(column, (1, size)) for size in sizes(self.cell)]

    # ---- state between batches

    @property
    def states(self):
        """The states kept between batches of a stateful layer, else a list of None."""
        return self._state_variables or [None] * len(sizes(self.cell))

    @states.setter
    def states(self, states):
        self._state_variables = states

    def _make_states(self, batch):
        if batch is None:
            raise ValueError(
                f"If a RNN is stateful, it needs to know its batch size: got {self.name} with an "
                "unknown one. Try: batch_input_shape=(batch, steps, features) in the first layer "
                "of a Sequential, batch_shape in Input.")
        if self._state_variables is None:
            self._state_variables = [K.zeros((batch, *_dims(size)), dtype=self.compute_dtype)
                                     for size in sizes(self.cell)]
            for v in self._state_variables:
                v.trainable = False

    def reset_states(self, states=None):
        """Set the states of a stateful layer to zero, or to given arrays."""
        if not self.stateful:
            raise AttributeError("Layer must be stateful.")
        if self._state_variables is None:
            self._make_states(getattr(self, "batch_input_shape", (None,))[0])
        given = to_list(states) if states is not None else [0.0] * len(self._state_variables)
        if len(given) != len(self._state_variables):
            raise ValueError(f"Layer {self.name} expects {len(self._state_variables)} states, but "
                             f"it received {len(given)} state values. Input received: {states}")
        for variable, value in zip(self._state_variables, given, strict=True):
            if states is None:
                value = K.get_value(variable) * 0
            elif getattr(value, "shape", None) != tuple(variable.shape):
                raise ValueError(f"State of layer {self.name}: expected shape="
                                 f"{tuple(variable.shape)}, found shape="
                                 f"{getattr(value, 'shape', None)}")
            K.set_value(variable, value)

    # ---- config

    def _own_weights(self, trainable):
        # the states are variables too, but no weights
        return []

    def get_config(self):
        config = {**super().get_config(), **{name: getattr(self, name) for name in self._options}}
        if self._num_constants is not None:
            config["num_constants"] = self._num_constants
        cell = {"class_name": type(self.cell).__name__, "config": self.cell.get_config()}
        return {**config, "cell": cell}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        from . import deserialize
        config = dict(config)
        number = config.pop("num_constants", None)
        layer = cls(deserialize(config.pop("cell"), custom_objects=custom_objects), **config)
        layer._num_constants = number
        return layer


def _dims(size):
    """A state size, an int or a tuple (images), as a tuple."""
    return tuple(size) if hasattr(size, "__len__") else (size,)


def _unpack(inputs, states, constants, n_constants):
    """(input, list of states, list of constants), which may all come in one list."""
    if isinstance(inputs, (list, tuple)):
        rest = list(inputs[1:])
        if n_constants:
            rest, constants = rest[:-n_constants], rest[-n_constants:]
        states, inputs = rest or states, inputs[0]

    def listed(x):
        if x is None:
            return []
        return [x] if isinstance(x, Tensor) else list(x)
    return inputs, listed(states), listed(constants)


__all__ = ["RNN"]
