"""Layers of several inputs, each with a function of the same name in lower case."""
import sys
import types
import warnings
from functools import reduce as fold

from .. import backend as K
from ..utils.generic_utils import is_all_none
from .base import Layer
from .core import Lambda, Reshape


class _Merge(Layer):
    """Combine a list of tensors elementwise; smaller ranks get axes of size 1 behind the first."""

    supports_masking = True
    count = None                                   # exact number of inputs, None for two or more

    def _merge_function(self, inputs):
        """The combination of tensors of equal rank."""
        raise NotImplementedError(f"{type(self).__name__}._merge_function")

    def build(self, input_shape):
        self._require_list(input_shape)
        batches = {shape[0] for shape in input_shape if shape} - {None}
        if len(batches) > 1:
            raise ValueError("Can not merge tensors with different batch sizes. Got tensors with "
                             "shapes : "
                             f"{input_shape}{self._place()}")
        fold(self._broadcast_shapes, [tuple(shape[1:]) for shape in input_shape])
        super().build(input_shape)

    def _require_list(self, inputs):
        if not isinstance(inputs, list) or len(inputs) < 2 or self.count not in (None, len(inputs)):
            wanted = f"exactly {self.count}" if self.count else "at least 2"
            got = f"{len(inputs)} inputs" if isinstance(inputs, list) else "one tensor"
            raise ValueError(f"{type(self).__name__}: a merge layer should be called on a list of "
                             f"{wanted} inputs. "
                             f"Got {got}{self._place()}")

    def _broadcast_shapes(self, a, b):
        """Shape (without batch axis) of the result of two inputs."""
        if len(a) < len(b):
            a, b = b, a
        head, tail = a[:len(a) - len(b)], a[len(a) - len(b):]
        result = list(head)
        for i, j in zip(tail, b):
            if i is not None and j is not None and i != j and 1 not in (i, j):
                raise ValueError(f"Operands could not be broadcast together with shapes {a} {b} "
                                 "(without batch "
                                 f"axis){self._place()}")
            result.append(j if i == 1 else i if j in (1, i) else None)
        return tuple(result)

    def call(self, inputs):
        self._require_list(inputs)
        rank = max(K.ndim(x) for x in inputs)
        return self._merge_function([self._raise_rank(x, rank) for x in inputs])

    @staticmethod
    def _raise_rank(x, rank):
        for _ in range(rank - K.ndim(x)):
            x = K.expand_dims(x, axis=1)
        return x

    def compute_mask(self, inputs, mask=None):
        if is_all_none(mask):
            return None
        self._require_masks(inputs, mask)
        return fold(_both, [m for m in mask if m is not None])

    def _require_masks(self, inputs, mask):
        if not isinstance(mask, list) or not isinstance(inputs, list) or len(mask) != len(inputs):
            raise ValueError(f"`mask` and `inputs` of {self.name} should be lists of the same "
                             "length, got "
                             f"{mask!r} and {inputs!r}.")


def _both(a, b):
    return K.all(K.stack([a, b], axis=0), axis=0)


class Add(_Merge):
    """Sum of the inputs."""

    def _merge_function(self, inputs):
        return fold(lambda a, b: a + b, inputs)


class Subtract(_Merge):
    """First input minus the second."""

    count = 2

    def _merge_function(self, inputs):
        return inputs[0] - inputs[1]


class Multiply(_Merge):
    """Elementwise product of the inputs."""

    def _merge_function(self, inputs):
        return fold(lambda a, b: a * b, inputs)


class Average(_Merge):
    """Mean of the inputs."""

    def _merge_function(self, inputs):
        return fold(lambda a, b: a + b, inputs) / len(inputs)


class Maximum(_Merge):
    """Elementwise largest of the inputs."""

    def _merge_function(self, inputs):
        return fold(K.maximum, inputs)


class Minimum(_Merge):
    """Elementwise smallest of the inputs."""

    def _merge_function(self, inputs):
        return fold(K.minimum, inputs)


class Concatenate(_Merge):
    """The inputs side by side along `axis`; all other sizes must agree."""

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.keep(axis=axis)

    def build(self, input_shape):
        self._require_list(input_shape)
        axis, rank = self.axis, len(input_shape[0])
        for shape in input_shape:
            same = len(shape) == rank and all(
                i == axis % rank or None in (a, b) or a == b
                for i, (a, b) in enumerate(zip(shape, input_shape[0])))
            if not same:
                raise ValueError(
                    "A `Concatenate` layer requires inputs with matching shapes except for the "
                    "concat axis. Got "
                    f"inputs shapes: {input_shape}, axis {axis}{self._place()}")
        Layer.build(self, input_shape)

    def call(self, inputs):
        self._require_list(inputs)
        return K.concatenate(inputs, axis=self.axis)

    def compute_mask(self, inputs, mask=None):
        if is_all_none(mask):
            return None
        self._require_masks(inputs, mask)
        masks = []
        for x, m in zip(inputs, mask):
            if m is None:
                masks.append(K.ones_like(x, dtype="bool"))
            else:
                masks.append(K.expand_dims(m, -1) if K.ndim(m) < K.ndim(x) else m)
        masks = [K.all(m, axis=-1, keepdims=True) for m in masks]
        return K.all(K.concatenate(masks, axis=self.axis), axis=-1)


