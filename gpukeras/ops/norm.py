"""Batch normalisation over all axes but the last.   Ioffe, Szegedy 2015, arXiv:1502.03167.

x (..., C); gamma, beta, mean, var (C,). With 16-bit activations, gamma, beta and the statistics are
float32.
"""
from __future__ import annotations

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph import Node, Tensor, TensorType, is_float
from .broadcast import broadcast_like, sum_
from .composite import Composite
from .host_norm import (bind_batch_norm, bind_batch_norm_grad, bind_batch_norm_stats,
                        bind_batch_norm_sums)
from .math import cast, rsqrt, square
from .plans import arithmetic, defines
from .record import In, Kernel, Launch, LaunchPlan, Out, Temp, Tickets
from .reduce import Count, mean
from .sums import slices_of

Types = tuple[TensorType, ...]



def _axes(x: Tensor) -> tuple[int, ...]:
    return tuple(range(x.ndim - 1))


def _check(x: TensorType, *vectors: TensorType) -> None:
    if not is_float(x.dtype):
        raise DtypeError(f"got {x}, expected floats")
    if x.ndim < 2:
        raise ShapeError(f"got {x}, expected a batch and a last axis of channels")
    wanted = TensorType(arithmetic(x.dtype), x.shape[-1:])
    for vector in vectors:
        if vector.dtype != wanted.dtype:
            raise DtypeError(f"got {vector}, expected {wanted} for activations {x}")
        if vector.ndim != 1 or vector.shape != wanted.shape and None not in (
                vector.shape + wanted.shape):
            raise ShapeError(f"got {vector}, expected {wanted} for activations {x}")


# ------------------------------------------------------------------------------ plans

def plan_batch_norm_stats(op: "BatchNormStats", ins: Types, outs: Types) -> LaunchPlan:
    """One launch; the block that comes last of a tile of columns merges the slices of the rows."""
    x, = ins
    if not x.size:
        raise ShapeError(f"no elements to take the mean of: got {x}")
    columns = x.shape[-1]
    cut = slices_of(x.size, columns)
    work = np.dtype(arithmetic(x.dtype))
    more, temps = (None, None), ()
    if cut.slices > 1:
        more = (Temp(0), Tickets(cut.tiles))
        temps = (2 * cut.slices * columns * work.itemsize,)
    return LaunchPlan((Launch("bn_stats_fwd", (cut.tiles, cut.slices), cut.block,
                              (In(0), Out(0), Out(1), Out(2), *more, np.int32(cut.rows),
                               np.int32(columns), work.type(op.eps)),
                              defines=defines(T=x.dtype)),), temps)


# ------------------------------------------------------------------------------ ops

class BatchNormStats(Composite):
    """Mean, biased variance and 1 / sqrt(variance + eps) over all axes but the last.

    x (..., C) -> mean, var, rstd (C,)
    """

    params = ("eps",)
    cuda = Kernel("norm.cu", plan_batch_norm_stats)

    def infer(self, x: TensorType) -> Types:
        _check(x)
        return (TensorType(arithmetic(x.dtype), x.shape[-1:]),) * 3

    def expand(self, x: Tensor) -> tuple[Tensor, ...]:
        wide = cast(x, arithmetic(x.dtype))
        m = mean(wide, _axes(x))
        v = mean(square(wide - m), _axes(x))
        return m, v, rsqrt(v + self.eps)

    def host(self, ins, outs):
        if ins[0].dtype == np.float16 or not ins[0].size or not ins[0].flags.c_contiguous:
            return None
        return bind_batch_norm_stats(*ins, *outs, self.eps)


class BatchNormSums(Composite):
    """What the gradient of a batch normalisation needs of its samples; passes/partition_rules.py.

    x (..., C), mean (C,), gy (..., C) -> sum(gy * (x - mean)), sum(gy): (C,)
    """

    def infer(self, x: TensorType, m: TensorType, gy: TensorType) -> Types:
        _check(x, m)
        return m, m

    def expand(self, x: Tensor, m: Tensor, gy: Tensor) -> tuple[Tensor, ...]:
        g = cast(gy, m.dtype)
        return sum_(g * (cast(x, m.dtype) - m), _axes(x)), sum_(g, _axes(x))

    def host(self, ins, outs):
        if ins[0].dtype == np.float16 or not ins[0].size or not all(
                a.flags.c_contiguous for a in ins):
            return None
        return bind_batch_norm_sums(*ins, *outs)


