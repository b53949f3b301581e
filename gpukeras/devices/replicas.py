"""A step on several replicas: programs on threads, collectives between them, then one update.

A replica computes with its rows of the batch (passes/partition.py). Several may share a thread: a
thread takes each of its replicas up to the next exchange. Sums over the replicas are taken in the
order of their numbers, so they do not depend on who was first, nor on how many threads there are.
"""
from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from typing import Callable, Sequence

import numpy as np

from .. import blas
from ..denormals import flushing
from ..errors import DeviceError
from ..graph.halves import BFLOAT16, convert, plain
from ..ops.collective import Exchange, Part
from ..passes.partition import Partition, Sum
from ..passes.schedule import Schedule, Step
from ..team import Team, alone
from .base import Executable
from .host import HostDevice, HostExecutable

BUCKET = 1 << 20                                   # bytes of gradients that are summed together
BLOCK = 1 << 15                                    # elements: a block of a sum stays in the cache

Call = Callable[[], object]


class Cut:
    """How a batch is dealt out.

    bounds: (first row, row after the last) of each replica that has rows. threads: for each thread,
    the numbers of its replicas, ascending over all threads. exact: nothing may depend on `threads`.
    """

    def __init__(self, rows: int, replicas: int, threads: int, exact: bool) -> None:
        edges = [rows * i // replicas for i in range(replicas + 1)]
        self.bounds = [(a, b) for a, b in zip(edges, edges[1:]) if b > a]
        count = len(self.bounds)
        starts = [count * i // threads for i in range(threads + 1)]
        self.threads = [list(range(a, b)) for a, b in zip(starts, starts[1:]) if b > a]
        self.exact = exact

    @property
    def sizes(self) -> list[int]:
        return [b - a for a, b in self.bounds]


class Replica(HostExecutable):
    """A replica's program on the host.

    legs: its calls up to the first exchange, between the first and the second, and so on, each as
    (calls, what is ready then): numbers of buckets. meetings: (inputs, outputs) of each exchange.
    """

    def __init__(self, device: HostDevice, schedule: Schedule, given: Sequence[np.ndarray | None],
                 buckets: Sequence[Sequence[int]]) -> None:
        self.meetings: list[tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]] = []
        self._ends: list[int] = []
        super().__init__(device, schedule, given)
        self.legs = _legs(self.calls, self._ends, _ready(schedule, buckets))

    def _bind(self, number: int, step: Step) -> Call:
        if not isinstance(step.op, Exchange):
            return super()._bind(number, step)
        self.meetings.append((tuple(map(self._array, step.ins)),
                              tuple(map(self._array, step.outs))))
        self._ends.append(number)
        return _nothing

    def go(self, leg: int, arrive: Callable[[int], None]) -> None:
        """Run one leg; arrive(bucket) says that this replica's part of a bucket is there."""
        call = None
        try:
            for calls, ready in self.legs[leg]:
                for call in calls:
                    call()
                for bucket in ready:
                    arrive(bucket)
        except Exception as error:
            raise self._placed(error, self.calls.index(call)) from error


def _nothing() -> None:
    pass


def _ready(schedule: Schedule, buckets: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """Numbers of the buckets that are complete after each step; -1: from the start."""
    made: dict[int, int] = {}
    for i, step in enumerate(schedule.steps):
        made.update((id(v.root()[0]), i) for v in step.outs)
    ready: dict[int, list[int]] = {}
    for bucket, outputs in enumerate(buckets):
        last = max(made.get(id(schedule.outputs[k].root()[0]), -1) for k in outputs)
        ready.setdefault(last, []).append(bucket)
    return ready


def _legs(calls: list[Call], ends: list[int], ready: dict[int, list[int]]):
    """[[(calls, buckets that are ready after them), ...] of each leg]"""
    legs, run, parts = [], [], [([], ready.get(-1, []))]
    for i, call in enumerate(calls):
        if i in ends:
            legs.append([*parts, (run, [])])
            run, parts = [], []
        else:
            run.append(call)
        if i in ready:
            parts.append((run, ready[i]))
            run = []
    return [*legs, [*parts, (run, [])]]


# ------------------------------------------------------------------------------ the team

class Crew:
    """`size` threads that work on one step at a time, each on its own replicas."""

    _crews: dict[int, "Crew"] = {}

    def __init__(self, size: int) -> None:
        self.team, self.busy = Team(size), threading.Lock()

    @classmethod
    def of(cls, size: int) -> "Crew":
        """The crew of that many threads; steps share it, one after the other."""
        if not cls._crews and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=cls._crews.clear)
        return cls._crews.setdefault(size, cls(size))

    def run(self, jobs: Sequence[Call]) -> None:
        if len(jobs) == 1:
            jobs[0]()
            return
        with self.busy:
            self.team.together(jobs)


class Meeting:
    """Where threads wait for each other; the last one to come does the work."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._reset()

    def _reset(self) -> None:
        self._door, self._gates, self._here = threading.Lock(), [], 0
        self.error: BaseException | None = None

    def begin(self) -> None:
        if self.error is not None:
            self._reset()

    def wait(self, work: Call) -> None:
        """Returns when all threads are here and `work` is done."""
        with self._door:
            self._stop_if_failed()
            last = len(self._gates) == self.count - 1
            if not last:
                gate = threading.Lock()
                gate.acquire()
                self._gates.append(gate)
        if last:
            work()
            with self._door:
                gates, self._gates = self._gates, []
            for gate in gates:
                gate.release()
        else:
            gate.acquire()
            self._stop_if_failed()

    def fail(self, error: BaseException) -> None:
        """Nobody waits any more: all leave with Stopped."""
        with self._door:
            if self.error is None or isinstance(self.error, Stopped):
                self.error = error
            gates, self._gates = self._gates, []
        for gate in gates:
            gate.release()

    def _stop_if_failed(self) -> None:
        if self.error is not None:
            raise Stopped


class Stopped(Exception):
    """Another replica has failed."""


class ReplicaTeam(Executable):
    """A step cut into replicas, on the host. `inputs` are arrays of the whole batch."""

    def __init__(self, device: HostDevice, parts: Partition, schedules: dict[int, Schedule],
                 update: Schedule, cut: Cut) -> None:
        self.parts, self.cut = parts, cut
        self.inputs = [device.empty(v.type.dtype, (parts.rows, *v.type.shape[1:]) if spread
                                    else v.type.shape)
                       for v, spread in zip(schedules[cut.sizes[0]].inputs, parts.spread)]
        with alone() if cut.exact else nullcontext():
            given = [None] * len(parts.sums) + [self.inputs[i] for i in parts.update_inputs]
            self.update = HostExecutable(device, update, given)
        self.buckets = buckets(parts.sums)
        with alone():
            self.replicas = [self._replica(device, schedules[b - a], a, b) for a, b in cut.bounds]
        self._bind_sums()
        self._meeting, self._crew = Meeting(len(cut.threads)), Crew.of(len(cut.threads))
        self._jobs = [lambda own=own: self._work(own) for own in cut.threads]
        self._counts, self._door = [0] * len(self.buckets), threading.Lock()
        self._hold, self._free = blas.around()
        self._flush, self._strict = flushing()

    def _replica(self, device: HostDevice, schedule: Schedule, start: int, stop: int) -> Replica:
        given: list[np.ndarray | None] = [
            (None if self.cut.exact else x[start:stop]) if spread else x
            for x, spread in zip(self.inputs, self.parts.spread)]
        given.append(np.array(start))
        outputs = [[self.parts.sums[k].index for k in bucket] for bucket in self.buckets]
        return Replica(device, schedule, given, outputs)

    def _bind_sums(self) -> None:
        """What each bucket and each exchange does once all replicas are there."""
        def outputs(s: Sum) -> list[np.ndarray]:
            return [r.outputs[s.index] for r in self.replicas]

        into = self.update.inputs
        sums = self.parts.sums
        self._reduce = [[self.combine(sums[k].part, outputs(sums[k]), into[sums[k].slot])
                         for k in bucket] for bucket in self.buckets]
        also = {s.exchange: into[s.slot] for s in sums if s.exchange is not None}
        self._exchange: list[list[Call]] = []
        for i, members in enumerate(self.parts.exchanges):
            calls: list[Call] = []
            for j, part in enumerate(members):
                ins = [r.meetings[i][0][j] for r in self.replicas]
                first, *others = [r.meetings[i][1][j] for r in self.replicas]
                calls.append(self.combine(part, ins, first))
                others += [also[i, j]] if (i, j) in also else []
                calls += [lambda to=to, x=first: np.copyto(to, x) for to in others]
            self._exchange.append(calls)

    def combine(self, part: Part, values: list[np.ndarray], out: np.ndarray) -> Call:
        """run() that puts the replicas' values together."""
        if part.kind == "sum":
            return bind_sum(values, out)
        each = part.size // self.parts.rows
        at = (slice(None),) * part.axis
        places = [out[(*at, slice(a * each, b * each))] for a, b in self.cut.bounds]

        def gather() -> None:
            for place, value in zip(places, values):
                np.copyto(place, value)
        return gather

    # ---- running

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        for place, array in zip(self.inputs, arrays):
            if place.dtype == BFLOAT16:            # NumPy converts no numbers to it
                array = convert(array, BFLOAT16)
            np.copyto(place, array, "unsafe")
        self._counts = [0] * len(self.buckets)
        self._meeting.begin()
        self._hold()
        try:
            self._crew.run(self._jobs)
        finally:
            self._free()
        if self._meeting.error is not None:
            raise self._meeting.error
        self.update.run(())

    def _work(self, own: list[int]) -> None:
        """One thread's part of a step."""
        self._flush()
        try:
            replicas = [self.replicas[i] for i in own]
            if self.cut.exact:
                for i in own:
                    self._copy_rows(i)
            for leg in range(len(self._exchange) + 1):
                for replica in replicas:
                    replica.go(leg, self._arrive)
                if leg < len(self._exchange):
                    self._meeting.wait(lambda calls=self._exchange[leg]: _all(calls))
        except BaseException as error:
            self._meeting.fail(error)
        finally:
            self._strict()

    def _copy_rows(self, i: int) -> None:
        start, stop = self.cut.bounds[i]
        for place, x, spread in zip(self.replicas[i].inputs, self.inputs, self.parts.spread):
            if spread:
                np.copyto(place, x[start:stop])

    def _arrive(self, bucket: int) -> None:
        """A replica's part of a bucket is there; the last one to come adds them all up."""
        with self._door:
            self._counts[bucket] += 1
            last = self._counts[bucket] == len(self.replicas)
        if last:
            _all(self._reduce[bucket])

    def fetch(self) -> list[np.ndarray]:
        return [np.concatenate([plain(r.outputs[i]) for r in self.replicas], axis) if spread
                else np.array(plain(self.update.outputs[i]))
                for spread, i, axis, _ in self.parts.outputs]

    def profile(self, arrays: Sequence[np.ndarray]) -> list[float]:
        raise DeviceError("profile: the steps of several replicas run at the same time. Try: the "
                          "profile of the model that multi_gpu_model was given")


def _all(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


def buckets(sums: Sequence[Sum]) -> list[list[int]]:
    """Sums that replicas deliver at their end, in groups of about BUCKET bytes."""
    groups: list[list[int]] = []
    room = 0
    for k, s in enumerate(sums):
        if s.index is None:
            continue
        if not groups or room < s.type.nbytes:
            groups.append([])
            room = BUCKET
        groups[-1].append(k)
        room -= s.type.nbytes
    return groups


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
