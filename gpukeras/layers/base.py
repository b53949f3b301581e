"""Layer: weights, calls, losses, updates and config of everything a model is made of."""
import inspect

import numpy as np

from .. import activations, constraints, initializers, metrics, policy, regularizers
from .. import backend as K
from ..graph import Placeholder, Tensor, Variable, layer_scope, mark
from ..graph.op import where
from ..graph.origin import current as current_origin
from ..utils.generic_utils import (has_arg, is_all_none, nearest_names, to_list, to_snake_case,
                                   unpack_singleton)
from .node import NodeProperties, collect_masks, connect, keras_shape
from .spec import InputSpec, check_inputs
from .terms import Terms, frames, on_types, types_only, unique

_KEYWORDS = ("input_shape", "batch_input_shape", "batch_size", "dtype", "name", "trainable",
             "weights", "input_dtype")
# the end of an argument's name tells what turns an identifier into an object and back
_KINDS = (("activation", activations), ("initializer", initializers), ("regularizer", regularizers),
          ("constraint", constraints))



class Layer(NodeProperties, Terms):
    """A piece of a model: makes its weights in `build`, tensors of tensors in `call`.

    # Arguments
        name: unique name in a model; made from the class name if not given.
        trainable: whether training changes the weights.
        dtype: data type of the weights, floatx if not given; or a policy of mixed precision, see
            `gpukeras.mixed_precision`.
        input_shape, batch_input_shape, batch_size: shape of the input without or with batch axis,
            for the first layer of a Sequential.
        weights: list of arrays, set when the layer is built.

    To write one, override `build(input_shape)`, `call(inputs)` and, for saving, `__init__` with
    `self.keep(...)` or `get_config()`. `compute_output_shape` follows from `call`.
    """

    input_spec = None
    supports_masking = False
    stateful = False
    built = False
    activity_regularizer = None
    # under a policy: inputs, and the weights while `call` runs, come in the type of computation
    casts_inputs = casts_weights = True
    _kept = ()
    _policy = None

    def __new__(cls, *args, **kwargs):
        # here and not in __init__, before which a subclass may set attributes
        self = super().__new__(cls)
        self._inbound_nodes, self._outbound_nodes = [], []
        self._trainable_weights, self._non_trainable_weights = [], []
        self._weights_listed = False               # the user gave the list: look no further
        self._losses, self._updates, self._metrics, self._measured = [], [], [], []
        self._initial_weights = None
        return self

    # what `inspect` says about layers that have no __init__ of their own
    __new__.__signature__ = inspect.Signature([
        inspect.Parameter("cls", inspect.Parameter.POSITIONAL_ONLY),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)])

    def __init__(self, **kwargs):
        for name in kwargs:
            if name not in _KEYWORDS:
                raise TypeError(_unknown_keyword(type(self), name))
        self.name = kwargs.get("name") or self._automatic_name()
        self.trainable = kwargs.get("trainable", True)
        if kwargs.get("batch_input_shape") is not None:
            self.batch_input_shape = _shape("batch_input_shape", kwargs["batch_input_shape"])
        elif kwargs.get("input_shape") is not None:
            shape = _shape("input_shape", kwargs["input_shape"])
            self.batch_input_shape = (kwargs.get("batch_size"), *shape)
        self._policy = policy.policy_of(kwargs.get("dtype") or kwargs.get("input_dtype"))
        self.dtype = self._policy.variable_dtype
        self._initial_weights = kwargs.get("weights")

    def _automatic_name(self):
        prefix = to_snake_case(type(self).__name__)
        return f"{prefix}_{K.get_uid(prefix)}"

    @property
    def dtype_policy(self):
        """The Policy of the layer: in which types it computes and keeps its weights."""
        own = self._policy
        if own is None or own.variable_dtype != self.dtype:       # set by hand
            own = self._policy = policy.policy_of(self.dtype)
        return own

    @property
    def compute_dtype(self):
        """The data type in which the layer computes."""
        return self.dtype_policy.compute_dtype

    @property
    def variable_dtype(self):
        """The data type of the weights."""
        return self.dtype

    # ---------------------------------------------------------------- arguments and config

    def keep(self, **arguments):
        """Make constructor arguments attributes and part of the config, in this order.

        An argument called `activation` or ending in `_activation`, `_initializer`, `_regularizer`,
        `_constraint` may be a name, a config or a callable: the attribute is the object it stands
        for.
        """
        for name, value in arguments.items():
            kind = _kind_of(name)
            setattr(self, name, value if kind is None else kind.get(value))
        self._kept += tuple(name for name in arguments if name not in self._kept)

    def get_config(self):
        """Everything `from_config` needs to make the layer again, as a dict for JSON."""
        config = {"name": self.name, "trainable": self.trainable}
        if getattr(self, "batch_input_shape", None) is not None:
            config["batch_input_shape"] = self.batch_input_shape
        mixed = self.dtype_policy.is_mixed
        config["dtype"] = policy.serialize(self.dtype_policy) if mixed else self.dtype
        for name in self._kept:
            kind, value = _kind_of(name), getattr(self, name)
            config[name] = value if kind is None or value is None else kind.serialize(value)
        return config

    @classmethod
    def from_config(cls, config):
        try:
            return cls(**config)
        except TypeError as error:
            if cls.get_config is not Layer.get_config or cls._kept:
                raise
            raise TypeError(f"{error}. The layer was saved without its own arguments. Try: "
                            f"self.keep(...) in {cls.__name__}.__init__, or a get_config that adds "
                            "them, before saving.") from None

    # ---------------------------------------------------------------- what a subclass defines

    def build(self, input_shape):
        """Make the weights.

        input_shape: tuple with batch axis, None where unknown; a list of them for several inputs.
        """
        self.built = True

    def call(self, inputs, **kwargs):
        """The layer's output for symbolic `inputs`."""
        return inputs

    def compute_mask(self, inputs, mask=None):
        """Mask of the output: that of the input if the layer supports masking."""
        if self.supports_masking:
            return mask
        if not is_all_none(mask):
            raise TypeError(f"Layer {self.name} does not support masking, but was passed an "
                            f"input_mask: {mask}"
                            f"{self._place()}")
        return None

    def compute_output_shape(self, input_shape):
        """Shape of the output for an input of that shape, found by `call` on types alone."""
        several = is_list_of_shapes(input_shape)
        shapes = [tuple(s) for s in (input_shape if several else [input_shape])]
        layer = self
        if not self.built:
            try:
                layer = type(self).from_config(self.get_config())
            except (TypeError, NotImplementedError):         # a user's layer without a config
                return input_shape
        with on_types():
            if not layer.built:
                layer.build(unpack_singleton(shapes) if not several else shapes)
            inputs = [Placeholder(self.dtype, shape) for shape in shapes]
            outputs = layer.call(inputs if several else inputs[0])
        found = [keras_shape(y) for y in to_list(outputs, allow_tuple=True)]
        return found if isinstance(outputs, (list, tuple)) else found[0]

    # ---------------------------------------------------------------- calling

    def __call__(self, inputs, **kwargs):
        """Apply the layer to a tensor or a list of tensors, building it at the first call.

        # Raises
            ValueError: for what is no tensor, or a shape that does not fit.
        """
        inputs = list(inputs) if isinstance(inputs, list) else inputs
        with layer_scope(self.name), K.name_scope(self.name):
            self._require_tensors(inputs)
            if not self.built:
                self._build_for(inputs)
            check_inputs(self, inputs, self._place())
            masks, arguments = collect_masks(inputs), dict(kwargs)
            outputs, output_masks = self._apply(inputs, masks, kwargs)
            if types_only():
                return outputs
            fresh = [self._fresh(y) for y in to_list(outputs, allow_tuple=True)]
            connect(self, inputs, fresh, masks, output_masks, arguments)
            self._refine_shapes(inputs, fresh)
        return unpack_singleton(fresh)

    def _require_tensors(self, inputs):
        for x in to_list(inputs, allow_tuple=True):
            if not isinstance(x, Tensor):
                raise ValueError(
                    f"Layer {self.name} was called with an input that isn't a symbolic tensor. "
                    "Received type: "
                    f"{type(x)}. Full input: {inputs}. All inputs to the layer should be tensors."
                    f"{self._place()}\n  Try: Input(shape) for the data of a model, "
                    "K.constant(array) for a "
                    "fixed value, model.predict(array) for numbers.")

    def _build_for(self, inputs):
        check_inputs(self, inputs, self._place())
        self.build(unpack_singleton([keras_shape(x) for x in to_list(inputs, allow_tuple=True)]))
        self.built = True
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
            self._initial_weights = None

    def _apply(self, inputs, masks, kwargs):
        """Run `call`, `compute_mask` and the activity regularizer: (outputs, their masks)."""
        if not is_all_none(masks) and "mask" not in kwargs and has_arg(self.call, "mask"):
            kwargs = {**kwargs, "mask": masks}
        frames.append((self, inputs))
        try:
            with policy.reading_weights(self):
                outputs = self.call(self._as_computed(inputs), **kwargs)
            output_masks = self.compute_mask(inputs, masks)
        finally:
            frames.pop()
        listed = to_list(outputs, allow_tuple=True)
        for y in listed:
            if not isinstance(y, Tensor):
                raise ValueError(f"`call` of layer {self.name} returned {type(y).__name__}, "
                                 "expected a tensor or "
                                 f"a list of tensors.{self._place()}")
        if not isinstance(output_masks, (list, tuple)):
            output_masks = [output_masks] * len(listed)
        if self.activity_regularizer is not None:
            self.add_loss([self.activity_regularizer(policy.in_float32(y)) for y in listed],
                          inputs=inputs)
        return outputs, output_masks

    def _as_computed(self, inputs):
        """Inputs in the type of computation, if they have another and one of the two is short."""
        if not self.casts_inputs:
            return inputs
        if isinstance(inputs, (list, tuple)):
            return type(inputs)([self._as_computed(x) for x in inputs])
        cast = policy.in_compute_type(inputs, self.dtype_policy)
        if cast is not inputs:
            cast.cast_of = inputs
            if hasattr(inputs, "_keras_shape"):
                cast._keras_shape = inputs._keras_shape
        return cast

    def _fresh(self, y):
        """`y` as a tensor of this call alone: equal calls give equal nodes, a history is of one."""
        fresh = mark(y, self.name)
        if hasattr(y, "_keras_shape"):
            fresh._keras_shape = y._keras_shape
        return fresh

    def _refine_shapes(self, inputs, outputs):
        """Fill in sizes that `call` leaves unknown and a user's `compute_output_shape` knows."""
        own = type(self).compute_output_shape
        unknown = any(None in keras_shape(y)[1:] for y in outputs)
        if own is Layer.compute_output_shape or not unknown:
            return
        shapes = unpack_singleton([keras_shape(x) for x in to_list(inputs, allow_tuple=True)])
        told = self.compute_output_shape(shapes)
        told = list(told) if isinstance(told, list) else [told]
        for y, claim in zip(outputs, told):
            if claim is not None and len(claim) == len(keras_shape(y)):
                y._keras_shape = tuple(c if d is None else d for d, c in zip(keras_shape(y), claim))
        node = self._inbound_nodes[-1]
        node.output_shapes = [keras_shape(y) for y in outputs]

    def _place(self):
        """Text for errors: this layer and the user's line, as found by the surrounding call."""
        return where(current_origin())

    def assert_input_compatibility(self, inputs):
        """Raise ValueError if `inputs` do not fit `input_spec`."""
        check_inputs(self, inputs, self._place())

    # ---------------------------------------------------------------- weights

    def add_weight(self, name=None, shape=None, dtype=None, initializer=None, regularizer=None,
                   trainable=True, constraint=None):
        """Make a weight of the layer, usually in `build`.

        # Arguments
            name: `kernel` also finds `kernel_initializer`, `kernel_regularizer` and
                `kernel_constraint` among the arguments kept by `keep`.
            shape: tuple of ints.
            dtype: the layer's, if not given.
            initializer, regularizer, constraint: names, configs or callables; glorot_uniform if no
                initializer is known.
            trainable: False for a weight that updates change, not gradients.

        # Returns
            A variable.
        """
        if isinstance(name, (tuple, list)):        # Keras 1 order: add_weight(shape, ..., name=)
            name, shape = shape, name
        shape = () if shape is None else tuple(shape)
        dtype = dtype or self.dtype or K.floatx()
        if any(size is None for size in shape):
            raise ValueError(f"Weight {name} of layer {self.name} needs a known shape, got "
                             f"{shape}{self._place()}"
                             "\n  Try: give the size of every axis but the first in Input or "
                             "input_shape.")
        if any(size < 0 for size in shape):
            raise ValueError(f"Weight {name} of layer {self.name} cannot have the shape {shape}: "
                             f"expected sizes from 0 on{self._place()}"
                             "\n  Try: a positive number of units or filters.")
        if types_only():
            return Placeholder(dtype, shape, name)

        def of(kind, given, module):
            known = f"{name}_{kind}"
            if given is None and known in self._kept:
                return getattr(self, known)
            return None if given is None else module.get(given)

        initializer = (of("initializer", initializer, initializers)
                       or initializers.get("glorot_uniform"))
        regularizer = of("regularizer", regularizer, regularizers)
        weight = K.variable(initializer(shape, dtype=dtype), dtype=dtype, name=name,
                            constraint=of("constraint", constraint, constraints))
        weight.trainable = trainable
        if regularizer is not None:
            self.add_loss(regularizer(weight))
        (self._trainable_weights if trainable else self._non_trainable_weights).append(weight)
        return weight

    def _sublayers(self):
        """Layers held as attributes, also in lists, tuples and dicts, in order of setting."""
        found = []
        for name, value in vars(self).items():
            if name in ("_inbound_nodes", "_outbound_nodes"):
                continue
            items = list(value.values()) if isinstance(value, dict) else value
            for item in items if isinstance(items, (list, tuple)) else [items]:
                if isinstance(item, Layer) and not any(item is other for other in found):
                    found.append(item)
        return found

    def _own_weights(self, trainable):
        """Weights made by `add_weight`, then variables that are plain attributes."""
        listed = self._trainable_weights if trainable else self._non_trainable_weights
        if self._weights_listed or not trainable:
            return list(listed)
        known = self._trainable_weights + self._non_trainable_weights
        attributes = [v for v in vars(self).values() if isinstance(v, Variable)]
        return listed + unique(attributes, but=known)

    @property
    def trainable_weights(self):
        """Weights that training changes: own ones in order of creation, then those of sublayers."""
        if not self.trainable:
            return []
        return unique(self._own_weights(True) + [w for layer in self._sublayers()
                                                  for w in layer.trainable_weights])

    @trainable_weights.setter
    def trainable_weights(self, weights):
        self._trainable_weights, self._weights_listed = list(weights), True

    @property
    def non_trainable_weights(self):
        """Weights that training leaves alone; of a frozen layer the trainable ones come first."""
        inner = [w for layer in self._sublayers() for w in layer.non_trainable_weights]
        if self.trainable:
            return unique(self._own_weights(False) + inner)
        frozen = [w for layer in self._sublayers() for w in layer.trainable_weights]
        return unique(self._own_weights(True) + frozen + self._own_weights(False) + inner)

    @non_trainable_weights.setter
    def non_trainable_weights(self, weights):
        self._non_trainable_weights = list(weights)

    @property
    def weights(self):
        """Trainable, then non-trainable weights."""
        return self.trainable_weights + self.non_trainable_weights

    def get_weights(self):
        """The values of all weights: a list of arrays in the order of `weights`."""
        return K.batch_get_value(self.weights)

    def set_weights(self, weights):
        """Set all weights from arrays in the order of `weights`; none if one does not fit."""
        self._assign(self.weights, weights)

    def _assign(self, variables, values):
        """Set variables from arrays, all or none."""
        if len(values) != len(variables):
            raise ValueError(f"You called `set_weights(weights)` on layer \"{self.name}\" with a "
                             "weight list of "
                             f"length {len(values)}, but the layer was expecting {len(variables)} "
                             "weights. "
                             f"Provided weights: {str(values)[:50]}...")
        pairs = [(variable, np.asarray(value)) for variable, value in zip(variables, values)]
        for variable, value in pairs:
            if tuple(variable.shape) != value.shape:
                raise ValueError(f"Layer weight shape {tuple(variable.shape)} of {variable.name} "
                                 "not compatible "
                                 f"with provided weight shape {value.shape} in layer "
                                 f"\"{self.name}\".")
        if pairs:
            K.batch_set_value(pairs)

    def count_params(self):
        """Number of scalars in all weights."""
        if not self.built:
            raise RuntimeError(f"You tried to call `count_params` on {self.name}, but the layer "
                               "isn't built. You "
                               "can build it manually via: "
                               f"`{self.name}.build(batch_input_shape)`.")
        return sum(int(np.prod(w.shape)) for w in unique(self.weights))

    # ---------------------------------------------------------------- metrics

    def add_metric(self, value, name=None):
        """Report a tensor while models with this layer run: its mean under `name`, or the result of
        a metric, `add_metric(Mean(name="size")(x))`, as it is."""
        if hasattr(value, "_metric_obj"):
            self._metrics = unique(self._metrics + [value._metric_obj])
            return
        metric = next((m for m in self._metrics if m.name == name), None)
        if metric is None:
            metric = metrics.Mean(name=name)
            self._metrics.append(metric)
        inside = frames and frames[-1][0] is self
        self._record("_measured", [(metric, value)], frames[-1][1] if inside else None)

    @property
    def metrics(self):
        """Metrics of this layer and the layers in it."""
        own = self._metrics + [v for v in vars(self).values() if isinstance(v, metrics.Metric)]
        return unique(own + [m for layer in self._sublayers() for m in layer.metrics])

    def __repr__(self):
        return f"<{type(self).__name__} {getattr(self, 'name', '(unnamed)')}>"


def is_list_of_shapes(shape):
    """True for the shapes of several inputs, False for one shape."""
    return isinstance(shape, list) and all(isinstance(part, (tuple, list)) for part in shape)


def _kind_of(name):
    for ending, module in _KINDS:
        if name == ending or name.endswith("_" + ending):
            return module
    return None


def _shape(name, value):
    try:
        return tuple(None if size is None else int(size) for size in value)
    except (TypeError, ValueError):
        raise TypeError(f"`{name}` must be a tuple of ints or None, got {value!r}. "
                        f"Try: ({value},)") from None


def _unknown_keyword(cls, name):
    """Text of the TypeError for a keyword that the layer class does not know."""
    known = set(_KEYWORDS)
    for base in cls.__mro__:
        if "__init__" in vars(base):
            known.update(p.name for p in inspect.signature(base.__init__).parameters.values()
                         if p.name != "self" and p.kind is not p.VAR_KEYWORD)
    text = f"Keyword argument not understood: {name} in {cls.__name__}(...)"
    near = nearest_names(name, sorted(known))
    return f"{text}. Did you mean {' or '.join(map(repr, near))}?" if near else text


__all__ = ["InputSpec", "Layer"]
