"""Convolution and what is done with its output before it is written: the pass `attach` makes these.

The sums are complete in registers when a tile of y is done: adding the bias there, or taking the
statistics of batch normalisation, saves writing y and reading it again. The ops are for devices
with kernels, and exist after the gradients are taken.
"""
from __future__ import annotations

from dataclasses import replace

from ..graph import Tensor, TensorType
from .composite import Composite
from .conv import Conv
from .math import add, relu
from .norm import BatchNormStats, plan_batch_norm_stats
from .plans_conv import plan_conv
from .plans_implicit import choices, plan_with_bias
from .record import In, Kernel, LaunchPlan, Out, Temp

Types = tuple[TensorType, ...]


class Attached(Composite):
    """What both have in common: a Conv."""

    @property
    def conv(self) -> Conv:
        return Conv(self.strides, self.pads, self.dilation)

    def geometry(self, x_shape, w_shape):
        return self.conv.geometry(x_shape, w_shape)

    def flops(self, ins, outs):
        return self.conv.flops(ins[:2], outs[:1]) + 2 * outs[0].size


class ConvBias(Attached):
    """x * w + b, or the larger of that and 0.  x (N, *S, C), w (*K, C, F), b (F,) -> (N, *S', F).

    rectified: 1 for the second form, else 0.
    """

    params = ("strides", "pads", "dilation", "rectified")
    cuda = Kernel("conv.cu", plan_with_bias, choices("fwd", plan_with_bias, "bias"))

    def expand(self, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        y = add(self.conv(x, w), b)
        return relu(y) if self.rectified else y


def plan_with_stats(op: "ConvStats", ins: Types, outs: Types) -> LaunchPlan:
    """The convolution by columns, then BatchNormStats of its output."""
    sums = plan_conv(op, ins, outs[:1])
    stats = plan_batch_norm_stats(op, outs[:1], outs[1:])
    move = {In: lambda r: Out(0), Out: lambda r: Out(r.index + 1),
            Temp: lambda r: Temp(r.index + len(sums.temps))}
    steps = (replace(s, file="norm.cu", args=tuple(
        move[type(a)](a) if type(a) in move else a for a in s.args)) for s in stats.steps)
    return LaunchPlan((*sums.steps, *steps), sums.temps + stats.temps)


class ConvStats(Attached):
    """y = x * w, and BatchNormStats of it.

    x (N, *S, C), w (*K, C, F) -> y (N, *S', F), mean, var, 1 / sqrt(var + eps) (F,)
    """

    params = ("strides", "pads", "dilation", "eps")
    cuda = Kernel("conv.cu", plan_with_stats, choices("fwd", plan_with_stats, "stats"))

    def expand(self, x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        y = self.conv(x, w)
        return (y, *BatchNormStats(self.eps)(y))
