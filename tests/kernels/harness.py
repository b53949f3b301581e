"""Runs and compiles CUDA kernels without a GPU. Every kernel test uses this file.

A test module test_<name>_cu.py belongs to cuda_kernels/<name>.cu and declares
    BUDGETS = {"entry": registers}          most registers a thread may use, over all architectures
    VARIANTS = [(), (("T", "float16"),)]    optional: the defines to compile with
test_compile.py compiles each file by these tables; test_completeness.py demands that every entry
has a budget and is run by a test.
"""

from __future__ import annotations

import functools
import os

import numpy as np
import pytest

from gpukeras.devices.driver import Driver
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.sources import expand_includes, kernel_source
from gpukeras.ops.record import In, Out, Temp, Tickets

ALL = ("forward", "reverse", "random")
ARCHITECTURES = (75, 80, 90, 100, 120)


ON_GPU = os.environ.get("GPUKERAS_DEVICE") == "gpu"


@functools.lru_cache(maxsize=None)
def emulator(check: str = "") -> Driver:
    """One driver per level of checking, so that modules are loaded once.

    With GPUKERAS_DEVICE=gpu the GPU: the same kernel tests, without the checks of the emulator.
    """
    return _gpu() if ON_GPU else EmuDriver(check=check)


@functools.lru_cache(maxsize=1)
def _gpu() -> Driver:
    from gpukeras.devices.cuda import CudaDriver

    return CudaDriver()


HOPPER = pytest.mark.skipif(ON_GPU and _gpu().arch != 90, reason="the GPU has no wgmma")


def run_kernel(file, entry, grid, block, args, defines=(), schedules=ALL, check=True, smem=0):
    """Launches an entry on the emulator; returns the array arguments afterwards, as a tuple.

    file: "pool.cu", or kernel text containing a newline. args: NumPy arrays (device memory), NumPy
    scalars, None (null pointers). Arrays a kernel only writes are best passed full of NaN.
    Runs under every schedule, and with check once more with each access watched for bounds and
    races; all runs must give the same bits, on a GPU too. Raises KernelError naming kernel, line,
    block and thread.
    """
    runs = [("", s) for s in schedules] + ([("races", schedules[-1])] if check else [])
    results = [_run(level, schedule, file, entry, grid, block, args, tuple(defines), smem)
               for level, schedule in runs]
    for (level, schedule), result in zip(runs[1:], results[1:]):
        for i, (first, other) in enumerate(zip(results[0], result)):
            assert first.tobytes() == other.tobytes(), (
                f"{entry}: array argument {i} depends on the order of threads: "
                f"{runs[0][1]} and {schedule} differ (check {level!r})")
    return results[0]


def _run(level, schedule, file, entry, grid, block, args, defines, smem):
    driver = emulator(level)
    driver.schedule = schedule
    module = driver.load(source(file), label(file), defines)
    device = [driver.to_device(a) if isinstance(a, np.ndarray) and a.ndim else a for a in args]
    driver.launch(module.kernel(entry), grid, block, device, smem)
    return tuple(driver.download(d) for d, a in zip(device, args)
                 if isinstance(a, np.ndarray) and a.ndim)


def run_plan(plan, ins, outs, file="", **kwargs):
    """Runs the launches of a plan one after the other on the emulator, see run_kernel; the outputs.

    ins, outs: NumPy arrays; `outs` are best full of NaN, as scratch memory is.
    """
    memory = {In: list(ins), Out: list(outs),
              Temp: [np.full(max(n, 1), 255, "u1").view("V1") for n in plan.temps]}
    for step in plan.steps:
        args = [memory[type(a)][a.index] if type(a) in memory else
                np.zeros(a.count, "u4") if isinstance(a, Tickets) else a for a in step.args]
        results = run_kernel(step.file or file, step.entry, step.grid, step.block, args,
                             step.defines, smem=step.smem, **kwargs)
        for ref, result in zip((a for a in step.args if type(a) in (*memory, Tickets)), results):
            if isinstance(ref, Tickets):
                assert not result.any(), f"{step.entry} leaves its tickets used"
            else:
                memory[type(ref)][ref.index] = result
    return memory[Out]


def label(file: str) -> str:
    """What messages call a kernel file or kernel text."""
    return "test.cu" if "\n" in file else file


def source(file: str) -> str:
    """Self-contained text of a kernel file, or of kernel text given as such."""
    return expand_includes(file, label(file)) if "\n" in file else kernel_source(file)


def check_nvrtc(file, defines, budgets, architectures=ARCHITECTURES):
    """Compiles a file for every architecture that it is for: no spills, registers within
    budgets[entry].

    Skips, saying so, where NVRTC is not installed.
    """
    from gpukeras.devices import nvrtc

    reason = nvrtc.missing()
    if reason:
        pytest.skip(f"kernels are not compiled here: {reason}")
    for arch in filter(None, (nvrtc.target(source(file), arch) for arch in architectures)):
        report = nvrtc.compile_cubin(source(file), label(file), tuple(defines), arch).report
        for entry, budget in budgets.items():
            use = report[entry]
            where = f"{label(file)}: {entry} on sm_{arch}"
            assert use.spill_bytes == 0, f"{where} spills {use.spill_bytes} bytes"
            assert use.registers <= budget, f"{where}: {use.registers} registers, budget {budget}"
