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
WORTH_SHARING = 1 << 18       # bytes of the large side from which a team of threads pays


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
    rows = Rows(g.size + (g.channels,), g.window, len(x), x.dtype,
                _scratch(scratch, "rows", (len(x), x[0].size // prod(g.window[:-1])), x))
    hits = _scratch(scratch, "hits", x.shape, x, bool)
    find, spread = in_turn(rows.find(x, y, hits)), in_turn(rows.spread(hits, gy, gx))

    def run() -> None:
        find()
        if np.count_nonzero(hits) == y.size:
            spread()
        else:
            careful()
    return run


class Rows:
    """Windows that tile the large side: pooled values are repeated along the rows, so that work on
    the large side has long runs.

    Large arrays are (n, *S, C), pooled ones (n, *P, C); one row of repeated values serves every row
    of a window.
    """

    def __init__(self, large: tuple[int, ...], window: tuple[int, ...], images: int,
                 dtype: np.dtype, room: np.ndarray | None = None) -> None:
        *outer, width, channels = large
        self.window, self.row = window, width * channels
        self.places = [s // k for s, k in zip(outer, window[:-1])]
        self.columns = (*self.places, width // window[-1], window[-1], channels)
        # whole pixels are copied as one element each, not in a loop of `channels`
        self.pixel = np.dtype((np.void, dtype.itemsize * channels))
        size = prod(self.places) * self.row
        self.room = np.empty((images, size), dtype) if room is None else room

    def across(self, large: np.ndarray) -> np.ndarray:
        """A large array as (n, P1, k1, .., row); few axes keep NumPy's loops long."""
        split = [n for pair in zip(self.places, self.window[:-1]) for n in pair]
        if len(split) == 2:
            return large.reshape(-1, self.window[0], self.row)
        return large.reshape(len(large), *split, self.row)

    def repeated(self, count: int) -> np.ndarray:
        """The repeated values of `count` images, to meet across(large)."""
        split = [n for place in self.places for n in (place, 1)]
        room = self.room[:count]
        return room.reshape(-1, 1, self.row) if len(split) == 2 else \
            room.reshape(count, *split, self.row)

    def repeat(self, pooled: np.ndarray) -> list[Run]:
        """Calls that repeat pooled values into the room."""
        target = self.room[:len(pooled)].reshape((len(pooled),) + self.columns)
        return [partial(np.copyto, target.view(self.pixel)[..., 0], pooled.view(self.pixel))]

    def reduce(self, large: np.ndarray, pooled: np.ndarray) -> list[Run]:
        """Calls for pooled = the largest of each window: down the rows, then along them."""
        calls: list[Run] = []
        taps = [large[(slice(None), *(slice(t, None, k) for t, k in zip(tap, self.window)))]
                for tap in np.ndindex(*self.window[:-1])]
        best = taps[0]
        if len(taps) > 1:
            best = self.room[:len(large)].reshape(best.shape)
            calls = [partial(np.maximum, taps[0], taps[1], out=best)]
            calls += [partial(np.maximum, best, t, out=best) for t in taps[2:]]
        parts = best.reshape((len(large),) + self.columns)
        if self.window[-1] == 1:
            return calls + [partial(np.copyto, pooled, parts[..., 0, :])]
        calls.append(partial(np.maximum, parts[..., 0, :], parts[..., 1, :], out=pooled))
        return calls + [partial(np.maximum, pooled, parts[..., i, :], out=pooled)
                        for i in range(2, self.window[-1])]

    def find(self, large: np.ndarray, pooled: np.ndarray, mask: np.ndarray) -> list[Run]:
        """Calls for mask = large equals the pooled value of its window."""
        return self.repeat(pooled) + [partial(np.equal, self.across(large),
                                              self.repeated(len(large)), out=self.across(mask))]

    def spread(self, mask: np.ndarray, gy: np.ndarray, gx: np.ndarray) -> list[Run]:
        """Calls for gx = gy where the mask is set, else 0.  bool * float would cast slowly."""
        wide = self.across(gx)
        return self.repeat(gy) + [partial(np.copyto, gx, mask),
                                  partial(np.multiply, wide, self.repeated(len(gy)), out=wide)]


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
