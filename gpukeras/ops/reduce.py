"""Reductions other than the sum (ops/broadcast.py), which every gradient needs."""
from __future__ import annotations

from typing import Sequence

import numpy as np

from ..errors import ShapeError
from ..graph import Constant, Node, Op, Tensor, TensorType, is_float
from ..graph.halves import values_dtype
from .broadcast import broadcast_like, expand_dims, normal_axes, reduced_shape, sum_
from .math import cast, div, equal, square
from .plans_reduce import (plan_argmax, plan_argmin, plan_cumulate, plan_max, plan_min,
                           plan_prod)
from .record import Kernel


class _Reduction(Op):
    """Over `axes` (counted from 0), by the NumPy ufunc `ufunc`."""

    params = ("axes", "keepdims")
    keepdims = False

    def infer(self, x: TensorType) -> TensorType:
        axes = normal_axes(self.axes, x.ndim)
        if any(x.shape[a] == 0 for a in axes) and self.ufunc.identity is None:
            raise ShapeError(f"nothing to choose from: got {x}, "
                             f"expected sizes above 0 at axes {axes}")
        return x.with_shape(reduced_shape(x.shape, axes, self.keepdims))

    def numpy(self, x):
        y = self.ufunc.reduce(x, axis=self.axes, keepdims=self.keepdims, dtype=x.dtype)
        return np.asarray(y)

    def host(self, ins, outs):
        (x,), (y,) = ins, outs
        reduce, axes, keepdims = self.ufunc.reduce, self.axes, self.keepdims
        return lambda: reduce(x, axis=axes, keepdims=keepdims, out=y)

    def kept(self, t: Tensor) -> Tensor:
        """A tensor of the output's shape with the reduced axes put back as 1."""
        return t if self.keepdims else expand_dims(t, self.axes)


class _Extremum(_Reduction):
    def grad(self, node: Node, gy: Tensor):
        # Equal extrema share the gradient, as TensorFlow does.
        x, = node.inputs
        chosen = cast(equal(x, self.kept(node.outputs[0])), gy.dtype)
        return (chosen * (self.kept(gy) / sum_(chosen, self.axes, keepdims=True)),)


class Max(_Extremum):
    """The largest element over `axes`."""

    ufunc = np.maximum
    cuda = Kernel("reduce.cu", plan_max)


class Min(_Extremum):
    """The smallest element over `axes`."""

    ufunc = np.minimum
    cuda = Kernel("reduce.cu", plan_min)


class Prod(_Reduction):
    """The product over `axes`."""

    ufunc = np.multiply
    cuda = Kernel("reduce.cu", plan_prod)

    def grad(self, node: Node, gy: Tensor):
        # By division: where an element is 0 the gradient is NaN, as it is for K.prod on Theano.
        x, = node.inputs
        return (self.kept(gy * node.outputs[0]) / x,)


class Count(Op):
    """How many elements of x each output of a reduction over `axes` stands for, as a scalar of
    `dtype`."""

    params = ("axes", "dtype")

    def infer(self, x: TensorType) -> TensorType:
        return TensorType(self.dtype, ())

    def grad(self, node: Node, gy: Tensor):
        return (None,)

    def static(self, x: Tensor) -> Tensor | None:
        return Constant(self._count(x), self.dtype) if x.type.is_static else None

    def numpy(self, x):
        return np.array(self._count(x), values_dtype(self.dtype))

    def _count(self, x) -> int:
        return int(np.prod([x.shape[a] for a in self.axes], dtype=np.int64))


class ArgMax(Op):
    """Index of the first largest element along `axis`, int64."""

    params = ("axis",)
    cuda = Kernel("reduce.cu", plan_argmax)
    _find = staticmethod(np.argmax)

    def infer(self, x: TensorType) -> TensorType:
        axis, = normal_axes(self.axis, x.ndim)
        if x.shape[axis] == 0:
            raise ShapeError(f"nothing to choose from: got {x}, "
                             f"expected a size above 0 at axis {axis}")
        return TensorType("int64", reduced_shape(x.shape, (axis,), False))

    def grad(self, node: Node, gy: Tensor):
        return (None,)

    def numpy(self, x):
        return np.asarray(self._find(x, axis=self.axis))

    def host(self, ins, outs):
        (x,), (y,) = ins, outs
        find, axis = self._find, self.axis
        return lambda: find(x, axis=axis, out=y)


class ArgMin(ArgMax):
    """Index of the first smallest element along `axis`, int64."""

    cuda = Kernel("reduce.cu", plan_argmin)
    _find = staticmethod(np.argmin)


class _Cumulate(Op):
    """Running folds along `axis` by the NumPy ufunc `ufunc`; `reverse` runs from the end."""

    params = ("axis", "reverse")
    cuda = Kernel("reduce.cu", plan_cumulate)
    reverse = False
    ufunc: np.ufunc
    fold: str                                      # its name in common.cuh

    def infer(self, x: TensorType) -> TensorType:
        normal_axes(self.axis, x.ndim)
        return x

    def numpy(self, x):
        if self.reverse:
            x = np.flip(x, self.axis)
        y = self.ufunc.accumulate(x, self.axis, dtype=x.dtype)
        return np.flip(y, self.axis) if self.reverse else y


class CumSum(_Cumulate):
    """Running sums along `axis`; `reverse` runs from the end."""

    ufunc, fold = np.add, "Sum"

    def grad(self, node: Node, gy: Tensor):
        return (CumSum(self.axis, not self.reverse)(gy),)


class CumProd(_Cumulate):
    """Running products along `axis`; `reverse` runs from the end."""

    ufunc, fold = np.multiply, "Product"

    def grad(self, node: Node, gy: Tensor):
        # By division, as Prod: NaN from the first 0 on.
        x, = node.inputs
        return (CumSum(self.axis, not self.reverse)(gy * node.outputs[0]) / x,)


Axes = int | Sequence[int] | None


def max_(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """The largest element over the axes (None: all)."""
    return Max(normal_axes(axes, x.ndim), bool(keepdims))(x) if x.ndim else x


def min_(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """The smallest element over the axes (None: all)."""
    return Min(normal_axes(axes, x.ndim), bool(keepdims))(x) if x.ndim else x


def prod_(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """The product over the axes (None: all)."""
    return Prod(normal_axes(axes, x.ndim), bool(keepdims))(x) if x.ndim else x


def mean(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """The mean over the axes (None: all); integers become float32."""
    if not is_float(x.dtype):
        x = cast(x, "float32")
    axes = normal_axes(axes, x.ndim)
    return div(sum_(x, axes, keepdims), Count(axes, x.dtype)(x)) if axes else x


def variance(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """The biased variance over the axes (None: all)."""
    center = broadcast_like(mean(x, axes, keepdims=True), x)
    return mean(square(x - center), axes, keepdims)


def argmax(x: Tensor, axis: int = -1) -> Tensor:
    return ArgMax(normal_axes(axis, x.ndim)[0])(x)


def argmin(x: Tensor, axis: int = -1) -> Tensor:
    return ArgMin(normal_axes(axis, x.ndim)[0])(x)


def cumsum(x: Tensor, axis: int = 0) -> Tensor:
    return CumSum(normal_axes(axis, x.ndim)[0])(x)


def cumprod(x: Tensor, axis: int = 0) -> Tensor:
    return CumProd(normal_axes(axis, x.ndim)[0])(x)
