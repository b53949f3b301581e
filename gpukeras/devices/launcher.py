"""KernelDevice: runs schedules as CUDA launches over any Driver, and replays them as graphs."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from ..config import flag, number
from ..errors import KernelError
from ..ops.fused import Fused
from ..ops.record import Expr, Fill, Gemm, In, Kernel, Launch, LaunchPlan, Out, Temp
from ..ops.scan import Scan
from ..passes.schedule import Schedule, Step, Value
from ..passes.target import CUDA
from .array import RAW, DeviceArray
from .base import Device, Executable
from .check import checked
from .codegen import FusedModule, launch_shape
from .driver import Driver, GemmCall
from .kernel_scan import bind_scan
from .sources import kernel_source

Call = Callable[[], None]
ALIGN = 256                  # bytes, between values that share an allocation


class KernelDevice(Device):
    """A CUDA device, real or emulated, behind a Driver."""

    target = CUDA

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self.driver, self.name = driver, driver.name

    def empty(self, dtype: str, shape: tuple[int, ...]) -> DeviceArray:
        out = self.driver.empty(shape, dtype)
        self.driver.fill(out, 0)
        return out

    def part(self, storage: DeviceArray, start: int, shape: tuple[int, ...]) -> DeviceArray:
        return storage.view(shape=shape, offset=start * storage.dtype.itemsize)

    def upload(self, storage: DeviceArray, array: np.ndarray) -> None:
        self.driver.upload(storage, _ready(array, storage))

    def download(self, storage: DeviceArray) -> np.ndarray:
        return self.driver.download(storage)

    def load(self, schedule: Schedule) -> KernelExecutable:
        return KernelExecutable(self, schedule)


class KernelExecutable(Executable):
    """A schedule bound to memory: a list of launches, captured as one graph when it comes back.

    host_steps: ops without a CUDA kernel; NumPy computes them between a download and an upload, and
    a schedule that has any is never captured.
    """

    def __init__(self, device: KernelDevice, schedule: Schedule,
                 given: dict[Value, DeviceArray] | None = None,
                 arena: DeviceArray | None = None) -> None:
        """`given` and `arena`: memory that is already there, when a schedule runs inside
        another."""
        self.device, self.driver, self.schedule = device, device.driver, schedule
        self.host_steps: list[Step] = []
        self._checking = flag("GPUKERAS_CHECK") == "1"
        self._temps = _largest_temps(schedule, self.driver.shared_limit)
        self.arena = arena or self.driver.alloc(max(schedule.arena_bytes + sum(self._temps), 1))
        self._arrays: dict[Value, DeviceArray] = dict(given or {})
        self._clear_packed(schedule)
        self._upload_constants(schedule)
        self.inputs = [self.array(v) for v in schedule.inputs]
        self.outputs = [self.array(v) for v in schedule.outputs]
        self._temp_arrays = self._place_temps(schedule.arena_bytes)
        self.calls = self._bind_all(schedule) + self._assignments(schedule)
        self._runs, self._graph = 0, None

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        for place, array in zip(self.inputs, arrays):
            self.driver.upload(place, _ready(array, place))
        self._runs += 1
        if self._graph is None and self._runs == 2 and self._may_replay():
            self._graph = self._capture()
        if self._graph is not None:
            self._graph.launch()
            return
        for call in self.calls:
            call()

    def fetch(self) -> list[np.ndarray]:
        return [self.driver.download(a) for a in self.outputs]

    # ---- graphs

    def _may_replay(self) -> bool:
        return (flag("GPUKERAS_REPLAY") != "0" and bool(self.calls)
                and not self.host_steps and not self._checking)

    def _capture(self):
        with self.driver.capture() as graph:
            for call in self.calls:
                call()
        return graph

    # ---- memory

    def array(self, value: Value) -> DeviceArray:
        """The array of a value: a view of the memory that holds it."""
        if value not in self._arrays:
            root, offset = value.root()
            if root.kind == "variable":
                memory = self.device.storage(root.tensor)
            elif root.kind == "constant":
                memory = self._arrays[root]
            else:
                memory, offset = self.arena, root.place + offset
            self._arrays[value] = memory.view(value.type.dtype, value.type.shape, offset)
        return self._arrays[value]

    def _clear_packed(self, schedule: Schedule) -> None:
        """Zeroes vectors that several steps fill part by part: their gaps are read too."""
        made = {id(v) for s in schedule.steps for v in s.outs}
        values = [v for s in schedule.steps for v in s.ins + s.outs]
        roots = {id(r): r for r in (v.root()[0] for v in values)}
        for root in roots.values():
            if root.kind == "temp" and id(root) not in made:
                self.driver.fill(self.array(root), 0)

    def _upload_constants(self, schedule: Schedule) -> None:
        """All constants in one allocation."""
        places, end = [], 0
        missing = [v for v in schedule.constants if v not in self._arrays]
        for value in missing:
            places.append(end)
            end += -(-value.type.nbytes // ALIGN) * ALIGN
        memory = self.driver.alloc(max(end, 1))
        for value, place in zip(missing, places):
            array = memory.view(value.type.dtype, value.type.shape, place)
            self._arrays[value] = array
            self.driver.upload(array, _ready(value.tensor.value, array))

    def _place_temps(self, start: int) -> list[DeviceArray]:
        """Scratch memory after the arena; the plans of all steps share it, one after the other."""
        arrays = []
        for nbytes in self._temps:
            arrays.append(self.arena.view(RAW, (nbytes,), start))
            start += nbytes
        return arrays

    # ---- binding

    def _bind_all(self, schedule: Schedule) -> list[Call]:
        """One or more calls per step. All fused kernels are one module, compiled at once."""
        fused = FusedModule()
        names = {id(s): fused.add(s.op, *_types(s)) for s in schedule.steps if _is_fused(s)}
        if names and number("GPUKERAS_DEBUG") >= 4:
            print(fused.text())
        module = self.driver.load(fused.text(), "fused.cu") if names else None
        calls: list[Call] = []
        for i, step in enumerate(schedule.steps):
            if id(step) in names:
                own = self._bind_fused(step, module.kernel(names[id(step)]))
            elif isinstance(step.op, Scan):
                ins, outs = ([self.array(v) for v in values] for values in (step.ins, step.outs))
                own = bind_scan(self, step.op, ins, outs)
            elif isinstance(step.op.cuda, Kernel):
                own = self._bind_plan(step)
            else:
                self.host_steps.append(step)
                own = [self._bind_host(step)]
            calls += [self._checked(i, step, own)] if self._checking else own
        return calls

    def _checked(self, i: int, step: Step, own: list[Call]) -> Call:
        """The step's calls, then a comparison of its outputs with NumPy's."""
        def run() -> None:
            for call in own:
                call()

        def read(values: tuple[Value, ...]) -> tuple[np.ndarray, ...]:
            return tuple(self.driver.download(self.array(v)) for v in values)

        return checked(step, i, run, lambda: read(step.ins), lambda: read(step.outs))

    def _bind_fused(self, step: Step, kernel) -> list[Call]:
        n = step.outs[0].type.size
        if not n:
            return []
        grid, block, count = launch_shape(n)
        args = [self.array(v) for v in step.ins + step.outs]
        return [self.driver.bind(kernel, grid, block, [*args, count])]

    def _bind_plan(self, step: Step) -> list[Call]:
        plan = _plan(step, self.driver.shared_limit)
        memory = {In: [self.array(v) for v in step.ins], Out: [self.array(v) for v in step.outs],
                  Temp: self._temp_arrays}

        def array(ref):
            found = memory[type(ref)][ref.index]
            if not ref.offset:
                return found
            return found.view(offset=ref.offset)

        try:
            return [self._bind_one(item, step, array) for item in plan.steps]
        except KernelError as error:
            raise KernelError(f"{error}\n  in {step}  {step.origin}") from None

    def _bind_one(self, item: Launch | Gemm | Fill, step: Step, array) -> Call:
        if isinstance(item, Fill):
            memory = array(item.ref).raw().view(shape=(item.nbytes,))
            return self.driver.bind_fill(memory, item.byte)
        if isinstance(item, Gemm):
            fields = {**vars(item), "a": array(item.a), "b": array(item.b), "c": array(item.c)}
            return self.driver.bind_gemm(GemmCall(**fields))
        file = item.file or step.op.cuda.file
        module = self.driver.load(kernel_source(file), file, item.defines)
        args = [array(a) if isinstance(a, (In, Out, Temp)) else a for a in item.args]
        return self.driver.bind(module.kernel(item.entry), item.grid, item.block, args, item.smem)

    def _bind_host(self, step: Step) -> Call:
        """NumPy in place of a missing kernel."""
        ins, outs = [[self.array(v) for v in values] for values in (step.ins, step.outs)]

        def run() -> None:
            results = step.op.numpy(*(self.driver.download(a) for a in ins))
            for out, result in zip(outs, results if len(outs) > 1 else (results,)):
                self.driver.upload(out, _ready(result, out))

        return run

    def _assignments(self, schedule: Schedule) -> list[Call]:
        """Copies of new values into variables. A value that is another variable is first copied
        aside, so that two variables can be exchanged."""
        first, then = [], []
        for variable, value in schedule.assigns:
            target, source = self.device.storage(variable), self.array(value)
            if target.ptr == source.ptr:
                continue
            if value.root()[0].kind == "variable":
                aside = self.driver.empty(source.shape, source.dtype)
                first.append(self.driver.bind_copy(aside, source))
                source = aside
            then.append(self.driver.bind_copy(target, source))
        return first + then


def _is_fused(step: Step) -> bool:
    return isinstance(step.op, Fused) or isinstance(step.op.cuda, Expr)


def _types(step: Step) -> tuple[tuple, tuple]:
    return tuple(v.type for v in step.ins), tuple(v.type for v in step.outs)


def _plan(step: Step, shared_limit: int) -> LaunchPlan:
    """The step's plan, or another one where a block may not have the shared memory it asks for."""
    plan = step.op.cuda.plan(step.op, *_types(step))
    most = max((s.smem for s in plan.steps if isinstance(s, Launch)), default=0)
    return plan.otherwise if plan.otherwise and most > shared_limit else plan


def _largest_temps(schedule: Schedule, shared_limit: int) -> list[int]:
    """Bytes of each scratch buffer: the largest any plan asks for at its position, aligned."""
    sizes: list[int] = []
    for step in schedule.steps:
        if isinstance(step.op.cuda, Kernel):
            for i, nbytes in enumerate(_plan(step, shared_limit).temps):
                sizes += [0] * (i + 1 - len(sizes))
                sizes[i] = max(sizes[i], -(-nbytes // ALIGN) * ALIGN)
    return sizes


def _ready(array: np.ndarray, place: DeviceArray) -> np.ndarray:
    """The array in the place's dtype and shape, contiguous."""
    return np.ascontiguousarray(array, place.dtype).reshape(place.shape)
