"""Convolution and max pooling together on the host, block by block: see ops/conv_pool.py.

    bind_conv_max_pool(x, w, pooled, mask, g, window)
    bind_masked_spread(mask, gy, gx, window)
    bind_masked_weight_grad(x, mask, gy, gw, g, window)

Windows tile the convolution's output exactly.  Each returns run(), or None where host_conv would.
Single images that are larger than a block go through memory between the two.

The convolution's output lives in a block of scratch only, so with few channels (a first layer) its
rows are sorted by the tap of the pooling window that reads them: one product per tap of the window,
and what pooling compares lies in long contiguous runs (28x28x1, 5x5 to 32, batch 128: 2.9 ms, not
3.85).  The columns of tap a at kernel tap k are the slab a + k of the image taken at every
`window`-th pixel: slabs are shared by all taps, and of the axes but the first all slabs are taken,
those beyond the kernel meeting weights of zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np

from .. import native
from ..blas import bind_gemm, bind_stack, workers
from ..team import in_turn, team
from .host_block import Block, Run, share_out
from .host_conv import (BLOCK_BYTES, Columns, Padded, bind_conv, bind_conv_grad_weight, block_rows,
                        blocks, method, padded_size, usable, weight_parts)
from .host_pool import Rows
from .host_scratch import take
from .host_winograd import Forward, Shape, WeightGrad, best, lined_up, transformed, weights_of
from .window import Geometry

SPREAD_BYTES = 1 << 18        # of gx, per block
WORTH_SHARING = 1 << 18       # bytes of gx from which a team of threads pays


def bind_conv_max_pool(x: np.ndarray, w: np.ndarray, pooled: np.ndarray, mask: np.ndarray,
                       g: Geometry, window: tuple[int, ...]) -> Run | None:
    """run() for pooled = max_pool(x * w) and mask = the tap each window took."""
    if not usable(x, w, pooled):
        return None
    filters = w.shape[-1]
    shape = None if _sorts(g) else best(g, filters, x.dtype)
    kernels, front = (None, None) if shape is None else transformed(shape, w)
    todo = _cut(g, window, filters, x.itemsize, shape)
    if todo is None:
        return _apart(x, w, pooled, mask, g, window)

    def job(todo: list[Block]) -> list[Run]:
        most = max(b.last - b.first for b in todo)
        free = np.empty((most,) + pooled.shape[1:], bool)
        if _sorts(g):
            slabs = Slabs(g, window, most, w)
            room = take("taps", (len(slabs.taps), most) + pooled.shape[1:], x.dtype)
            calls = slabs.spread_weights(w)
        else:
            rows = Rows(g.out + (filters,), window, most, x.dtype)
            room = take("block of y", (most,) + g.out + (filters,), x.dtype)
            products, calls = _products(x, w, g, todo, shape, kernels), []
        for block in todo:
            images, count = slice(block.first, block.last), block.last - block.first
            if _sorts(g):
                taps = room[:, :count]
                calls += slabs.products(x, block, taps) + _largest(taps, pooled[images])
            else:
                y = room[:count]
                calls += products(block, y) + rows.reduce(y, pooled[images])
                taps = _taps(y, window)
            calls.append(_Mark(taps, pooled[images], mask[images], free[:count]))
        return calls
    run = share_out(g, filters, todo, job)
    return run if front is None else in_turn([front, run])


def _products(x: np.ndarray, w: np.ndarray, g: Geometry, todo: list[Block], shape: Shape | None,
              kernels: np.ndarray | None) -> Callable[[Block, np.ndarray], list[Run]]:
    """products(block, y): calls that put the convolution of the block's images into y."""
    if shape is not None:
        forward, images = Forward(shape, todo, kernels), lined_up(x)
        return lambda block, y: forward.calls(images, block, lined_up(y), _moved(block))
    columns, parts = Columns(g, method(g), todo, x.dtype), weight_parts(w, g, method(g))

    def products(block: Block, y: np.ndarray) -> list[Run]:
        fill, seen = columns.parts(x, block)
        out = block_rows(y, _moved(block), seen)
        return fill + [bind_stack(a, k, out, accumulate=i > 0)
                       for i, (a, k) in enumerate(zip(seen, parts))]
    return products


def _moved(block: Block) -> Block:
    """Where the block lies in an array of its images only."""
    return block._replace(first=0, last=block.last - block.first)


