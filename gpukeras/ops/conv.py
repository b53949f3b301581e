"""Convolution (correlation, no flip) over one to three spatial axes, and its two transposes.

x (N, *S, C), kernel w (*K, C, F)  ->  y (N, *S', F).  y is linear in x and in w; the transposes of
these two maps are ops of their own, and every derivative of the three is again one of the three.
"""
from __future__ import annotations

from math import prod
from typing import ClassVar, Sequence

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.op import Op
from ..graph.tensor import Node, Tensor
from ..graph.types import TensorType, is_float
from . import window as win
from .host_conv import bind_conv, bind_conv_grad_input, bind_conv_grad_weight
from .plans_conv import plan_conv, plan_conv_data_grad, plan_conv_weight_grad
from .plans_implicit import choices
from .record import Kernel
from .window import Geometry, Pads


def conv(x: Tensor, w: Tensor, strides=1, pads: Pads = "valid", dilation=1) -> Tensor:
    """y[n, o, f] = sum over taps k, channels c of x[n, o * s + k * d - before, c] * w[k, c, f].

    x (N, *S, C), w (*K, C, F) -> (N, *S', F). strides s, dilation d: a number or one per spatial
    axis; pads: valid, same, causal, full, or one (before, after) pair per axis. Raises ShapeError.
    """
    return Conv(*arguments(x, w, strides, pads, dilation))(x, w)


def arguments(x: Tensor, w: Tensor, strides, pads: Pads, dilation) -> tuple:
    """(strides, pads, dilation) in the form that ops keep."""
    rank = max(w.ndim - 2, 0)
    strides = win.as_tuple(strides, rank, "strides")
    dilation = win.as_tuple(dilation, rank, "dilation")
    if x.ndim == rank + 2:
        pads = win.resolve_pads(pads, x.shape[1:-1], w.shape[:-2], strides, dilation)
    return strides, pads, dilation


def conv_transpose(y: Tensor, w: Tensor, size: Sequence[int] | None, strides=1,
                   pads: Pads = "valid", dilation=1, like: Tensor | None = None) -> Tensor:
    """x[n, o * stride + k * dilation - before, c] += y[n, o, f] * w[k, c, f]: conv backwards.

    y (N, *S', F), w (*K, C, F) -> (N, *size, C); `conv` of the result has the size S'. While sizes
    are unknown, `like` (N, *size, any) stands for `size` by its shape.
    """
    rank = max(w.ndim - 2, 0)
    strides = win.as_tuple(strides, rank, "strides")
    dilation = win.as_tuple(dilation, rank, "dilation")
    if like is not None:
        return ConvDataGrad(strides, pads, dilation)(y, w, like)
    size = tuple(int(d) for d in size)
    pads = win.resolve_pads(pads, size, w.shape[:-2], strides, dilation)
    return ConvDataGrad(strides, pads, dilation, size)(y, w)


class WindowMap(Op):
    """What the three maps of one bilinear product y = x * w share: itself and its transposes.

    `trio` names all three: y of (x, w), x of (y, w) and w of (x, y).
    """

    trio: ClassVar[tuple[type[Op], type[Op], type[Op]]]
    depthwise: ClassVar[bool] = False                  # each channel has filters of its own

    @property
    def how(self) -> tuple:
        return self.strides, self.pads, self.dilation

    def y_channels(self, w: TensorType) -> int | None:
        """Channels of y by the kernel: (*K, C, F), depthwise (*K, C, M)."""
        if not self.depthwise:
            return w.shape[-1]
        return None if None in w.shape[-2:] else w.shape[-2] * w.shape[-1]

    def flops(self, ins, outs):
        """A product and a sum for each element of y (N, *S', F), tap, and channel that meets it."""
        x, y, w = self.roles(ins, outs)
        met = 1 if self.depthwise else w.shape[-2]
        return 2 * y.size * prod(w.shape[:-2]) * met

    def data_grad(self, gy: Tensor, w: Tensor, like: Tensor) -> Tensor:
        """The gradient that reaches x, which has the spatial size of `like`."""
        size = like.shape[1:-1]
        if None in size:
            return self.trio[1](*self.how)(gy, w, like)
        return self.trio[1](*self.how, size)(gy, w)


