"""Batch normalisation over all axes but the last.   Ioffe, Szegedy 2015, arXiv:1502.03167.

x (..., C); gamma, beta, mean, var (C,). With 16-bit activations, gamma, beta and the statistics are
float32.
"""
from __future__ import annotations

from typing import Callable

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph import Node, Tensor, TensorType, is_float
from .broadcast import broadcast_like, sum_
from .composite import Composite
from .math import cast, rsqrt, square
from .plans import BLOCKS, THREADS, arithmetic, defines, grid_for, matrix_of
from .record import In, Kernel, Launch, LaunchPlan, Out, Ref, Temp
from .reduce import Count, mean

Types = tuple[TensorType, ...]

_SLICE = 64                                        # least rows worth a slice of their own
_BLOCK = 1 << 15                                   # elements a host pass works on at a time


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

def _slices(rows: int, columns: int) -> int:
    return max(min(BLOCKS // -(-columns // 32), rows // _SLICE), 1)


def _column_sums(entries: tuple[str, str], refs: tuple[Ref, ...], outs: tuple[Ref, Ref], rows: int,
                 columns: int, names, tail: tuple, merge_tail: tuple) -> tuple[list, tuple]:
    """A launch over row slices and, if there are several, the one that merges them."""
    slices = _slices(rows, columns)
    tiles = -(-columns // 32)
    sizes = (np.int32(rows), np.int32(columns))
    to = outs if slices == 1 else (Temp(0), Temp(1))
    steps = [Launch(entries[0], (tiles, slices), (32, 8), (*refs, *to, *sizes, *tail),
                    defines=names)]
    if slices == 1:
        return steps, ()
    steps.append(Launch(entries[1], grid_for(columns), (THREADS,),
                        (*to, *outs, *merge_tail, np.int32(columns), np.int32(slices)),
                        defines=names))
    itemsize = 8 if ("T", "double") in names else 4
    return steps, (slices * columns * itemsize,) * 2


def plan_batch_norm(op: "BatchNormTrain", ins: Types, outs: Types) -> LaunchPlan:
    x = ins[0]
    rows, columns = matrix_of(x.shape)
    if not x.size:
        raise ShapeError(f"no elements to take the mean of: got {x}")
    names = defines(T=x.dtype)
    eps = np.dtype(arithmetic(x.dtype)).type(op.eps)
    steps, temps = _column_sums(("bn_stats_fwd", "bn_merge_fwd"), (In(0),), (Out(1), Out(2)), rows,
                                columns, names, (), (np.int32(rows),))
    steps.append(Launch("bn_apply_fwd", grid_for(x.size), (THREADS,),
                        (In(0), Out(1), Out(2), In(1), In(2), Out(0), np.int64(x.size),
                         np.int32(columns), eps), defines=names))
    return LaunchPlan(tuple(steps), temps)


def plan_batch_norm_grad(op: "BatchNormGrad", ins: Types, outs: Types) -> LaunchPlan:
    x = ins[0]
    rows, columns = matrix_of(x.shape)
    names = defines(T=x.dtype)
    scalar = np.dtype(arithmetic(x.dtype)).type
    # inputs: x gamma mean var gy; outputs: gx ggamma gbeta
    steps, temps = _column_sums(("bn_sums_bwd", "bn_merge_bwd"), (In(0), In(4), In(2), In(3)),
                                (Out(2), Out(1)), rows, columns, names, (scalar(op.eps),), ())
    steps.append(Launch("bn_apply_bwd", grid_for(x.size), (THREADS,),
                        (In(0), In(4), In(2), In(3), In(1), Out(2), Out(1), Out(0),
                         np.int64(x.size), np.int32(columns), scalar(op.eps), scalar(1 / rows)),
                        defines=names))
    return LaunchPlan(tuple(steps), temps)


# ------------------------------------------------------------------------------ host

def _blocks(*arrays: np.ndarray) -> list[list[np.ndarray]]:
    """The matrices cut into blocks of rows that stay in the cache."""
    rows = max(_BLOCK // max(arrays[0].shape[1], 1), 1)
    return [[a[i:i + rows] for a in arrays] for i in range(0, len(arrays[0]), rows)]


def _column_mean(parts: list, into: Callable[..., np.ndarray], total: np.ndarray,
                 ones: np.ndarray, count: int) -> None:
    """total = the mean over rows of into(*part), summed by BLAS within a block, then in double."""
    total[...] = 0
    for part in parts:
        block = into(*part)
        total += ones[:len(block)] @ block
    total /= count


class BatchNormTrain(Composite):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta with the batch's mean and biased variance.

    (x, gamma, beta) -> (y, mean, var)
    """

    params = ("eps",)
    cuda = Kernel("norm.cu", plan_batch_norm)

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> Types:
        _check(x, gamma, beta)
        return x, TensorType(gamma.dtype, x.shape[-1:]), TensorType(gamma.dtype, x.shape[-1:])

    def expand(self, x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
        wide = cast(x, gamma.dtype)
        m = mean(wide, _axes(x))
        d = wide - m
        v = mean(square(d), _axes(x))
        return cast(d * (gamma * rsqrt(v + self.eps)) + beta, x.dtype), m, v

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
        x, gamma, beta = ins
        y, m, v = outs
        if x.dtype == np.float16 or not x.size:
            return None
        matrix, flat = x.reshape(-1, x.shape[-1]), y.reshape(-1, x.shape[-1])
        parts, rows = _blocks(matrix, flat), len(matrix)
        ones = np.ones(len(parts[0][0]), x.dtype)
        total, eps = np.empty(x.shape[-1]), self.eps
        scale = np.empty_like(m)

        def squares(part, out):
            np.subtract(part, m, out=out)
            return np.multiply(out, out, out=out)

        def run() -> None:
            _column_mean(parts, lambda part, out: part, total, ones, rows)
            np.copyto(m, total, "same_kind")
            _column_mean(parts, squares, total, ones, rows)
            np.copyto(v, total, "same_kind")
            np.copyto(scale, gamma / np.sqrt(total + eps), "same_kind")
            for part, out in parts:
                np.subtract(part, m, out=out)
                np.multiply(out, scale, out=out)
                np.add(out, beta, out=out)
        return run


class BatchNormGrad(Composite):
    """Gradient of BatchNormTrain's y, through mean and variance too.

    gx = gamma / sqrt(var + eps) * (gy - (gbeta + xhat * ggamma) / n),  ggamma = sum(gy * xhat),
    gbeta = sum(gy).   (x, gamma, mean, var, gy) -> (gx, ggamma, gbeta)
    """

    params = ("eps",)
    cuda = Kernel("norm.cu", plan_batch_norm_grad)

    def infer(self, x: TensorType, gamma: TensorType, m: TensorType, v: TensorType,
              gy: TensorType) -> Types:
        _check(x, gamma, m, v)
        return x, TensorType(gamma.dtype, x.shape[-1:]), TensorType(gamma.dtype, x.shape[-1:])

    def expand(self, x: Tensor, gamma: Tensor, m: Tensor, v: Tensor, gy: Tensor):
        rstd = rsqrt(v + self.eps)
        xhat = (cast(x, gamma.dtype) - m) * rstd
        g = cast(gy, gamma.dtype)
        gbeta, ggamma = sum_(g, _axes(x)), sum_(g * xhat, _axes(x))
        n = Count(_axes(x), gamma.dtype)(x)
        gx = gamma * rstd * (g - (gbeta + xhat * ggamma) / n)
        return cast(gx, x.dtype), ggamma, gbeta

    def host(self, ins, outs):
        x, gamma, m, v, gy = ins
        gx, ggamma, gbeta = outs
        if x.dtype == np.float16 or not x.size:
            return None
        matrices = [a.reshape(-1, x.shape[-1]) for a in (x, gy, gx)]
        parts, rows = _blocks(*matrices), len(matrices[0])
        ones = np.ones(len(parts[0][0]), x.dtype)
        total, eps = np.empty(x.shape[-1]), self.eps
        by_x, by_g, shift = (np.empty_like(m) for _ in range(3))
        scratch = np.empty_like(parts[0][0])

        def products(part, g, out):
            np.subtract(part, m, out=out)
            return np.multiply(out, g, out=out)

        def run() -> None:
            rstd = 1 / np.sqrt(v.astype("float64") + eps)
            _column_mean(parts, lambda part, g, out: g, total, ones, 1)
            np.copyto(gbeta, total, "same_kind")
            np.copyto(shift, -gamma * rstd * total / rows, "same_kind")
            _column_mean(parts, products, total, ones, 1)
            np.copyto(ggamma, total * rstd, "same_kind")
            np.copyto(by_x, -gamma * rstd ** 3 * total / rows, "same_kind")
            np.copyto(by_g, gamma * rstd, "same_kind")
            for part, g, out in parts:
                centred = scratch[:len(part)]
                np.subtract(part, m, out=centred)
                np.multiply(centred, by_x, out=centred)
                np.multiply(g, by_g, out=out)
                np.add(out, centred, out=out)
                np.add(out, shift, out=out)
        return run


# ------------------------------------------------------------------------------ functions

def batch_norm_train(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, ...]:
    """(y, mean, biased variance) of x normalised with its own statistics."""
    return BatchNormTrain(float(eps))(x, gamma, beta)


def batch_norm_infer(x: Tensor, gamma: Tensor, beta: Tensor, m: Tensor, v: Tensor,
                     eps: float) -> Tensor:
    """x normalised with given statistics: one multiplication and one addition per element."""
    scale = gamma * rsqrt(v + float(eps))
    return cast(cast(x, gamma.dtype) * scale + (beta - m * scale), x.dtype)