def _apart(x: np.ndarray, w: np.ndarray, pooled: np.ndarray, mask: np.ndarray, g: Geometry,
           window: tuple[int, ...]) -> Run | None:
    """Large images: the whole output of the convolution goes to memory, then it is pooled."""
    y = np.empty((g.images,) + g.out + w.shape[-1:], x.dtype)
    convolve = bind_conv(x, w, y, g)
    if convolve is None:
        return None

    def job(images: slice) -> Run:
        rows, free = Rows(y.shape[1:], window, 1, x.dtype), np.empty((1,) + pooled.shape[1:], bool)
        calls: list[Run] = []
        for i in range(images.start, images.stop):
            here = slice(i, i + 1)
            calls += rows.reduce(y[here], pooled[here])
            calls.append(_Mark(_taps(y[here], window), pooled[here], mask[here], free))
        return in_turn(calls)
    return in_turn([convolve, team().bind([job(part) for part in team().split(g.images)])])


def bind_masked_weight_grad(x: np.ndarray, mask: np.ndarray, gy: np.ndarray, gw: np.ndarray,
                            g: Geometry, window: tuple[int, ...]) -> Run | None:
    """run() for gw = the weight gradient of the convolution whose output's gradient is gy where
    the mask says so."""
    if not usable(x, gy, gw):
        return None
    filters = gw.shape[-1]
    shape = None if _sorts(g) else best(g, filters, x.dtype)
    todo = _cut(g, window, filters, x.itemsize, shape)
    if todo is None:
        gx = np.empty((g.images,) + g.out + (filters,), x.dtype)
        sums = bind_conv_grad_weight(x, gx, gw, g)
        return sums and in_turn([bind_masked_spread(mask, gy, gx, window), sums])
    found: list = []                                # sums of each member of the team

    def job(todo: list[Block]) -> list[Run]:
        most = max(b.last - b.first for b in todo)
        calls: list[Run] = []
        if _sorts(g):
            mine = np.empty_like(gw) if found else gw
            slabs = Slabs(g, window, most, gw)
            room = take("taps", (len(slabs.taps), most) + gy.shape[1:], x.dtype)
            for number, block in enumerate(todo):
                images, taps = slice(block.first, block.last), room[:, :block.last - block.first]
                calls += _masked(mask[images], gy[images], taps)
                calls += slabs.weight_sums(x, block, taps, number > 0)
            found.append(mine)
            return calls + slabs.gather_weights(mine)
        add, total = _sums(x, gw, g, todo, shape, bool(found))
        found.append(total)
        room = take("block of y", (most,) + g.out + (filters,), x.dtype)
        taken = take("taps", (mask.shape[1], most) + gy.shape[1:], x.dtype)
        for number, block in enumerate(todo):
            images, gx = slice(block.first, block.last), room[:block.last - block.first]
            here = taken[:, :len(gx)]
            calls += _masked(mask[images], gy[images], here)
            calls.append(_spread(here, gx, window))
            calls += add(block, gx, number > 0)
        return calls
    run = share_out(g, filters, todo, job)
    if isinstance(found[0], WeightGrad):
        return in_turn([run, *weights_of(found, gw)])
    return in_turn([run] + [partial(np.add, gw, other, gw) for other in found[1:]])


def _sums(x: np.ndarray, gw: np.ndarray, g: Geometry, todo: list[Block], shape: Shape | None,
          apart: bool) -> tuple[Callable[[Block, np.ndarray, bool], list[Run]], object]:
    """(add(block, gradient of its images, add to what is there) -> calls, what holds the sums:
    gw itself, an array like it if `apart`, or a WeightGrad)."""
    if shape is not None:
        total, images = WeightGrad(shape, todo, x.dtype), lined_up(x)
        return (lambda block, gx, more: total.calls(images, block, lined_up(gx), _moved(block)),
                total)
    mine = np.empty_like(gw) if apart else gw
    columns, kernels = Columns(g, method(g), todo, x.dtype), weight_parts(mine, g, method(g))

    def add(block: Block, gx: np.ndarray, more: bool) -> list[Run]:
        fill, parts = columns.parts(x, block)
        out = block_rows(gx, _moved(block), parts)
        return fill + [bind_stack(a.swapaxes(1, 2), out, k, accumulate=more)
                       for a, k in zip(parts, kernels)]
    return add, mine


