"""Which of several plans a device runs: the fastest, measured once and kept on disk.

The table lies in the folder of compiled kernels, one file for each kind of device. A device that
cannot measure (the emulator) takes what the op expects to be fastest, or what the table says. Plans
differ in the order of their sums, so where the bits must be the same on any number of devices the
table is not asked.
"""
from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Callable, Sequence

from ..config import across_devices, cache_dir, math_mode
from ..errors import DeviceError, KernelError
from ..ops.record import Fill, Gemm, In, Launch, LaunchPlan, Out, Temp, Tickets, Traits
from ..passes.schedule import Step
from .array import RAW, DeviceArray
from .driver import Driver, gemm_call
from .sources import kernel_source

LEAST_FLOPS = 40e6           # of a product that is worth measuring
_FILLING = 0x3c              # bytes of the operands measured with: 0.01 in float32, 1.06 in float16


class Tuner:
    """Chooses plans for the steps of one driver's schedules."""

    def __init__(self, driver: Driver):
        self.driver = driver
        self._table: dict[str, dict] | None = None

    def plan(self, step: Step) -> LaunchPlan:
        """What the step launches."""
        op, ins, outs = step.op, _types(step.ins), _types(step.outs)
        traits = Traits(self.driver.arch, math_mode())
        plans = {name: _fitting(plan, self.driver.shared_limit)
                 for name, plan in op.cuda.plans(op, ins, outs, traits).items()}
        if len(plans) == 1 or across_devices():
            return next(iter(plans.values()))
        key = f"{op!r} {' '.join(map(str, ins))} {traits.math}"
        known = self.table.get(key, {})
        if set(known.get("us", ())) == set(plans):
            return plans[known["choice"]]
        if self.driver.measures and op.flops(ins, outs) >= LEAST_FLOPS:
            return plans[self._measure(key, op, ins, outs, plans)]
        return next(iter(plans.values()))

    # ---- the table

    @property
    def path(self) -> Path:
        """The file of this kind of device."""
        name = re.sub(r"\W+", "-", self.driver.device_name).strip("-")
        return Path(cache_dir()) / "cubin" / f"choices-{name}.json"

    @property
    def table(self) -> dict[str, dict]:
        """key -> {"choice": name of the plan, "us": {name: microseconds, null if it failed}}"""
        if self._table is None:
            self._table = _read(self.path)
        return self._table

    def _keep(self, key: str, entry: dict) -> None:
        """Into the table and its file, beside what other processes have put there meanwhile."""
        self._table = {**_read(self.path), **self.table, key: entry}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False) as out:
            json.dump(self._table, out, indent=1, sort_keys=True)
        os.replace(out.name, self.path)

    # ---- measuring

    def _measure(self, key: str, op: Any, ins: tuple, outs: tuple,
                 plans: dict[str, LaunchPlan]) -> str:
        """Runs every plan on memory of its own; the name of the fastest, which is kept."""
        first = next(iter(plans))
        times: dict[str, float | None] = {}
        try:
            memory = [self._room(t.dtype, t.shape) for t in (*ins, *outs)]
        except DeviceError:                                  # no room to try anything out
            return first
        for name, plan in plans.items():
            temps: list[DeviceArray] = []
            try:
                for n in plan.temps:
                    temps.append(self._room(RAW, (max(n, 1),)))
                where = {In: memory[:len(ins)], Out: memory[len(ins):], Temp: temps}
                times[name] = self.driver.seconds(bind_plan(self.driver, op, plan, where)) * 1e6
            except (DeviceError, KernelError):               # this plan is not for this device
                times[name] = None
            for array in temps:
                self.driver.free(array)
        for array in memory:
            self.driver.free(array)
        timed = {name: us for name, us in times.items() if us is not None}
        choice = min(timed, key=timed.__getitem__) if timed else first
        self._keep(key, {"choice": choice, "us": times})
        return choice

    def _room(self, dtype, shape: tuple[int, ...]) -> DeviceArray:
        out = self.driver.empty(shape, dtype)
        self.driver.fill(out, _FILLING)
        return out


def bind_plan(driver: Driver, op: Any, plan: LaunchPlan,
              where: dict[type, Sequence[DeviceArray]]) -> list[Callable[[], None]]:
    """The calls of a plan over the arrays that In, Out and Temp stand for."""
    def array(ref) -> DeviceArray:
        found = where[type(ref)][ref.index]
        return found.view(offset=ref.offset) if ref.offset else found

    def tickets(count: int) -> DeviceArray:
        out = driver.empty((count,), "uint32")
        driver.fill(out, 0)
        return out

    def bind(item: Launch | Gemm | Fill) -> Callable[[], None]:
        if isinstance(item, Fill):
            return driver.bind_fill(array(item.ref).raw().view(shape=(item.nbytes,)), item.byte)
        if isinstance(item, Gemm):
            return driver.bind_gemm(gemm_call(item, array))
        file = item.file or op.cuda.file
        kernel = driver.load(kernel_source(file), file, item.defines).kernel(item.entry)
        args = [array(a) if isinstance(a, (In, Out, Temp)) else
                tickets(a.count) if isinstance(a, Tickets) else a for a in item.args]
        return driver.bind(kernel, item.grid, item.block, args, item.smem)

    return [bind(item) for item in plan.steps]


def _types(values: Sequence) -> tuple:
    return tuple(v.type for v in values)


def _fitting(plan: LaunchPlan, shared_limit: int) -> LaunchPlan:
    """The plan, or another one where a block may not have the shared memory it asks for."""
    most = max((s.smem for s in plan.steps if isinstance(s, Launch)), default=0)
    return plan.otherwise if plan.otherwise and most > shared_limit else plan


def _read(path: Path) -> dict[str, dict]:
    """The table in a file; empty if there is none or it cannot be understood."""
    try:
        table = json.loads(path.read_text())
        return {key: entry for key, entry in table.items()
                if entry["choice"] in entry["us"]}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return {}
