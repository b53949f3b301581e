"""Functions whose batch is dealt out to replicas."""
from __future__ import annotations

from typing import Any

from .config import across_devices
from .devices import Device, Executable
from .devices.replicas import Cut, ReplicaTeam
from .function import Function
from .passes.bind import bind
from .passes.partition import Partition, partition, update_of_parts
from .passes.pipeline import compile_graph
from .passes.schedule import Schedule

SHARDS = 12      # of a batch whose results must not depend on the number of devices (1 to 4, 6, 12)


class Replicated(Function):
    """A Function that several devices compute together; arrays go in and come out whole.

    Placeholders whose first axis has as many rows as that of the first one are dealt out, all
    others go to every device.

    # Arguments
        devices: how many devices there are.
    """

    def __init__(self, *args: Any, devices: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.devices = devices

    def _compile(self, shapes: tuple[tuple[int, ...], ...], phase: bool, device: Device) -> Any:
        rows = next((shape[0] for shape in shapes if shape), 0)
        exact = across_devices()
        cut = Cut(rows, SHARDS if exact else self.devices, self.devices, exact)
        if rows < 2 or len(cut.bounds) < 2:
            return super()._compile(shapes, phase, device)
        parts = partition(bind(self.graph, shapes, phase), rows, cut.sizes)
        programs = {size: compile_graph(program.graph, device.target)
                    for size, program in parts.programs.items()}
        update = update_of_parts(parts, cut.sizes) if device.target.kernels else parts.update
        return _Plan(parts, programs, compile_graph(update, device.target), cut)

    def _load(self, plan: Any, device: Device) -> Executable:
        return plan.load(device) if isinstance(plan, _Plan) else super()._load(plan, device)


class _Plan:
    """A compiled step; what Function keeps of it and loads again when variables have moved."""

    def __init__(self, parts: Partition, programs: dict[int, Schedule], update: Schedule,
                 cut: Cut) -> None:
        self.parts, self.programs, self.update, self.cut = parts, programs, update, cut
        self.variables = [v for s in (update, *programs.values()) for v in s.variables]

    def load(self, device: Device) -> Executable:
        if device.target.kernels:
            from .devices.kernel_replicas import KernelTeam as Team
        else:
            Team = ReplicaTeam
        return Team(device, self.parts, self.programs, self.update, self.cut)
