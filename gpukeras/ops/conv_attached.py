"""Convolution and what is done with its output before it is written: the pass `attach` makes these.

The sums are complete in registers when a tile of y is done: adding the bias there, or taking the
statistics of batch normalisation, saves writing y and reading it again; so does cutting a gradient
where a relu gave nothing. The ops are for devices with kernels, and exist after the gradients are
taken.
"""
from __future__ import annotations

from dataclasses import replace

from math import prod

import numpy as np

from ..graph import Tensor, TensorType
from .broadcast import Sum, sum_
from .composite import Composite
from .conv import Conv, ConvDataGrad
from .math import add, relu, relu_grad
from .norm import BatchNormStats, plan_batch_norm_stats
from .plans import THREADS, defines, grid_for
from .plans_conv import plan_conv, plan_conv_data_grad
from .plans_implicit import choices, plan_with_bias
from .plans_reduce import plan_sum
from .record import In, Kernel, Launch, LaunchPlan, Out, Temp

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
    return _followed_by(sums, stats, "norm.cu")


def _followed_by(first: LaunchPlan, then: LaunchPlan, file: str) -> LaunchPlan:
    """Both; the input of the second plan, whose kernels are in `file`, is output 0 of the first."""
    move = {In: lambda r: Out(0), Out: lambda r: Out(r.index + 1),
            Temp: lambda r: Temp(r.index + len(first.temps))}
    steps = (replace(s, file=file, args=tuple(
        move[type(a)](a) if type(a) in move else a for a in s.args)) for s in then.steps)
    return LaunchPlan((*first.steps, *steps), first.temps + then.temps)


class ConvStats(Attached):
    """y = x * w, and BatchNormStats of it.

    x (N, *S, C), w (*K, C, F) -> y (N, *S', F), mean, var, 1 / sqrt(var + eps) (F,)
    """

    params = ("strides", "pads", "dilation", "eps")
    cuda = Kernel("conv.cu", plan_with_stats, choices("fwd", plan_with_stats, "stats"))

    def expand(self, x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        y = self.conv(x, w)
        return (y, *BatchNormStats(self.eps)(y))


def plan_with_relu(op: "ConvDataRelu", ins: Types, outs: Types) -> LaunchPlan:
    """The gradient by columns, then what the relu let through of it, then the sums of that."""
    gx = outs[0]
    plan = plan_conv_data_grad(op, ins[:2], outs[:1])
    cut = Launch("relu_bwd", grid_for(gx.size), (THREADS,), (In(2), Out(0), np.int64(gx.size)),
                 defines=defines(T=gx.dtype), file="epilogue.cu")
    plan = replace(plan, steps=(*plan.steps, *((cut,) if gx.size else ())))
    if not op.total:
        return plan
    matrix = gx.with_shape((prod(gx.shape[:-1]), gx.shape[-1]))
    return _followed_by(plan, plan_sum(Sum((0,)), (matrix,), outs[1:]), "reduce.cu")


class ConvDataRelu(Attached):
    """gx = the data gradient of a convolution where y > 0, else 0; with `total` its sums as well.

    gy (N, *S', F), w (*K, C, F), y (N, *S, C), which a relu gave -> gx (N, *S, C)[, sums (C,)]
    """

    params = ("strides", "pads", "dilation", "size", "total")
    total = False
    cuda = Kernel("conv.cu", plan_with_relu, choices("data", plan_with_relu, "relu"))

    @property
    def conv(self) -> ConvDataGrad:
        return ConvDataGrad(self.strides, self.pads, self.dilation, self.size)

    def expand(self, gy: Tensor, w: Tensor, y: Tensor) -> Tensor | tuple[Tensor, ...]:
        gx = relu_grad(self.conv(gy, w), y)
        return (gx, sum_(gx, tuple(range(gx.ndim - 1)))) if self.total else gx
