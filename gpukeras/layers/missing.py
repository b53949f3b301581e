"""What stands in for classes and functions that a file names and nobody has given.

A model with stand-ins has its graph, its weights and its config, and can be saved again. It
predicts as long as no layer that stands in is needed.
"""
import contextlib
import math

from .. import backend as K
from ..graph import TensorType
from ..ops.composite import Composite
from ..utils import generic_utils
from ..utils.generic_utils import to_list
from .base import Layer
from .node import keras_shape


class Missing:
    """What was missing while something was loaded.

    Attributes:
        found: dict (kind, name) -> names of the layers it was wanted for (of a layer class only).
        shapes: dict layer name -> what the layers behind it tell of its output: "rank", "last"
            (size of the last axis), "size" (product without batch axis), "outputs" (how many).
        failed: (kind, name) of what a model could not be compiled without, or None.
        weights: dict layer name -> [(shape, dtype)] of the weights that the file has for it.
    """

    def __init__(self):
        self.found, self.shapes, self.weights, self.failed = {}, {}, {}, None

    def note(self, kind, name, layer=None):
        names = self.found.setdefault((kind, name), [])
        if layer is not None and layer not in names:
            names.append(layer)

    def __str__(self):
        return ", ".join(f"the {kind} {name}" + (f" (of {', '.join(map(str, layers[:5]))}"
                                                 f"{', ...' if len(layers) > 5 else ''})"
                                                 if layers else "")
                         for (kind, name), layers in self.found.items())


_now = []                                          # the innermost loading that takes stand-ins


@contextlib.contextmanager
def stand_ins():
    """What is not known inside the block is stood in for; gives the `Missing` that lists it.

        with stand_ins() as missing:
            model = model_from_json(text)
        print(missing)
    """
    _now.append(Missing())
    before, generic_utils.stand_in = generic_utils.stand_in, _stand_in
    try:
        yield _now[-1]
    finally:
        generic_utils.stand_in = before
        _now.pop()


def current():
    """The `Missing` of the block we are in, or None."""
    return _now[-1] if _now else None


def _stand_in(kind, name):
    """A class or function for a name that is not known; None where nothing can stand in."""
    if not isinstance(name, str) or not name.isidentifier():
        return None
    if kind == "layer":
        return type(name, (MissingLayer,), {})
    if kind in ("initializer", "regularizer", "constraint", "activation function"):
        _now[-1].note(kind, name)
        return _function(name) if kind == "activation function" else type(name, (_Piece,), {})
    return None


class _Piece:
    """In the place of an initializer, regularizer or constraint: keeps its config, changes nothing.
    """

    def __init__(self, **config):
        self.config = config

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def get_config(self):
        return self.config

    def __call__(self, x, dtype=None):
        if isinstance(x, (tuple, list)):           # an initializer: the file has the values
            return K.zeros(x, dtype=dtype)
        return x if K.is_tensor(x) else K.constant(0.)


def _function(name):
    text = _advice("activation function", name)

    def missing(x):
        return MissingOp(text, ((x.dtype, tuple(x.shape[1:])),))(x)

    missing.__name__ = name
    return missing


def _advice(kind, name):
    return (f"the {kind} {name} is not known, and something stands in its place to load weights "
            f"and graph. Try: load_model(path, custom_objects={{{name!r}: {name}}})")


class MissingOp(Composite):
    """An output that cannot be computed: the error says what is missing.

    params: text of the error; ((dtype, shape without batch axis), ...) of the outputs.
    """

    params = ("text", "outputs")

    def infer(self, *types):
        batch = types[0].shape[0] if types and types[0].shape else None
        known = batch is not None
        found = tuple(TensorType(dtype, (batch, *(1 if known and n is None else n for n in shape)))
                      for dtype, shape in self.outputs)
        return found if len(found) > 1 else found[0]

    def expand(self, *inputs):
        raise ValueError(self.text)

    def grad(self, node, *gys):
        return to_list(MissingGrad(self.text)(*node.inputs), allow_tuple=True)


class MissingGrad(Composite):
    """Gradients by the inputs of a `MissingOp`, so that an optimizer's state can be loaded."""

    params = ("text",)

    def infer(self, *types):
        return types if len(types) > 1 else types[0]

    def expand(self, *inputs):
        raise ValueError(self.text)


def _shape(shape, told):
    """Shape of the output, without batch axis: that of the input if nothing else is told."""
    size, rank, last = told.get("size"), told.get("rank"), told.get("last")
    if size is not None:
        fits = None not in shape and math.prod(shape) == size and len(shape) > 1
        return tuple(shape) if fits else (1, size)
    if rank is not None and rank - 1 != len(shape):
        shape = (*[None] * (rank - 2), shape[-1] if shape else None)
    return (*shape[:-1], last) if last is not None and shape else tuple(shape)


class MissingLayer(Layer):
    """A layer of a class that is not known, or a Lambda whose function is not.

    Its class bears the name that the file has. The output's shape is that of the input, unless the
    weights of the layers behind it tell another; the weights are made when they are read.
    """

    supports_masking = True
    is_missing = True

    def __init__(self, reason=None, **kwargs):
        super().__init__(**kwargs)
        name = type(self).__name__
        self._stored, self._has_weights = {}, False
        self.reason = f"layer {self.name}: " + (reason or _advice("layer class", name))

    @classmethod
    def from_config(cls, config, reason=None):
        config = config if isinstance(config, dict) else {}
        known = {key: config[key] for key in ("name", "trainable", "batch_input_shape")
                 if key in config}
        layer = cls(reason, **known)
        layer._stored = config
        missing = current()
        if missing is not None:
            missing.note("layer class" if reason is None else "function of",
                         cls.__name__ if reason is None else layer.name,
                         layer.name if reason is None else None)
        return layer

    def get_config(self):
        return dict(self._stored) or super().get_config()

    def call(self, inputs, **kwargs):
        inputs, missing = to_list(inputs, allow_tuple=True), current()
        told = missing.shapes.get(self.name, {}) if missing is not None else {}
        shape = _shape(keras_shape(inputs[0])[1:], told)
        count = told.get("outputs", 1)
        found = MissingOp(self.reason, ((self.dtype, shape),) * count)(*inputs, *self.weights)
        return list(found) if count > 1 else found

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_mask(self, inputs, mask=None):
        return mask[0] if isinstance(mask, (list, tuple)) else mask

    def build(self, input_shape):
        self.take(current().weights.get(self.name, []) if current() else [])
        super().build(input_shape)

    def take(self, weights):
        """Make weights for [(shape, dtype)], unless it has them."""
        if self._has_weights or not weights:
            return
        self._has_weights = True
        for i, (shape, dtype) in enumerate(weights):
            self.add_weight(f"weight_{i}", shape, dtype=dtype, initializer="zeros")
