"""Convolution (correlation, no flip) over one to three spatial axes, and its two transposes.

x (N, *S, C), kernel w (*K, C, F)  ->  y (N, *S', F).  y is linear in x and in w; the transposes of
these two maps are ops of their own, and every derivative of the three is again one of the three.
"""
from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.op import Op
from ..graph.tensor import Node, Tensor
from ..graph.types import TensorType, is_float
from . import window as win
from .host_conv import bind_conv, bind_conv_grad_input, bind_conv_grad_weight
from .plans_conv import plan_conv, plan_conv_data_grad, plan_conv_weight_grad
from .record import Kernel
from .window import Geometry, Pads


def conv(x: Tensor, w: Tensor, strides=1, pads: Pads = "valid", dilation=1) -> Tensor:
    """y[n, o, f] = sum over taps k, channels c of x[n, o * s + k * d - before, c] * w[k, c, f].

    x (N, *S, C), w (*K, C, F) -> (N, *S', F). strides s, dilation d: a number or one per spatial
    axis; pads: valid, same, causal, full, or one (before, after) pair per axis. Raises ShapeError.
    """
    rank = max(w.ndim - 2, 0)
    strides = win.as_tuple(strides, rank, "strides")
    dilation = win.as_tuple(dilation, rank, "dilation")
    if x.ndim == rank + 2:
        pads = win.resolve_pads(pads, x.shape[1:-1], w.shape[:-2], strides, dilation)
    return Conv(strides, pads, dilation)(x, w)


def conv_data_grad(gy: Tensor, w: Tensor, strides, pads: Pads, dilation, like: Tensor) -> Tensor:
    """The gradient that reaches x of `conv`, which has the shape of `like`."""
    size = like.shape[1:-1]
    if None in size:
        return ConvDataGrad(strides, pads, dilation)(gy, w, like)
    return ConvDataGrad(strides, pads, dilation, size)(gy, w)


def conv_transpose(y: Tensor, w: Tensor, size: Sequence[int], strides=1, pads: Pads = "valid",
                   dilation=1) -> Tensor:
    """x[n, o * stride + k * dilation - before, c] += y[n, o, f] * w[k, c, f]: conv backwards.

    y (N, *S', F), w (*K, C, F) -> (N, *size, C); `conv` of the result has the size S'.
    """
    rank = max(w.ndim - 2, 0)
    size = tuple(int(d) for d in size)
    strides = win.as_tuple(strides, rank, "strides")
    dilation = win.as_tuple(dilation, rank, "dilation")
    pads = win.resolve_pads(pads, size, w.shape[:-2], strides, dilation)
    return ConvDataGrad(strides, pads, dilation, size)(y, w)


