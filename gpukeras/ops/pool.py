"""Max and average pooling over one to three spatial axes: x (N, *S, C) -> y (N, *S', C)."""
from __future__ import annotations

from typing import Sequence

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.op import Op
from ..graph.tensor import Node, Tensor
from ..graph.types import TensorType, is_float
from . import host_pool
from . import window as win
from .plans_conv import plan_pool
from .record import Kernel, LaunchPlan
from .window import Geometry, Pads


def max_pool(x: Tensor, window, strides=None, pads: Pads = "valid") -> Tensor:
    """The largest value of each window; padding never wins.

    x (N, *S, C) -> (N, *S', C). window, strides (None: the window): a number or one per spatial
    axis; pads: valid, same, or one (before, after) pair per axis, each below the window's size.
    """
    return MaxPool(*_arguments(x, window, strides, pads))(x)


def average_pool(x: Tensor, window, strides=None, pads: Pads = "valid") -> Tensor:
    """The mean of the real elements of each window: padding is not counted. As max_pool."""
    return AveragePool(*_arguments(x, window, strides, pads))(x)


def _arguments(x: Tensor, window, strides, pads: Pads) -> tuple:
    rank = x.ndim - 2
    if rank not in (1, 2, 3):
        raise ShapeError(f"pooling: got {x.type}, expected (N, *S, C) with one to three spatial "
                         "axes")
    window = win.as_tuple(window, rank, "window")
    strides = window if strides is None else win.as_tuple(strides, rank, "strides")
    return window, strides, win.resolve_pads(pads, x.shape[1:-1], window, strides, (1,) * rank)


class _Pool(Op):
    """What the pooling ops share: the geometry over the large side."""

    params = ("window", "strides", "pads")

    def out(self, x: TensorType) -> TensorType:
        """The type of the small side."""
        if x.ndim != len(self.window) + 2:
            raise ShapeError(f"got {x}, expected (N, *S, C) with {len(self.window)} spatial axes")
        if not isinstance(self.pads, str) and any(
                p >= k for pair, k in zip(self.pads, self.window) for p in pair):
            raise ShapeError(f"padding {self.pads} leaves windows of {self.window} without a real "
                             "element: expected padding below the window's size")
        ones = (1,) * len(self.window)
        return x.with_shape((x.shape[0], *win.out_size(x.shape[1:-1], self.window, self.strides,
                                                       self.pads, ones), x.shape[-1]))

    def geometry(self, shape) -> Geometry:
        return win.geometry(shape, self.window, self.strides, self.pads, (1,) * len(self.window))

    def same_as(self, got: TensorType, expected: TensorType, name: str) -> None:
        if got.dtype != expected.dtype:
            raise DtypeError(f"got {name} {got}, expected {expected}")
        if got.ndim != expected.ndim or any(
                a != b and None not in (a, b) for a, b in zip(got.shape, expected.shape)):
            raise ShapeError(f"got {name} {got}, expected {expected}")


def _plan_max_pool(op: "MaxPool", ins, outs) -> LaunchPlan:
    return plan_pool("max_pool_fwd", op.geometry(ins[0].shape), ins, outs, "y")


def _plan_max_pool_grad(op: "MaxPoolGrad", ins, outs) -> LaunchPlan:
    return plan_pool("max_pool_bwd", op.geometry(ins[0].shape), ins, outs, "x")


def _plan_max_pool_pick(op: "MaxPoolPick", ins, outs) -> LaunchPlan:
    return plan_pool("max_pool_pick", op.geometry(ins[0].shape), ins, outs, "y")


def _plan_average_pool(op: "AveragePool", ins, outs) -> LaunchPlan:
    return plan_pool("average_pool_fwd", op.geometry(ins[0].shape), ins, outs, "y")


def _plan_average_pool_grad(op: "AveragePoolGrad", ins, outs) -> LaunchPlan:
    return plan_pool("average_pool_bwd", op.geometry(outs[0].shape), ins[:1], outs, "x")


