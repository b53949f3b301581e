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
from .math import cast, rsqrt, square
from .plans import arithmetic, defines
from .record import In, Kernel, Launch, LaunchPlan, Out, Temp, Tickets
from .reduce import Count, mean
from .sums import slices_of

Types = tuple[TensorType, ...]

_BLOCK, _ROW = 1 << 15, 1 << 11                    # elements of a block and of a row on the host


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


# ------------------------------------------------------------------------------ host

class _Blocks:
    """Arrays (..., C) cut into blocks that stay in the cache, several pixels to a row.

    NumPy's loops run along rows: a row of 1024 numbers costs less than 32 rows of 32.
    """

    def __init__(self, *arrays: np.ndarray) -> None:
        self.columns = arrays[0].shape[-1]
        self.rows = arrays[0].size // self.columns
        most = min(self.rows, max(_ROW // self.columns, 1))
        self.lanes = next(k for k in range(most, 0, -1) if self.rows % k == 0)
        wide = [a.reshape(-1, self.lanes * self.columns) for a in arrays]
        step = max(_BLOCK // wide[0].shape[1], 1)
        self.parts = [[a[i:i + step] for a in wide] for i in range(0, len(wide[0]), step)]
        self.scratch = np.empty_like(self.parts[0][0])
        self.ones = np.ones(len(self.scratch), arrays[0].dtype)
        self.totals = np.zeros((2, self.lanes * self.columns))

    def vector(self) -> np.ndarray:
        """Room for one number per channel, repeated for every pixel of a row."""
        return np.empty((self.lanes, self.columns), self.scratch.dtype)

    def __iter__(self):
        return iter(self.parts)

    def add(self, block: np.ndarray, which: int = 0) -> None:
        """Sum the rows of a block, by BLAS, to one of two totals in double."""
        self.totals[which] += self.ones[:len(block)] @ block

    def sums(self, which: int = 0) -> np.ndarray:
        """The total of each channel since the last call."""
        sums = self.totals[which].reshape(self.lanes, self.columns).sum(0)
        self.totals[which] = 0
        return sums


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
        x, gamma, beta = ins
        y, m, v = outs
        if x.dtype == np.float16 or not x.size:
            return None
        blocks, eps = _Blocks(x, y), self.eps
        centre, scale, shift = (blocks.vector() for _ in range(3))
        flat_centre, flat_scale, flat_shift = (a.reshape(-1) for a in (centre, scale, shift))

        def run() -> None:
            for part, _ in blocks:
                blocks.add(part)
            centre[...] = blocks.sums() / blocks.rows
            for part, out in blocks:
                np.subtract(part, flat_centre, out=out)
                blocks.add(np.multiply(out, out, out=blocks.scratch[:len(out)]))
            variance = blocks.sums() / blocks.rows
            m[...], v[...] = centre[0], variance
            scale[...], shift[...] = gamma / np.sqrt(variance + eps), beta
            for _, out in blocks:
                np.multiply(out, flat_scale, out=out)
                np.add(out, flat_shift, out=out)
        return run


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
        x, gamma, m, v, gy = ins
        gx, ggamma, gbeta = outs
        if x.dtype == np.float16 or not x.size:
            return None
        blocks, eps = _Blocks(x, gy, gx), self.eps
        centre, by_x, by_g, shift = (blocks.vector() for _ in range(4))
        flat = [a.reshape(-1) for a in (centre, by_x, by_g, shift)]

        def run() -> None:
            centre[...] = m
            for part, g, out in blocks:
                blocks.add(g, 1)
                np.subtract(part, flat[0], out=out)
                blocks.add(np.multiply(out, g, out=blocks.scratch[:len(out)]))
            sum_gx, sum_g = blocks.sums(), blocks.sums(1)
            rstd = 1 / np.sqrt(v.astype("float64") + eps)
            gbeta[...], ggamma[...] = sum_g, sum_gx * rstd
            # gx = by_g * gy + by_x * (x - mean) + shift
            by_g[...] = gamma * rstd
            by_x[...] = -gamma * rstd ** 3 * sum_gx / blocks.rows
            shift[...] = -gamma * rstd * sum_g / blocks.rows
            for _, g, out in blocks:
                scaled = np.multiply(g, flat[2], out=blocks.scratch[:len(g)])
                np.add(scaled, flat[3], out=scaled)
                np.multiply(out, flat[1], out=out)
                np.add(out, scaled, out=out)
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
