"""Functions whose batch is dealt out to replicas, of this process and of others."""
from __future__ import annotations

from typing import Any, Callable, Sequence
from zlib import crc32

import numpy as np

from .config import across_devices
from .devices import Device, Executable
from .devices.group import Cut
from .devices.replicas import ReplicaTeam
from .errors import DeviceError
from .function import Function
from .passes.bind import bind
from .passes.partition import Partition, partition, update_of_parts
from .passes.pipeline import compile_graph
from .passes.schedule import Schedule

SHARDS = 12      # of a batch whose results must not depend on the number of devices (1 to 4, 6, 12)

Shapes = tuple[tuple[int, ...], ...]


class Replicated(Function):
    """A Function that several devices compute together; arrays go in and come out whole.

    Placeholders whose first axis has as many rows as that of the first one are dealt out, all
    others go to every device.

    # Arguments
        devices: how many devices this process has.
        group: processes that compute together (devices/group.py), each on its own device; arrays
            are the rows of this process, and the batch is the rows of all of them, in the order of
            ranks.
        numbers: of real GPUs, if each replica shall have one of its own; else all replicas share
            the device of the process.
    """

    def __init__(self, *args: Any, devices: int = 1, group: Any = None,
                 numbers: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.devices, self.group, self.numbers = devices, group, tuple(numbers)

    def _compile(self, shapes: Shapes, phase: bool, device: Device) -> Any:
        rows = _rows(shapes)
        if self.group is not None:
            self._check_group(rows)
            return self._plan(shapes, phase, device, (rows,) * self.group.size)
        cut = self._cut((rows,))
        if rows < 2 or len(cut.bounds) < 2:
            return super()._compile(shapes, phase, device)
        return self._plan(shapes, phase, device, (rows,))

    def _check_group(self, rows: int) -> None:
        if self.numbers:
            raise DeviceError(f"rank {self.group.rank} of {self.group.size} got {self.devices} "
                              "GPUs, expected one. Try: as many ranks as GPUs, without "
                              "multi_gpu_model")
        if not rows:
            raise DeviceError(f"rank {self.group.rank} got a batch of 0 rows: every rank needs one")

    def _cut(self, rows_of: Sequence[int]) -> Cut:
        exact = across_devices()
        rank = 0 if self.group is None else self.group.rank
        return Cut(rows_of, SHARDS if exact else self.devices, self.devices, exact, rank)

    def _plan(self, shapes: Shapes, phase: bool, device: Device, rows_of: Sequence[int]) -> "_Plan":
        cut = self._cut(rows_of)
        whole = tuple((cut.rows, *s[1:]) if s and s[0] == cut.count else s for s in shapes)
        parts = partition(bind(self.graph, whole, phase), cut.rows, cut.sizes)
        programs = {size: compile_graph(program.graph, device.target)
                    for size, program in parts.programs.items()}
        if device.target.kernels:
            update = compile_graph(update_of_parts(parts, cut.all_sizes, self._sums(cut)),
                                   device.target)
        else:
            update = compile_graph(parts.update, device.target, filled=len(parts.sums))
        plan = _Plan(parts, programs, update, cut,
                     lambda rows_of: self._plan(shapes, phase, device, rows_of))
        plan.summed, plan.kind = self._sums(cut), crc32(repr([s[1:] for s in shapes]).encode())
        if device.target.kernels and self.numbers:
            plan.numbers, plan.sums = self.numbers, compile_graph(parts.update, device.target)
        return plan

    def _sums(self, cut: Cut) -> bool:
        """Do processes add up while values travel? The order of addends is not ours then."""
        return self.group is not None and self.devices == 1 and not cut.exact

    def _load(self, plan: Any, device: Device) -> Executable:
        if not isinstance(plan, _Plan):
            return super()._load(plan, device)
        if self.group is None:
            return plan.load(device)
        return Together(device, plan, self.group, f"{self.name} {plan.cut.count}")


def _rows(shapes: Shapes) -> int:
    return next((shape[0] for shape in shapes if shape), 0)


class _Plan:
    """A compiled step; what Function keeps of it and loads again when variables have moved.

    again: makes the plan for other numbers of rows of the processes. numbers: of the GPUs, if each
    replica has one of its own; then `sums` is the update that reads sums made by NCCL. summed: does
    the update read sums that the processes have made? kind: a number for all but the rows.
    """

    numbers: tuple[int, ...] = ()
    sums: Schedule | None = None
    summed = False
    kind = 0

    def __init__(self, parts: Partition, programs: dict[int, Schedule], update: Schedule,
                 cut: Cut, again: Callable[[Sequence[int]], "_Plan"]) -> None:
        self.parts, self.programs, self.update, self.cut = parts, programs, update, cut
        self.variables = [v for s in (update, *programs.values()) for v in s.variables]
        self.again = again

    def load(self, device: Device, group: Any = None, alike: bool = True) -> Executable:
        """alike: do all processes of the group run the same program?"""
        if self.sums is not None:
            from .devices.several import DeviceTeam, devices_of
            return DeviceTeam(devices_of(device, self.numbers), self.parts, self.programs,
                              self.update, self.sums, self.cut)
        if device.target.kernels and group is not None:
            from .devices.kernel_ranks import RankTeam
            from .devices.rank_links import link_of
            return RankTeam(device, self.parts, self.programs, self.update, self.cut,
                            link_of(device, group), self.summed, alike)
        if device.target.kernels:
            from .devices.kernel_replicas import KernelTeam
            return KernelTeam(device, self.parts, self.programs, self.update, self.cut)
        return ReplicaTeam(device, self.parts, self.programs, self.update, self.cut, group)


class Together(Executable):
    """A step of all processes of a group. They meet first and tell how many rows each has; numbers
    that differ, as at the end of an epoch, have compiled steps of their own."""

    def __init__(self, device: Device, plan: _Plan, group: Any, name: str) -> None:
        self._device, self._plan, self._group = device, plan, group
        self._rows = plan.cut.count
        self._name = np.uint32(crc32(name.partition(" ")[0].encode()))
        self._teams: dict[tuple, Executable] = {}
        self._last: Any = None
        self.inputs: list[Any] = [None] * len(plan.parts.spread)      # come with `run`
        if not device.target.kernels:              # or are here: arrays that `run` finds filled
            self._last = self._team((plan.cut.rows_of, True))
            self.inputs = self._last.inputs

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        places = self.inputs
        if not self._device.target.kernels:
            for place, array in zip(places, arrays):
                np.copyto(place, array, "unsafe")
            arrays = places
        team = self._last = self._team(self._meet())
        team.run(() if team.inputs is places else arrays)

    def _team(self, key: tuple[tuple[int, ...], bool]) -> Executable:
        if key not in self._teams:
            rows_of, alike = key
            plan = (self._plan if rows_of == self._plan.cut.rows_of else self._plan.again(rows_of))
            self._teams[key] = plan.load(self._device, self._group, alike)
        return self._teams[key]

    def _meet(self) -> tuple[tuple[int, ...], bool]:
        """(how many rows each process has, whether they run the same program). Raises DeviceError
        if one is at another step."""
        mine = np.array([[self._rows, self._name, self._plan.kind]], "int64")
        all_ = np.empty((self._group.size, 3), "int64")
        self._group.start_gather(mine, all_)()
        if (all_[:, 1] != self._name).any():
            other = [i for i, name in enumerate(all_[:, 1]) if name != self._name]
            raise DeviceError(f"rank {self._group.rank} and rank {other[0]} came to different "
                              "steps. Every rank must make the same calls, with as many batches")
        alike = bool((all_[:, [0, 2]] == all_[0, [0, 2]]).all())
        rows_of = tuple(int(n) for n in all_[:, 0])
        return rows_of, alike or not self._device.target.kernels

    def fetch(self) -> list[np.ndarray]:
        return self._last.fetch()

    def profile(self, arrays: Sequence[np.ndarray]) -> list[float]:
        return self._last.profile(arrays)
