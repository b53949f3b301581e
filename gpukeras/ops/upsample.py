"""Enlarging images by whole factors, linear between the pixels: x (N, *S, C) -> (N, *(f S), C)."""
from __future__ import annotations

from functools import partial
from typing import Callable, Sequence

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.op import Op
from ..graph.tensor import Node, Tensor
from ..graph.types import TensorType, is_float
from ..team import in_turn
from . import window as win
from .plans_conv import plan_pool
from .record import Kernel, LaunchPlan
from .window import Geometry


def upsample_linear(x: Tensor, factors) -> Tensor:
    """y[i] between x[i / f] and the pixel after it: bilinear for images, the last pixel repeated.

    x (N, *S, C), factors: a whole number or one per spatial axis -> (N, *(f S), C). Place i lies at
    i / f, as in TensorFlow 1's resize_bilinear, which Keras 2.3.1 calls (no half-pixel centres).
    """
    return UpsampleLinear(win.as_tuple(factors, max(x.ndim - 2, 0), "factors"))(x)


class _Upsample(Op):
    """What the two directions share."""

    params = ("factors",)

    def check(self, x: TensorType, name: str) -> None:
        if x.ndim != len(self.factors) + 2 or len(self.factors) not in (1, 2, 3):
            raise ShapeError(f"got {name} {x}, expected (N, *S, C) with one to three spatial axes "
                             f"and a factor for each: got {self.factors}")
        if not is_float(x.dtype):
            raise DtypeError(f"linear interpolation needs a floating-point dtype: got {x}. "
                             "Try: K.cast")

    def geometry(self, x_shape) -> Geometry:
        """The factors as the strides of windows of one tap, y being the side of the places."""
        ones, out = (1,) * len(self.factors), self.scaled(x_shape[1:-1])
        return Geometry(x_shape[0], tuple(x_shape[1:-1]), out, x_shape[-1], ones, self.factors,
                        ((0, 0),) * len(ones), ones)

    def scaled(self, size: Sequence[int | None]) -> tuple:
        return tuple(None if d is None else d * f for d, f in zip(size, self.factors))


def _plan(op: "UpsampleLinear", ins, outs) -> LaunchPlan:
    return plan_pool("upsample_fwd", op.geometry(ins[0].shape), ins, outs, "y")


def _plan_grad(op: "UpsampleLinearGrad", ins, outs) -> LaunchPlan:
    return plan_pool("upsample_bwd", op.geometry(outs[0].shape), ins, outs, "x")


class UpsampleLinear(_Upsample):
    """y = x enlarged.  x (N, *S, C) -> y (N, *(f S), C)."""

    cuda = Kernel("upsample.cu", _plan)

    def infer(self, x: TensorType) -> TensorType:
        self.check(x, "x")
        return x.with_shape((x.shape[0], *self.scaled(x.shape[1:-1]), x.shape[-1]))

    def grad(self, node: Node, gy: Tensor) -> Sequence[Tensor]:
        return (UpsampleLinearGrad(self.factors)(gy),)

    def numpy(self, x: np.ndarray) -> np.ndarray:
        return _along_axes(x, self.factors, lambda axis, f: matrix(x.shape[axis], f))

    def host(self, ins, outs):
        return _bind(ins[0], outs[0], self.factors, _enlarge)


