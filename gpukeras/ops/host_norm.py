"""Batch normalisation on the host: few passes, block by block in the cache, sums by BLAS.

    bind_batch_norm(x, gamma, beta, y, mean, var, eps)
    bind_batch_norm_stats(x, mean, var, rstd, eps)
    bind_batch_norm_grad(x, gamma, mean, var, gy, gx, ggamma, gbeta, eps)
    bind_batch_norm_sums(x, mean, gy, products, sums)

x, y, gy, gx (..., C): C-contiguous arrays that stay where they are; vectors (C,).  Each returns
run().  Rows of several pixels make NumPy's loops long; blocks of them are summed by a product with
ones, sixteen blocks at most in float32, those sums in double.

Variance and the gradient of gamma come from sums of x^2 and gy * x, without a pass that subtracts
the mean first.  Where a mean is larger than FAR standard deviations that would cost digits, so
there the mean is subtracted after all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..blas import bind_gemm
from ..team import Team, in_turn, team
from .host_block import Run
from .host_scratch import member, take

BLOCK, ROW = 1 << 15, 1 << 9                       # elements
FEW = 8                       # blocks of a small array, so that vectors are short beside it
DEEP = 16                     # blocks that are summed up in the type of x
WORTH_SHARING = 1 << 15       # elements from which a team may pay: 0.04 ms
FAR = 4.0
_ALONE = Team(1)

Row = tuple[np.ndarray, ...]


class Blocks:
    """Arrays (..., C) as blocks (rows, pixels * C), shared out over the team."""

    def __init__(self, *arrays: np.ndarray) -> None:
        first = arrays[0]
        self.columns, self.dtype = first.shape[-1], first.dtype
        self.pixels = first.size // self.columns
        lanes = min(self.pixels, max(ROW // self.columns, 1))
        self.lanes, self.wide = lanes, lanes * self.columns
        rows = self.pixels // lanes
        step = max(min(BLOCK, first.size // FEW) // self.wide, 1)
        whole = rows * self.wide
        flat = [a.reshape(-1) for a in arrays]
        self.parts = [tuple(a[:whole].reshape(-1, self.wide)[i:i + step] for a in flat)
                      for i in range(0, rows, step)]
        if whole < first.size:                     # what does not fill a row
            self.parts.append(tuple(a[whole:].reshape(1, -1) for a in flat))
        self.crew = team() if first.size >= WORTH_SHARING else _ALONE
        self.shares = self.crew.split(len(self.parts))
        self.tall = tall = max(len(p[0]) for p in self.parts)
        self.scratch = []
        for number, _ in enumerate(self.shares):
            with member(number):
                self.scratch.append(take("batch norm", (2, tall, self.wide), self.dtype))
        self.ones = np.ones((1, tall), self.dtype)

    def vector(self) -> np.ndarray:
        """Room for one number per channel, repeated all over a block: NumPy takes 0.19 ns an
        element to repeat a row on the way, 0.11 ns to read it."""
        return np.empty((self.tall, self.wide), self.dtype)

    def put(self, vector: np.ndarray, values: np.ndarray) -> None:
        """Repeat values (C,) all over a vector."""
        vector[0].reshape(self.lanes, -1)[...] = values
        vector[1:] = vector[0]

    def totals(self) -> np.ndarray:
        """Room for sums over columns: (rows, pixels * C)."""
        return np.zeros((-(-len(self.parts) // DEEP) + len(self.shares), self.wide), self.dtype)

    def sum(self, totals: np.ndarray) -> np.ndarray:
        """(C,) float64"""
        return np.add.reduce(totals, 0, np.float64).reshape(self.lanes, -1).sum(0)

    def each(self, calls: Callable[..., list[Run]]) -> Run:
        """run() of calls(arrays of a block, row(vector) -> the part that meets them, two scratch
        arrays, add(block, totals) -> call) for every block."""
        jobs = []
        for worker, share in enumerate(self.shares):
            todo: list[Run] = []
            for number, arrays in enumerate(self.parts[share]):
                tall, wide = arrays[0].shape
                room = [s[:tall].reshape(-1)[:tall * wide].reshape(tall, wide)
                        for s in self.scratch[worker]]
                where = share.start // DEEP + worker + number // DEEP
                todo += calls(arrays, partial(_corner, tall, wide), room,
                              partial(self._add, where, number % DEEP > 0))
            jobs.append(in_turn(todo))
        return self.crew.bind(jobs)

    def _add(self, where: int, more: bool, block: np.ndarray, totals: np.ndarray) -> Run:
        into = totals[where:where + 1, :block.shape[1]]
        return bind_gemm(self.ones[:, :len(block)], block, into, accumulate=more, split=False)


def _corner(tall: int, wide: int, vector: np.ndarray) -> np.ndarray:
    return vector[:tall, :wide]


def _moments(blocks: Blocks, centre: np.ndarray) -> Callable[[], tuple]:
    """run() -> (mean, biased variance, whether the plain way will do) of the first array, in
    double; `centre` holds the mean if it will not."""
    sums, squares = blocks.totals(), blocks.totals()

    def both_sums(arrays: Row, row, room, add) -> list[Run]:
        part, square = arrays[0], room[0]
        return [add(part, sums), partial(np.multiply, part, part, square), add(square, squares)]

    def far_squares(arrays: Row, row, room, add) -> list[Run]:
        part, square = arrays[0], room[0]
        return [partial(np.subtract, part, row(centre), square),
                partial(np.multiply, square, square, square), add(square, squares)]

    first, second = blocks.each(both_sums), blocks.each(far_squares)

    def run() -> tuple:
        first()
        m = blocks.sum(sums) / blocks.pixels
        v = np.maximum(blocks.sum(squares) / blocks.pixels - m * m, 0)
        plain = bool((m * m <= FAR * FAR * v).all())           # False for NaN too
        if not plain:
            blocks.put(centre, m)
            second()
            v = blocks.sum(squares) / blocks.pixels
        return m, v, plain
    return run


def bind_batch_norm_stats(x: np.ndarray, mean: np.ndarray, var: np.ndarray, rstd: np.ndarray,
                          eps: float) -> Run:
    """run() for mean, biased variance and 1 / sqrt(variance + eps) of x."""
    blocks = Blocks(x)
    moments = _moments(blocks, blocks.vector())

    def run() -> None:
        m, v, _ = moments()
        mean[...], var[...], rstd[...] = m, v, 1 / np.sqrt(v + eps)
    return run


def bind_batch_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, y: np.ndarray,
                    mean: np.ndarray, var: np.ndarray, eps: float) -> Run:
    """run() for y = (x - mean) / sqrt(var + eps) * gamma + beta, mean and biased variance of x."""
    blocks = Blocks(x, y)
    centre, scale, shift = (blocks.vector() for _ in range(3))
    moments = _moments(blocks, centre)

    def apply(arrays: Row, row, room, add) -> list[Run]:
        part, out = arrays
        return [partial(np.multiply, part, row(scale), out), partial(np.add, out, row(shift), out)]

    def far_apply(arrays: Row, row, room, add) -> list[Run]:
        (part, out), moved = arrays, room[0]
        return [partial(np.subtract, part, row(centre), moved),
                partial(np.multiply, moved, row(scale), moved),
                partial(np.add, moved, row(shift), out)]

    near, far = blocks.each(apply), blocks.each(far_apply)

    def run() -> None:
        m, v, plain = moments()
        mean[...], var[...] = m, v
        if not plain:                              # what rounding the mean has left over
            m = m - mean.astype(np.float64)
        factor = gamma / np.sqrt(v + eps)
        blocks.put(scale, factor)
        blocks.put(shift, beta - m * factor)
        (near if plain else far)()
    return run


def bind_batch_norm_sums(x: np.ndarray, mean: np.ndarray, gy: np.ndarray, products: np.ndarray,
                         sums: np.ndarray) -> Run:
    """run() for products = sum(gy * (x - mean)), sums = sum(gy), per channel."""
    blocks = Blocks(x, gy)
    total, product_total, centre = blocks.totals(), blocks.totals(), blocks.vector()

    def both(arrays: Row, row, room, add) -> list[Run]:
        (part, g), product = arrays, room[0]
        return [add(g, total), partial(np.subtract, part, row(centre), product),
                partial(np.multiply, product, g, product), add(product, product_total)]

    go = blocks.each(both)

    def run() -> None:
        blocks.put(centre, mean)
        go()
        products[...], sums[...] = blocks.sum(product_total), blocks.sum(total)
    return run


def bind_batch_norm_grad(x: np.ndarray, gamma: np.ndarray, mean: np.ndarray, var: np.ndarray,
                         gy: np.ndarray, gx: np.ndarray, ggamma: np.ndarray, gbeta: np.ndarray,
                         eps: float) -> Run:
    """run() for the gradients of bind_batch_norm's y: see ops/norm.py."""
    blocks = Blocks(x, gy, gx)
    sums, products = blocks.totals(), blocks.totals()
    centre, by_x, by_g, shift = (blocks.vector() for _ in range(4))

    def both_sums(arrays: Row, row, room, add) -> list[Run]:
        (part, g, _), product = arrays, room[0]
        return [add(g, sums), partial(np.multiply, part, g, product), add(product, products)]

    def far_sums(arrays: Row, row, room, add) -> list[Run]:
        (part, g, _), product = arrays, room[0]
        return [add(g, sums), partial(np.subtract, part, row(centre), product),
                partial(np.multiply, product, g, product), add(product, products)]

    def apply(arrays: Row, row, room, add) -> list[Run]:
        (part, g, out), (moved, scaled) = arrays, room
        return [partial(np.multiply, part, row(by_x), moved),
                partial(np.multiply, g, row(by_g), scaled), partial(np.add, moved, scaled, scaled),
                partial(np.add, scaled, row(shift), out)]

    def far_apply(arrays: Row, row, room, add) -> list[Run]:
        (part, g, out), (moved, scaled) = arrays, room
        return [partial(np.subtract, part, row(centre), moved),
                partial(np.multiply, moved, row(by_x), moved),
                partial(np.multiply, g, row(by_g), scaled), partial(np.add, moved, scaled, scaled),
                partial(np.add, scaled, row(shift), out)]

    near_first, far_first, near, far = map(blocks.each, (both_sums, far_sums, apply, far_apply))

    def run() -> None:
        m, v = mean.astype(np.float64), var.astype(np.float64)
        plain = bool((m * m <= FAR * FAR * v).all())
        if not plain:
            blocks.put(centre, mean)
        (near_first if plain else far_first)()
        sum_g, sum_gx = blocks.sum(sums), blocks.sum(products)
        if plain:
            sum_gx = sum_gx - m * sum_g
        rstd = 1 / np.sqrt(v + eps)
        gbeta[...], ggamma[...] = sum_g, sum_gx * rstd
        # gx = by_g * gy + by_x * (x - mean) + shift
        slope = -gamma * rstd ** 3 * sum_gx / blocks.pixels
        base = -gamma * rstd * sum_g / blocks.pixels
        blocks.put(by_g, gamma * rstd)
        blocks.put(by_x, slope)
        blocks.put(shift, base - slope * m if plain else base)
        (near if plain else far)()
    return run
