"""A step of several processes that have a device of kernels each: its part in this process."""
from __future__ import annotations

from collections import Counter
from typing import Any, Sequence

import numpy as np

from ..graph import TensorType
from ..ops.collective import Part
from ..passes.partition import Partition, placeholders
from ..passes.schedule import Schedule
from .array import DeviceArray
from .group import Cut
from .kernel_replicas import KernelTeam, Ready, bind_together, changeable
from .launcher import ALIGN, Call, KernelDevice, _ready
from .rank_links import HostLink
from .replicas import buckets

Member = tuple[Part, TensorType, list[DeviceArray]]    # type of the whole; parts of the replicas


class Message:
    """Values on their way between the processes. packs: copies to do first; start, finish: see
    HostLink; values: for each member what there is in the end, its sum or all replicas' parts."""

    def __init__(self) -> None:
        self.packs: list[Call] = []
        self.start: list[Call] = []
        self.finish: list[Call] = []
        self.values: list[list[DeviceArray]] = []

    def add(self, start: Sequence[Call], finish: Sequence[Call]) -> None:
        self.start += start
        self.finish += finish


class RankTeam(KernelTeam):
    """The replicas of this process, and messages to the others.

    summed: the processes have a replica each and add up its sums in any order; else all parts go to
    all processes, which add them in the order of the replicas. alike: all processes run the same
    program, so that they start messages in the same order, while the backward pass goes on, and may
    have them in a graph: NCCL wants a message in a graph of every process or of none.

    The step is in pieces: device calls, of which each piece becomes a graph, and messages that
    cannot be in one.
    """

    def __init__(self, device: KernelDevice, parts: Partition, schedules: dict[int, Schedule],
                 update: Schedule, cut: Cut, link: HostLink, summed: bool, alike: bool) -> None:
        self.link, self.summed, self.alike = link, summed, alike
        self.buckets = buckets(parts.sums)
        self._pieces: list[tuple[bool, list[Call]]] = []      # (may be captured, calls)
        self._captured: list[Any] = []                        # graphs of the pieces, or None
        super().__init__(device, parts, schedules, update, cut)

    # ---- binding

    def _bind_step(self, update: Schedule) -> None:
        sums = self.parts.sums
        messages = [self._message([(sums[k].part, sums[k].type,
                                    [r.outputs[sums[k].index] for r in self.replicas])
                                   for k in bucket], changeable(self.replicas[0].schedule,
                                                                [sums[k].index for k in bucket]))
                    for bucket in self.buckets]
        results: list[list[list[DeviceArray]]] = []
        at_once, arrived = self.alike and self.link.beside, Counter()
        for i in range(len(self.parts.exchanges) + 1):
            for replica in self.replicas:
                for call in replica.legs[i]:
                    if not isinstance(call, Ready):
                        self._queue([call])
                        continue
                    arrived[call.bucket] += 1
                    if at_once and arrived[call.bucket] == len(self.replicas):
                        self._start(messages[call.bucket])
            if i < len(self.parts.exchanges):
                results.append(self._meet(i))
        for message in messages:
            if not at_once:
                self._start(message)
        for message in messages:
            self._send(message.finish)
        given = [x for message in messages for values in message.values for x in values]
        given += [results[s.exchange[0]][s.exchange[1]] for s in sums if s.exchange is not None]
        given += [self.inputs[i] for i in self.parts.update_inputs]
        self._bind_update(update, given)
        self._queue(self.update.calls)
        self.calls = [call for _, calls in self._pieces for call in calls]

    def _meet(self, i: int) -> list[DeviceArray]:
        """Queue exchange i; its results, which stay as they are until the step ends."""
        members = [(part, self.replicas[0].members[i][j].type,
                    [r.meetings[i][0][j] for r in self.replicas])
                   for j, part in enumerate(self.parts.exchanges[i])]
        if not all(part.kind == "sum" for part, *_ in members):
            message = self._gathered(members)
        else:
            message = self._message(members, [False] * len(members))
        self._start(message)
        self._send(message.finish)
        if all(len(values) == 1 for values in message.values):
            found = [values[0] for values in message.values]
            self._queue([self.driver.bind_copy(r.meetings[i][1][j], x)
                         for j, x in enumerate(found) for r in self.replicas])
            return found
        program, calls = bind_together(self.device, self.parts, self.cut, i, self.replicas,
                                       message.values)
        self._exchanges.append(program)
        self._queue(calls)
        return program.outputs

    def _message(self, members: Sequence[Member], changeable: Sequence[bool]) -> Message:
        """What is to be added is added on the way, if the order of addends may be any."""
        if not self.summed:
            return self._gathered(members)
        message, added = Message(), []
        for (part, type, (x, *_)), may in zip(members, changeable):
            if part.kind != "sum":
                other = self._gathered([(part, type, [x])])
                message.packs += other.packs
                message.add(other.start, other.finish)
                message.values += other.values
                continue
            if not may:
                own = self.driver.empty(x.shape, x.dtype)
                message.packs.append(self.driver.bind_copy(own, x))
                x = own
            added.append(x)
            message.values.append([x])
        if added:
            message.add(*self.link.bind_sum(added))
        return message

    def _gathered(self, members: Sequence[Member]) -> Message:
        """All parts of all processes: a row of bytes from each, the longest of which counts."""
        types = [placeholders(part, whole, self.parts.rows, self.cut.all_sizes)
                 for part, whole, _ in members]
        places, shard, longest = [], 0, 0
        for rank, bounds in enumerate(self.cut.bounds_of):
            end = 0
            for _ in bounds:
                for own in types:
                    places.append((rank, end, own[shard].type))
                    end += -(-own[shard].type.nbytes // ALIGN) * ALIGN
                shard += 1
            longest = max(longest, end)
        whole = self.driver.empty((len(self.cut.bounds_of), max(longest, ALIGN)), "uint8")
        self.driver.fill(whole, 0)                 # what no part fills travels too
        views = [whole[rank:rank + 1].view(type.dtype, type.shape, offset)
                 for rank, offset, type in places]
        message, n = Message(), len(members)
        message.values = [views[m::n] for m in range(n)]
        mine = sum(len(b) for b in self.cut.bounds_of[:self.cut.rank])
        for values, (_, _, parts) in zip(message.values, members):
            message.packs += [self.driver.bind_copy(to, x) for to, x in zip(values[mine:], parts)]
        message.add(*self.link.bind_gather(whole))
        return message

    def _start(self, message: Message) -> None:
        self._queue(message.packs)
        self._send(message.start)

    def _send(self, calls: Sequence[Call]) -> None:
        self._queue(calls, self.link.captured and self.alike)

    def _queue(self, calls: Sequence[Call], may: bool = True) -> None:
        if not self._pieces or self._pieces[-1][0] != may:
            self._pieces.append((may, []))
        self._pieces[-1][1].extend(calls)

    # ---- running

    def run(self, arrays: Sequence[Any]) -> None:
        for place, array in zip(self.inputs, arrays):
            if isinstance(array, DeviceArray):
                self.driver.copy(place, array)
            else:
                self.driver.upload(place, _ready(array, place))
        self._runs += 1
        self.device.changes += 1
        if self._runs == 2:
            self._captured = self._graphs_of_pieces()
        self.link.run(self._go)

    def _go(self) -> None:
        for i, (_, calls) in enumerate(self._pieces):
            graph = self._captured[i] if self._captured else None
            if graph is not None:
                graph.launch()
                continue
            for call in calls:
                call()

    def _graphs_of_pieces(self) -> list[Any]:
        """A graph for each piece that can be one. Where messages are in them, all processes have
        graphs or none."""
        graphs = [self.captured(calls) if may else None for may, calls in self._pieces]
        if self.link.captured and self.alike:
            mine = np.array([[all(g is not None for g in graphs)]], "int64")
            all_ = np.empty((self.link.group.size, 1), "int64")
            self.link.group.start_gather(mine, all_)()
            return graphs if all_.all() else []
        return graphs

