"""Replicas on several devices of kernels, each with memory, a stream and a thread of its own.

Every device holds copies of the variables and updates them in the same way from the same sums, so
they stay equal. How sums travel is decided once per set of devices by a short test that also checks
values: NCCL, copies from GPU to GPU, or through the host's memory.
"""
from __future__ import annotations

import sys
from time import perf_counter
from typing import Callable, Sequence

import numpy as np

from ..config import flag, number
from ..errors import DeviceError
from ..graph import Variable
from ..graph.halves import plain
from ..passes.partition import Partition
from ..passes.pool import Pool
from ..passes.schedule import Schedule
from .array import DeviceArray
from .base import Executable
from .driver import Driver
from .group import Cut
from .kernel_replicas import KernelReplica, Ready, bind_together, changeable
from .launcher import Call, KernelDevice, KernelExecutable, _ready
from .nccl import bind_sum, communicators, self_test
from .replicas import Crew, Meeting, buckets


class Copies(KernelDevice):
    """A further device, with copies of the variables that have their home on `home`."""

    def __init__(self, driver: Driver, home: KernelDevice) -> None:
        super().__init__(driver)
        self.home = home
        self._own: dict[Variable, DeviceArray] = {}
        self._seen = -1

    def storage(self, variable: Variable) -> DeviceArray:
        if variable not in self._own or isinstance(variable, Pool) and self._scattered(variable):
            place = self._own[variable] = self.empty(variable.dtype, variable.shape)
            if isinstance(variable, Pool):
                for v, start in zip(variable.members, variable.offsets):
                    self._own[v] = self.part(place, start, v.shape)
            self._seen = -1
        return self._own[variable]

    def _scattered(self, pool: Pool) -> bool:
        """Have members moved into another pool since?"""
        at = self._own[pool].ptr
        return any(self._own[v].ptr != at + start * self._own[v].dtype.itemsize
                   for v, start in zip(pool.members, pool.offsets))

    def follow(self) -> None:
        """Take over what has been written to the home's variables since the last call."""
        if self._seen == self.home.changes:
            return
        for variable, place in self._own.items():
            move(place, self.home.storage(variable))
        self._seen = self.home.changes

    def follows(self) -> None:
        """Says that a step has changed its variables and the home's alike."""
        self._seen = self.home.changes


def move(dst: DeviceArray, src: DeviceArray) -> None:
    """Copy from one device to another through the host."""
    dst.driver.upload(dst, src.driver.download(src))


# ------------------------------------------------------------------------------ links

Move = Callable[[DeviceArray, DeviceArray], Call]


class Link:
    """How parts get from device to device. move(dst, src) binds one copy; `nccl`: communicators by
    device, if sums are NCCL's."""

    def __init__(self, name: str, move: Move, nccl: list | None = None) -> None:
        self.name, self.move, self.nccl = name, move, nccl


def on_host(x):
    return x.driver.download(x) if isinstance(x, DeviceArray) else x


def through_host(dst: DeviceArray, src: DeviceArray) -> Call:
    return lambda: move(dst, src)


def between(dst: DeviceArray, src: DeviceArray) -> Call:
    return dst.driver.bind_peer_copy(dst, src)


def devices_of(home: KernelDevice, numbers: Sequence[int]) -> list[KernelDevice]:
    """The devices with these numbers; the process's own takes the place of its number, or, if that
    is not among them, of the first."""
    own = getattr(getattr(home.driver, "device", None), "id", 0)
    at = list(numbers).index(own) if own in numbers else 0
    found: list[KernelDevice] = []
    for i, number_ in enumerate(numbers):
        if i == at:
            found.append(home)
            continue
        key = id(home), number_
        if key not in _devices:
            _devices[key] = Copies(type(home.driver)(*_numbered(home.driver, number_)), home)
        found.append(_devices[key])
    return [found[at], *found[:at], *found[at + 1:]]


def _numbered(driver: Driver, number_: int) -> tuple[int, ...]:
    """Arguments for another driver like this one; emulated devices have no numbers."""
    return (number_,) if hasattr(driver, "device") else ()


_devices: dict[tuple[int, int], Copies] = {}
_links: dict[tuple[int, ...], Link] = {}


def link_of(devices: Sequence[KernelDevice]) -> Link:
    """The fastest way between these devices that gives right values."""
    key = tuple(id(d.driver) for d in devices)
    if key not in _links:
        _links[key] = _tested([d.driver for d in devices])
        if number("GPUKERAS_DEBUG") >= 1:
            print(f"gpukeras: sums of {len(devices)} devices travel {_links[key].name}",
                  file=sys.stderr)
    return _links[key]