class Conv(Op):
    """y = x * w.  x (N, *S, C), w (*K, C, F) -> y (N, *S', F)."""

    params = ("strides", "pads", "dilation")
    cuda = Kernel("conv.cu", plan_conv)

    def infer(self, x: TensorType, w: TensorType) -> TensorType:
        _check(x, "x", w.ndim - 2, w, "w")
        if None not in (x.shape[-1], w.shape[-2]) and x.shape[-1] != w.shape[-2]:
            raise ShapeError(f"channels differ: got x {x} and kernel {w}, expected "
                             "x.shape[-1] == kernel.shape[-2]")
        out = win.out_size(x.shape[1:-1], w.shape[:-2], self.strides, self.pads, self.dilation)
        return x.with_shape((x.shape[0], *out, w.shape[-1]))

    def grad(self, node: Node, gy: Tensor) -> Sequence[Tensor]:
        x, w = node.inputs
        return (conv_data_grad(gy, w, self.strides, self.pads, self.dilation, x),
                ConvWeightGrad(w.shape[:-2], self.strides, self.pads, self.dilation)(x, gy))

    def geometry(self, x_shape, w_shape) -> Geometry:
        return win.geometry(x_shape, w_shape[:-2], self.strides, self.pads, self.dilation)

    def numpy(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        g = self.geometry(x.shape, w.shape)
        wide = _wide(x)
        y = _columns(x.astype(wide, copy=False), g) @ w.astype(wide, copy=False).reshape(
            -1, w.shape[-1])
        return y.astype(x.dtype, copy=False).reshape(g.images, *g.out, w.shape[-1])

    def host(self, ins, outs):
        return bind_conv(*ins, *outs, self.geometry(*(a.shape for a in ins)))


class ConvDataGrad(Op):
    """gx[n, o * s + k * d - before, c] += gy[n, o, f] * w[k, c, f]: also a transposed convolution.

    gy (N, *S', F), w (*K, C, F) -> gx (N, *S, C), where S is the parameter `size`, or the size of a
    third input `like` (N, *S, any) while that is not known.
    """

    params = ("strides", "pads", "dilation", "size")
    size = None
    cuda = Kernel("conv.cu", plan_conv_data_grad)

    def infer(self, gy: TensorType, w: TensorType, like: TensorType | None = None) -> TensorType:
        _check(gy, "gy", w.ndim - 2, w, "w")
        size = self.size if like is None else like.shape[1:-1]
        if None not in (gy.shape[-1], w.shape[-1]) and gy.shape[-1] != w.shape[-1]:
            raise ShapeError(f"filters differ: got gy {gy} and kernel {w}, expected equal last "
                             "axes")
        _check_out(gy, win.out_size(size, w.shape[:-2], self.strides, self.pads, self.dilation),
                   size)
        return gy.with_shape((gy.shape[0], *size, w.shape[-2]))

    def static(self, gy: Tensor, w: Tensor, *like: Tensor) -> Tensor | None:
        if not like:
            return None
        return conv_data_grad(gy, w, self.strides, self.pads, self.dilation, *like)

    def grad(self, node: Node, ggx: Tensor) -> Sequence[Tensor | None]:
        gy, w, *like = node.inputs
        how = (self.strides, self.pads, self.dilation)
        return (Conv(*how)(ggx, w), ConvWeightGrad(w.shape[:-2], *how)(ggx, gy),
                *(None for _ in like))

    def geometry(self, gy_shape, w_shape, like_shape=None) -> Geometry:
        size = self.size if like_shape is None else like_shape[1:-1]
        return win.geometry((gy_shape[0], *size, w_shape[-2]), w_shape[:-2], self.strides,
                            self.pads, self.dilation)

    def numpy(self, gy: np.ndarray, w: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
        g = self.geometry(gy.shape, w.shape, None if like is None else like.shape)
        wide = _wide(gy)
        gxp = np.zeros(win.padded_shape(g, g.channels), wide)
        for tap in np.ndindex(*g.window):
            gxp[(slice(None), *win.tap_slices(g, tap))] += \
                gy.astype(wide, copy=False) @ w[tap].astype(wide, copy=False).T
        return gxp[win.interior(g)].astype(gy.dtype)

    def host(self, ins, outs):
        return bind_conv_grad_input(*ins[:2], *outs, self.geometry(*(a.shape for a in ins)))


class ConvWeightGrad(Op):
    """gw[k, c, f] = sum over n and o of x[n, o * s + k * d - before, c] * gy[n, o, f].

    x (N, *S, C), gy (N, *S', F) -> gw (*window, C, F).
    """

    params = ("window", "strides", "pads", "dilation")
    cuda = Kernel("conv.cu", plan_conv_weight_grad)

    def infer(self, x: TensorType, gy: TensorType) -> TensorType:
        _check(x, "x", len(self.window), gy, "gy")
        size = x.shape[1:-1]
        _check_out(gy, win.out_size(size, self.window, self.strides, self.pads, self.dilation),
                   size)
        if None in (x.shape[-1], gy.shape[-1]):
            raise ShapeError(f"channels must be known: got x {x} and gy {gy}")
        return x.with_shape((*self.window, x.shape[-1], gy.shape[-1]))

    def grad(self, node: Node, ggw: Tensor) -> Sequence[Tensor]:
        x, gy = node.inputs
        how = (self.strides, self.pads, self.dilation)
        return conv_data_grad(gy, ggw, *how, x), Conv(*how)(x, ggw)

    def geometry(self, x_shape) -> Geometry:
        return win.geometry(x_shape, self.window, self.strides, self.pads, self.dilation)

    def numpy(self, x: np.ndarray, gy: np.ndarray) -> np.ndarray:
        g = self.geometry(x.shape)
        wide = _wide(x)
        gw = _columns(x.astype(wide, copy=False), g).T @ gy.astype(wide, copy=False).reshape(
            -1, gy.shape[-1])
        return gw.astype(x.dtype, copy=False).reshape(*g.window, g.channels, gy.shape[-1])

    def host(self, ins, outs):
        return bind_conv_grad_weight(*ins, *outs, self.geometry(ins[0].shape))


def _columns(x: np.ndarray, g: Geometry) -> np.ndarray:
    """(N * places, taps * C): one row per window place."""
    return win.windows(win.padded(x, g), g).reshape(g.images * g.places, g.taps * g.channels)


def _wide(x: np.ndarray) -> np.dtype:
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
