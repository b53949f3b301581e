"""Depthwise convolution: every channel has filters of its own.

x (N, *S, C), kernel w (*K, C, M)  ->  y (N, *S', C * M); y's channel c * M + m is filter m of c.
Like conv.py's, the three maps are closed under differentiation.
"""
from __future__ import annotations

import numpy as np

from ..graph.tensor import Tensor
from . import window as win
from .conv import DataGradMap, ForwardMap, WeightGradMap, arguments, wide_dtype
from .host_depthwise import bind_depthwise, bind_depthwise_grad_input, bind_depthwise_grad_weight
from .plans_depthwise import plan_depthwise, plan_depthwise_data_grad, plan_depthwise_weight_grad
from .record import Kernel
from .window import Geometry, Pads


def depthwise_conv(x: Tensor, w: Tensor, strides=1, pads: Pads = "valid", dilation=1) -> Tensor:
    """y[n, o, c * M + m] = sum over taps k of x[n, o * s + k * d - before, c] * w[k, c, m].

    x (N, *S, C), w (*K, C, M) -> (N, *S', C * M). Arguments as `conv`. Raises ShapeError.
    """
    return DepthwiseConv(*arguments(x, w, strides, pads, dilation))(x, w)


class DepthwiseConv(ForwardMap):
    """y = x * w, channel by channel.  x (N, *S, C), w (*K, C, M) -> y (N, *S', C * M)."""

    depthwise = True
    cuda = Kernel("depthwise.cu", plan_depthwise)

    def numpy(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        g, wide = self.geometry(x.shape, w.shape), wide_dtype(x)
        y = np.einsum("npkc,kcm->npcm", _windows(x.astype(wide, copy=False), g),
                      w.astype(wide, copy=False).reshape(g.taps, *w.shape[-2:]))
        return y.astype(x.dtype, copy=False).reshape(g.images, *g.out, g.channels * w.shape[-1])

    def host(self, ins, outs):
        return bind_depthwise(*ins, *outs, self.geometry(*(a.shape for a in ins)))


class DepthwiseDataGrad(DataGradMap):
    """gx[n, o * s + k * d - before, c] += sum over m of gy[n, o, c * M + m] * w[k, c, m].

    gy (N, *S', C * M), w (*K, C, M) -> gx (N, *S, C); S as in ConvDataGrad.
    """

    depthwise = True
    cuda = Kernel("depthwise.cu", plan_depthwise_data_grad)

    def numpy(self, gy: np.ndarray, w: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
        g = self.geometry(gy.shape, w.shape, None if like is None else like.shape)
        wide = wide_dtype(gy)
        gxp = np.zeros(win.padded_shape(g, g.channels), wide)
        parts = gy.astype(wide, copy=False).reshape(g.images, *g.out, *w.shape[-2:])
        for tap in np.ndindex(*g.window):
            gxp[(slice(None), *win.tap_slices(g, tap))] += \
                (parts * w[tap].astype(wide, copy=False)).sum(-1)
        return gxp[win.interior(g)].astype(gy.dtype)

    def host(self, ins, outs):
        return bind_depthwise_grad_input(*ins[:2], *outs, self.geometry(*(a.shape for a in ins)))


class DepthwiseWeightGrad(WeightGradMap):
    """gw[k, c, m] = sum over n and o of x[n, o * s + k * d - before, c] * gy[n, o, c * M + m].

    x (N, *S, C), gy (N, *S', C * M) -> gw (*window, C, M).
    """

    depthwise = True
    cuda = Kernel("depthwise.cu", plan_depthwise_weight_grad)

    def numpy(self, x: np.ndarray, gy: np.ndarray) -> np.ndarray:
        g, wide = self.geometry(x.shape), wide_dtype(x)
        filters = gy.shape[-1] // max(g.channels, 1)
        gw = np.einsum("npkc,npcm->kcm", _windows(x.astype(wide, copy=False), g),
                       gy.astype(wide, copy=False).reshape(g.images, g.places, g.channels, filters))
        return gw.astype(x.dtype, copy=False).reshape(*g.window, g.channels, filters)

    def host(self, ins, outs):
        return bind_depthwise_grad_weight(*ins, *outs, self.geometry(ins[0].shape))


for op_class in (DepthwiseConv, DepthwiseDataGrad, DepthwiseWeightGrad):
    op_class.trio = DepthwiseConv, DepthwiseDataGrad, DepthwiseWeightGrad


def _windows(x: np.ndarray, g: Geometry) -> np.ndarray:
    """(N, places, taps, C)"""
    return win.windows(win.padded(x, g), g).reshape(g.images, g.places, g.taps, g.channels)
