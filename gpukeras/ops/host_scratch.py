"""Scratch memory that the steps of one executable share on the host.

Steps run one after the other, and scratch that each kept for itself would be cold every time its
step comes: ResNet-20's training step has 45 MB of it, more than an L3.  Inside `shared()` (a device
binding its steps) `take` gives every step the same memory under the same name; outside, memory of
its own.  Members of a team bind their parts inside `member(i)`, and have their own.  What is in it
when a step begins is anything.
"""
from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import numpy as np

LEAST = 1 << 20               # bytes: one size for most, for a step keeps what it was bound to
_ALIGN = 64
_here = threading.local()


@contextmanager
def shared() -> Iterator[dict[tuple[str, int], np.ndarray]]:
    """Steps bound inside share their scratch, by (name, member); they must never run at the same
    time."""
    before = getattr(_here, "pool", None), getattr(_here, "member", 0)
    _here.pool, _here.member = {}, 0
    try:
        yield _here.pool
    finally:
        _here.pool, _here.member = before


@contextmanager
def member(number: int) -> Iterator[None]:
    """What is taken inside is this member's of a team."""
    before = getattr(_here, "member", 0)
    _here.member = number
    try:
        yield
    finally:
        _here.member = before


def take(name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """An array of the scratch `name`; a step must not take one name twice for arrays that it needs
    at the same time."""
    dtype = np.dtype(dtype)
    nbytes = prod(shape) * dtype.itemsize
    pool = getattr(_here, "pool", None)
    if pool is None:
        return np.empty(shape, dtype)
    key = name, getattr(_here, "member", 0)
    kept = pool.get(key)
    if kept is None or kept.nbytes < nbytes:
        raw = np.empty(max(nbytes, LEAST) + _ALIGN, np.uint8)
        skip = -raw.ctypes.data % _ALIGN
        kept = pool[key] = raw[skip:skip + max(nbytes, LEAST)]
    return kept[:nbytes].view(dtype).reshape(shape)
