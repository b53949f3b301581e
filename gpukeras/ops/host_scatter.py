"""The input gradient of a convolution by Winograd's algorithm, scattered from gy.

    saves(g, filters, dtype)              a Shape, or None where another way is faster
    bind_conv_grad_input(gy, w, gx, shape)

host_winograd.py gathers gx as a convolution over gy with a border; without padding that is more
work than the forward convolution (12 x 12 places for 8 x 8, say).  Here its steps are transposed:

    gx = B' [(G w)' x (A' gy)],

where x multiplies by the transposed kernels: the columns of every place, which are then folded
along the row by a product with ones and zeros (as in host_conv.py), and added up down the rows.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..blas import bind_stack, workers
from ..team import in_turn
from .host_block import Block, Run, share_out
from .host_scratch import take
from .host_winograd import (PRODUCT, ROWS, TRANSFORM, WEIGHT, Rows, Shape, best_back, lined_up,
                            matrices, plain_cost, transformed, usable)
from .window import Geometry

BLOCK_BYTES = 1 << 19
BAND = 0.02                   # ns for a multiplication by a one or a zero and an addition


def _cost(shape: Shape) -> float:
    """ns on one core."""
    columns = shape.out * shape.taps * shape.channels
    image = (PRODUCT * columns * shape.filters + BAND * columns * shape.inside
             + TRANSFORM * (shape.out * shape.filters + shape.inside * shape.channels))
    return shape.n * (shape.g.images * shape.groups * image
                      + WEIGHT * shape.taps * shape.channels * shape.filters)


def saves(g: Geometry, filters: int, dtype: np.dtype) -> Shape | None:
    """The Shape (of the forward convolution) if this is the fastest way."""
    if not usable(g, dtype) or len(g.window) != 2:
        return None
    shape = min((Shape(g, filters, m, scatter=True) for m in ROWS[g.window[0]]), key=_cost)
    other = best_back(g, filters, dtype)
    rival = plain_cost(g, filters) if other is None else other.cost()
    return shape if _cost(shape) < rival else None


def cut(shape: Shape, itemsize: int) -> list[Block]:
    """Blocks of whole images."""
    g = shape.g
    image = shape.n * shape.groups * itemsize * (
        shape.out * (shape.filters + shape.taps * shape.channels) + shape.inside * shape.channels)
    count = max(1, min(BLOCK_BYTES // image, -(-g.images // workers().size)))
    return [Block(i, min(i + count, g.images), 0, g.out[0]) for i in range(0, g.images, count)]


def bind_conv_grad_input(gy: np.ndarray, w: np.ndarray, gx: np.ndarray, shape: Shape) -> Run:
    """run() for gx."""
    kernels, turn = transformed(shape, w)
    across = np.empty((shape.n, shape.filters, shape.taps * shape.channels), w.dtype)
    rows, out = lined_up(gx), lined_up(gy)

    def job(todo: list[Block]) -> list[Run]:
        scatter = _Scatter(shape, todo, across)
        return [call for b in todo for call in scatter.calls(out, b, rows)]
    run = share_out(shape.g, shape.filters, cut(shape, gy.itemsize), job)
    return in_turn([turn, partial(np.copyto, across, kernels.swapaxes(1, 2)), run])


class _Scatter:
    """gx block by block."""

    def __init__(self, shape: Shape, todo: list[Block], across: np.ndarray) -> None:
        self.shape, self.across, dtype = shape, across, across.dtype
        self.after = Rows(shape, todo, "rows after", shape.filters, shape.out, dtype)
        a, _, b = matrices(shape.m, shape.r)
        self.a, self.b = (np.ascontiguousarray(x.T.astype(dtype)) for x in (a, b))
        most = shape.n * shape.groups * max(b.last - b.first for b in todo)
        self.columns = take("rows before", (most * shape.out * shape.taps * shape.channels,), dtype)
        self.folded = take("rows folded", (most * shape.inside * shape.channels,), dtype)
        at = (np.arange(shape.out)[:, None] + np.arange(shape.taps) - shape.left).reshape(-1)
        self.bands = (at == np.arange(shape.inside)[:, None]).astype(dtype)

    def calls(self, gy: np.ndarray, block: Block, gx: np.ndarray) -> list[Run]:
        shape, images = self.shape, block.last - block.first
        count = shape.n * images * shape.groups
        columns = self.columns[:count * shape.out * shape.taps * shape.channels]
        folded = self.folded[:count * shape.inside * shape.channels].reshape(
            count, shape.inside, shape.channels)
        calls = self.after.exchange(block, gy, self.a, 0, 0, False)
        pixels, = self.after.pixels(block)
        calls.append(bind_stack(pixels, self.across, columns.reshape(
            shape.n, -1, shape.taps * shape.channels)))
        calls.append(bind_stack(np.broadcast_to(self.bands, (count,) + self.bands.shape),
                                columns.reshape(count, -1, shape.channels), folded))
        target = gx[block.first:block.last].reshape(images, gx.shape[1], -1)
        calls.append(partial(target.fill, 0))
        parts = folded.reshape(shape.n, images, shape.groups, -1).transpose(1, 2, 0, 3)
        for j in range(shape.groups):
            start = j * shape.m - shape.low
            first, last = max(0, -start), min(shape.n, gx.shape[1] - start)
            if last > first:
                small = np.broadcast_to(self.b[first:last], (images, last - first, shape.n))
                calls.append(bind_stack(small, parts[:, j], target[:, start + first:start + last],
                                        accumulate=True))
        return calls
