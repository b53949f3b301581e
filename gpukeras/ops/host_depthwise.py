"""Depthwise convolution on the host: one multiplication and one addition per tap and block.

    bind_depthwise(x, w, y, g)                 y
    bind_depthwise_grad_input(gy, w, gx, g)    gx
    bind_depthwise_grad_weight(x, gy, gw, g)   gw

As in host_conv.py: C-contiguous arrays that stay where they are; each returns run(), shared out
over the team by images, or None for arrays it does not serve. A tap's weights are tiled along a row
of the image, so that inner loops run over whole rows and not over one pixel's channels.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..blas import bind_gemm, workers
from ..team import in_turn
from . import window as win
from .host_conv import usable
from .window import Geometry

Run = Callable[[], None]

BLOCK_BYTES = 1 << 19         # both sides and the scratch of a block: half of a common L2


def bind_depthwise(x: np.ndarray, w: np.ndarray, y: np.ndarray, g: Geometry) -> Run | None:
    """run() for y[..., c * M + m] = x[..., c] * w[..., c, m]."""
    if not usable(x, w, y):
        return None
    tiled, tile = _tiled(w, g)

    def block(part: slice, border: np.ndarray | None, scratch: np.ndarray) -> list[Run]:
        calls, large = _bordered(g, x[part], border)
        out = y[part].reshape(large.shape[0], *g.out, *w.shape[-2:])
        for number, tap in enumerate(np.ndindex(*g.window)):
            source = large[(slice(None), *win.tap_slices(g, tap))][..., None]
            if number == 0:
                calls.append(partial(np.multiply, source, tiled[0], out=out))
                continue
            here = scratch[:out.size].reshape(out.shape)
            calls += [partial(np.multiply, source, tiled[number], out=here),
                      partial(np.add, out, here, out=out)]
        return calls
    return in_turn([tile, _share_out(g, w, x.dtype, block)])


def bind_depthwise_grad_input(gy: np.ndarray, w: np.ndarray, gx: np.ndarray, g: Geometry,
                              ) -> Run | None:
    """run() for gx: what y's gradient is to x."""
    if not usable(gx, w, gy):
        return None
    tiled, tile = _tiled(w, g)
    filters = w.shape[-1]

    def block(part: slice, border: np.ndarray | None, scratch: np.ndarray) -> list[Run]:
        target = gx[part] if border is None else border[:part.stop - part.start]
        source = gy[part].reshape(target.shape[0], *g.out, *w.shape[-2:])
        here = scratch[:source.size // filters].reshape(source.shape[:-1])
        calls: list[Run] = [partial(target.fill, 0)]
        for number, tap in enumerate(np.ndindex(*g.window)):
            place = target[(slice(None), *win.tap_slices(g, tap))]
            for m in range(filters):
                calls += [partial(np.multiply, source[..., m], tiled[number][..., m], out=here),
                          partial(np.add, place, here, out=place)]
        if border is not None:
            calls.append(partial(np.copyto, gx[part], target[win.interior(g)]))
        return calls
    return in_turn([tile, _share_out(g, w, gx.dtype, block)])


def bind_depthwise_grad_weight(x: np.ndarray, gy: np.ndarray, gw: np.ndarray, g: Geometry,
                               ) -> Run | None:
    """run() for gw. Members of the team add up their own sums; a sum over places is a product with
    a row of ones."""
    if not usable(x, gw, gy):
        return None
    sums: list[np.ndarray] = []

    def block(part: slice, border: np.ndarray | None, scratch: np.ndarray) -> list[Run]:
        calls, large = _bordered(g, x[part], border)
        source = gy[part].reshape(large.shape[0], *g.out, *gw.shape[-2:])
        here = scratch[:source.size].reshape(source.shape)
        rows = here.reshape(-1, gy.shape[-1])
        ones = np.ones((1, rows.shape[0]), gy.dtype)
        if part.start in starts:
            sums.append(np.empty_like(gw) if sums else gw)
        total = sums[-1].reshape(g.taps, 1, -1)
        for number, tap in enumerate(np.ndindex(*g.window)):
            taps = large[(slice(None), *win.tap_slices(g, tap))][..., None]
            calls += [partial(np.multiply, taps, source, out=here),
                      bind_gemm(ones, rows, total[number], part.start not in starts, split=False)]
        return calls
    starts = {images.start for images in workers().split(g.images)}
    run = _share_out(g, gw, x.dtype, block)
    return in_turn([run] + [partial(np.add, gw, other, out=gw) for other in sums[1:]])


def _tiled(w: np.ndarray, g: Geometry) -> tuple[list[np.ndarray], Run]:
    """(one array (last axis of out, C, M) per tap, call that fills them)."""
    tiles = np.empty((g.taps, g.out[-1], *w.shape[-2:]), w.dtype)
    return list(tiles), partial(np.copyto, tiles, w.reshape(g.taps, 1, *w.shape[-2:]))


def _share_out(g: Geometry, w: np.ndarray, dtype: np.dtype,
               block: Callable[[slice, np.ndarray | None, np.ndarray], list[Run]]) -> Run:
    """block(images, border scratch, scratch of y's size) for all blocks, cut over the team."""
    shape = win.padded_shape(g, g.channels)[1:]
    small = g.places * g.channels * w.shape[-1]
    per_image = (int(np.prod(shape)) + 2 * small) * dtype.itemsize
    most = max(1, min(BLOCK_BYTES // max(per_image, 1), g.images))
    padded = any(p for pair in g.pads for p in pair)

    def job(images: slice) -> Run:
        border = np.zeros((most, *shape), dtype) if padded else None
        scratch = np.empty(most * small, dtype)
        calls: list[Run] = []
        for first in range(images.start, images.stop, most):
            calls += block(slice(first, min(first + most, images.stop)), border, scratch)
        return in_turn(calls)
    return workers().bind([job(images) for images in workers().split(g.images)])


def _bordered(g: Geometry, x: np.ndarray, border: np.ndarray | None,
              ) -> tuple[list[Run], np.ndarray]:
    """(calls that copy x into its border of zeros, the bordered x)."""
    if border is None:
        return [], x
    part = border[:x.shape[0]]
    return [partial(np.copyto, part[win.interior(g)], x)], part
