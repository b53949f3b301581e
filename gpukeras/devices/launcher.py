"""KernelDevice: runs schedules as CUDA launches over any Driver, and replays them as graphs."""

from __future__ import annotations

import sys
from typing import Callable, Iterable, Sequence

import numpy as np

from ..config import flag, number
from ..errors import DeviceError, KernelError
from ..graph.halves import convert, plain
from ..ops.fused import Fused
from ..ops.record import (Expr, Fill, Gemm, In, Kernel, Launch, LaunchPlan, Out, Temp,
                          Tickets)
from ..ops.scan import Scan
from ..ops.sums import FusedSums
from ..passes.schedule import Schedule, Step, Value
from ..passes.target import CUDA
from .array import RAW, DeviceArray
from .base import Device, Executable
from .batches import Batches
from .check import checked
from .codegen import FusedModule, launch_shape, program_of
from .driver import Driver, Graph, gemm_call
from .epilogues import settle_epilogues
from .kernel_scan import bind_scan
from .merge import Prepared, merge
from .sources import kernel_source
from .tuning import Tuner
from .wide import reach_of, wide_body, wide_shape

Call = Callable[[], None]
_said: set[str] = set()      # why graphs were not captured: once each
ALIGN = 256                  # bytes, between values that share an allocation
KEPT = 2                     # numbers of batches whose memory and graph an executable keeps


class KernelDevice(Device):
    """A CUDA device, real or emulated, behind a Driver."""

    target = CUDA

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self.driver, self.name = driver, driver.name
        self.tuner = Tuner(driver)

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

    def adopt(self, x) -> DeviceArray | None:
        return self.driver.adopt(x)

    def synchronize(self) -> None:
        self.driver.synchronize()

    def release(self) -> int:
        return self.driver.trim()

    def load(self, schedule: Schedule) -> KernelExecutable:
        return KernelExecutable(self, schedule)