def _tested(drivers: Sequence[Driver]) -> Link:
    """Copies between all neighbours and, if NCCL is there, one sum; what fails or gives wrong
    values is left out."""
    host = Link("through the host", through_host)
    if not all(hasattr(d, "bind_peer_copy") for d in drivers):
        return host
    times: dict[str, float] = {}
    for name, way in (("by peer copies", between), ("through the host", through_host)):
        try:
            times[name] = _time_moves(drivers, way)
        except Exception as error:
            print(f"gpukeras: copies {name} do not work: {error}", file=sys.stderr)
    peers = times.get("by peer copies", 1e9) <= times["through the host"]
    best = Link("by peer copies", between) if peers else host
    try:
        nccl = communicators([d.device.id for d in drivers])
        self_test(nccl, drivers)
        return Link("by NCCL", best.move, nccl)
    except Exception as error:                     # not installed, or one GPU twice
        if number("GPUKERAS_DEBUG") >= 1:
            print(f"gpukeras: no NCCL: {error}", file=sys.stderr)
    return best


def _time_moves(drivers: Sequence[Driver], way: Move) -> float:
    """Seconds for 4 MB from each device to the next one; DeviceError if they arrive changed."""
    pattern = np.arange(1 << 20, dtype=np.int32)
    spent = 0.0
    for i, source in enumerate(drivers):
        target = drivers[(i + 1) % len(drivers)]
        src, dst = source.to_device(pattern * (i + 1)), target.empty(pattern.shape, "int32")
        run = way(dst, src)
        run()
        target.synchronize()
        start = perf_counter()
        run()
        target.synchronize()
        spent += perf_counter() - start
        if not np.array_equal(target.download(dst), pattern * (i + 1)):
            raise DeviceError(f"device {i} to {(i + 1) % len(drivers)}: values arrive changed")
    return spent


# ------------------------------------------------------------------------------ a device's share

class Seat:
    """One device's replicas, its copies of the others' parts, and its update.

    legs: calls up to the first exchange, ..., and in the end the update; moves[i]: what is brought
    from other devices after leg i.
    """

    def __init__(self, device: KernelDevice, own: list[int]) -> None:
        self.device, self.own = device, own
        self.replicas: dict[int, KernelReplica] = {}
        self.legs: list[list[Call]] = []
        self.moves: list[list[Call]] = []
        self.programs: list[KernelExecutable] = []
        self.inputs: list[DeviceArray] = []
        self._runs, self._graphs = 0, None

    def load(self, parts: Partition, schedules: dict[int, Schedule], cut: Cut,
             buckets: Sequence[Sequence[int]]) -> None:
        """Bind the replicas. Inputs that are spread have the rows of this device only."""
        self.first, self.last = cut.bounds[self.own[0]][0], cut.bounds[self.own[-1]][1]
        for v, spread in zip(schedules[cut.sizes[self.own[0]]].inputs, parts.spread):
            shape = (self.last - self.first, *v.type.shape[1:]) if spread else v.type.shape
            self.inputs.append(self.device.empty(v.type.dtype, shape))
        for k in self.own:
            self.replicas[k] = self._replica(parts, schedules, cut.bounds[k], buckets)
        self.programs += self.replicas.values()

    def _replica(self, parts: Partition, schedules: dict[int, Schedule], bounds: tuple[int, int],
                 buckets: Sequence[Sequence[int]]) -> KernelReplica:
        start, stop = bounds
        first = self.device.empty("int64", ())
        self.device.upload(first, np.array(start))
        arrays = []
        for x, spread in zip(self.inputs, parts.spread):
            if spread:
                row = x.nbytes // (self.last - self.first)
                x = x.view(shape=(stop - start, *x.shape[1:]), offset=(start - self.first) * row)
            arrays.append(x)
        schedule = schedules[stop - start]
        return KernelReplica(self.device, schedule, dict(zip(schedule.inputs, [*arrays, first])),
                             buckets=buckets)

    def leg(self, i: int) -> list[Call]:
        return [call for r in self.replicas.values() for call in r.legs[i]]

    def feed(self, arrays: Sequence[np.ndarray], spread: Sequence[bool]) -> None:
        """Upload this device's rows."""
        for place, x, cut in zip(self.inputs, arrays, spread):
            x = on_host(x)[self.first:self.last] if cut else on_host(x)
            self.device.driver.upload(place, _ready(x, place))

    def go(self, i: int) -> None:
        """Run leg i; from the second step on as a captured graph."""
        if self._graphs is not None:
            self._graphs[i].launch()
            return
        for call in self.legs[i]:
            call()

    def after_step(self) -> None:
        self._runs += 1
        may = flag("GPUKERAS_REPLAY") != "0" and flag("GPUKERAS_CHECK") != "1"
        if self._runs == 1 and may and not any(p.host_steps for p in self.programs):
            self._graphs = [_captured(self.device.driver, calls) for calls in self.legs]