class ForwardMap(WindowMap):
    """y of (x, w)."""

    params = ("strides", "pads", "dilation")

    def infer(self, x: TensorType, w: TensorType) -> TensorType:
        _check(x, "x", w.ndim - 2, w, "w")
        if None not in (x.shape[-1], w.shape[-2]) and x.shape[-1] != w.shape[-2]:
            raise ShapeError(f"channels differ: got x {x} and kernel {w}, expected "
                             "x.shape[-1] == kernel.shape[-2]")
        out = win.out_size(x.shape[1:-1], w.shape[:-2], *self.how)
        return x.with_shape((x.shape[0], *out, self.y_channels(w)))

    def grad(self, node: Node, gy: Tensor) -> Sequence[Tensor]:
        x, w = node.inputs
        return self.data_grad(gy, w, x), self.trio[2](w.shape[:-2], *self.how)(x, gy)

    def roles(self, ins, outs):
        return ins[0], outs[0], ins[1]

    def geometry(self, x_shape, w_shape) -> Geometry:
        return win.geometry(x_shape, w_shape[:-2], *self.how)


class DataGradMap(WindowMap):
    """x of (y, w). S is the parameter `size`, or that of a third input `like` (N, *S, any)."""

    params = ("strides", "pads", "dilation", "size")
    size = None

    def infer(self, gy: TensorType, w: TensorType, like: TensorType | None = None) -> TensorType:
        _check(gy, "gy", w.ndim - 2, w, "w")
        size = self.size if like is None else like.shape[1:-1]
        channels = self.y_channels(w)
        if None not in (gy.shape[-1], channels) and gy.shape[-1] != channels:
            raise ShapeError(f"filters differ: got gy {gy} and kernel {w}, expected gy.shape[-1] "
                             f"== {channels}")
        _check_out(gy, win.out_size(size, w.shape[:-2], *self.how), size)
        return gy.with_shape((gy.shape[0], *size, w.shape[-2]))

    def static(self, gy: Tensor, w: Tensor, *like: Tensor) -> Tensor | None:
        return self.data_grad(gy, w, *like) if like else None

    def grad(self, node: Node, ggx: Tensor) -> Sequence[Tensor | None]:
        gy, w, *like = node.inputs
        return (self.trio[0](*self.how)(ggx, w), self.trio[2](w.shape[:-2], *self.how)(ggx, gy),
                *(None for _ in like))

    def roles(self, ins, outs):
        return outs[0], ins[0], ins[1]

    def geometry(self, gy_shape, w_shape, like_shape=None) -> Geometry:
        size = self.size if like_shape is None else like_shape[1:-1]
        return win.geometry((gy_shape[0], *size, w_shape[-2]), w_shape[:-2], *self.how)