class BatchNormTrain(Composite):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta with the batch's mean and biased variance.

    (x, gamma, beta) -> (y, mean, var)
    """

    params = ("eps",)

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> Types:
        _check(x, gamma, beta)
        return x, TensorType(gamma.dtype, x.shape[-1:]), TensorType(gamma.dtype, x.shape[-1:])

    def expand(self, x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
        m, v, rstd = BatchNormStats(self.eps)(x)
        xhat = (cast(x, gamma.dtype) - m) * rstd
        return cast(xhat * gamma + beta, x.dtype), m, v

    def grad(self, node: Node, gy, gmean, gvar):
        x, gamma, beta = node.inputs
        _, m, v = node.outputs
        gx = ggamma = gbeta = None
        if gy is not None:
            gx, ggamma, gbeta = BatchNormGrad(self.eps)(x, gamma, m, v, gy)
        for g, by_x in ((gmean, 1), (gvar, 2)):
            if g is not None:
                share = g / Count(_axes(x), gamma.dtype)(x)
                part = cast(share if by_x == 1 else share * (cast(x, g.dtype) - m) * 2, x.dtype)
                part = broadcast_like(part, x)
                gx = part if gx is None else gx + part
        return gx, ggamma, gbeta

    def host(self, ins, outs):
        if ins[0].dtype == np.float16 or not ins[0].size or not ins[0].flags.c_contiguous:
            return None
        return bind_batch_norm(*ins, *outs, self.eps)


class BatchNormGrad(Composite):
    """Gradient of BatchNormTrain's y, through mean and variance too.

    gx = gamma / sqrt(var + eps) * (gy - (gbeta + xhat * ggamma) / n),  ggamma = sum(gy * xhat),
    gbeta = sum(gy).   (x, gamma, mean, var, gy) -> (gx, ggamma, gbeta)
    """

    params = ("eps",)

    def infer(self, x: TensorType, gamma: TensorType, m: TensorType, v: TensorType,
              gy: TensorType) -> Types:
        _check(x, gamma, m, v)
        return x, TensorType(gamma.dtype, x.shape[-1:]), TensorType(gamma.dtype, x.shape[-1:])

    def expand(self, x: Tensor, gamma: Tensor, m: Tensor, v: Tensor, gy: Tensor):
        made = v.node
        known = made.op == BatchNormStats(self.eps) and made.inputs[0] is x
        rstd = made.outputs[2] if known else rsqrt(v + self.eps)
        xhat = (cast(x, gamma.dtype) - m) * rstd
        g = cast(gy, gamma.dtype)
        gbeta, ggamma = sum_(g, _axes(x)), sum_(g * xhat, _axes(x))
        share = 1 / Count(_axes(x), gamma.dtype)(x)
        # full-sized products only: what is computed per channel would be a launch of its own
        gx = gamma * (rstd * (g - (gbeta + xhat * ggamma) * share))
        return cast(gx, x.dtype), ggamma, gbeta

    def host(self, ins, outs):
        if ins[0].dtype == np.float16 or not ins[0].size or not all(
                a.flags.c_contiguous for a in ins):
            return None
        return bind_batch_norm_grad(*ins, *outs, self.eps)


# ------------------------------------------------------------------------------ functions

def batch_norm_train(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, ...]:
    """(y, mean, biased variance) of x normalised with its own statistics."""
    return BatchNormTrain(float(eps))(x, gamma, beta)


def batch_norm_infer(x: Tensor, gamma: Tensor, beta: Tensor, m: Tensor, v: Tensor,
                     eps: float) -> Tensor:
    """x normalised with given statistics: one multiplication and one addition per element."""
    scale = gamma * rsqrt(v + float(eps))
    return cast(cast(x, gamma.dtype) * scale + (beta - m * scale), x.dtype)
