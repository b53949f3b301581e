"""Pooling on the host: one pass per tap over blocks of images that stay in the L2 cache.

    bind_max_pool(x, y, g)                  y
    bind_max_pool_grad(x, y, gy, gx, g)     gx: to the first largest element of each window
    bind_average_pool(x, y, g)              y
    bind_average_pool_grad(gy, gx, g)       gx

x, gx (N, *S, C), y, gy (N, *O, C): C-contiguous arrays that stay where they are; g: their Geometry.
Each returns run(), shared out over the team by images, or None for arrays it does not serve.
A gradient that is not finite spreads over its window (0 * inf).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod

import numpy as np

from ..team import in_turn, team
from .host_conv import usable
from .window import Geometry

Run = Callable[[], None]

BLOCK_BYTES = 1 << 19         # of the large side, per block
WORTH_SHARING = 1 << 22       # bytes of the large side from which a team of threads pays


def bind_max_pool(x: np.ndarray, y: np.ndarray, g: Geometry) -> Run | None:
    """run() for y = the largest value of each window; a NaN wins."""
    if not usable(x, y):
        return None

    def job(images: slice, scratch: dict) -> list[Run]:
        large, small = x[images], y[images]
        if _halves_rows(g):
            # whole rows first: long runs, and the second step sees half of the data
            rows = _scratch(scratch, "rows", large.shape[:1] + (g.out[0],) + large.shape[2:], x)
            across = _columns_only(g)
            return [partial(np.maximum, large[:, 0::2], large[:, 1::2], out=rows),
                    *_reduce(np.maximum, rows, small, across)]
        return _reduce(np.maximum, large, small, g)
    return _share_out(g, x, job)


def bind_average_pool(x: np.ndarray, y: np.ndarray, g: Geometry) -> Run | None:
    """run() for y = the mean of the real elements of each window."""
    if not usable(x, y):
        return None
    share = _shares(g, x.dtype)

    def job(images: slice, scratch: dict) -> list[Run]:
        return _reduce(np.add, x[images], y[images], g) + [
            partial(np.multiply, y[images], share, out=y[images])]
    return _share_out(g, x, job)


def bind_max_pool_grad(x: np.ndarray, y: np.ndarray, gy: np.ndarray, gx: np.ndarray,
                       g: Geometry) -> Run | None:
    """run() for gx: gy at the first element of each window that equals y, zero elsewhere."""
    if not usable(x, y, gy, gx):
        return None

    def job(images: slice, scratch: dict) -> list[Run]:
        block = x[images], y[images], gy[images], gx[images]
        careful = _grad_by_taps(*block, g, scratch)
        if not _covers(g) or any(p for pair in g.pads for p in pair):
            return careful
        return [_grad_by_rows(*block, g, scratch, in_turn(careful))]
    return _share_out(g, x, job)


def _grad_by_taps(x: np.ndarray, y: np.ndarray, gy: np.ndarray, gx: np.ndarray, g: Geometry,
                  scratch: dict) -> list[Run]:
    """One tap after the other takes what no earlier one has taken: any window, any ties."""
    alone = _disjoint(g)
    left, took = (_scratch(scratch, name, y.shape, x) for name in ("left", "took"))
    calls: list[Run] = [] if _covers(g) else [partial(gx.fill, 0)]
    calls.append(partial(np.copyto, left, gy))
    for large, small in _taps(g):
        part, taken, gxs = left[small], took[small], gx[large]
        hit = _scratch(scratch, "hit", part.shape, x, bool)
        calls += [partial(np.equal, x[large], y[small], out=hit),
                  partial(np.copyto, taken, hit),               # bool * float would cast slowly
                  partial(np.multiply, part, taken, out=taken),
                  partial(np.subtract, part, taken, out=part),
                  partial(np.copyto, gxs, taken) if alone else
                  partial(np.add, gxs, taken, out=gxs)]
    return calls


def _grad_by_rows(x: np.ndarray, y: np.ndarray, gy: np.ndarray, gx: np.ndarray, g: Geometry,
                  scratch: dict, careful: Run) -> Run:
    """gx = gy where x equals y, both repeated along the rows: long runs, a third less time.
    Right where no window holds its maximum twice; `careful` does the others."""
    wide = y.shape[:-2] + (g.size[-1], g.channels)
    repeat = y.shape[:-1] + (g.window[-1], g.channels)
    yy, gg, one = (_scratch(scratch, name, wide, x) for name in ("yy", "gg", "one"))
    outer = list(np.ndindex(*g.window[:-1]))
    hits = _scratch(scratch, "hits", (len(outer),) + wide, x, bool)
    pixel = np.dtype((np.void, x.itemsize * g.channels))        # one copy each, not a short loop
    calls: list[Run] = []
    for target, source in ((yy, y), (gg, gy)):
        by_tap, source = target.reshape(repeat).view(pixel)[..., 0], source.view(pixel)
        calls.append(partial(np.copyto, by_tap, source))
    rows = [(slice(None), *(slice(t, None, k) for t, k in zip(tap, g.window))) for tap in outer]
    calls += [partial(np.equal, x[r], yy, out=hit) for r, hit in zip(rows, hits)]
    spread: list[Run] = []
    for r, hit in zip(rows, hits):
        spread += [partial(np.copyto, one, hit), partial(np.multiply, gg, one, out=gx[r])]

    def run() -> None:
        for call in calls:
            call()
        if np.count_nonzero(hits) != y.size:
            return careful()
        for call in spread:
            call()
    return run


def bind_average_pool_grad(gy: np.ndarray, gx: np.ndarray, g: Geometry) -> Run | None:
    """run() for gx: gy spread evenly over the real elements of each window."""
    if not usable(gy, gx):
        return None
    share, alone = _shares(g, gy.dtype), _disjoint(g)

    def job(images: slice, scratch: dict) -> list[Run]:
        part = _scratch(scratch, "share", gy[images].shape, gy)
        calls: list[Run] = [] if _covers(g) else [partial(gx[images].fill, 0)]
        calls.append(partial(np.multiply, gy[images], share, out=part))
        for large, small in _taps(g):
            target = gx[images][large]
            calls.append(partial(np.copyto, target, part[small]) if alone else
                         partial(np.add, target, part[small], out=target))
        return calls
    return _share_out(g, gx, job)


def _reduce(ufunc: np.ufunc, large: np.ndarray, small: np.ndarray, g: Geometry) -> list[Run]:
    """Calls for small = ufunc over the taps of large."""
    taps = [(large[a], small[b]) for a, b in _taps(g)]
    calls: list[Run] = []
    if all(b.shape == small.shape for _, b in taps):            # no tap falls on a border
        if len(taps) == 1:
            return [partial(np.copyto, small, taps[0][0])]
        calls.append(partial(ufunc, taps[0][0], taps[1][0], out=small))
        taps = taps[2:]
    else:
        calls.append(partial(small.fill, 0 if ufunc is np.add else -np.inf))
    return calls + [partial(ufunc, b, a, out=b) for a, b in taps]


def _taps(g: Geometry) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """(slices of the large side, slices of the small side) that meet at each tap, row by row."""
    for tap in np.ndindex(*g.window):
        large, small = [slice(None)], [slice(None)]
        for t, d, s, o, size, (before, _) in zip(tap, g.dilation, g.strides, g.out, g.size, g.pads):
            shift = t * d - before                              # place p reads p * s + shift
            first = max(0, -(shift // s))
            last = min(o, (size - 1 - shift) // s + 1)
            if last <= first:
                break
            large.append(slice(first * s + shift, (last - 1) * s + shift + 1, s))
            small.append(slice(first, last))
        else:
            yield tuple(large), tuple(small)


def _disjoint(g: Geometry) -> bool:
    """No element lies in two windows."""
    return all(s >= k for s, k in zip(g.strides, g.window)) and prod(g.dilation) == 1


def _covers(g: Geometry) -> bool:
    """Every element lies in exactly one window."""
    return g.strides == g.window and prod(g.dilation) == 1 and all(
        o * s == size + before + after
        for o, s, size, (before, after) in zip(g.out, g.strides, g.size, g.pads))


def _halves_rows(g: Geometry) -> bool:
    return (len(g.window) > 1 and g.window[0] == g.strides[0] == 2 and g.dilation[0] == 1
            and g.pads[0] == (0, 0) and g.size[0] == 2 * g.out[0])


def _columns_only(g: Geometry) -> Geometry:
    """g after its rows have been reduced."""
    return g._replace(size=(g.out[0],) + g.size[1:], window=(1,) + g.window[1:],
                      strides=(1,) + g.strides[1:])


def _shares(g: Geometry, dtype: np.dtype) -> np.ndarray:
    """(*O, C): one over the number of real elements in each window."""
    counts = np.zeros((1,) + g.out + (1,), dtype)
    for _, small in _taps(g):
        counts[small] += 1
    return np.ascontiguousarray(np.broadcast_to(1 / counts[0], g.out + (g.channels,)))


def _scratch(kept: dict, name: str, shape: tuple[int, ...], like: np.ndarray,
             dtype: type | None = None) -> np.ndarray:
    """An array of `shape` at the start of this member's scratch memory `name`."""
    size = prod(shape)
    if name not in kept or kept[name].size < size:
        kept[name] = np.empty(size, dtype or like.dtype)
    return kept[name][:size].reshape(shape)


def _share_out(g: Geometry, large: np.ndarray, job: Callable[[slice, dict], list[Run]]) -> Run:
    """run() that does job(images, scratch) block by block, shared out over the team."""
    count = max(1, BLOCK_BYTES // max(1, large.nbytes // g.images))

    def calls(images: slice) -> Run:
        kept: dict = {}
        runs = []
        for first in range(images.start, images.stop, count):
            runs += job(slice(first, min(first + count, images.stop)), kept)
        return in_turn(runs)
    if large.nbytes < WORTH_SHARING:
        return calls(slice(0, g.images))
    return team().bind([calls(part) for part in team().split(g.images)])