class WeightGradMap(WindowMap):
    """w of (x, y)."""

    params = ("window", "strides", "pads", "dilation")

    def infer(self, x: TensorType, gy: TensorType) -> TensorType:
        _check(x, "x", len(self.window), gy, "gy")
        _check_out(gy, win.out_size(x.shape[1:-1], self.window, *self.how), x.shape[1:-1])
        if None in (x.shape[-1], gy.shape[-1]):
            raise ShapeError(f"channels must be known: got x {x} and gy {gy}")
        c, filters = x.shape[-1], gy.shape[-1]
        if self.depthwise and filters % max(c, 1):
            raise ShapeError(f"filters per channel: got x {x} and gy {gy}, expected a whole number")
        return x.with_shape((*self.window, c, filters // max(c, 1) if self.depthwise else filters))

    def grad(self, node: Node, ggw: Tensor) -> Sequence[Tensor]:
        x, gy = node.inputs
        return self.data_grad(gy, ggw, x), self.trio[0](*self.how)(x, ggw)

    def roles(self, ins, outs):
        return ins[0], ins[1], outs[0]

    def geometry(self, x_shape) -> Geometry:
        return win.geometry(x_shape, self.window, *self.how)


class Conv(ForwardMap):
    """y = x * w.  x (N, *S, C), w (*K, C, F) -> y (N, *S', F)."""

    cuda = Kernel("conv.cu", plan_conv, choices("fwd", plan_conv))

    def numpy(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        g = self.geometry(x.shape, w.shape)
        wide = wide_dtype(x)
        y = _columns(x.astype(wide, copy=False), g) @ w.astype(wide, copy=False).reshape(
            -1, w.shape[-1])
        return y.astype(x.dtype, copy=False).reshape(g.images, *g.out, w.shape[-1])

    def host(self, ins, outs):
        return bind_conv(*ins, *outs, self.geometry(*(a.shape for a in ins)))


class ConvDataGrad(DataGradMap):
    """gx[n, o * s + k * d - before, c] += gy[n, o, f] * w[k, c, f]: also a transposed convolution.

    gy (N, *S', F), w (*K, C, F) -> gx (N, *S, C), where S is the parameter `size`, or the size of a
    third input `like` (N, *S, any) while that is not known.
    """

    cuda = Kernel("conv.cu", plan_conv_data_grad, choices("data", plan_conv_data_grad))

    def numpy(self, gy: np.ndarray, w: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
        g = self.geometry(gy.shape, w.shape, None if like is None else like.shape)
        wide = wide_dtype(gy)
        gxp = np.zeros(win.padded_shape(g, g.channels), wide)
        for tap in np.ndindex(*g.window):
            gxp[(slice(None), *win.tap_slices(g, tap))] += \
                gy.astype(wide, copy=False) @ w[tap].astype(wide, copy=False).T
        return gxp[win.interior(g)].astype(gy.dtype)

    def host(self, ins, outs):
        return bind_conv_grad_input(*ins[:2], *outs, self.geometry(*(a.shape for a in ins)))


class ConvWeightGrad(WeightGradMap):
    """gw[k, c, f] = sum over n and o of x[n, o * s + k * d - before, c] * gy[n, o, f].

    x (N, *S, C), gy (N, *S', F) -> gw (*window, C, F).
    """

    cuda = Kernel("conv.cu", plan_conv_weight_grad, choices("weight", plan_conv_weight_grad))

    def numpy(self, x: np.ndarray, gy: np.ndarray) -> np.ndarray:
        g = self.geometry(x.shape)
        wide = wide_dtype(x)
        gw = _columns(x.astype(wide, copy=False), g).T @ gy.astype(wide, copy=False).reshape(
            -1, gy.shape[-1])
        return gw.astype(x.dtype, copy=False).reshape(*g.window, g.channels, gy.shape[-1])

    def host(self, ins, outs):
        return bind_conv_grad_weight(*ins, *outs, self.geometry(ins[0].shape))


for op_class in (Conv, ConvDataGrad, ConvWeightGrad):
    op_class.trio = Conv, ConvDataGrad, ConvWeightGrad


def _columns(x: np.ndarray, g: Geometry) -> np.ndarray:
    """(N * places, taps * C): one row per window place."""
    return win.windows(win.padded(x, g), g).reshape(g.images * g.places, g.taps * g.channels)


def wide_dtype(x: np.ndarray) -> np.dtype:
    """What sums are kept in: half precision is summed in float32, as on the device."""
    return np.result_type(x.dtype, np.float32)


def _check(a: TensorType, a_name: str, rank: int, b: TensorType, b_name: str) -> None:
    """Both float, of one dtype, with `rank` spatial axes."""
    if rank not in (1, 2, 3) or a.ndim != rank + 2 or b.ndim != rank + 2:
        raise ShapeError(f"ranks differ: got {a_name} {a} and {b_name} {b}, expected both with "
                         "the same one, two or three spatial axes: (N, *S, C) and (*K, C, F)")
    if b_name == "w" and None in b.shape[:-2]:
        raise ShapeError(f"the kernel's window must be known: got {b}")
    if a.dtype != b.dtype or not is_float(a.dtype):
        raise DtypeError(f"got {a_name} {a} and {b_name} {b}, expected one floating-point dtype. "
                         "Try: K.cast")


def _check_out(gy: TensorType, out: tuple[int | None, ...], size) -> None:
    got = gy.shape[1:-1]
    if any(a != b and None not in (a, b) for a, b in zip(got, out)):
        raise ShapeError(f"gradient of a convolution over size {size}: got gy {gy}, expected "
                         f"spatial size {out}")
