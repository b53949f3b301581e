"""What only a GPU can tell: costs of launches, graph nodes, products, recurrent and merged kernels.

python benchmarks/gpu_probe.py            on the GPU, through our own driver: about a minute
python benchmarks/gpu_probe.py --emu      a dry run on the emulator, tiny sizes, times mean nothing

Medians of synchronised repetitions. Prints one line a question; nothing is asserted. A question
that fails says why, and the next one is asked. --results FOLDER: where gpu-probe-<date>.json goes.
"""
from __future__ import annotations

import argparse
import time
import traceback
from statistics import median

import numpy as np
from report import RESULTS, Report

from gpukeras import config, devices
from gpukeras.devices.codegen import FusedModule, launch_shape
from gpukeras.devices.launcher import KernelDevice, KernelExecutable
from gpukeras.function import function
from gpukeras.graph import Placeholder, TensorType
from gpukeras.ops import math
from gpukeras.ops.broadcast import sum_
from gpukeras.ops.rnn import Lstm


def timed(driver, work, repeats: int) -> float:
    """Median seconds of one call of `work`, the device idle before and after."""
    work()
    driver.synchronize()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        driver.synchronize()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def add_kernel(driver, n: int):
    """A bound launch of y = x + x on n elements."""
    fused = FusedModule()
    x_type = TensorType("float32", (n,))
    name = fused.add(math.Add(), (x_type, x_type), (x_type,))
    x = driver.to_device(np.zeros(n, "f4"))
    grid, block, count = launch_shape(n)
    return driver.bind(driver.load(fused.text(), "fused.cu").kernel(name), grid, block,
                       [x, x, driver.empty((n,), "f4"), count])


def launches(driver, small: bool, report: Report) -> None:
    """Python's cost of a launch, a graph's cost of a node, the bandwidth of a fused kernel."""
    repeats, many = (3, 10) if small else (30, 1000)
    launch = add_kernel(driver, 1024)
    seconds = timed(driver, lambda: [launch() for _ in range(many)], repeats)
    report.add(f"launch from Python: {seconds / many * 1e6:.2f} us", launch_us=seconds / many * 1e6)
    for nodes in (1, 10, 100, many):
        with driver.capture() as graph:
            for _ in range(nodes):
                launch()
        seconds = timed(driver, graph.launch, repeats)
        report.add(f"graph of {nodes} nodes: {seconds * 1e6:.1f} us, "
                   f"{seconds / nodes * 1e6:.2f} a node", nodes=nodes, graph_us=seconds * 1e6)
    n = 4096 if small else 1 << 26
    seconds = timed(driver, add_kernel(driver, n), repeats)
    report.add(f"fused kernel on {n} floats: {12 * n / seconds / 1e12:.2f} TB/s",
               fused_gbytes=12 * n / seconds / 1e9)


def products(driver, small: bool, report: Report) -> None:
    """Captured GEMMs in float32 and TF32, beside their errors."""
    for m in ((32, 64) if small else (512, 4096, 8192)):
        rng = np.random.default_rng(0)
        a, b = (rng.standard_normal((m, m), dtype="f4") for _ in range(2))
        da, db, dc = driver.to_device(a), driver.to_device(b), driver.empty((m, m), "f4")
        rows = a[:64].astype("f8") @ b
        for how in config.MATH:
            driver.gemm(da, db, dc, m, m, m, math=how)
            with driver.capture() as graph:
                driver.gemm(da, db, dc, m, m, m, math=how)
            seconds = timed(driver, graph.launch, 3 if small else 20)
            error = np.linalg.norm(driver.download(dc[:64]) - rows) / np.linalg.norm(rows)
            report.add(f"GEMM {m} {how}: {2 * m ** 3 / seconds / 1e12:.1f} TFLOP/s, "
                       f"relative error {error:.1e}", gemm=m, math=how,
                       tflops=2 * m ** 3 / seconds / 1e12, error=float(error))


def steps(driver, small: bool, report: Report) -> None:
    """Whole functions: an LSTM over a sequence, and small steps merged and not."""
    device = KernelDevice(driver)
    devices.use(device)
    for rows, length, units in ([(2, 3, 8)] if small else [(100, 60, 100), (32, 80, 128)]):
        shapes = ((rows, length, 4 * units), (units, 4 * units), (rows, units), (rows, units))
        xs = [Placeholder("float32", s) for s in shapes]
        step = function(xs, [Lstm()(*xs)[0]])
        data = [np.random.default_rng(0).standard_normal(s).astype("f4") for s in shapes]
        run = replayed(step, data)
        us = timed(driver, run, 20) * 1e6
        report.add(f"LSTM({units}) rows {rows} steps {length}: {us:.0f} us", lstm=units, us=us)
    for merges in (True, False):
        KernelExecutable.merges = merges
        x = Placeholder("float32", (32, 10))
        y = x
        for _ in range(6):                         # a sum ends a fused step
            y = math.tanh(y) * sum_(y)
        run = replayed(function([x], [y]), [np.ones((32, 10), "f4")])
        us = timed(driver, run, 20) * 1e6
        report.add(f"12 small steps, merged {merges}: {us:.1f} us", merged=merges, us=us)
    KernelExecutable.merges = True


def replayed(step, data):
    """The graph launch alone of a function, after two runs."""
    for _ in range(2):
        executable = step.run(data)
    return executable._graph.launch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emu", action="store_true", help="dry run on the emulator")
    parser.add_argument("--results", default=RESULTS, help="folder of the JSON file")
    options = parser.parse_args()
    if options.emu:
        from gpukeras.devices.emu import EmuDriver
        driver = EmuDriver()
    else:
        from gpukeras.devices.cuda import CudaDriver
        driver = CudaDriver()
    report = Report("gpu-probe", driver, None if options.emu else options.results)
    for part in (launches, products, steps):
        try:
            part(driver, options.emu, report)
        except Exception:                          # the other questions shall still be answered
            traceback.print_exc()
    if report.path:
        print(f"written to {report.path}")


if __name__ == "__main__":
    main()
