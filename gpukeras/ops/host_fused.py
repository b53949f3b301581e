"""A Fused op on the host: its steps over blocks that stay in the cache, with bound arguments.

`bind_fused(op, ins, outs)` returns run().  Steps whose results are narrow (a learning rate, a row
of factors) are computed once per run, in front; the others block by block, each call a NumPy ufunc
with `out=` into the result or into scratch that the next block uses again.  Rows that are broadcast
over many short rows (a bias) are tiled first, so that inner loops are long.

The result may lie where an input lies, element upon element: a result is written straight to its
place if no later step reads that input, else through scratch at the end of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np

from ..team import Team, in_turn, team
from . import host_numba
from .host_axpy import merge, share_places

Run = Callable[[], object]
Calls = list[Run]

BLOCK_BYTES = 1 << 20         # all arrays of one block together: about an L2
LEAST, MOST = 1 << 13, 1 << 16                                  # elements of a block
TILE = 4096                   # elements of a tiled row
WORTH_SHARING = 1 << 17       # elements times steps from which a team may pay: 0.015 ms
_ALONE = Team(1)


def bind_fused(op, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> Run | None:
    """run() that fills `outs` from `ins`; None where arrays overlap in part or have gaps."""
    if not prod(op.shape):
        return _nothing
    program = _Program(op, ins, outs)
    return program.bind() if program.fits else None


def _nothing() -> None:
    """All results are empty."""


class _Program:
    """One Fused op on concrete arrays."""

    def __init__(self, op, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        self.op, self.outs = op, list(outs)
        types = op.slot_types(*_types(op, ins))
        self.first = op.n_inputs + len(op.constants)             # slot of the first step
        self.full = [t.shape == op.shape for t in types]
        self.dtypes = [np.dtype(t.dtype) for t in types]
        self.shapes = [t.shape for t in types]
        self.arrays: dict[int, np.ndarray] = dict(enumerate(ins))
        for i, (dtype, value) in enumerate(op.constants):
            self.arrays[op.n_inputs + i] = np.array(value, dtype)
        self.alias: dict[int, int] = {}                          # slots that only rename another
        self.steps = list(op.steps)
        for i, step in enumerate(op.steps):
            if step.op.renames:
                arg = self.real(step.args[0])
                self.alias[self.first + i] = arg
                self.full[self.first + i] = self.full[arg]
        if not host_numba.takes(self):
            merge(self)
        self.last_read: dict[int, int] = {}
        for i, step in enumerate(self.steps):
            if self.first + i not in self.alias:
                self.last_read.update((self.real(a), i) for a in step.args)
        self.fits = self._direct_places() and all(a.flags.c_contiguous for a in outs) and all(
            self.arrays[i].flags.c_contiguous for i in range(op.n_inputs) if self.full[i])

    def real(self, slot: int) -> int:
        """The slot that holds the values of `slot`."""
        return self.alias.get(slot, slot)

    def _direct_places(self) -> bool:
        """Which outputs their step may write in place (`self.direct`: slot -> output); False when
        an output overlaps an input other than element upon element."""
        self.direct: dict[int, int] = {}
        returned = {self.real(o) for o in self.op.outs}
        for k, (slot, out) in enumerate(zip(self.op.outs, self.outs)):
            slot, early = self.real(slot), False
            for i in range(self.op.n_inputs):
                x = self.arrays[i]
                if not np.may_share_memory(x, out):
                    continue
                if (x.ctypes.data != out.ctypes.data or x.nbytes != out.nbytes or not self.full[i]
                        or i in returned and i != slot):
                    return False
                # through scratch until every step has read the old values
                early = early or self.last_read.get(i, -1) > slot - self.first
            if slot >= self.first and self.full[slot] and not early and slot not in self.direct:
                self.direct[slot] = k
        share_places(self)
        return True

    # ---- binding

    def bind(self) -> Run:
        shape, rows = self._common_shape()
        front = self._narrow_steps()
        front += self._tile(rows)
        views = {s: _spread(a, self.op.shape, shape) for s, a in self.arrays.items()
                 if self.is_input(s)}
        outs = [o.reshape(shape) for o in self.outs]
        size = self._block_size()
        cuts = list(_blocks(shape, size))
        steps = sum(self.full[self.first + i] and self.first + i not in self.alias
                    for i in range(len(self.steps)))
        crew = team() if prod(shape) * steps >= WORTH_SHARING else _ALONE
        body = crew.bind([in_turn(self._block_calls(cuts[s], views, outs))
                          for s in crew.split(len(cuts))])
        body = host_numba.later(self, shape, views, outs, body)
        return in_turn(front + [body]) if front else body

    def is_input(self, slot: int) -> bool:
        """Slots that blocks read but do not make: inputs, constants, narrow results."""
        return slot < self.first or not self.full[slot]

    def _narrow_steps(self) -> Calls:
        """Calls that compute the steps with narrow results, whole."""
        calls: Calls = []
        scratch = _Scratch()
        for i, step in enumerate(self.steps):
            slot = self.first + i
            if self.full[slot] or slot in self.alias:
                continue
            out = self.arrays[slot] = np.empty(self.shapes[slot], self.dtypes[slot])
            calls += step.op.bind(out, [self.arrays[self.real(a)] for a in step.args], scratch)
        return calls

    def _common_shape(self) -> tuple[tuple[int, ...], int]:
        """(the shape to work in, rows per tile): flat if every narrow array is one element, tiled
        rows if each is one element or one row, else the op's own shape."""
        shape, total = self.op.shape, prod(self.op.shape)
        narrow = {self.shapes[s] for s in range(len(self.shapes)) if s not in self.alias
                  and not self.full[s] and self._read_by_blocks(s)}
        narrow = {s for s in narrow if prod(s) != 1}
        if not narrow:
            return (total,), 0
        last = shape[-1]
        if all(prod(s) == s[-1] == last for s in narrow):
            count = total // last
            rows = max((k for k in range(1, max(2, TILE // last + 1)) if count % k == 0), default=1)
            return (count // rows, rows * last), rows
        return shape, 0

    def _read_by_blocks(self, slot: int) -> bool:
        return any(self.real(a) == slot for i, step in enumerate(self.steps)
                   if self.full[self.first + i] and self.first + i not in self.alias
                   for a in step.args) or slot in map(self.real, self.op.outs)

    def _tile(self, rows: int) -> Calls:
        """Calls that repeat the narrow rows `rows` times; the slots then hold the tiles."""
        calls: Calls = []
        if rows > 1:
            for slot in [s for s in self.arrays if not self.full[s] and self._read_by_blocks(s)]:
                row = self.arrays[slot]
                if row.size > 1:
                    tile = np.empty((rows, row.size), row.dtype)
                    calls.append(partial(np.copyto, tile, row.reshape(-1)))
                    self.arrays[slot] = tile.reshape(-1)
        return calls

    def _block_size(self) -> int:
        """Elements of a block, so that everything it touches stays in the cache."""
        full = [s for s in range(len(self.full)) if self.full[s] and s not in self.alias]
        at, most = 0, 0                                          # bytes in use per element
        for s in full:
            if s < self.first:
                at += self.dtypes[s].itemsize
        for i in range(len(self.steps)):
            if self.first + i in full and self.first + i not in self.direct:
                at += self.dtypes[self.first + i].itemsize
            most = max(most, at)
            at -= sum(self.dtypes[s].itemsize for s in full
                      if s >= self.first and self.last_read.get(s) == i and s not in self.direct)
        return min(MOST, max(LEAST, BLOCK_BYTES // max(1, most)))

    def _block_calls(self, cuts: list[tuple], views: dict, outs: list[np.ndarray]) -> Calls:
        """The steps for each block, one after the other."""
        calls: Calls = []
        scratch = _Scratch()
        returned = {self.real(o) for o in self.op.outs}
        for cut in cuts:
            held = {s: _cut(v, cut) for s, v in views.items()}
            places = [o[cut] for o in outs]
            shape = places[0].shape
            free: list[str] = []
            names: dict[int, str] = {}
            for i, step in enumerate(self.steps):
                slot = self.first + i
                if not self.full[slot] or slot in self.alias:
                    continue
                args = [self.real(a) for a in step.args]
                # an argument that is read here for the last time leaves its scratch to the result
                for a in dict.fromkeys(args):
                    if a in names and self.last_read[a] == i and a not in returned:
                        free.append(names.pop(a))
                if slot in self.direct:
                    held[slot] = places[self.direct[slot]]
                else:
                    names[slot] = self._pick(free, slot)
                    held[slot] = scratch(names[slot], shape, self.dtypes[slot])
                calls += step.op.bind(held[slot], [held[a] for a in args], scratch)
            calls += self._copies(held, places)
        return calls

    def _pick(self, free: list[str], slot: int) -> str:
        """A free scratch of this slot's item size, or the name of a new one."""
        kind = f"{self.dtypes[slot].itemsize}:"
        name = next((n for n in reversed(free) if n.startswith(kind)), None)
        if name is None:
            return f"{kind}{slot}"
        free.remove(name)
        return name

    def _copies(self, held: dict, places: list[np.ndarray]) -> Calls:
        """What was not written in place goes to its output at the end of the block."""
        return [partial(np.copyto, place, held[self.real(slot)])
                for k, (slot, place) in enumerate(zip(self.op.outs, places))
                if self.direct.get(self.real(slot)) != k]


class _Scratch:
    """Memory by name, the same for every block: scratch(name, shape, dtype) -> array."""

    def __init__(self) -> None:
        self.kept: dict[str, np.ndarray] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        dtype = np.dtype(dtype)
        nbytes = prod(shape) * dtype.itemsize
        if name not in self.kept or self.kept[name].nbytes < nbytes:
            self.kept[name] = np.empty(nbytes, np.uint8)
        return self.kept[name][:nbytes].view(dtype).reshape(shape)


def _types(op, ins: Sequence[np.ndarray]) -> list:
    from ..graph import TensorType
    return [TensorType(x.dtype.name, x.shape) for x in ins]


def _spread(array: np.ndarray, full: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """An input as the blocks see it: full arrays under `shape`, narrow ones with leading ones."""
    if array.shape == full:
        return array.reshape(shape)
    if shape == full:
        return array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    return array.reshape((1,) * (len(shape) - 1) + (array.size,))


def _cut(view: np.ndarray, cut: tuple) -> np.ndarray:
    """The part of a view that belongs to a block; broadcast axes stay whole."""
    if view.size == 1:
        return view.reshape(())
    return view[tuple(c if n > 1 else slice(None) for c, n in zip(cut, view.shape))]


def _blocks(shape: tuple[int, ...], size: int):
    """Index tuples of consecutive blocks of about `size` elements."""
    if not shape:
        yield ()
        return
    inner = prod(shape[1:])
    if inner > size and len(shape) > 1:
        for i in range(shape[0]):
            for rest in _blocks(shape[1:], size):
                yield (slice(i, i + 1),) + rest
        return
    # equal blocks: a short last one would cost its calls for little
    count = max(1, round(shape[0] * inner / size))
    step = -(-shape[0] // count)
    for first in range(0, shape[0], step):
        yield (slice(first, min(first + step, shape[0])),) + (slice(None),) * (len(shape) - 1)