def bind_masked_spread(mask: np.ndarray, gy: np.ndarray, gx: np.ndarray,
                       window: tuple[int, ...]) -> Run | None:
    """run() for gx = gy where the mask says so, else 0."""
    if not usable(gy, gx):
        return None
    images = len(gx)
    count = max(1, SPREAD_BYTES // (gx.nbytes // images))

    def job(part: slice) -> Run:
        room = np.empty((mask.shape[1], count) + gy.shape[1:], gx.dtype)
        calls: list[Run] = []
        for first in range(part.start, part.stop, count):
            here = slice(first, min(first + count, part.stop))
            taps = room[:, :here.stop - here.start]
            calls += _masked(mask[here], gy[here], taps)
            calls.append(_spread(taps, gx[here], window))
        return in_turn(calls)
    if gx.nbytes < WORTH_SHARING:
        return job(slice(0, images))
    return team().bind([job(part) for part in team().split(images)])


class Slabs:
    """Columns of a block sorted by the taps of the pooling window: see the top of this file.

    `room[i1, i2.., c]` holds pixel (i + window * place) of every image and place, i below
    kernel + window - 1.
    """

    def __init__(self, g: Geometry, window: tuple[int, ...], images: int, w: np.ndarray) -> None:
        self.g, self.window, self.filters = g, window, w.shape[-1]
        self.taps = list(np.ndindex(*window))
        self.places = tuple(o // p for o, p in zip(g.out, window))
        self.reach = tuple(k + p - 1 for k, p in zip(g.window, window))
        self.room = take("slabs", (prod(self.reach) * g.channels * images * prod(self.places),),
                         w.dtype)
        self.padded = Padded(g, images, padded_size(g)[0], w.dtype, True)
        # one set of weights for each tap of the axes but the first
        self.weights = np.zeros(window[1:] + g.window[:1] + self.reach[1:] + w.shape[-2:], w.dtype)

    def inside(self, tap: tuple[int, ...]) -> np.ndarray:
        """The part of the widened weights of `tap` (without its first axis) that is the kernel."""
        spot = tuple(slice(t, t + k) for t, k in zip(tap, self.g.window[1:]))
        return self.weights[tap][(slice(None), *spot)]

    def spread_weights(self, w: np.ndarray) -> list[Run]:
        """Calls that widen the kernel by zeros."""
        return [partial(np.copyto, self.inside(tap), w) for tap in np.ndindex(*self.window[1:])]

    def gather_weights(self, gw: np.ndarray) -> list[Run]:
        """Calls for gw = the sum of what weight_sums left in the widened kernels."""
        first, *rest = (self.inside(tap) for tap in np.ndindex(*self.window[1:]))
        return [partial(np.copyto, gw, first)] + [partial(np.add, gw, part, gw) for part in rest]

    def fill(self, x: np.ndarray, block: Block) -> tuple[list[Run], np.ndarray]:
        """(calls that fill the slabs of a block, the slabs as (first axis, rest, pixels))."""
        large, _, mirror = self.padded.view(x, block.first, block.last, 0, padded_size(self.g)[0])
        image, *steps, channel = large.strides
        view = np.lib.stride_tricks.as_strided(
            large, self.reach + (large.shape[-1], len(large)) + self.places,
            (*steps, channel, image, *(s * p for s, p in zip(steps, self.window))))
        slabs = self.room[:view.size]
        calls = [] if mirror is None else [partial(np.copyto, *mirror)]
        calls.append(partial(np.copyto, slabs.reshape(view.shape), view))
        return calls, slabs.reshape(self.reach[0], -1, len(large) * prod(self.places))

    def columns(self, slabs: np.ndarray, tap: tuple[int, ...]) -> np.ndarray:
        """(widened kernel, pixels): the columns of one tap."""
        rows = slabs[tap[0]:tap[0] + self.g.window[0]]
        return rows.reshape(-1, rows.shape[-1])

    def products(self, x: np.ndarray, block: Block, taps: np.ndarray) -> list[Run]:
        """Calls for taps[i] = the convolution at tap i of every window."""
        calls, slabs = self.fill(x, block)
        for tap, out in zip(self.taps, taps):
            kernel = self.weights[tap[1:]].reshape(-1, self.filters)
            calls.append(bind_gemm(self.columns(slabs, tap).T, kernel,
                                   out.reshape(-1, self.filters), split=False))
        return calls

    def weight_sums(self, x: np.ndarray, block: Block, taps: np.ndarray, add: bool,
                    ) -> list[Run]:
        """Calls that put (or add) the products of columns and taps into the widened kernels."""
        calls, slabs = self.fill(x, block)
        for tap, out in zip(self.taps, taps):
            kernel = self.weights[tap[1:]].reshape(-1, self.filters)
            calls.append(bind_gemm(self.columns(slabs, tap), out.reshape(-1, self.filters), kernel,
                                   add or tap[0] > 0, split=False))
        return calls


def _sorts(g: Geometry) -> bool:
    return method(g) == "thin" and prod(g.strides) == prod(g.dilation) == 1


def _cut(g: Geometry, window: tuple[int, ...], filters: int, itemsize: int, shape: Shape | None,
         ) -> list[Block] | None:
    """Blocks of whole images; None where single images are too large for a block."""
    if shape is None and not _sorts(g):
        cut = blocks(g, method(g), itemsize)
        return cut if all(b.bottom - b.top == g.out[0] for b in cut) else None
    y = prod(g.out) * itemsize * filters
    if shape is not None:
        image, limit = y + shape.groups * shape.bytes(itemsize), BLOCK_BYTES * 3 // 2
    else:                           # slabs of about taps * channels at every window
        image = y + prod(g.out) * itemsize * g.taps * g.channels // prod(window)
        limit = 2 * BLOCK_BYTES
    if image > 4 * BLOCK_BYTES:
        return None
    count = max(1, min(limit // image, -(-g.images // workers().size)))
    return [Block(n, min(n + count, g.images), 0, g.out[0]) for n in range(0, g.images, count)]


def _taps(y: np.ndarray, window: tuple[int, ...]) -> np.ndarray:
    """The elements of all windows at each tap: a view (*window, n, *P, F) of y (n, *O, F)."""
    n, *steps, last = y.strides
    places = tuple(o // k for o, k in zip(y.shape[1:], window))
    return np.lib.stride_tricks.as_strided(
        y, window + y.shape[:1] + places + y.shape[-1:],
        (*steps, n, *(s * k for s, k in zip(steps, window)), last))


def _spread(taps: np.ndarray, gx: np.ndarray, window: tuple[int, ...]) -> Run:
    """run() that puts taps (taps, n, *P, F) where the windows of gx have them."""
    to = _taps(gx, window)
    return partial(np.copyto, to, taps.reshape(to.shape))


def _largest(taps: np.ndarray, pooled: np.ndarray) -> list[Run]:
    if len(taps) == 1:
        return [partial(np.copyto, pooled, taps[0])]
    calls: list[Run] = [partial(np.maximum, taps[0], taps[1], out=pooled)]
    return calls + [partial(np.maximum, pooled, tap, out=pooled) for tap in taps[2:]]


class _Mark:
    """mask[:, i] = tap i is the first to equal pooled. taps (*window, n, *P, F); free: scratch."""

    def __init__(self, taps: np.ndarray, pooled: np.ndarray, mask: np.ndarray, free: np.ndarray,
                 ) -> None:
        by_tap = mask.swapaxes(0, 1)
        # without ties and NaN there is one hit a window
        self.mask, self.hits = mask, pooled.size if len(by_tap) > 1 else -1
        self.equal = partial(np.equal, taps, pooled, out=by_tap.reshape(taps.shape))
        ties: list[Run] = [partial(free.fill, True)]            # windows that nothing has taken
        for hit in by_tap[:-1]:
            ties += [partial(np.logical_and, hit, free, out=hit),
                     partial(np.greater, free, hit, out=free)]
        ties.append(partial(np.copyto, by_tap[-1], free))       # it must be this one
        self.ties = in_turn(ties)

    def __call__(self) -> None:
        self.equal()
        if np.count_nonzero(self.mask) != self.hits:
            self.ties()

    def spell(self, say) -> list[int]:
        """On a tape: see native/tape.py."""
        ties = say(self.ties)
        return say(self.equal) + native.skip(self.mask, self.hits, len(ties)) + ties


def _masked(mask: np.ndarray, gy: np.ndarray, taps: np.ndarray) -> list[Run]:
    """Calls for taps[i] = gy where mask[:, i].  bool * float would cast slowly."""
    return [partial(np.copyto, taps, mask.swapaxes(0, 1)), partial(np.multiply, taps, gy, out=taps)]