class Dot(_Merge):
    """Dot product of each sample of two inputs.

    # Arguments
        axes: axis, or pair of axes, to sum over: (batch, n, a) and (batch, n, b) with axes=1 give
            (batch, a, b). Inputs of rank 2 give (batch, 1).
        normalize: L2-normalise along the axes first, which makes it the cosine.
    """

    count = 2

    def __init__(self, axes, normalize=False, **kwargs):
        super().__init__(**kwargs)
        pair = isinstance(axes, (list, tuple)) and [type(axis) for axis in axes] == [int, int]
        if not isinstance(axes, int) and not pair:
            raise TypeError(f"Invalid type for `axes` of Dot: {axes!r}, expected an int or two of "
                            "them.")
        self.keep(axes=axes, normalize=normalize)

    def _pair(self, ranks):
        axes = [self.axes] * 2 if isinstance(self.axes, int) else self.axes
        return [axis % rank for axis, rank in zip(axes, ranks)]

    def build(self, input_shape):
        self._require_list(input_shape)
        a, b = input_shape
        i, j = self._pair((len(a), len(b)))
        if None not in (a[i], b[j]) and a[i] != b[j]:
            raise ValueError(f"Dimension incompatibility {a[i]} != {b[j]}. Layer shapes: {a}, "
                             f"{b}, axes "
                             f"{self.axes}{self._place()}")
        Layer.build(self, input_shape)

    def call(self, inputs):
        self._require_list(inputs)
        axes = self._pair([K.ndim(x) for x in inputs])
        if self.normalize:
            inputs = [K.l2_normalize(x, axis=axis) for x, axis in zip(inputs, axes)]
        return K.batch_dot(*inputs, axes=axes)

    def compute_mask(self, inputs, mask=None):
        return None


def add(inputs, **kwargs):
    """Sum of a list of tensors, as a layer `Add(**kwargs)`."""
    return Add(**kwargs)(inputs)


def subtract(inputs, **kwargs):
    """First minus second of a list of two tensors, as a layer."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs, **kwargs):
    """Elementwise product of a list of tensors, as a layer."""
    return Multiply(**kwargs)(inputs)


def average(inputs, **kwargs):
    """Mean of a list of tensors, as a layer."""
    return Average(**kwargs)(inputs)


def maximum(inputs, **kwargs):
    """Elementwise largest of a list of tensors, as a layer."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs, **kwargs):
    """Elementwise smallest of a list of tensors, as a layer."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs, axis=-1, **kwargs):
    """A list of tensors side by side along `axis`, as a layer."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs, axes, normalize=False, **kwargs):
    """Dot product of two tensors over `axes`, as a layer."""
    return Dot(axes=axes, normalize=normalize, **kwargs)(inputs)


class _Module(types.ModuleType):
    """This module, which before Keras 2.2 was a function: `merge([a, b], mode="concat")`."""

    def __call__(self, inputs, mode="sum", concat_axis=-1, dot_axes=-1, output_shape=None,
                 output_mask=None, arguments=None, node_indices=None, tensor_indices=None,
                 name=None):
        """One tensor of a list of tensors.

        # Arguments
            mode: "sum", "mul", "ave", "max", "concat", "dot", "cos" (a dot product of vectors of
                length 1, with a new axis behind the first), or a function of the list.
            concat_axis: of "concat".
            dot_axes: of "dot" and "cos".
            output_shape, output_mask, arguments: of a function, as for Lambda.
            node_indices, tensor_indices: are not used, tensors know where they come from.
        """
        if callable(mode):
            new = Lambda(mode, output_shape, mask=output_mask, arguments=arguments, name=name)
        elif mode == "concat":
            new = Concatenate(concat_axis, name=name)
        elif mode in ("dot", "cos"):
            axes = list(dot_axes) if isinstance(dot_axes, tuple) else dot_axes
            new = Dot(axes, normalize=mode == "cos", name=name)
        elif mode in _MODES:
            new = _MODES[mode](name=name)
        else:
            raise ValueError(f"merge: unknown mode {mode!r}, expected sum, mul, ave, max, concat, "
                             "dot, cos or a function")
        config = "" if not isinstance(new, (Concatenate, Dot)) else (
            f"axis={new.axis}" if isinstance(new, Concatenate) else f"axes={new.axes}")
        warnings.warn(f"`merge` went with Keras 2.2. Update your call: `{type(new).__name__}"
                      f"({config})([...])`", stacklevel=2)
        y = new(inputs)
        return Reshape((1, *K.int_shape(y)[1:]))(y) if mode == "cos" else y


_MODES = {"sum": Add, "mul": Multiply, "ave": Average, "max": Maximum}
sys.modules[__name__].__class__ = _Module

__all__ = ["Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract",
           "add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract"]
