"""Sums on the host: `bind_sum(x, y, axes)` returns run() for y = the sum of x over `axes`.

A sum down the rows of a matrix (a bias gradient) is slow in NumPy when rows are short.  Small ones
are a product with a row of ones; large ones are first summed as a matrix with wide rows, in long
runs, and the wide row is folded at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np

from ..blas import bind_gemm
from ..team import in_turn

PRODUCT_BYTES = 1 << 20       # up to here the product with ones wins: 0.02 against 0.15 ms
WIDE = 4096                   # elements of a wide row


def bind_sum(x: np.ndarray, y: np.ndarray, axes: tuple[int, ...]) -> Callable | None:
    """run() for y = x.sum(axes), y with or without the reduced axes; None: left to numpy()."""
    if x.dtype != y.dtype or not axes or not x.size or not x.flags.c_contiguous:
        return None
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    target = y.reshape(kept)
    if not np.may_share_memory(target, y):
        return None
    if axes == tuple(range(len(axes))) and len(axes) < x.ndim and x.dtype.char in "fd":
        columns = prod(x.shape[len(axes):])
        if columns > 1:
            return _down(x.reshape(-1, columns), y.reshape(-1))
    return partial(np.add.reduce, x, axis=axes, keepdims=True, out=target)


def _down(x: np.ndarray, y: np.ndarray) -> Callable:
    """y (C,) = sum of the rows of x (R, C)."""
    rows, columns = x.shape
    fold = max((k for k in range(1, WIDE // columns + 1) if rows % k == 0), default=1)
    if x.nbytes <= PRODUCT_BYTES or fold == rows or fold * columns < WIDE // 8:
        return bind_gemm(np.ones((1, rows), x.dtype), x, y.reshape(1, columns), split=False)
    wide = np.empty(fold * columns, x.dtype)
    first = partial(np.add.reduce, x.reshape(-1, wide.size), axis=0, out=wide)
    return in_turn([first, *([_down(wide.reshape(fold, columns), y)] if fold > 1 else
                             [partial(np.copyto, y, wide)])])
