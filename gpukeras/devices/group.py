"""Values put together over the replicas of this process and those of others.

A group is the processes of one job (parallel/communicator.py): `rank`, `size`, and two messages,
`start_sum(array, channel=)` and `start_gather(part, whole, rows, channel=)`. Each returns a
function that waits until it is done. Messages of one channel start in the same order in every
process.
"""
from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np

from ..errors import DeviceError
from ..ops.collective import Part

BLOCK = 1 << 15                                    # elements: a block of a sum stays in the cache
EXCHANGES, BUCKETS = 0, 1                          # channels

Call = Callable[[], object]


class Cut:
    """How a batch is dealt out.

    bounds: (first row, row after the last) of each replica of this process that has rows; rows are
    counted over all processes, `first` is the first one here, `count` how many are here.
    bounds_of: the same of every process. threads: for each thread, the numbers of its replicas,
    ascending over all threads. exact: nothing may depend on the number of threads and processes.

    # Arguments
        rows: how many rows each process has.
        replicas: of this process, or with `exact` of all processes together.
        rank: which process this is.
    """

    def __init__(self, rows: Sequence[int], replicas: int, threads: int, exact: bool,
                 rank: int = 0) -> None:
        self.rows_of, self.exact, self.rank = tuple(rows), exact, rank
        self.rows, self.count, self.first = sum(rows), rows[rank], sum(rows[:rank])
        if exact:
            edges = [self.rows * i // replicas for i in range(replicas + 1)]
            self._check(edges)
        self.bounds_of = []
        for r, count in enumerate(self.rows_of):
            start = sum(rows[:r])
            if not exact:
                edges = [start + count * i // replicas for i in range(replicas + 1)]
            self.bounds_of.append([(a, b) for a, b in zip(edges, edges[1:])
                                   if a < b and start <= a and b <= start + count])
        self.bounds = self.bounds_of[rank]
        count = len(self.bounds)
        starts = [count * i // threads for i in range(threads + 1)]
        self.threads = [list(range(a, b)) for a, b in zip(starts, starts[1:]) if b > a]

    @property
    def sizes(self) -> list[int]:
        return [b - a for a, b in self.bounds]

    @property
    def all_sizes(self) -> list[int]:
        """Rows of the replicas of all processes, in their order."""
        return [b - a for bounds in self.bounds_of for a, b in bounds]

    def _check(self, edges: Sequence[int]) -> None:
        """The parts of an exact cut must not lie on two processes."""
        starts = np.cumsum(self.rows_of)
        if not set(starts.tolist()) <= set(edges):
            raise DeviceError(
                f"config.deterministic = 'across devices': got batches of {list(self.rows_of)} "
                f"rows on {len(self.rows_of)} processes, expected equal ones on 1, 2, 3, 4, 6 or "
                "12 processes. Try: hvd.shard")


def bind_sum(values: Sequence[np.ndarray], out: np.ndarray) -> Call:
    """run() for out = values[0] + values[1] + ..., in this order."""
    if len(values) == 1:
        return lambda: np.copyto(out, values[0])
    flat = [v.reshape(-1) for v in values]
    to = out.reshape(-1)
    cuts = [slice(i, i + BLOCK) for i in range(0, to.size, BLOCK)]
    blocks = [(to[c], [v[c] for v in flat]) for c in cuts]

    def run() -> None:
        for place, (first, second, *others) in blocks:
            np.add(first, second, place)
            for v in others:
                np.add(place, v, place)
    return run


def bind_combine(part: Part, values: Sequence[np.ndarray], out: np.ndarray, cut: Cut, group: Any,
                 channel: int) -> tuple[Call, Call]:
    """(start, finish) that put the replicas' values together, here and over the group's processes.

    `start` does all there is to do in this process and does not wait for others.
    """
    if part.kind == "sum":
        if group is None:
            return bind_sum(values, out), _nothing
        if cut.exact:
            return _sum_in_order(values, out, [len(b) for b in cut.bounds_of], group, channel)
        return _sum_here_first(values, out, group, channel)
    return _gather(part, values, out, cut, group, channel)


def _nothing() -> None:
    pass


class _Message:
    """Sends when started; waits when finished."""

    def __init__(self, send: Callable[[], Call]) -> None:
        self._send, self._wait = send, _nothing

    def start(self) -> None:
        self._wait = self._send()

    def finish(self) -> None:
        self._wait()


def _sum_here_first(values, out, group, channel) -> tuple[Call, Call]:
    here, message = bind_sum(values, out), _Message(lambda: group.start_sum(out, channel=channel))

    def start() -> None:
        here()
        message.start()
    return start, message.finish


def _sum_in_order(values, out, counts, group, channel) -> tuple[Call, Call]:
    """All parts go to all processes, which add them in the order of the replicas. counts: how many
    replicas each process has."""
    mine = np.empty((len(values), out.size), out.dtype)
    whole = np.empty((sum(counts), out.size), out.dtype)
    message = _Message(lambda: group.start_gather(mine, whole, counts, channel=channel))
    add = bind_sum(list(whole), out)

    def start() -> None:
        for place, value in zip(mine, values):
            np.copyto(place, value.reshape(-1))
        message.start()

    def finish() -> None:
        message.finish()
        add()
    return start, finish


def _gather(part, values, out, cut, group, channel) -> tuple[Call, Call]:
    """The rows of all replicas one after the other along an axis of `out`."""
    each = part.size // cut.rows
    at = (slice(None),) * part.axis
    if group is None:
        to, first = out, 0
    else:
        to, first = np.moveaxis(np.empty(_front(out, part.axis, cut.count * each), out.dtype),
                                0, part.axis), cut.first
    places = [to[(*at, slice((a - first) * each, (b - first) * each))] for a, b in cut.bounds]

    def here() -> None:
        for place, value in zip(places, values):
            np.copyto(place, value)
    if group is None:
        return here, _nothing
    mine = np.moveaxis(to, part.axis, 0)
    whole = np.empty(_front(out, part.axis, part.size), out.dtype)
    message = _Message(lambda: group.start_gather(mine, whole, cut.rows_of, channel=channel))
    target = np.moveaxis(out, part.axis, 0)

    def start() -> None:
        here()
        message.start()

    def finish() -> None:
        message.finish()
        np.copyto(target, whole)
    return start, finish


def _front(out: np.ndarray, axis: int, rows: int) -> tuple[int, ...]:
    """The shape with that axis first, of so many rows."""
    return (rows, *(d for i, d in enumerate(out.shape) if i != axis))