class MaxPool(_Pool):
    """Largest value of each window; a NaN wins.  x (N, *S, C) -> y (N, *S', C)."""

    cuda = Kernel("pool.cu", _plan_max_pool)

    def infer(self, x: TensorType) -> TensorType:
        return self.out(x)

    def grad(self, node: Node, gy: Tensor) -> Sequence[Tensor]:
        x, = node.inputs
        y, = node.outputs
        return (MaxPoolGrad(self.window, self.strides, self.pads)(x, y, gy),)

    def numpy(self, x: np.ndarray) -> np.ndarray:
        g = self.geometry(x.shape)
        xp = win.padded(x, g, _lowest(x.dtype))
        return win.windows(xp, g).max(axis=_taps(g), initial=_lowest(x.dtype))

    def host(self, ins, outs):
        return host_pool.bind_max_pool(*ins, *outs, self.geometry(ins[0].shape))


class MaxPoolGrad(_Pool):
    """gy to the first largest element of each window, as TensorFlow does.

    x (N, *S, C), y and gy (N, *S', C) -> gx (N, *S, C).  y is MaxPool(x).
    """

    cuda = Kernel("pool.cu", _plan_max_pool_grad)

    def infer(self, x: TensorType, y: TensorType, gy: TensorType) -> TensorType:
        out = self.out(x)
        self.same_as(y, out, "y")
        self.same_as(gy, out, "gy")
        return x

    def grad(self, node: Node, ggx: Tensor) -> Sequence[Tensor | None]:
        x, y, _ = node.inputs
        # which element is largest does not change smoothly: only gy has a derivative
        return None, None, MaxPoolPick(self.window, self.strides, self.pads)(x, y, ggx)

    def numpy(self, x: np.ndarray, y: np.ndarray, gy: np.ndarray) -> np.ndarray:
        g = self.geometry(x.shape)
        first = _first(x, y, g)
        gxp = np.zeros(win.padded_shape(g, g.channels), gy.dtype)
        for number, tap in enumerate(np.ndindex(*g.window)):
            gxp[(slice(None), *win.tap_slices(g, tap))] += np.where(first == number, gy, 0)
        return gxp[win.interior(g)]

    def host(self, ins, outs):
        return host_pool.bind_max_pool_grad(*ins, *outs, self.geometry(ins[0].shape))


class MaxPoolPick(_Pool):
    """The element of v where MaxPool took its element of x: the transpose of MaxPoolGrad.

    x (N, *S, C), y (N, *S', C), v (N, *S, C) -> u (N, *S', C).  y is MaxPool(x).
    """

    cuda = Kernel("pool.cu", _plan_max_pool_pick)

    def infer(self, x: TensorType, y: TensorType, v: TensorType) -> TensorType:
        out = self.out(x)
        self.same_as(y, out, "y")
        self.same_as(v, x, "v")
        return out

    def grad(self, node: Node, gu: Tensor) -> Sequence[Tensor | None]:
        x, y, _ = node.inputs
        return None, None, MaxPoolGrad(self.window, self.strides, self.pads)(x, y, gu)

    def numpy(self, x: np.ndarray, y: np.ndarray, v: np.ndarray) -> np.ndarray:
        g = self.geometry(x.shape)
        first = _first(x, y, g)
        taps = win.windows(win.padded(v, g), g).reshape(g.images, *g.out, g.taps, g.channels)
        return np.take_along_axis(taps, np.expand_dims(first, -2), -2)[..., 0, :]


