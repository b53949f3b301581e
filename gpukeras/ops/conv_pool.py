"""Convolution and max pooling as one, for the host: what the pass `near` makes of their ops.

The output of a convolution is the largest array of most networks, and a CPU is slow at sending it
to memory and back.  These ops never write it: pooled values leave each cache-sized block together
with a mask that says which element of each window was taken, a quarter of its size.

They exist after the gradients are taken, so they have none themselves.
"""
from __future__ import annotations

from math import prod

import numpy as np

from ..graph.op import Op
from ..graph.types import TensorType
from . import host_conv_pool as host
from .conv import Conv, ConvWeightGrad
from .pool import MaxPool


class ConvMaxPool(Op):
    """(max_pool(x * w), the tap that holds the first largest element of each window).

    x (N, *S, C), w (*K, C, F) -> pooled (N, *P, F), mask (N, taps, *P, F) bool: one tap of each
    window is true, the last where none is equal (NaN).
    """

    params = ("strides", "pads", "dilation", "window")
    opaque = (1,)                                  # rounding decides between near equals

    def infer(self, x: TensorType, w: TensorType) -> tuple[TensorType, TensorType]:
        y = self.conv.infer(x, w)
        pooled = self.pool.infer(y)
        return pooled, TensorType("bool", (y.shape[0], prod(self.window), *pooled.shape[1:]))

    @property
    def conv(self) -> Conv:
        return Conv(self.strides, self.pads, self.dilation)

    @property
    def pool(self) -> MaxPool:
        return MaxPool(self.window, self.window, ((0, 0),) * len(self.window))

    def numpy(self, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = self.conv.numpy(x, w)
        pooled = self.pool.numpy(y)
        taps = np.stack([y[(slice(None), *(slice(t, None, k) for t, k in zip(tap, self.window)))]
                         for tap in np.ndindex(*self.window)], 1)
        mask = taps == pooled[:, None]
        mask &= np.cumsum(mask, 1) == 1
        mask[:, -1] |= ~mask.any(1)
        return pooled, mask

    def flops(self, ins, outs):
        return self.conv.flops(ins, (self.conv.infer(*ins),))

    def host(self, ins, outs):
        x, w = ins
        return host.bind_conv_max_pool(x, w, *outs, self.conv.geometry(x.shape, w.shape),
                                       self.window)


class MaskedSpread(Op):
    """gy where the mask of ConvMaxPool says so, else 0: the gradient of its convolution's output.

    mask (N, taps, *P, F) bool, gy (N, *P, F) -> gx (N, *O, F).
    """

    params = ("window",)

    def infer(self, mask: TensorType, gy: TensorType) -> TensorType:
        size = (p * k for p, k in zip(gy.shape[1:-1], self.window))
        return gy.with_shape((gy.shape[0], *size, gy.shape[-1]))

    def numpy(self, mask: np.ndarray, gy: np.ndarray) -> np.ndarray:
        gx = np.empty(self.infer(None, TensorType(gy.dtype.name, gy.shape)).shape, gy.dtype)
        for i, tap in enumerate(np.ndindex(*self.window)):
            spot = (slice(None), *(slice(t, None, k) for t, k in zip(tap, self.window)))
            gx[spot] = np.where(mask[:, i], gy, 0)
        return gx

    def host(self, ins, outs):
        return host.bind_masked_spread(*ins, *outs, self.window)


class MaskedConvWeightGrad(Op):
    """ConvWeightGrad of MaskedSpread, which is never written to memory.

    x (N, *S, C), mask (N, taps, *P, F) bool, gy (N, *P, F) -> gw (*window, C, F).
    """

    params = ("kernel", "strides", "pads", "dilation", "window")

    def infer(self, x: TensorType, mask: TensorType, gy: TensorType) -> TensorType:
        return self.weight_grad.infer(x, MaskedSpread(self.window).infer(mask, gy))

    @property
    def weight_grad(self) -> ConvWeightGrad:
        return ConvWeightGrad(self.kernel, self.strides, self.pads, self.dilation)

    def numpy(self, x: np.ndarray, mask: np.ndarray, gy: np.ndarray) -> np.ndarray:
        return self.weight_grad.numpy(x, MaskedSpread(self.window).numpy(mask, gy))

    def flops(self, ins, outs):
        x, *pooled = ins
        return self.weight_grad.flops((x, MaskedSpread(self.window).infer(*pooled)), outs)

    def host(self, ins, outs):
        x = ins[0]
        return host.bind_masked_weight_grad(*ins, *outs, self.weight_grad.geometry(x.shape),
                                            self.window)
