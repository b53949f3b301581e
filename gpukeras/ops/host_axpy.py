"""y + s * x with one number s as one pass over memory: BLAS's axpy in fused programs.

Optimizers are made of such sums. NumPy needs two passes and memory for s * x; axpy adds in place.
"""
from __future__ import annotations

from functools import partial
from math import prod
from typing import Callable, NamedTuple, Sequence

import numpy as np

from ..blas import bind_axpy, has_axpy


class HostStep(NamedTuple):
    """A step of a program on the host; like FusedStep."""

    op: object
    args: tuple[int, ...]


class AddScaled:
    """x, s, y -> y + s x, in place of y where the result may lie there."""

    renames = False

    def bind(self, out: np.ndarray, args: Sequence[np.ndarray], scratch) -> list[Callable]:
        x, s, y = args
        run = bind_axpy(s, x, out) if out.ctypes.data == y.ctypes.data else None
        if run is not None:
            return [run]
        if out.ctypes.data == y.ctypes.data:
            product = scratch(f"product {out.dtype}", out.shape, out.dtype)
            return [partial(np.multiply, x, s, out=product), partial(np.add, y, product, out=out)]
        return [partial(np.multiply, x, s, out=out), partial(np.add, y, out, out=out)]


class _Negative:
    """-s"""

    renames = False

    def bind(self, out: np.ndarray, args: Sequence[np.ndarray], scratch) -> list[Callable]:
        return [partial(np.negative, *args, out=out)]


def merge(program) -> None:
    """Make y + s x one step of `program` wherever s x (or s x / b) is used for that alone.

    The step that made s x disappears: its slot becomes another name of x.
    """
    if not has_axpy():
        return
    for i in range(len(program.steps)):
        step = program.steps[i]
        ufunc, slot = _ufunc(step.op), program.first + i
        if ufunc not in (np.add, np.subtract) or not program.full[slot] or slot in program.alias \
                or program.dtypes[slot].char not in "fd":
            continue
        pair = tuple(map(program.real, step.args))
        for y, t in (pair,) if ufunc is np.subtract else (pair, pair[::-1]):
            found = _scaled(program, t, y, slot) if y != t and program.full[y] else None
            if found is not None:
                x, s = found
                if ufunc is np.subtract:
                    s = _negative(program, s)
                program.steps[i] = HostStep(AddScaled(), (x, s, y))
                break


def share_places(program) -> None:
    """Let y be computed where y + s x goes, so that the sum is in place."""
    for i, step in enumerate(program.steps):
        slot, y = program.first + i, step.args[-1]
        made = y - program.first
        if not isinstance(step.op, AddScaled) or slot not in program.direct or made < 0 \
                or y in program.direct or program.last_read[y] != i \
                or y in map(program.real, program.op.outs):
            continue
        k = program.direct[slot]
        readers = [program.last_read.get(j, -1) for j in range(program.op.n_inputs)
                   if np.may_share_memory(program.arrays[j], program.outs[k])]
        if max(readers, default=-1) <= made:
            program.direct[y] = k


def _scaled(program, t: int, y: int, reader: int) -> tuple[int, int] | None:
    """(x, s) if slot t is s x, x not y, and only `reader` reads it; s x / b becomes s (x / b)."""
    i = t - program.first
    if i < 0 or not program.full[t] or not _read_once(program, t) \
            or program.dtypes[t] != program.dtypes[reader]:
        return None
    step = program.steps[i]
    args = tuple(map(program.real, step.args))
    if _ufunc(step.op) is np.multiply:
        for x, s in (args, args[::-1]):
            narrow = not program.full[s] and prod(program.shapes[s]) == 1
            if narrow and program.full[x] and x != y:
                program.alias[t] = x
                return x, s
    elif _ufunc(step.op) is np.divide and program.full[args[0]]:
        found = _scaled(program, args[0], y, t)
        if found is not None:
            program.steps[i] = HostStep(step.op, (found[0], args[1]))
            return t, found[1]
    return None


def _read_once(program, slot: int) -> bool:
    reads = [a for i, step in enumerate(program.steps) if program.first + i not in program.alias
             for a in map(program.real, step.args)]
    return (reads + list(map(program.real, program.op.outs))).count(slot) == 1


def _negative(program, s: int) -> int:
    """The slot of -s, a new step."""
    program.steps.append(HostStep(_Negative(), (s,)))
    program.full.append(False)
    program.dtypes.append(program.dtypes[s])
    program.shapes.append(program.shapes[s])
    return program.first + len(program.steps) - 1


def _ufunc(op) -> object:
    return getattr(type(op), "ufunc", None)
