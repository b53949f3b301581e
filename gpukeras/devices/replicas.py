"""A step on several replicas: programs on threads, collectives between them, then one update.

A replica computes with its rows of the batch (passes/partition.py). Several may share a thread: a
thread takes each of its replicas up to the next exchange. Sums over the replicas are taken in the
order of their numbers, so they do not depend on who was first, nor on how many threads there are.
"""
from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from typing import Any, Callable, Sequence

import numpy as np

from .. import blas
from ..denormals import flushing
from ..errors import DeviceError
from ..graph.halves import BFLOAT16, convert, plain
from ..ops.collective import Exchange, Part
from ..passes.partition import Partition, Sum
from ..passes.schedule import Schedule, Step
from ..team import Faster, Team, alone
from .base import Executable
from .group import BUCKETS, EXCHANGES, Cut, bind_combine
from .host import HostDevice, HostExecutable

BUCKET = 1 << 20                                   # bytes of gradients that are summed together

Call = Callable[[], object]


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
        self.legs = _legs(self.calls, self._ends, ready_after(schedule, buckets))

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
            at = self.calls.index(call) if call in self.calls else len(self.calls)
            raise self._placed(error, at) from error


def _nothing() -> None:
    pass


def ready_after(schedule: Schedule, buckets: Sequence[Sequence[int]]) -> dict[int, list[int]]:
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
        if size not in cls._crews:
            if not cls._crews and hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=cls._crews.clear)    # threads do not fork
            cls._crews.setdefault(size, cls(size))
        return cls._crews[size]

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
    """A step cut into replicas, on the host. `inputs` are arrays of this process's part of the
    batch: of the whole batch where it is alone, without a `group` of processes."""

    def __init__(self, device: HostDevice, parts: Partition, schedules: dict[int, Schedule],
                 update: Schedule, cut: Cut, group: Any = None) -> None:
        self.parts, self.cut, self.group = parts, cut, group
        self.inputs = [device.empty(v.type.dtype, (cut.count, *v.type.shape[1:]) if spread
                                    else v.type.shape)
                       for v, spread in zip(schedules[cut.sizes[0]].inputs, parts.spread)]
        self._whole = {i: self._whole_input(device, i) for i in parts.update_inputs}
        with alone() if cut.exact else nullcontext():
            given = [None] * len(parts.sums) + [self._whole[i] for i in parts.update_inputs]
            self.update = HostExecutable(device, update, given)
        self.buckets = buckets(parts.sums)
        with alone():
            self.replicas = [self._replica(device, schedules[b - a], a, b) for a, b in cut.bounds]
        self._bind_sums()
        self._meeting = Meeting(len(cut.threads))
        self._jobs = [lambda own=own: self._work(own) for own in cut.threads]
        self._all_here = [i for own in cut.threads for i in own]
        self._go = Faster(self._in_threads, self._in_turn, shared_first=True)
        self._counts, self._started, self._door = [0] * len(self.buckets), 0, threading.Lock()
        self._hold, self._free = blas.around()
        self._flush, self._strict = flushing()

    def _whole_input(self, device: HostDevice, i: int) -> np.ndarray:
        """The array that the update reads for input i: that of all processes."""
        own = self.inputs[i]
        if self.group is None or not self.parts.spread[i]:
            return own
        return device.empty(own.dtype.name, (self.cut.rows, *own.shape[1:]))

    def _replica(self, device: HostDevice, schedule: Schedule, start: int, stop: int) -> Replica:
        first = self.cut.first
        given: list[np.ndarray | None] = [
            (None if self.cut.exact else x[start - first:stop - first]) if spread else x
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
        bound = [[self._combine(sums[k].part, outputs(sums[k]), into[sums[k].slot], BUCKETS)
                  for k in bucket] for bucket in self.buckets]
        self._reduce = [[start for start, _ in own] for own in bound]
        self._finish = [finish for own in bound for _, finish in own]
        also = {s.exchange: into[s.slot] for s in sums if s.exchange is not None}
        self._exchange: list[list[Call]] = []
        for i, members in enumerate(self.parts.exchanges):
            calls: list[Call] = []
            for j, part in enumerate(members):
                ins = [r.meetings[i][0][j] for r in self.replicas]
                first, *others = [r.meetings[i][1][j] for r in self.replicas]
                calls += self._combine(part, ins, first, EXCHANGES)
                others += [also[i, j]] if (i, j) in also else []
                calls += [lambda to=to, x=first: np.copyto(to, x) for to in others]
            self._exchange.append(calls)

    def _combine(self, part: Part, values: list[np.ndarray], out: np.ndarray,
                 channel: int) -> tuple[Call, Call]:
        return bind_combine(part, values, out, self.cut, self.group, channel)

    # ---- running

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        for place, array in zip(self.inputs, arrays):
            if place.dtype == BFLOAT16:            # NumPy converts no numbers to it
                array = convert(array, BFLOAT16)
            np.copyto(place, array, "unsafe")
        self._counts, self._started = [0] * len(self.buckets), 0
        self._meeting.begin()
        self._hold()
        try:
            self._go()
        finally:
            self._free()
        if self._meeting.error is not None:
            raise self._meeting.error
        _all(self._finish)
        self._gather_inputs()
        self.update.run(())

    def _gather_inputs(self) -> None:
        for i, whole in self._whole.items():
            if whole is not self.inputs[i]:
                self.group.start_gather(self.inputs[i], whole, self.cut.rows_of)()

    def _in_threads(self) -> bool:
        if len(self._jobs) > 1:
            self._meeting.count = len(self._jobs)
            Crew.of(len(self._jobs)).run(self._jobs)
        return len(self._jobs) > 1

    def _in_turn(self) -> None:
        """All replicas on this thread: for steps so short that waking others costs more."""
        self._meeting.count = 1
        self._work(self._all_here)

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
                np.copyto(place, x[start - self.cut.first:stop - self.cut.first])

    def _arrive(self, bucket: int) -> None:
        """A replica's part of a bucket is there; the last one to come adds them all up. Where
        other processes wait for them, buckets go in the order of their numbers."""
        count = len(self.replicas)
        with self._door:
            self._counts[bucket] += 1
            last = self._counts[bucket] == count
            if self.group is not None:
                while self._started < len(self._counts) and self._counts[self._started] == count:
                    _all(self._reduce[self._started])
                    self._started += 1
                return
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