class UpsampleLinearGrad(_Upsample):
    """The transpose of UpsampleLinear.  gy (N, *(f S), C) -> gx (N, *S, C)."""

    cuda = Kernel("upsample.cu", _plan_grad)

    def infer(self, gy: TensorType) -> TensorType:
        self.check(gy, "gy")
        size = gy.shape[1:-1]
        if any(d is not None and d % f for d, f in zip(size, self.factors)):
            raise ShapeError(f"got gy {gy}, expected spatial sizes that are multiples of "
                             f"{self.factors}")
        return gy.with_shape((gy.shape[0], *(None if d is None else d // f for d, f in
                                             zip(size, self.factors)), gy.shape[-1]))

    def grad(self, node: Node, ggx: Tensor) -> Sequence[Tensor]:
        return (UpsampleLinear(self.factors)(ggx),)

    def numpy(self, gy: np.ndarray) -> np.ndarray:
        return _along_axes(gy, self.factors, lambda axis, f: matrix(gy.shape[axis] // f, f).T)

    def host(self, ins, outs):
        return _bind(ins[0], outs[0], self.factors, _gather)


def matrix(size: int, factor: int) -> np.ndarray:
    """(factor * size, size): row i holds the shares of the pixels in place i. Rows sum to 1."""
    at = np.arange(size * factor)
    low, up = at // factor, (at % factor) / factor
    shares = np.zeros((size * factor, size))
    shares[at, low] += 1 - up
    shares[at, np.minimum(low + 1, size - 1)] += up
    return shares


def _along_axes(x: np.ndarray, factors, shares: Callable[[int, int], np.ndarray]) -> np.ndarray:
    wide = x.astype(np.result_type(x.dtype, np.float32), copy=False)
    for axis, factor in enumerate(factors, 1):
        turned = np.tensordot(shares(axis, factor).astype(wide.dtype), wide, (1, axis))
        wide = np.moveaxis(turned, 0, axis)
    return np.ascontiguousarray(wide.astype(x.dtype, copy=False))


def _bind(x: np.ndarray, y: np.ndarray, factors, along: Callable) -> Callable[[], None] | None:
    """run() that enlarges (or its transpose) axis by axis; along(x, y, factor) on (outer, size,
    inner) views gives the calls of one axis."""
    if not all(a.flags.c_contiguous and a.size and a.dtype.char in "fd" for a in (x, y)):
        return None
    calls, now = [], x
    axes = [axis for axis, f in enumerate(factors, 1) if f > 1]
    for axis in axes:
        length = y.shape[axis]
        shape = (*now.shape[:axis], length, *now.shape[axis + 1:])
        out = y if axis == axes[-1] else np.empty(shape, x.dtype)
        outer = int(np.prod(now.shape[:axis]))
        calls += along(now.reshape(outer, now.shape[axis], -1), out.reshape(outer, length, -1),
                       factors[axis - 1])
        now = out
    return in_turn(calls) if calls else partial(np.copyto, y, x)


def _enlarge(x: np.ndarray, y: np.ndarray, factor: int) -> list[Callable]:
    """y[:, f p + r] = x[:, p] + r / f * (x[:, p + 1] - x[:, p])"""
    y = y.reshape(x.shape[0], x.shape[1], factor, x.shape[2])
    step = np.empty((x.shape[0], x.shape[1] - 1, x.shape[2]), x.dtype)
    calls = [partial(np.subtract, x[:, 1:], x[:, :-1], out=step)]
    for r in range(factor):
        between = y[:, :-1, r]
        calls += [partial(np.multiply, step, x.dtype.type(r / factor), out=between),
                  partial(np.add, between, x[:, :-1], out=between)]
    return calls + [partial(np.copyto, y[:, -1], x[:, -1:])]


def _gather(gy: np.ndarray, gx: np.ndarray, factor: int) -> list[Callable]:
    """The transpose of `_enlarge`."""
    gy = gy.reshape(gx.shape[0], gx.shape[1], factor, gx.shape[2])
    ahead = np.empty_like(gx)
    calls = [partial(np.copyto, gx, gy[:, :, 0])]
    for r in range(1, factor):
        # r / f of the gradient belongs to the pixel ahead; the last pixel has none and keeps it
        calls += [partial(np.multiply, gy[:, :, r], gx.dtype.type(r / factor), out=ahead),
                  partial(np.add, gx, gy[:, :, r], out=gx),
                  partial(np.subtract, gx[:, :-1], ahead[:, :-1], out=gx[:, :-1]),
                  partial(np.add, gx[:, 1:], ahead[:, :-1], out=gx[:, 1:])]
    return calls
