"""What whole LSTM and GRU layers on the host share: the walks over time, forward and back."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from .. import native
from ..blas import UNPACKED, bind_stack, needs_no_packing
from ..team import in_turn, team
from .host_rnn import WORTH_SHARING, Arrays, Run, _Chunk, _off

MOST_PARTS = 4                                      # of a product that is cut
LEAST_ROWS = 32                                     # of a product that is added to others
FEW_ROWS = 32                                       # of a thread's part of the batch


def stacked(a: np.ndarray, b: np.ndarray, out: np.ndarray, accumulate: bool = False) -> Run:
    """bind_stack, in parts of the longer of rows and columns if that makes each product so small
    that it needs no packing: 102 to 108 GFLOP/s where those of twice the size reach 85 to 95."""
    (m, k), n = a.shape[1:], b.shape[-1]
    parts = -(-m * n * k // int(UNPACKED)) if needs_no_packing() else 1
    if not 1 < parts <= MOST_PARTS:
        return bind_stack(a, b, out, accumulate)
    rows = m >= n
    edges = [(m if rows else n) * i // parts for i in range(parts + 1)]
    cuts = [slice(*pair) for pair in zip(edges, edges[1:])]
    return in_turn([bind_stack(a[:, s], b, out[..., s, :], accumulate) if rows else
                    bind_stack(a, b[..., s], out[..., s], accumulate) for s in cuts])


def of_gates(x: np.ndarray, n: int = 4) -> np.ndarray:
    """x as an operand for each gate."""
    return np.broadcast_to(x, (n, *x.shape))


def by_threads(rows: int, size: int) -> list[slice]:
    """Parts of the batch, one a thread; `size`: elements of the states of the sequence."""
    crew = team()
    if crew.size == 1 or rows < 2 * crew.size or size < WORTH_SHARING:
        return [slice(rows)]
    return crew.split(rows)


def by_relay(op, rows: int, units: int, features: int, size: int) -> bool:
    """Whether one thread walks over time and others do the long products (host_relay.py): where the
    parts of the batch are small, and Python's lock is in the way."""
    crew = team()
    return (crew.size > 1 and size >= WORTH_SHARING and rows < FEW_ROWS * crew.size
            and 2 * features >= units and not native.available())


def steps_together(rows: int, hx: np.ndarray) -> int:
    """Steps whose gradients of the weights are one product: several where the batch is small."""
    return max(1, LEAST_ROWS // rows) if hx.flags.c_contiguous else 1


def merged(x: np.ndarray) -> np.ndarray:
    """(.., steps, rows, n) as (.., steps * rows, n), the same memory."""
    return x.reshape(*x.shape[:-3], -1, x.shape[-1])


def is_fast(op) -> bool:
    """With tanh and sigmoid all gates are one tanh: sigmoid(x) = tanh(x / 2) / 2 + 1 / 2."""
    return (op.activation, op.recurrent_activation) == ("tanh", "sigmoid")


class Forward:
    """The calls for some rows of the batch, step after step.

    A kind of layer sets `hx`, `h_last`, `h` (or None), `kept` (whether hx holds all steps, or a
    chunk of them), `chunks`, `masks` and has `states(rows of hx)`, `begin()`, `inputs(chunk, rows
    of hx)` and `step(k, row, t)`: step k of the walk, which is time t, and lies in `row` of hx.
    """

    def calls(self) -> list[Run]:
        calls, done = [*self.masks, *self.begin()], 0
        for chunk in self.chunks:
            begin = done if self.kept else 0        # of the chunk in hx
            if done and not self.kept:
                before = self.states(self.hx[self.chunks[0].count])
                calls.append(partial(np.copyto, self.states(self.hx[0]), before))
            calls += self.inputs(chunk, self.hx[begin:begin + chunk.count])
            for k, t in enumerate(chunk.times):
                calls += self.step(done + k, begin + k, t)
            done += chunk.count
            if self.h is not None:
                calls += self._outputs(chunk, begin, done == self.steps)
        return calls

    def _outputs(self, chunk: _Chunk, begin: int, last: bool) -> list[Run]:
        """The states to h (B, S, U)."""
        to, n = chunk.seen(self.h), chunk.count - last
        calls = [partial(np.copyto, to[:n], self.states(self.hx[begin + 1:begin + 1 + n]))]
        return calls + ([partial(np.copyto, to[n], self.h_last)] if last else [])


class Backward:
    """The calls for some rows of the batch, last step first.

    one (S, B, U): any array of that shape; masks: the mask or nothing; g: what reaches the states;
    gx, g_first: where the gradients of inputs and first states go.  A kind of layer adds
    `carried`: [(what a step hands to the one before it, its value at the end of the walk or None
    for zeros)], and `step(k, n, t)`: step k of the walk forward, which is time t and the n-th of a
    chunk.
    """

    carried: Sequence[tuple[np.ndarray, np.ndarray | None]]

    def __init__(self, op, one: np.ndarray, gates: int, hx: np.ndarray, mask: Arrays,
                 g: np.ndarray, features: int) -> None:
        self.op, self.hx, self.g = op, hx, g
        self.steps, self.rows, self.units = one.shape
        self.mask = mask
        self.off, self.masks = _off(mask)
        self.group = steps_together(self.rows, hx)
        self.all_dz = np.empty((4, self.group, *one.shape[1:]), one.dtype)
        self.gh, self.now = np.empty((2, *one.shape[1:]), one.dtype)
        self.chunks = _Chunk.walk(self.steps, gates * one[0].nbytes, not op.reverse)
        most = max(k.count for k in self.chunks)
        self.up = np.empty((most, *one.shape[1:]), one.dtype) if op.sequence else None
        self.gx_here = np.empty((most, self.rows, features), one.dtype) if op.inputs else None
        self.gx: np.ndarray | None = None
        self.g_first: Sequence[np.ndarray] = ()

    def calls(self) -> list[Run]:
        op, k = self.op, self.steps
        calls = [*self.masks, *(partial(to.fill, 0) if value is None else
                                partial(np.copyto, to, value) for to, value in self.carried)]
        for chunk in self.chunks:
            if op.sequence:
                calls.append(partial(np.copyto, self.up[:chunk.count], chunk.seen(self.g)))
            for n, t in enumerate(chunk.times):
                k -= 1
                calls += self.step(k, n, t)
            calls += self.end_of(chunk)
        return calls + [partial(np.copyto, to, value)
                        for to, (value, _) in zip(self.g_first, self.carried)]

    def end_of(self, chunk: _Chunk) -> list[Run]:
        """What follows the steps of a chunk."""
        if not self.op.inputs:
            return []
        return [partial(np.copyto, chunk.seen(self.gx), self.gx_here[:chunk.count])]

    def scratch(self, group: int, features: int) -> list[np.ndarray]:
        """What a compiled loop works in: gradients of gates, inputs and their gradients of a group
        of steps, four states, and states of the group."""
        one = self.rows, self.units
        return [np.empty(shape, self.gh.dtype) for shape in (
            (4, group, *one), (group, self.rows, self.hx.shape[2]), (group, self.rows, features),
            (4, *one), (group, *one))]

    def arriving(self, n: int) -> tuple[np.ndarray, list[Run]]:
        """What reaches the state, and the calls that add it up."""
        if self.op.sequence:
            return self.now, [partial(np.add, self.up[n], self.gh, self.now)]
        if self.off is not None:
            return self.now, [partial(np.copyto, self.now, self.gh)]
        return self.gh, []
