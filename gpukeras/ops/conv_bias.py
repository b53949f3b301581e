"""Convolution, bias and rectifier as one, for devices with kernels: what the pass `attach` makes.

The sums are complete in registers when a tile of y is done; adding the bias there saves writing y
and reading it again. The op exists after the gradients are taken.
"""
from __future__ import annotations

from ..graph import Tensor
from .composite import Composite
from .conv import Conv
from .math import add, relu
from .plans_implicit import choices, plan_with_bias
from .record import Kernel


class ConvBias(Composite):
    """x * w + b, or the larger of that and 0.  x (N, *S, C), w (*K, C, F), b (F,) -> (N, *S', F).

    rectified: 1 for the second form, else 0.
    """

    params = ("strides", "pads", "dilation", "rectified")
    cuda = Kernel("conv.cu", plan_with_bias, choices("fwd", plan_with_bias, biased=True))

    @property
    def conv(self) -> Conv:
        return Conv(self.strides, self.pads, self.dilation)

    def expand(self, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        y = add(self.conv(x, w), b)
        return relu(y) if self.rectified else y

    def geometry(self, x_shape, w_shape):
        return self.conv.geometry(x_shape, w_shape)

    def flops(self, ins, outs):
        return self.conv.flops(ins[:2], outs) + 2 * outs[0].size
