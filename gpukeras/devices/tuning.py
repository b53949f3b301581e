"""Which of several plans a device runs: the fastest, measured once and kept on disk.

The table lies in the folder of compiled kernels, one file for each kind of device. A device that
cannot measure (the emulator) takes what the op expects to be fastest, or what the table says. Plans
differ in the order of their sums, so where the bits must be the same on any number of devices the
table is not asked. A plan whose results are further from the first one's than rounding explains is
never taken: a kernel may be wrong on a device that nobody tried it on.
"""
from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from ..config import across_devices, cache_dir, math_mode
from ..errors import DeviceError, KernelError
from ..graph.halves import convert, numpy_dtype, plain
from ..ops.record import Fill, Gemm, In, Launch, LaunchPlan, Out, Temp, Tickets, Traits
from ..passes.schedule import Step
from .array import RAW, DeviceArray
from .driver import Driver, gemm_call
from .sources import kernel_source

LEAST_FLOPS = 40e6           # of a product that is worth measuring
ROUNDING = {"float64": 2.0 ** -53, "float32": 2.0 ** -24, "float16": 2.0 ** -11,
            "bfloat16": 2.0 ** -8}
TF32 = 2.0 ** -10            # error of an operand that is cut
SLACK = 4                    # times the expected error
_PERIOD = 999_983            # random numbers of an operand: a prime, so that no channel has its own
_SAMPLE = 1 << 20            # elements at each end of a result that are compared
_NOTHING = 0xff              # bytes of a result before a plan runs: NaN


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
        wanted: list[np.ndarray] | None = None
        limit = SLACK * expected_error(op, ins, outs)
        try:
            operands = [self._operand(t.dtype, t.shape, i) for i, t in enumerate(ins)]
            results = [self.driver.empty(t.shape, t.dtype) for t in outs]
        except DeviceError:                                  # no room to try anything out
            return first
        for name, plan in plans.items():
            temps: list[DeviceArray] = []
            try:
                for array in results:
                    self.driver.fill(array, _NOTHING)
                for n in plan.temps:
                    temps.append(self.driver.empty((max(n, 1),), RAW))
                where = {In: operands, Out: results, Temp: temps}
                times[name] = self.driver.seconds(bind_plan(self.driver, op, plan, where)) * 1e6
                got = [self._sample(array) for array in results]
                wanted = wanted or got
                off = float(np.max([*map(difference, got, wanted)]))
                if not off <= limit:
                    times[name] = None
                    print(f"gpukeras: {name!r} is not used for {key}: its results are off by "
                          f"{off:.1e}, where rounding explains {limit:.1e}", file=sys.stderr)
            except (DeviceError, KernelError):               # this plan is not for this device
                times[name] = None
            for array in temps:
                self.driver.free(array)
        for array in (*operands, *results):
            self.driver.free(array)
        timed = {name: us for name, us in times.items() if us is not None}
        choice = min(timed, key=timed.__getitem__) if timed else first
        self._keep(key, {"choice": choice, "us": times})
        return choice

    def _operand(self, dtype: str, shape: tuple[int, ...], seed: int) -> DeviceArray:
        """An array of random numbers around 0, of which only the first ones travel."""
        out, size = self.driver.empty(shape, dtype), numpy_dtype(dtype).itemsize
        flat = out.view()
        numbers = np.random.default_rng(seed).standard_normal(min(flat.size, _PERIOD))
        if numpy_dtype(dtype).kind in "iub":
            numbers = np.zeros(numbers.shape)
        self.driver.upload(flat.view(shape=numbers.shape), convert(numbers, numpy_dtype(dtype)))
        for start in range(_PERIOD, flat.size, _PERIOD):
            shape = (min(_PERIOD, flat.size - start),)
            self.driver.copy(flat.view(shape=shape, offset=start * size), flat.view(shape=shape))
        return out

    def _sample(self, array: DeviceArray) -> np.ndarray:
        """Both ends of a result, as numbers."""
        flat, ends = array.view(), [array.view()]
        if flat.size > 2 * _SAMPLE:
            last = (flat.size - _SAMPLE) * flat.dtype.itemsize
            ends = [flat.view(shape=(_SAMPLE,), offset=offset) for offset in (0, last)]
        return np.concatenate([plain(self.driver.download(end)).astype("f8") for end in ends])


def expected_error(op: Any, ins: tuple, outs: tuple) -> float:
    """Of a result, relative to its norm, when two plans add up the same products in two ways."""
    stored = outs[0].dtype
    terms = op.flops(ins, outs) / (2 * max(outs[0].size, 1))
    cut = TF32 if stored == "float32" and math_mode() == "tf32" else 0.0
    summed = ROUNDING["float64" if stored == "float64" else "float32"]
    return ROUNDING.get(stored, 0.0) + cut + summed * max(terms, 1) ** .5


def difference(got: np.ndarray, wanted: np.ndarray) -> float:
    """Norm of the difference, relative to the norm of what is wanted."""
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(got - wanted) / max(np.linalg.norm(wanted), 1e-300))


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
