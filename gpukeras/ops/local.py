"""Convolution with a kernel of its own at every place: patches, then one product per place."""
from __future__ import annotations

from itertools import product
from math import prod
from typing import Sequence

from ..errors import ShapeError
from ..graph import Tensor
from .broadcast import reshape
from .linalg import batch_dot
from .shape import Slice, stack, transpose


def local_conv(x: Tensor, w: Tensor, window: Sequence[int], strides: Sequence[int],
               out: Sequence[int], channels_major: bool = False) -> Tensor:
    """y[n, o, f] = sum over taps k and channels c of x[n, o * stride + k, c] * w[o, (k, c), f].

    x (N, *S, C), w (places, taps * C, F) with places = product of `out` -> (N, *out, F). Rows of w
    are ordered taps first, then channels; `channels_major` turns that around.
    """
    rank, channels = len(window), x.shape[-1]
    taps, places = prod(window), prod(out)
    if x.ndim != rank + 2 or w.ndim != 3 or w.shape[:2] != (places, taps * channels):
        raise ShapeError(f"local convolution: got x {x.type} and kernel {w.type}, expected "
                         f"(N, *S, C) and ({places}, {taps} * C, F)")
    parts = []
    for tap in product(*map(range, window)):
        along = [(k, k + (n - 1) * s + 1, s) for k, n, s in zip(tap, out, strides)]
        free = (None, None, None)
        parts.append(Slice((free, *along, free))(x))
    patches = stack(parts, -1 if channels_major else -2)     # (N, *out, taps, C) or (..., C, taps)
    rows = transpose(reshape(patches, (-1, places, taps * channels)), (1, 0, 2))
    y = transpose(batch_dot(rows, w), (1, 0, 2))
    return reshape(y, (-1, *out, w.shape[-1]))
