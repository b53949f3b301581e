"""The CPU: NumPy arrays, and schedules as lists of bound calls."""
from __future__ import annotations

from time import perf_counter
from typing import Callable, Sequence

import numpy as np

from .. import blas
from ..config import flag
from ..denormals import flushing
from ..errors import KernelError
from ..graph.halves import BFLOAT16, convert, numpy_dtype, plain
from ..ops import host_scratch
from ..ops.scan import Scan
from ..passes.schedule import Schedule, Step, Value
from ..passes.target import HOST
from .base import Device, Executable
from .check import checked
from .host_scan import bind_scan

_ALIGN = 64                                        # bytes: one cache line, one AVX-512 register


def aligned(nbytes: int) -> np.ndarray:
    """Zeroed bytes that start at a cache line."""
    raw = np.zeros(nbytes + _ALIGN, np.uint8)
    skip = -raw.ctypes.data % _ALIGN
    return raw[skip:skip + nbytes]


class HostDevice(Device):
    """NumPy on the CPU."""

    name = "cpu"
    target = HOST

    def empty(self, dtype, shape):
        dtype = numpy_dtype(dtype)
        n = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return aligned(n).view(dtype).reshape(shape)

    def part(self, storage, start, shape):
        n = int(np.prod(shape, dtype=np.int64))
        return storage[start:start + n].reshape(shape)

    def upload(self, storage, array):
        np.copyto(storage, convert(array, storage.dtype) if storage.dtype == BFLOAT16 else array)

    def download(self, storage):
        return np.array(storage)

    def load(self, schedule, given=()):
        return HostExecutable(self, schedule, given)


class HostExecutable(Executable):
    """All arrays are bound once: a run copies the inputs in and calls a flat list of functions."""

    def __init__(self, device: HostDevice, schedule: Schedule,
                 given: Sequence[np.ndarray | None] = ()) -> None:
        """`given`: arrays to be read in place of some of the inputs."""
        self._device = device
        self._arena = aligned(schedule.arena_bytes)
        self._arrays: dict[Value, np.ndarray] = {
            v: a for v, a in zip(schedule.inputs, given) if a is not None}
        self._given = frozenset(self._arrays)
        self.inputs = [self._array(v) for v in schedule.inputs]
        self.outputs = [self._array(v) for v in schedule.outputs]
        self._records = any(place.dtype == BFLOAT16 for place in self.inputs)
        self.schedule = schedule
        with host_scratch.shared() as self.scratch:
            self.calls: list[Callable[[], object]] = [
                self._bind(i, s) for i, s in enumerate(schedule.steps)]
        self.calls += self._assignments(schedule)
        self._hold, self._free = blas.around()
        self._flush, self._strict = flushing()

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        self._run(arrays, self.calls)

    def repeat(self, times: int) -> None:
        self._run((), self.calls * times)

    def profile(self, arrays: Sequence[np.ndarray]) -> list[float]:
        times = []

        def timed(call: Callable[[], object]) -> Callable[[], None]:
            def run() -> None:
                start = perf_counter()
                call()
                times.append(perf_counter() - start)
            return run

        self._run(arrays, [timed(call) for call in self.calls])
        return times[:len(self.schedule.steps)]

    def _run(self, arrays: Sequence[np.ndarray], calls: list[Callable[[], object]]) -> None:
        copyto = np.copyto
        if self._records:                          # NumPy converts no numbers to bfloat16
            arrays = [convert(a, p.dtype) if p.dtype == BFLOAT16 else a
                      for p, a in zip(self.inputs, arrays)]
        for place, array in zip(self.inputs, arrays):
            copyto(place, array, "unsafe")
        call = None
        self._hold()
        self._flush()
        try:
            with np.errstate(all="ignore"):        # a training that diverges ends in nan, quietly
                for call in calls:
                    call()
        except Exception as error:
            raise self._placed(error, calls.index(call)) from error
        finally:
            self._strict()
            self._free()

    def fetch(self) -> list[np.ndarray]:
        return [np.array(plain(a)) for a in self.outputs]

    # ---- binding

    def _array(self, value: Value) -> np.ndarray:
        """The array of a value, a view of the memory that holds it."""
        if value not in self._arrays:
            root, offset = value.root()
            self._arrays[value] = self._view(root, offset, value)
        return self._arrays[value]

    def _view(self, root: Value, offset: int, value: Value) -> np.ndarray:
        shape, nbytes = value.type.shape, value.type.nbytes
        dtype = numpy_dtype(value.type.dtype)
        if root.kind == "constant":
            return root.tensor.value.reshape(shape)
        if root in self._given:
            return self._arrays[root].reshape(-1).view(np.uint8)[offset:offset + nbytes].view(
                dtype).reshape(shape)
        if root.kind == "variable":
            storage = self._device.storage(root.tensor)
            if value is root:
                return storage
            memory = storage.reshape(-1).view(np.uint8)
        else:
            memory = self._arena[root.place:]
        return memory[offset:offset + nbytes].view(dtype).reshape(shape)

    def _bind(self, number: int, step: Step) -> Callable[[], object]:
        ins = tuple(map(self._array, step.ins))
        outs = tuple(map(self._array, step.outs))
        if isinstance(step.op, Scan):
            run = bind_scan(self._device, step.op, ins, outs)
        else:
            run = step.op.host(ins, outs) or _plain(step.op, ins, outs)
        if flag("GPUKERAS_CHECK") == "1":
            return checked(step, number, run, lambda: ins, lambda: outs)
        return run

    def _placed(self, error: Exception, number: int) -> Exception:
        """The error with the step it happened in, for those that do not say it themselves."""
        if isinstance(error, KernelError) or number >= len(self.schedule.steps):
            return error
        step = self.schedule.steps[number]
        return type(error)(f"{error}\n  in step {number}: {step}\n  in {step.origin}")

    def _assignments(self, schedule: Schedule) -> list[Callable[[], object]]:
        """Copies of new values into variables, but for those computed there in the first place."""
        calls = []
        for variable, value in schedule.assigns:
            target = self._device.storage(variable)
            source = self._array(value).reshape(target.shape)
            if source.ctypes.data != target.ctypes.data:
                calls.append(lambda t=target, s=source: np.copyto(t, s))
        return calls


def _plain(op, ins, outs) -> Callable[[], object]:
    """An op without a fast path: its NumPy code, then a copy."""
    if len(outs) == 1:
        out, = outs
        return lambda: np.copyto(out, op.numpy(*ins), "unsafe")

    def run() -> None:
        for out, value in zip(outs, op.numpy(*ins)):
            np.copyto(out, value, "unsafe")
    return run