def _order(seat: Seat) -> tuple:
    """In which order a device comes to its buckets and exchanges."""
    replica, = seat.replicas.values()
    return tuple(tuple(call.bucket for call in leg if isinstance(call, Ready))
                 for leg in replica.legs)


def _captured(driver: Driver, calls: Sequence[Call]):
    if not calls:
        return _Nothing
    with driver.capture() as graph:
        for call in calls:
            call()
    return graph


class _Nothing:
    """The graph of a leg without calls."""

    @staticmethod
    def launch() -> None:
        pass


# ------------------------------------------------------------------------------ the team

class DeviceTeam(Executable):
    """A step cut into replicas on several devices; `updates` are compiled to read all parts
    (update_of_parts), or sums (parts.update) if NCCL makes them."""

    def __init__(self, devices: Sequence[KernelDevice], parts: Partition,
                 schedules: dict[int, Schedule], update: Schedule, sums: Schedule,
                 cut: Cut) -> None:
        self.parts, self.cut, self.buckets = parts, cut, buckets(parts.sums)
        self.seats = [Seat(d, own) for d, own in zip(devices, cut.threads)]
        self.inputs = [None] * len(parts.spread)   # arrays come with `run`
        everything = (update, sums, *schedules.values())
        for seat in self.seats:
            for variable in [v for s in everything for v in s.variables]:
                seat.device.storage(variable)      # pools move their members: first of all
            seat.load(parts, schedules, cut, [[parts.sums[k].index for k in bucket]
                                              for bucket in self.buckets])
        self.link = link_of([seat.device for seat in self.seats])
        only_sums = all(s.part.kind == "sum" for s in parts.sums) and all(
            p.kind == "sum" for e in parts.exchanges for p in e)
        if self.link.nccl and only_sums and not cut.exact:
            self._bind_nccl(sums)
        else:
            self._bind_moves(update)
        self._meeting = Meeting(len(self.seats))
        self._jobs = [lambda s=seat: self._work(s) for seat in self.seats]
        self._arrays: Sequence[np.ndarray] = ()

    # ---- parts are brought to every device, which puts them together itself

    def _bind_moves(self, update: Schedule) -> None:
        home = {k: seat.replicas[k] for seat in self.seats for k in seat.own}
        order = range(len(self.cut.bounds))
        ends = [s.index for s in self.parts.sums if s.exchange is None]
        for seat in self.seats:
            results: list[list[DeviceArray]] = []  # of each exchange, on this device
            for i in range(len(self.parts.exchanges)):
                here, moves = self._brought(seat, [
                    [home[k].meetings[i][0][j] for k in order]
                    for j in range(len(self.parts.exchanges[i]))])
                program, calls = bind_together(seat.device, self.parts, self.cut, i,
                                               seat.replicas.values(), here)
                seat.legs.append((seat.legs.pop() if seat.legs else []) + seat.leg(i))
                seat.moves.append(moves)
                seat.legs.append(calls)
                seat.programs.append(program)
                results.append(program.outputs)
            seat.legs.append((seat.legs.pop() if seat.legs else [])
                             + seat.leg(len(self.parts.exchanges)))
            here, moves = self._brought(seat, [[home[k].outputs[e] for k in order] for e in ends])
            seat.moves.append(moves)
            given = [x for group in here for x in group]
            given += [results[s.exchange[0]][s.exchange[1]] for s in self.parts.sums
                      if s.exchange is not None]
            given += [seat.inputs[i] for i in self.parts.update_inputs]
            seat.update = KernelExecutable(seat.device, update, dict(zip(update.inputs, given)))
            seat.legs.append(seat.update.calls)
            seat.programs.append(seat.update)

    def _brought(self, seat: Seat, groups: list[list[DeviceArray]]):
        """(the arrays on this device, the copies that bring those of others)."""
        moves: list[Call] = []
        found = []
        for group in groups:
            here = []
            for k, x in enumerate(group):
                if k not in seat.own:
                    place = seat.device.driver.empty(x.shape, x.dtype)
                    moves.append(self.link.move(place, x))
                    x = place
                here.append(x)
            found.append(here)
        return found, moves

    # ---- NCCL adds, bucket by bucket while the backward pass goes on: a step is one graph a device

    def _bind_nccl(self, update: Schedule) -> None:
        orders = {_order(seat) for seat in self.seats}
        for comm, seat in zip(self.link.nccl, self.seats):
            replica, = seat.replicas.values()
            driver, results = seat.device.driver, []
            fork, join = driver.bind_fork(), driver.bind_join()

            def added(pairs) -> list[Call]:
                return [fork, *(bind_sum(comm, driver, x, y) for x, y in pairs)]

            summed = self._summed(replica)
            buckets = [added([(replica.outputs[self.parts.sums[k].index], summed[k])
                              for k in bucket]) for bucket in self.buckets]
            calls: list[Call] = []
            for i, leg in enumerate(replica.legs):
                for call in leg:
                    if not isinstance(call, Ready):
                        calls.append(call)
                    elif len(orders) == 1:         # beside what is left of the backward pass
                        calls += buckets[call.bucket]
                if i < len(replica.meetings):
                    ins, outs = replica.meetings[i]
                    kept = [driver.empty(y.shape, y.dtype) for y in outs]
                    calls += [*added(zip(ins, outs)), join]
                    calls += [driver.bind_copy(to, y) for to, y in zip(kept, outs)]
                    results.append(kept)
            if len(orders) > 1:                    # all must call NCCL in one order
                calls += [call for bucket in buckets for call in bucket]
            given = [summed[k] if s.exchange is None else results[s.exchange[0]][s.exchange[1]]
                     for k, s in enumerate(self.parts.sums)]
            given += [seat.inputs[i] for i in self.parts.update_inputs]
            seat.update = KernelExecutable(seat.device, update, dict(zip(update.inputs, given)))
            seat.programs.append(seat.update)
            seat.legs = [[*calls, join, *seat.update.calls]]

    def _summed(self, replica: KernelReplica) -> dict[int, DeviceArray]:
        """Where the sums of a replica's outputs come: in their place if nothing else reads it."""
        ends = [(k, s.index) for k, s in enumerate(self.parts.sums) if s.index is not None]
        may = changeable(replica.schedule, [i for _, i in ends])
        return {k: x if own else replica.driver.empty(x.shape, x.dtype)
                for (k, i), own in zip(ends, may) for x in [replica.outputs[i]]}

    # ---- running

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = arrays
        for seat in self.seats:
            if isinstance(seat.device, Copies):
                seat.device.follow()
        self._meeting.begin()
        Crew.of(len(self._jobs)).run(self._jobs)
        if self._meeting.error is not None:
            raise self._meeting.error
        self.seats[0].device.changes += 1          # devices without rows are behind now
        for seat in self.seats:
            if isinstance(seat.device, Copies):
                seat.device.follows()

    def _work(self, seat: Seat) -> None:
        try:
            getattr(seat.device.driver, "use", _nothing)()
            seat.feed(self._arrays, self.parts.spread)
            for i in range(len(seat.legs)):
                seat.go(i)
                if i < len(seat.moves):
                    self._meeting.wait(lambda i=i: self._bring(i))
            seat.after_step()
        except BaseException as error:
            self._meeting.fail(error)

    def _bring(self, i: int) -> None:
        """Done by the thread that comes last, for all devices."""
        for seat in self.seats:
            for call in seat.moves[i]:
                call()

    def fetch(self) -> list[np.ndarray]:
        def values(executable: KernelExecutable, i: int) -> np.ndarray:
            return plain(executable.driver.download(executable.outputs[i]))

        replicas = [r for seat in self.seats for r in seat.replicas.values()]
        return [np.concatenate([values(r, i) for r in replicas], axis) if spread
                else values(self.seats[0].update, i)
                for spread, i, axis, _ in self.parts.outputs]

    def profile(self, arrays: Sequence[np.ndarray]) -> list[float]:
        raise DeviceError("profile: the steps of several devices run at the same time. Try: the "
                          "profile of the model that multi_gpu_model was given")


def _nothing() -> None:
    pass