class AveragePool(_Pool):
    """Mean of the real elements of each window.  x (N, *S, C) -> y (N, *S', C)."""

    cuda = Kernel("pool.cu", _plan_average_pool)

    def infer(self, x: TensorType) -> TensorType:
        return _float(self.out(x))

    def grad(self, node: Node, gy: Tensor) -> Sequence[Tensor]:
        return (average_pool_grad(gy, self.window, self.strides, self.pads, node.inputs[0]),)

    def numpy(self, x: np.ndarray) -> np.ndarray:
        g = self.geometry(x.shape)
        wide = np.result_type(x.dtype, np.float32)
        total = win.windows(win.padded(x, g), g).sum(axis=_taps(g), dtype=wide)
        return (total / _counts(g, wide)).astype(x.dtype)

    def host(self, ins, outs):
        return host_pool.bind_average_pool(*ins, *outs, self.geometry(ins[0].shape))


class AveragePoolGrad(_Pool):
    """gy spread evenly over the real elements of each window: the transpose of AveragePool.

    gy (N, *S', C) -> gx (N, *S, C), where S is the parameter `size`, or the size of a second input
    `like` (N, *S, any) while that is not known.
    """

    params = ("window", "strides", "pads", "size")
    size = None
    cuda = Kernel("pool.cu", _plan_average_pool_grad)

    def infer(self, gy: TensorType, like: TensorType | None = None) -> TensorType:
        size = self.size if like is None else like.shape[1:-1]
        gx = _float(gy).with_shape((gy.shape[0], *size, gy.shape[-1]))
        self.same_as(gy, self.out(gx), "gy")
        return gx

    def static(self, gy: Tensor, *like: Tensor) -> Tensor | None:
        return average_pool_grad(gy, self.window, self.strides, self.pads, *like) if like else None

    def grad(self, node: Node, ggx: Tensor) -> Sequence[Tensor | None]:
        first, *like = node.inputs
        return (AveragePool(self.window, self.strides, self.pads)(ggx), *(None for _ in like))

    def numpy(self, gy: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
        size = self.size if like is None else like.shape[1:-1]
        g = self.geometry((gy.shape[0], *size, gy.shape[-1]))
        wide = np.result_type(gy.dtype, np.float32)
        share = gy / _counts(g, wide)
        gxp = np.zeros(win.padded_shape(g, g.channels), wide)
        for tap in np.ndindex(*g.window):
            gxp[(slice(None), *win.tap_slices(g, tap))] += share
        return gxp[win.interior(g)].astype(gy.dtype)

    def host(self, ins, outs):
        return host_pool.bind_average_pool_grad(ins[0], *outs, self.geometry(outs[0].shape))


def average_pool_grad(gy: Tensor, window, strides, pads: Pads, like: Tensor) -> Tensor:
    """The gradient that reaches x of `average_pool`, which has the shape of `like`."""
    size = like.shape[1:-1]
    if None in size:
        return AveragePoolGrad(window, strides, pads)(gy, like)
    return AveragePoolGrad(window, strides, pads, size)(gy)


def _float(x: TensorType) -> TensorType:
    if not is_float(x.dtype):
        raise DtypeError(f"a mean needs a floating-point dtype: got {x}. Try: K.cast")
    return x


def _taps(g: Geometry) -> tuple[int, ...]:
    """The window's axes in `win.windows`."""
    rank = len(g.size)
    return tuple(range(1 + rank, 1 + 2 * rank))


def _lowest(dtype: np.dtype):
    return -np.inf if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).min


def _counts(g: Geometry, dtype) -> np.ndarray:
    """(*out, 1): real elements in each window."""
    ones = np.ones((1, *g.size, 1), dtype)
    return win.windows(win.padded(ones, g), g).sum(axis=_taps(g))[0]


def _first(x: np.ndarray, y: np.ndarray, g: Geometry) -> np.ndarray:
    """Number of the first tap of each window that holds the window's maximum y; shape of y."""
    real = win.windows(win.padded(np.ones((1, *g.size, 1), bool), g), g)
    top = np.expand_dims(y, _taps(g))
    taps = win.windows(win.padded(x, g), g)
    hit = ((taps == top) | ((taps != taps) & (top != top))) & real
    return hit.reshape(*y.shape[:-1], g.taps, y.shape[-1]).argmax(axis=-2)
