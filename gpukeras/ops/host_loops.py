"""Time loops of recurrent layers as compiled functions, where numba is installed: gpukeras[numba].

A step of a small batch is some thirty calls of a few microseconds each. A compiled loop (ops/loops)
does the same sums of products without them, and all that stands between two products in one pass;
Python's lock is free meanwhile, so that each thread walks over its rows of the batch. Its tanh and
sigmoid are its own, to 2.4 units in the last place, so results differ from those without numba in
the last bits. They must not depend on when something was compiled: it is done before the first
call, some three seconds on a machine's first time, half a second (to load numba) in a new process.
Gradients of large tables (Embedding) are made in the same way.
"""
from __future__ import annotations

import ctypes
import importlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .. import native
from ..blas import library
from ..team import team
from .host_block import Run

LEAST = 1 << 14                                     # elements of the states of a sequence
LEAST_TABLE = 1 << 20                               # of a table whose gradient is wanted
TYPES = ("float32", "bool", "int64")
GROUP_ROWS = 64                                     # of a product of gradients of weights


def loop_group(rows: int) -> int:
    """Steps back whose gradients of inputs and weights are one product."""
    return max(1, GROUP_ROWS // rows)


def compiled(kind: str, entry: str, sizes: Sequence[int], flags: Sequence[int],
             places: Sequence[tuple]) -> Run | None:
    """run() of ops/loops/<kind>'s `entry`, if it can be had and is worth loading.

    sizes: rows, steps, units, ..; its arguments are the BLAS, sizes, flags, and for each place
    (array or None, axes ..) the address and the strides along these axes in elements.
    """
    rows, steps, units = sizes[:3]
    return _bound(kind, entry, [*sizes, *flags], places) if rows * steps * units >= LEAST else None


def scatter(table: np.ndarray, idx: np.ndarray, rows: np.ndarray) -> Run | None:
    """run() that makes table[r] the sum of rows[i] with idx[i] == r, which must be in the table, if
    it can be had. table (R, D), rows (N, D), idx (N,) int64; parts of the table to threads."""
    if table.size < LEAST_TABLE:
        return None
    crew = team()
    jobs = [_bound("scatter", "add_rows", [part.start, part.stop, table.shape[1], len(idx)],
                   [(table,), (rows,), (idx,)]) for part in crew.split(len(table))]
    return None if None in jobs else crew.bind(jobs)


def _bound(kind: str, entry: str, numbers: Sequence[int], places: Sequence[tuple]) -> Run | None:
    found, there = library(), [x for x, *_ in places if x is not None]
    if found is None or not native.available() or any(
            x.dtype not in TYPES or not x.size or x.strides[-1] != x.itemsize for x in there):
        return None
    address = _entry(kind, entry)
    if not address:
        return None
    at = [n for x, *axes in places for n in (
        [0] * (1 + len(axes)) if x is None else
        [x.ctypes.data, *(x.strides[axis] // x.itemsize for axis in axes)])]
    blas = ctypes.cast(found.gemm["f"], ctypes.c_void_p).value
    wide = found.integer is ctypes.c_int64
    return _Loop(address, np.array([blas, wide, *numbers, *at], np.int64), there)


class _Loop:
    """run() of a compiled function on its arguments."""

    def __init__(self, address: int, arguments: np.ndarray, arrays: list[np.ndarray]) -> None:
        self.address, self.arguments, self.arrays = address, arguments, arrays
        self.call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        self.place = ctypes.c_void_p(arguments.ctypes.data)

    def __call__(self) -> None:
        self.call(self.place)

    def words(self) -> list[int]:
        """As part of a tape."""
        return [native.CALL, 4, self.address, self.arguments.ctypes.data]


@lru_cache(None)
def _entry(kind: str, name: str) -> int:
    """The address of the compiled function, 0 if numba fails. Importing its module compiles, or
    finds the machine code on disk."""
    try:
        import llvmlite.binding as llvm
        # a step with eight arrays needs more checks for overlap than LLVM makes by itself
        llvm.set_option("gpukeras", "-runtime-memory-check-threshold=128")
        return getattr(importlib.import_module(f".loops.{kind}", __package__), name).address
    except Exception:                               # a numba that does not fit this Python or NumPy
        return 0
