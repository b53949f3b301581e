"""Sliding windows over spatial axes: the one description that convolution and pooling share.

Arrays are (N, *S, C) with one, two or three spatial axes.  Along an axis of size L a window of k
taps, `dilation` d apart, spans e = (k - 1) * d + 1 elements; padded by (before, after) it stops at

    out = (L + before + after - e) // stride + 1

places.  `pads` is a tuple of such pairs, or a Keras word: valid no padding; same
out = ceil(L / stride), the smaller half before; causal (e - 1, 0); full (e - 1, e - 1).
"""
from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import ShapeError

Pads = "tuple[tuple[int, int], ...] | str"
WORDS = ("valid", "same", "causal", "full")


class Geometry(NamedTuple):
    """A window with all sizes known: what numpy(), host() and the launch plans work from."""

    images: int
    size: tuple[int, ...]           # spatial size of the large side (the input of a forward op)
    out: tuple[int, ...]            # places the window stops at
    channels: int                   # of the large side
    window: tuple[int, ...]         # taps
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    @property
    def taps(self) -> int:
        return int(np.prod(self.window, dtype=np.int64))

    @property
    def places(self) -> int:
        """Window places in one image."""
        return int(np.prod(self.out, dtype=np.int64))

    @property
    def pixels(self) -> int:
        """Spatial elements of one image."""
        return int(np.prod(self.size, dtype=np.int64))


def as_tuple(value, rank: int, what: str) -> tuple[int, ...]:
    """3 -> (3, 3) for rank 2; a sequence must have `rank` positive whole numbers."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank or any(int(v) != v or v < 1 for v in values):
        raise ShapeError(f"{what}: got {value!r}, expected {rank} positive whole numbers")
    return tuple(int(v) for v in values)


def span(window: int, dilation: int) -> int:
    """Elements from the first tap to the last."""
    return (window - 1) * dilation + 1


def resolve_pads(pads: Pads, size: Sequence[int | None], window, strides, dilation) -> Pads:
    """Keras's word as (before, after) pairs; still the word while an unknown size decides."""
    if not isinstance(pads, str):
        pairs = tuple((int(before), int(after)) for before, after in pads)
        if len(pairs) != len(window) or any(p < 0 for pair in pairs for p in pair):
            raise ShapeError(f"padding: got {pads!r}, expected {len(window)} pairs "
                             "(before, after) of whole numbers from 0")
        return pairs
    if pads not in WORDS:
        raise ShapeError(f"padding: got {pads!r}, expected one of {', '.join(WORDS)}, "
                         "or one (before, after) pair per spatial axis")
    pairs = []
    for length, taps, stride, step in zip(size, window, strides, dilation):
        e = span(taps, step)
        if pads == "same":
            if length is None and stride > 1:
                return pads
            # with stride 1 the size cancels out of the formula
            total = e - 1
            if stride > 1:
                total = max((-(-length // stride) - 1) * stride + e - length, 0)
            pairs.append((total // 2, total - total // 2))
        else:
            pairs.append({"valid": (0, 0), "causal": (e - 1, 0), "full": (e - 1, e - 1)}[pads])
    return tuple(pairs)


def out_size(size: Sequence[int | None], window, strides, pads: Pads,
             dilation) -> tuple[int | None, ...]:
    """Places along each axis; None where the size is not known yet."""
    pairs = resolve_pads(pads, size, window, strides, dilation)
    out: list[int | None] = []
    for axis, length in enumerate(size):
        if length is None:
            out.append(None)
        elif isinstance(pairs, str):                    # "same": another axis is not known yet
            out.append(-(-length // strides[axis]))
        else:
            e = span(window[axis], dilation[axis])
            room = length + sum(pairs[axis]) - e
            if room < 0 and length:
                raise ShapeError(f"a window over {e} elements does not fit axis "
                                 f"{axis + 1}: got size {length} padded by {pairs[axis]}, expected "
                                 f"at least {e}. Try padding='same' or a smaller window")
            out.append(room // strides[axis] + 1 if room >= 0 else 0)
    return tuple(out)


def geometry(shape, window, strides, pads: Pads, dilation) -> Geometry:
    """The geometry over a large side of concrete `shape` (N, *S, C)."""
    size = tuple(shape[1:-1])
    pairs = resolve_pads(pads, size, window, strides, dilation)
    out = out_size(size, window, strides, pairs, dilation)
    return Geometry(shape[0], size, out, shape[-1], tuple(window), tuple(strides), pairs,
                    tuple(dilation))


def padded(x: np.ndarray, g: Geometry, value=0) -> np.ndarray:
    """x with its border, so that every window lies inside."""
    if not any(p for pair in g.pads for p in pair):
        return x
    return np.pad(x, ((0, 0), *g.pads, (0, 0)), constant_values=value)


def windows(xp: np.ndarray, g: Geometry) -> np.ndarray:
    """Every window of the padded xp, without a copy: (N, *out, *window, C)."""
    n, *steps, c = xp.strides
    return as_strided(
        xp, (xp.shape[0], *g.out, *g.window, xp.shape[-1]),
        (n, *(s * k for s, k in zip(steps, g.strides)),
         *(s * k for s, k in zip(steps, g.dilation)), c), writeable=False)


def tap_slices(g: Geometry, tap: Sequence[int]) -> tuple[slice, ...]:
    """Where one tap of all windows lies in the padded array, as slices of the spatial axes."""
    return tuple(slice(t * d, t * d + (o - 1) * s + 1 if o else t * d, s)
                 for t, d, o, s in zip(tap, g.dilation, g.out, g.strides))


def interior(g: Geometry) -> tuple[slice, ...]:
    """The unpadded part of the padded array, all axes."""
    return (slice(None), *(slice(before, before + length)
                           for (before, _), length in zip(g.pads, g.size)))


def padded_shape(g: Geometry, channels: int) -> tuple[int, ...]:
    """Shape of the padded large side."""
    return (g.images, *(length + sum(pair) for length, pair in zip(g.size, g.pads)), channels)
