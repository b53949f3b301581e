"""Convolution and max pooling together on the host, block by block: see ops/conv_pool.py.

    bind_conv_max_pool(x, w, pooled, mask, g, window)
    bind_masked_spread(mask, gy, gx, window)
    bind_masked_weight_grad(x, mask, gy, gw, g, window)

Windows tile the convolution's output exactly.  Each returns run(), or None where host_conv would
return None or would cut single images into rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..blas import bind_stack
from ..team import in_turn, team
from .host_conv import (Block, Columns, block_rows, blocks, method, share_out, usable,
                        weight_parts)
from .host_pool import Rows
from .window import Geometry

Run = Callable[[], None]

SPREAD_BYTES = 1 << 18        # of gx, per block
WORTH_SHARING = 1 << 22       # bytes of gx from which a team of threads pays


def bind_conv_max_pool(x: np.ndarray, w: np.ndarray, pooled: np.ndarray, mask: np.ndarray,
                       g: Geometry, window: tuple[int, ...]) -> Run | None:
    """run() for pooled = max_pool(x * w) and mask = the element each window took."""
    if not usable(x, w, pooled):
        return None
    how = method(g)
    cut = blocks(g, how, x.itemsize)
    if any(b.bottom - b.top < g.out[0] for b in cut):
        return None
    kernels = weight_parts(w, g, how)

    def job(todo: list[Block]) -> list[Run]:
        columns, calls = Columns(g, how, todo, x.dtype), []
        rows = Rows(mask.shape[1:], window, max(b.last - b.first for b in todo), x.dtype)
        room = np.empty((max(b.last - b.first for b in todo),) + mask.shape[1:], x.dtype)
        for block in todo:
            fill, parts = columns.parts(x, block)
            images, y = slice(block.first, block.last), room[:block.last - block.first]
            out = block_rows(y, Block(0, len(y), block.top, block.bottom), parts)
            calls += fill + [bind_stack(a, k, out, accumulate=i > 0)
                             for i, (a, k) in enumerate(zip(parts, kernels))]
            calls += rows.reduce(y, pooled[images])
            calls.append(rows.mark(y, pooled[images], mask[images]))
        return calls
    return share_out(g, w.shape[-1], cut, job)


def bind_masked_weight_grad(x: np.ndarray, mask: np.ndarray, gy: np.ndarray, gw: np.ndarray,
                            g: Geometry, window: tuple[int, ...]) -> Run | None:
    """run() for gw = the weight gradient of the convolution whose output's gradient is gy where
    the mask says so."""
    if not usable(x, gy, gw):
        return None
    how = method(g)
    cut = blocks(g, how, x.itemsize)
    if any(b.bottom - b.top < g.out[0] for b in cut):
        return None
    sums: list[np.ndarray] = []

    def job(todo: list[Block]) -> list[Run]:
        mine = np.empty_like(gw) if sums else gw
        sums.append(mine)
        kernels = weight_parts(mine, g, how)
        columns, calls = Columns(g, how, todo, x.dtype), []
        rows = Rows(mask.shape[1:], window, max(b.last - b.first for b in todo), x.dtype)
        room = np.empty((max(b.last - b.first for b in todo),) + mask.shape[1:], x.dtype)
        for number, block in enumerate(todo):
            images, gx = slice(block.first, block.last), room[:block.last - block.first]
            calls += rows.spread(mask[images], gy[images], gx)
            fill, parts = columns.parts(x, block)
            out = block_rows(gx, Block(0, len(gx), block.top, block.bottom), parts)
            calls += fill + [bind_stack(a.swapaxes(1, 2), out, k, accumulate=number > 0)
                             for a, k in zip(parts, kernels)]
        return calls
    run = share_out(g, gw.shape[-1], cut, job)
    return in_turn([run] + [partial(np.add, gw, other, gw) for other in sums[1:]])


def bind_masked_spread(mask: np.ndarray, gy: np.ndarray, gx: np.ndarray,
                       window: tuple[int, ...]) -> Run | None:
    """run() for gx = gy where the mask says so, else 0."""
    if not usable(gy, gx):
        return None
    images = len(gx)
    count = max(1, SPREAD_BYTES // (gx.nbytes // images))

    def job(part: slice) -> Run:
        rows = Rows(mask.shape[1:], window, count, gx.dtype)
        calls: list[Run] = []
        for first in range(part.start, part.stop, count):
            here = slice(first, min(first + count, part.stop))
            calls += rows.spread(mask[here], gy[here], gx[here])
        return in_turn(calls)
    if gx.nbytes < WORTH_SHARING:
        return job(slice(0, images))
    return team().bind([job(part) for part in team().split(images)])
