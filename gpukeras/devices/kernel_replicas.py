"""Replicas on one device of kernels, real or emulated: all their launches as one captured graph."""
from __future__ import annotations

from collections import Counter
from typing import Iterable, Sequence

import numpy as np

from ..errors import DeviceError
from ..graph.halves import plain
from ..ops.collective import Exchange
from ..passes.partition import Partition, exchange_of_parts
from ..passes.pipeline import compile_graph
from ..passes.schedule import Schedule, Step, Value
from .array import DeviceArray
from .group import Cut
from .launcher import Call, KernelDevice, KernelExecutable
from .replicas import ready_after


class Ready:
    """Stands among the calls of a replica where its part of a bucket of sums is complete."""

    def __init__(self, bucket: int) -> None:
        self.bucket = bucket

    def __call__(self) -> None:
        pass


class KernelReplica(KernelExecutable):
    """A replica's program. legs: its calls, cut at the exchanges; meetings: (inputs, outputs).

    buckets: numbers of outputs; their places in `legs` are marked, see Ready.
    """

    def __init__(self, device: KernelDevice, schedule: Schedule,
                 given: dict[Value, DeviceArray], arena: DeviceArray | None = None,
                 buckets: Sequence[Sequence[int]] = ()) -> None:
        marks = ready_after(schedule, buckets)
        self._marks = {id(step): marks.get(i, []) for i, step in enumerate(schedule.steps)}
        self.meetings: list[tuple[list[DeviceArray], list[DeviceArray]]] = []
        self.members: list[list[Value]] = []       # results of each exchange
        super().__init__(device, schedule, given, arena)
        self.legs: list[list[Call]] = [[Ready(k) for k in marks.get(-1, [])]]
        for call in self.calls:
            if call is _meet:
                self.legs.append([])
            else:
                self.legs[-1].append(call)

    def _prepare(self, step: Step) -> list:
        if not isinstance(step.op, Exchange):
            return super()._prepare(step) + [Ready(k) for k in self._marks.get(id(step), [])]
        self.meetings.append(([self.array(v) for v in step.ins],
                              [self.array(v) for v in step.outs]))
        self.members.append(list(step.outs))
        return [_meet, *(Ready(k) for k in self._marks.get(id(step), []))]

    def _checked(self, i: int, step: Step, own: list[Call]) -> Call:
        return _meet if isinstance(step.op, Exchange) else super()._checked(i, step, own)


def _meet() -> None:
    """Stands where a program is cut."""


def changeable(schedule: Schedule, outputs: Sequence[int]) -> list[bool]:
    """Which of the outputs are memory that nothing else reads, so that they may be replaced by
    their sums while the program goes on."""
    read = {id(v.root()[0]) for step in schedule.steps for v in step.ins}
    roots = [v.root()[0] for v in schedule.outputs]
    count = Counter(map(id, roots))
    return [roots[k].kind == "temp" and id(roots[k]) not in read and count[id(roots[k])] == 1
            for k in outputs]


class KernelTeam(KernelExecutable):
    """A step cut into replicas that share one device and its memory. Replicas run in turn;
    exchanges and the update read their parts where they are."""

    buckets: Sequence[Sequence[int]] = ()          # of sums, whose ends replicas shall mark

    def __init__(self, device: KernelDevice, parts: Partition, schedules: dict[int, Schedule],
                 update: Schedule, cut: Cut) -> None:
        self.device, self.driver, self.parts, self.cut = device, device.driver, parts, cut
        self.schedule = update
        self.inputs = [
            device.empty(v.type.dtype, (cut.count, *v.type.shape[1:]) if spread else v.type.shape)
            for v, spread in zip(schedules[cut.sizes[0]].inputs, parts.spread)]
        self.replicas = [self._replica(schedules[b - a], a, b) for a, b in cut.bounds]
        self.calls: list[Call] = []
        self._exchanges: list[KernelExecutable] = []
        self._bind_step(update)
        self.host_steps = [step for p in (*self.replicas, *self._exchanges, self.update)
                           for step in p.host_steps]
        self._checking = self.update._checking
        self._forget_graphs()

    def _bind_step(self, update: Schedule) -> None:
        """Fill `calls` with the whole step."""
        for i in range(len(self.parts.exchanges)):
            self._take_leg(i)
            self._exchanges.append(self._exchange(i))
        self._take_leg(len(self.parts.exchanges))
        self._bind_update(update, self._parts())

    def _bind_update(self, update: Schedule, given: Sequence[DeviceArray]) -> None:
        self.update = KernelExecutable(self.device, update, dict(zip(update.inputs, given)))
        self.calls += self.update.calls

    def _replica(self, schedule: Schedule, start: int, stop: int) -> KernelReplica:
        first = self.device.empty("int64", ())
        self.device.upload(first, np.array(start))
        arrays = []
        for x, spread in zip(self.inputs, self.parts.spread):
            if spread:
                row = x.nbytes // self.cut.count
                x = x.view(shape=(stop - start, *x.shape[1:]),
                           offset=(start - self.cut.first) * row)
            arrays.append(x)
        ends = [[self.parts.sums[k].index for k in bucket] for bucket in self.buckets]
        return KernelReplica(self.device, schedule, dict(zip(schedule.inputs, [*arrays, first])),
                             buckets=ends)

    def _take_leg(self, i: int) -> None:
        for replica in self.replicas:
            self.calls += replica.legs[i]

    def _exchange(self, i: int) -> KernelExecutable:
        """Adds the calls of an exchange; returns its program."""
        values = [[r.meetings[i][0][j] for r in self.replicas]
                  for j in range(len(self.parts.exchanges[i]))]
        program, calls = bind_together(self.device, self.parts, self.cut, i, self.replicas, values)
        self.calls += calls
        return program

    def _parts(self) -> list[DeviceArray]:
        """The update's inputs."""
        arrays: list[DeviceArray] = []
        for s in self.parts.sums:
            if s.exchange is None:
                arrays += [r.outputs[s.index] for r in self.replicas]
            else:
                i, j = s.exchange                  # a replica's copy may be gone by then
                arrays.append(self._exchanges[i].outputs[j])
        return arrays + [self.inputs[i] for i in self.parts.update_inputs]

    def fetch(self) -> list[np.ndarray]:
        def values(executable: KernelExecutable, i: int) -> np.ndarray:
            return plain(self.driver.download(executable.outputs[i]))

        return [np.concatenate([values(r, i) for r in self.replicas], axis) if spread
                else values(self.update, i) for spread, i, axis, _ in self.parts.outputs]

    def profile(self, arrays: Sequence[np.ndarray]) -> list[float]:
        raise DeviceError("profile: the steps of several replicas are one graph. Try: the profile "
                          "of the model that multi_gpu_model was given")


def bind_together(device: KernelDevice, parts: Partition, cut: Cut, i: int,
                  replicas: Iterable[KernelReplica], values: Sequence[Sequence[DeviceArray]],
                  ) -> tuple[KernelExecutable, list[Call]]:
    """Exchange i on one device, where `values` are the parts of each member from all replicas, of
    all processes: (its program, calls that also hand the results to `replicas`)."""
    replicas = list(replicas)
    members = [(part, v.type) for part, v in zip(parts.exchanges[i], replicas[0].members[i])]
    schedule = compile_graph(exchange_of_parts(members, parts.rows, cut.all_sizes), device.target)
    given = dict(zip(schedule.inputs, [x for group in values for x in group]))
    program = KernelExecutable(device, schedule, given)
    copies = [device.driver.bind_copy(r.meetings[i][1][j], result)
              for j, result in enumerate(program.outputs) for r in replicas]
    return program, program.calls + copies