class KernelExecutable(Executable):
    """A schedule bound to memory: a list of launches, captured as one graph when it comes back.

    host_steps: ops without a CUDA kernel; NumPy computes them between a download and an upload, and
    a schedule that has any is never captured. merges: small launches may become one.
    """

    merges = True

    def __init__(self, device: KernelDevice, schedule: Schedule,
                 given: dict[Value, DeviceArray] | None = None,
                 arena: DeviceArray | None = None) -> None:
        """`given` and `arena`: memory that is already there, when a schedule runs inside
        another."""
        self.device, self.driver, self.schedule = device, device.driver, schedule
        self.host_steps: list[Step] = []
        self._checking = flag("GPUKERAS_CHECK") == "1"
        self._plans = {step: device.tuner.plan(step) for step in schedule.steps
                       if isinstance(step.op.cuda, Kernel)}
        self._plans = settle_epilogues(self._plans, self.driver)
        self._temps = _largest_temps(self._plans.values())
        self.arena = arena or self.driver.alloc(max(schedule.arena_bytes + sum(self._temps), 1))
        self._given = frozenset(given or ())
        self._arrays: dict[Value, DeviceArray] = dict(given or {})
        self._clear_packed(schedule)
        self._upload_constants(schedule)
        self.inputs = [self.array(v) for v in schedule.inputs]
        self.outputs = [self.array(v) for v in schedule.outputs]
        self._temp_arrays = self._place_temps(schedule.arena_bytes)
        self._tickets: DeviceArray | None = None
        self.calls = self._bind_all(schedule) + self._assignments(schedule)
        self._forget_graphs()
        self._steps: list[list[Call]] | None = None        # the calls of each step, for profiles

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        for place, array in zip(self.inputs, arrays):
            if isinstance(array, DeviceArray):
                self.driver.copy(place, array)
            else:
                self.driver.upload(place, _ready(array, place))
        self._runs += 1
        self.device.changes += 1
        if self._runs == 2 and self._graph is None:
            self._graph = self.captured(self.calls)
        if self._graph is not None:
            self._graph.launch()
            return
        for call in self.calls:
            call()

    def repeat(self, times: int) -> None:
        """Runs without inputs; one graph of all of them when this number comes back."""
        graph = self._graphs.get(times)
        if graph is None and times in self._graphs:
            graph = self._graphs[times] = self.captured(self.calls * times)
        if graph is not None:
            self.device.changes += 1
            graph.launch()
            return
        self._graphs.setdefault(times)
        super().repeat(times)

    def batches(self, times: int) -> Batches:
        """So many runs, each on inputs of its own; the last numbers asked for are kept."""
        if times not in self._batches:
            while len(self._batches) >= KEPT:
                del self._batches[next(iter(self._batches))]
            self._batches[times] = Batches(self, times)
        return self._batches[times]

    def fetch(self) -> list[np.ndarray]:
        return [plain(self.driver.download(a)) for a in self.outputs]

    def profile(self, arrays: Sequence[np.ndarray]) -> list[float]:
        """Launches that a run merges are timed apart, each with the cost of a launch."""
        for place, array in zip(self.inputs, arrays):
            self.driver.upload(place, _ready(array, place))
        if self._steps is None:
            host_steps = list(self.host_steps)
            steps = [self._prepare(step) for step in self.schedule.steps]
            self.host_steps = host_steps           # known since the executable was made
            kernels = self._fused_kernels(item for own in steps for item in own)
            self._steps = [[self._bind(item, kernels) for item in own] for own in steps]
        times = [sum(map(self.driver.time, own)) for own in self._steps]
        for call in self._assignments(self.schedule):
            call()
        return times

    # ---- graphs

    def _forget_graphs(self) -> None:
        self._runs, self._graph, self._replays = 0, None, True
        self._graphs: dict[int, Graph | None] = {}         # by number of runs; None: came once
        self._batches: dict[int, Batches] = {}

    def captured(self, calls: Sequence[Call]) -> Graph | None:
        """A graph of the calls; None if it is not wanted, or cannot be: then a line says why."""
        if flag("GPUKERAS_REPLAY") == "0" or self._checking or not (calls and self._replays):
            return None
        if self.host_steps:
            step = self.host_steps[0]
            self._give_up(f"{type(step.op).__name__} has no CUDA kernel, NumPy computes it\n"
                          f"{_where(step)}")
            return None
        try:
            with self.driver.capture() as graph:
                for call in calls:
                    call()
        except (DeviceError, KernelError, RuntimeError, NotImplementedError) as error:
            self._give_up(f"the capture failed: {error}")
            return None
        return graph

    def _give_up(self, why: str) -> None:
        """From now on every call is queued by itself: the same schedule, the same bits."""
        self._replays = False
        text = f"gpukeras: no CUDA graph of {len(self.calls)} launches, they are queued: {why}"
        if text not in _said:
            _said.add(text)
            print(text, file=sys.stderr)

    # ---- memory

    def array(self, value: Value) -> DeviceArray:
        """The array of a value: a view of the memory that holds it."""
        if value not in self._arrays:
            root, offset = value.root()
            if root.kind == "variable":
                memory = self.device.storage(root.tensor)
            elif root in self._given or root.kind == "constant":
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

    def tickets(self, count: int) -> DeviceArray:
        """Counters that are zero between launches: all kernels of the schedule share them."""
        if self._tickets is None or self._tickets.shape[0] < count:
            self._tickets = self.driver.empty((max(count, 1024),), "uint32")
            self.driver.fill(self._tickets, 0)
        return self._tickets

    # ---- binding

    def _bind_all(self, schedule: Schedule) -> list[Call]:
        """The calls of all steps. Small launches that stand together become one."""
        self._fused = FusedModule()
        steps = [self._prepare(step) for step in schedule.steps]
        if self._checking:
            kernels = self._fused_kernels(item for own in steps for item in own)
            return [self._checked(i, step, [self._bind(item, kernels) for item in own])
                    for i, (step, own) in enumerate(zip(schedule.steps, steps))]
        items = [item for own in steps for item in own]
        if self.merges:
            items = merge(items)
        kernels = self._fused_kernels(items)
        return [self._bind(item, kernels) for item in items]

    def _prepare(self, step: Step) -> list[Prepared | Call]:
        """The step's launches, not yet bound, and other calls."""
        if _is_fused(step):
            return self._prepare_fused(step)
        if isinstance(step.op, Scan):
            ins, outs = ([self.array(v) for v in values] for values in (step.ins, step.outs))
            return bind_scan(self, step.op, ins, outs)
        if isinstance(step.op.cuda, Kernel):
            return self._planned(step)
        self.host_steps.append(step)
        return [self._bind_host(step)]

    def _fused_kernels(self, items: Iterable[Prepared | Call]):
        """The module of the fused kernels among the items, compiled at once."""
        wanted = {item.entry for item in items if isinstance(item, Prepared) and item.fused}
        if not wanted:
            return None
        text = self._fused.text(wanted)
        if number("GPUKERAS_DEBUG") >= 4:
            print(text)
        return self.driver.load(text, "fused.cu")

    def _bind(self, item: Prepared | Call, fused) -> Call:
        if not isinstance(item, Prepared):
            return item
        try:
            module = fused if item.fused else self.driver.load(item.text, item.file, item.defines)
            return self.driver.bind(module.kernel(item.entry), item.grid, item.block, item.args,
                                    item.smem)
        except KernelError as error:
            raise KernelError(f"{error}\n{item.where}") from None

    def _checked(self, i: int, step: Step, own: list[Call]) -> Call:
        """The step's calls, then a comparison of its outputs with NumPy's."""
        def run() -> None:
            for call in own:
                call()

        def read(values: tuple[Value, ...]) -> tuple[np.ndarray, ...]:
            return tuple(plain(self.driver.download(self.array(v))) for v in values)

        return checked(step, i, run, lambda: read(step.ins), lambda: read(step.outs))

    def _prepare_fused(self, step: Step) -> list[Prepared]:
        n = step.op.size if isinstance(step.op, FusedSums) else step.outs[0].type.size
        if not n:
            return []
        ins, outs = _types(step)
        if isinstance(step.op, FusedSums):
            name = self._fused.add(step.op, ins, outs)
            launch, = self._planned(step)
            launch.text, launch.entry, launch.fused = self._fused.text({name}), name, True
            return [launch]
        arrays = [self.array(v) for v in step.ins + step.outs]
        program = program_of(step.op, outs, len(ins))
        reach = reach_of(program, ins, outs, arrays)
        name = self._fused.add(step.op, ins, outs, reach and wide_body(program, ins, reach))
        grid, block, count = wide_shape(n, reach) if reach else launch_shape(n)
        args = [*arrays, count]
        return [Prepared(self._fused.text({name}), "fused.cu", name, grid, block, args, fused=True,
                         where=_where(step), any_grid=True)]

    def _planned(self, step: Step) -> list[Prepared | Call]:
        plan = self._plans[step]
        memory = {In: [self.array(v) for v in step.ins], Out: [self.array(v) for v in step.outs],
                  Temp: self._temp_arrays}

        def array(ref):
            found = memory[type(ref)][ref.index]
            return found.view(offset=ref.offset) if ref.offset else found

        return [self._prepare_one(item, step, array) for item in plan.steps]

    def _prepare_one(self, item: Launch | Gemm | Fill, step: Step, array) -> Prepared | Call:
        if isinstance(item, Fill):
            memory = array(item.ref).raw().view(shape=(item.nbytes,))
            return self.driver.bind_fill(memory, item.byte)
        if isinstance(item, Gemm):
            return self.driver.bind_gemm(gemm_call(item, array))
        file = item.file or step.op.cuda.file
        args = [array(a) if isinstance(a, (In, Out, Temp)) else
                self.tickets(a.count) if isinstance(a, Tickets) else a for a in item.args]
        text = "" if isinstance(step.op, FusedSums) else kernel_source(file)
        return Prepared(text, file, item.entry, item.grid, item.block, args,
                        item.smem, item.defines, where=_where(step))

    def _bind_host(self, step: Step) -> Call:
        """NumPy in place of a missing kernel."""
        ins, outs = [[self.array(v) for v in values] for values in (step.ins, step.outs)]

        def run() -> None:
            results = step.op.numpy(*(plain(self.driver.download(a)) for a in ins))
            for out, result in zip(outs, results if len(outs) > 1 else (results,)):
                self.driver.upload(out, _ready(result, out))

        return run

    def _assignments(self, schedule: Schedule) -> list[Call]:
        """Copies of new values into variables, but for those computed there in the first place."""
        calls = []
        for variable, value in schedule.assigns:
            target, source = self.device.storage(variable), self.array(value)
            if target.ptr != source.ptr:
                calls.append(self.driver.bind_copy(target, source))
        return calls


def _where(step: Step) -> str:
    return f"  in {step}  {step.origin}"


def _is_fused(step: Step) -> bool:
    return isinstance(step.op, Fused) or isinstance(step.op.cuda, Expr)


def _types(step: Step) -> tuple[tuple, tuple]:
    return tuple(v.type for v in step.ins), tuple(v.type for v in step.outs)


def _largest_temps(plans: Iterable[LaunchPlan]) -> list[int]:
    """Bytes of each scratch buffer: the largest any plan asks for at its position, aligned."""
    sizes: list[int] = []
    for plan in plans:
        for i, nbytes in enumerate(plan.temps):
            sizes += [0] * (i + 1 - len(sizes))
            sizes[i] = max(sizes[i], -(-nbytes // ALIGN) * ALIGN)
    return sizes


def _ready(array: np.ndarray, place: DeviceArray) -> np.ndarray:
    """The array in the place's dtype and shape, contiguous."""
    return convert(array, place.dtype).reshape(place.shape)
