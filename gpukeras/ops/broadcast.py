"""Moving between shapes: the ops that the gradient of every other op needs.

While sizes are unknown, `*Like` ops take a second input for its shape only; once all sizes are
known,
`static` turns them into the plain op and the second input is no longer needed.
"""
from __future__ import annotations

from math import prod
from typing import Sequence

import numpy as np

from ..errors import ShapeError
from ..graph import Constant, Node, Op, Tensor, TensorType, broadcast_shapes
from .plans_reduce import plan_sum
from .host_sum import bind_sum
from .record import VIEW, Expr, Kernel


def normal_axes(axes: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Sorted axes counted from 0; None means all."""
    if axes is None:
        return tuple(range(ndim))
    axes = (axes,) if isinstance(axes, (int, np.integer)) else tuple(axes)
    for a in axes:
        if not -ndim <= a < ndim:
            raise ShapeError(f"axis out of range: got {a} for a tensor of rank {ndim}, "
                             f"expected {-ndim} to {ndim - 1}")
    return tuple(sorted({int(a) % ndim for a in axes}))


def reduced_shape(shape: tuple, axes: tuple[int, ...], keepdims: bool) -> tuple:
    """The shape after reducing `axes`."""
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


class Reshape(Op):
    """The same elements, in row-major order, under another shape. One size may be -1."""

    params = ("shape",)
    cuda = VIEW
    view = True

    def infer(self, x: TensorType) -> TensorType:
        known = prod(d for d in self.shape if d != -1)
        if x.size is None:
            return x.with_shape(None if d == -1 else d for d in self.shape)
        if -1 in self.shape and known and x.size % known == 0:
            return x.with_shape(x.size // known if d == -1 else d for d in self.shape)
        if known != x.size or -1 in self.shape:
            raise ShapeError(f"the number of elements changes: got {x} ({x.size} elements), "
                             f"expected shape {self.shape}")
        return x.with_shape(self.shape)

    def grad(self, node: Node, gy: Tensor):
        return (reshape_like(gy, node.inputs[0]),)

    def numpy(self, x):
        return x.reshape(self.shape)


class ReshapeLike(Op):
    """x under the shape of the second input."""

    cuda = VIEW
    view = True

    def infer(self, x: TensorType, like: TensorType) -> TensorType:
        return x.with_shape(like.shape)

    def grad(self, node: Node, gy: Tensor):
        return reshape_like(gy, node.inputs[0]), None

    def static(self, x: Tensor, like: Tensor) -> Tensor | None:
        return reshape(x, like.shape) if like.type.is_static else None

    def numpy(self, x, like):
        return x.reshape(like.shape)


class DynamicReshape(Op):
    """x under a shape that is a tensor (int vector); `hint` holds the sizes already known."""

    params = ("hint",)
    cuda = VIEW
    view = True

    def infer(self, x: TensorType, shape: TensorType) -> TensorType:
        return x.with_shape(self.hint)

    def grad(self, node: Node, gy: Tensor):
        return reshape_like(gy, node.inputs[0]), None

    def static(self, x: Tensor, shape: Tensor) -> Tensor | None:
        value = getattr(shape, "value", None)
        return None if value is None else reshape(x, tuple(int(d) for d in value))

    def numpy(self, x, shape):
        return x.reshape(tuple(shape))


class ExpandDims(Op):
    """x with axes of size 1 put in, so that they stand at `axes` of the result."""

    params = ("axes",)
    cuda = VIEW
    view = True

    def infer(self, x: TensorType) -> TensorType:
        shape = list(x.shape)
        for a in normal_axes(self.axes, x.ndim + len(self.axes)):
            shape.insert(a, 1)
        return x.with_shape(shape)

    def grad(self, node: Node, gy: Tensor):
        return (squeeze(gy, self.axes),)

    def static(self, x: Tensor) -> Tensor | None:
        return reshape(x, self.infer(x.type).shape) if x.type.is_static else None

    def numpy(self, x):
        return np.expand_dims(x, self.axes)


class Squeeze(Op):
    """x without the `axes`, each of size 1."""

    params = ("axes",)
    cuda = VIEW
    view = True

    def infer(self, x: TensorType) -> TensorType:
        axes = normal_axes(self.axes, x.ndim)
        for a in axes:
            if x.shape[a] not in (1, None):
                raise ShapeError(f"cannot drop axis {a}: got {x}, expected size 1 there")
        return x.with_shape(reduced_shape(x.shape, axes, False))

    def grad(self, node: Node, gy: Tensor):
        return (expand_dims(gy, normal_axes(self.axes, node.inputs[0].ndim)),)

    def static(self, x: Tensor) -> Tensor | None:
        return reshape(x, self.infer(x.type).shape) if x.type.is_static else None

    def numpy(self, x):
        return np.squeeze(x, self.axes)


class BroadcastTo(Op):
    """x repeated along axes of size 1 (and new leading ones) up to `shape`."""

    params = ("shape",)
    renames = True                                 # no work of its own inside a fused op
    cuda = Expr("a")

    def infer(self, x: TensorType) -> TensorType:
        if x.is_static and broadcast_shapes(x.shape, self.shape) != self.shape:
            raise ShapeError(f"got {x}, expected a shape that broadcasts to {self.shape}")
        return x.with_shape(self.shape)

    def grad(self, node: Node, gy: Tensor):
        return (sum_like(gy, node.inputs[0]),)

    def numpy(self, x):
        return np.broadcast_to(x, self.shape)

    def into(self, out, x):
        np.copyto(out, x)


class BroadcastLike(Op):
    """x repeated up to the shape of the second input."""

    def infer(self, x: TensorType, like: TensorType) -> TensorType:
        return x.with_shape(like.shape)

    def grad(self, node: Node, gy: Tensor):
        return sum_like(gy, node.inputs[0]), None

    def static(self, x: Tensor, like: Tensor) -> Tensor | None:
        return broadcast_to(x, like.shape) if like.type.is_static else None

    def numpy(self, x, like):
        return np.broadcast_to(x, like.shape)


class Sum(Op):
    """Sum over `axes` (all of them counted from 0)."""

    params = ("axes", "keepdims")
    cuda = Kernel("reduce.cu", plan_sum)
    keepdims = False

    def infer(self, x: TensorType) -> TensorType:
        axes = normal_axes(self.axes, x.ndim)
        dtype = "int32" if x.dtype == "bool" else x.dtype
        return TensorType(dtype, reduced_shape(x.shape, axes, self.keepdims))

    def grad(self, node: Node, gy: Tensor):
        x, = node.inputs
        if not self.keepdims:
            gy = expand_dims(gy, self.axes)
        return (broadcast_like(gy, x),)

    def numpy(self, x):
        return np.sum(x, axis=self.axes, keepdims=self.keepdims, dtype=self.infer_dtype(x))

    @staticmethod
    def infer_dtype(x):
        return "int32" if x.dtype == np.bool_ else x.dtype

    def host(self, ins, outs):
        return bind_sum(*ins, *outs, self.axes)


class SumLike(Op):
    """Undo a broadcast: sum x down to the shape of the second input."""

    def infer(self, x: TensorType, like: TensorType) -> TensorType:
        return x.with_shape(like.shape)

    def grad(self, node: Node, gy: Tensor):
        return broadcast_like(gy, node.inputs[0]), None

    def static(self, x: Tensor, like: Tensor) -> Tensor | None:
        if not (x.type.is_static and like.type.is_static):
            return None
        axes = _broadcast_axes(x.shape, like.shape)
        return reshape(Sum(axes)(x), like.shape) if axes else x

    def numpy(self, x, like):
        return np.sum(x, axis=_broadcast_axes(x.shape, like.shape)).reshape(like.shape)


def _broadcast_axes(wide: tuple, narrow: tuple) -> tuple[int, ...]:
    lead = len(wide) - len(narrow)
    return tuple(range(lead)) + tuple(
        i + lead for i, d in enumerate(narrow) if d == 1 and wide[i + lead] != 1)


class Shape(Op):
    """The shape of x as an int32 vector; a constant once sizes are known."""

    def infer(self, x: TensorType) -> TensorType:
        return TensorType("int32", (x.ndim,))

    def grad(self, node: Node, gy: Tensor):
        return (None,)

    def static(self, x: Tensor) -> Tensor | None:
        return Constant(x.shape, "int32") if x.type.is_static else None

    def numpy(self, x):
        return np.array(x.shape, "int32")


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x under `shape`; one size may be -1."""
    shape = tuple(int(d) for d in shape)
    return x if shape == x.shape else Reshape(shape)(x)


def reshape_like(x: Tensor, like: Tensor) -> Tensor:
    return reshape(x, like.shape) if like.type.is_static else ReshapeLike()(x, like)


def expand_dims(x: Tensor, axes: int | Sequence[int]) -> Tensor:
    """x with axes of size 1 at `axes` of the result."""
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    return ExpandDims(normal_axes(axes, x.ndim + len(axes)))(x) if axes else x


def squeeze(x: Tensor, axes: int | Sequence[int]) -> Tensor:
    """x without the given axes of size 1."""
    return Squeeze(normal_axes(axes, x.ndim))(x)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    shape = tuple(int(d) for d in shape)
    return x if shape == x.shape else BroadcastTo(shape)(x)


def broadcast_like(x: Tensor, like: Tensor) -> Tensor:
    return broadcast_to(x, like.shape) if like.type.is_static else BroadcastLike()(x, like)


def sum_like(x: Tensor, like: Tensor) -> Tensor:
    if x.type.is_static and x.shape == like.shape:
        return x
    return SumLike()(x, like)


def sum_(x: Tensor, axes: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Sum over the axes; None sums all of them."""
    axes = normal_axes(axes, x.ndim)
    return Sum(axes, bool(keepdims))(x) if axes else x
