"""A device that only counts: what a training step launches on CUDA; compiles and runs nothing."""
from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np

from gpukeras import backend as K
from gpukeras import devices
from gpukeras.devices.array import DeviceArray
from gpukeras.devices.driver import Driver
from gpukeras.devices.launcher import KernelDevice, KernelExecutable
from gpukeras.models.steps import Resident, TrainStep
from gpukeras.ops.index import Gather
from gpukeras.ops.linalg import CutDot
from gpukeras.ops.record import Launch, Tickets


class _Memory:
    """Addresses without memory behind them."""

    freed = False

    def __init__(self, ptr: int, nbytes: int) -> None:
        self.ptr, self.nbytes = ptr, nbytes


class _Named:
    """An entry, or a module whose entries are all there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kernel(self, entry: str) -> "_Named":
        return _Named(entry)


class _Call:
    """What would be queued."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self) -> None:
        pass


class CountingDriver(Driver):
    """Binds everything, does nothing. An H200's shared memory."""

    name = "counting"
    shared_limit = 227 * 1024
    top = 256

    def alloc(self, nbytes: int) -> DeviceArray:
        start, self.top = self.top, self.top + -(-nbytes // 256) * 256 + 256
        return DeviceArray(self, _Memory(start, nbytes), 0, np.uint8, (nbytes,))

    def free(self, array): pass

    def upload(self, dst, src): pass

    def download(self, src): return np.zeros(src.shape, src.dtype)

    def bind_copy(self, dst, src): return _Call("copy")

    def bind_fill(self, dst, byte): return _Call("fill")

    def load(self, source, name, defines=()): return _Named(name)

    def bind(self, kernel, grid, block, args, smem=0): return _Call(kernel.name)

    def fuses(self, gemm, math): return True

    def bind_gemm(self, call):
        call.check()
        return _Call("gemm")

    def capture(self): raise NotImplementedError

    def synchronize(self): pass

    def memory_info(self): return 0, 0


@contextmanager
def counting():
    """Inside, functions are compiled for CUDA and never run."""
    first = devices.use(KernelDevice(CountingDriver()))
    try:
        yield
    finally:
        devices.use(first)
        K.clear_session()


def training_step(model: Any, x: np.ndarray, y: np.ndarray) -> KernelExecutable:
    """One training step on data that lie on the device, bound."""
    model._make_train_function()
    step = Resident(TrainStep(model, [False]), [x, y])._make(len(x))
    return step.specialise(())


def kinds(executable: KernelExecutable) -> dict[str, int]:
    """How many nodes of each kind: entries, gemm, copy, fill."""
    found: dict[str, int] = {}
    for call in executable.calls:
        kind = "fused" if call.kind.startswith("fused") else call.kind
        found[kind] = found.get(kind, 0) + 1
    return found


def bytes_moved(executable: KernelExecutable) -> int:
    """What the step reads and writes: every array once per op that uses it, scratch twice."""
    total = sum(2 * variable.type.nbytes for variable, value in executable.schedule.assigns
                if value.root()[0].tensor is not variable and value.root()[0].kind != "variable")
    for step in executable.schedule.steps:
        total += step.nbytes
        if isinstance(step.op, Gather):            # reads as much of its table as it gives
            total += min(0, step.outs[0].type.nbytes - step.ins[0].type.nbytes)
        if isinstance(step.op, CutDot):            # reads some columns of its factors
            types = [v.type for v in step.ins]
            total += sum(c.nbytes - t.nbytes for c, t in zip(step.op.cut(*types), types))
        plan = executable._plans.get(step)
        if plan is not None and not _sums_partials(plan):
            total += 2 * sum(plan.temps)
    return total


def _sums_partials(plan) -> bool:
    """Is the scratch only what the block that comes last adds up?"""
    return any(isinstance(s, Launch) and any(isinstance(a, Tickets) for a in s.args)
               for s in plan.steps)
