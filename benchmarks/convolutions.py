"""Every way we have to convolve, timed on one device: by columns, by tiles of implicit GEMM, by
warpgroups of Hopper (wgmma).

python benchmarks/convolutions.py                 on the GPU, all shapes and types: some minutes
python benchmarks/convolutions.py --types tf32    some of float32, tf32, float16, bfloat16
python benchmarks/convolutions.py --shapes vgg16  shapes whose name has that in it
python benchmarks/convolutions.py --emu           a dry run on the emulator: times mean nothing

One line for each product and plan: microseconds within a graph, TFLOP/s, GB/s of the bytes that
must move (operands and result once), times the fastest, and how far (norm of the difference) the
result is from that of the fastest; * marks what the heuristic would take. All of it goes to
convolutions-<date>.json as well, line by line, in benchmarks/results/ or the folder of --results.
"""
from __future__ import annotations

import argparse

import numpy as np
from report import RESULTS, Report

from gpukeras import config
from gpukeras.devices.array import RAW
from gpukeras.devices.launcher import KernelDevice
from gpukeras.devices.tuning import bind_plan
from gpukeras.errors import DeviceError, KernelError
from gpukeras.graph import TensorType
from gpukeras.graph.halves import numpy_dtype, plain
from gpukeras.ops import plans_implicit
from gpukeras.ops.conv import Conv, ConvDataGrad, ConvWeightGrad
from gpukeras.ops.record import In, Out, Temp, Traits
from gpukeras.ops.window import resolve_pads

# name: batch, size, taps, stride, channels, filters
SHAPES = {
    "resnet20 32x32 3>16": (128, 32, 3, 1, 3, 16), "resnet20 32x32 16": (128, 32, 3, 1, 16, 16),
    "resnet20 16x16 16>32 /2": (128, 32, 3, 2, 16, 32),
    "resnet20 16x16 32": (128, 16, 3, 1, 32, 32), "resnet20 8x8 64": (128, 8, 3, 1, 64, 64),
    "vgg16 224x224 3>64": (32, 224, 3, 1, 3, 64), "vgg16 224x224 64": (32, 224, 3, 1, 64, 64),
    "vgg16 112x112 128": (32, 112, 3, 1, 128, 128), "vgg16 56x56 256": (32, 56, 3, 1, 256, 256),
    "vgg16 28x28 512": (32, 28, 3, 1, 512, 512), "vgg16 14x14 512": (32, 14, 3, 1, 512, 512),
    "resnet50 56x56 1x1 256>512 /2": (32, 56, 1, 2, 256, 512),
}
SMALL = {"tiny 8x8 8>16": (1, 8, 3, 1, 8, 16), "tiny 9x9 4 /2": (1, 9, 3, 2, 4, 4)}
KINDS = ("fwd", "data", "weight")
PART = 1 << 20               # elements that are compared


def problem(kind: str, shape: tuple, dtype: str):
    """(op, types of its inputs, types of its outputs)"""
    batch, size, taps, stride, channels, filters = shape
    strides, dilation, window = (stride,) * 2, (1, 1), (taps,) * 2
    pads = resolve_pads("same", (size,) * 2, window, strides, dilation)
    x = TensorType(dtype, (batch, size, size, channels))
    w = TensorType(dtype, (*window, channels, filters))
    y = Conv(strides, pads, dilation).infer(x, w)
    return {"fwd": (Conv(strides, pads, dilation), (x, w), (y,)),
            "data": (ConvDataGrad(strides, pads, dilation, (size,) * 2), (y, w), (x,)),
            "weight": (ConvWeightGrad(window, strides, pads, dilation), (x, y), (w,))}[kind]


def room(driver, dtype, shape, seed=None):
    """Memory for one array, filled with small numbers if there is a seed: the same ones again and
    again, since to make and to send gigabytes takes longer than what is timed."""
    array = driver.empty(shape, dtype)
    if seed is not None:
        done, size = min(array.size, PART), array.dtype.itemsize
        values = np.random.default_rng(seed).standard_normal(done).astype("f4")
        KernelDevice(driver).upload(array.view(shape=(done,)), values)
        while done < array.size:
            more = min(done, array.size - done)
            driver.copy(array.view(shape=(more,), offset=done * size), array.view(shape=(more,)))
            done += more
    return array


def times(driver, op, ins, outs, plans: dict) -> dict[str, tuple[float, np.ndarray]]:
    """(seconds, first elements of the result) of each plan that can run here."""
    memory = [room(driver, t.dtype, t.shape, i) for i, t in enumerate(ins)]
    results = [room(driver, t.dtype, t.shape) for t in outs]
    found = {}
    for name, plan in plans.items():
        try:
            temps = [room(driver, RAW, (max(n, 1),)) for n in plan.temps]
            where = {In: memory, Out: results, Temp: temps}
            seconds = driver.seconds(bind_plan(driver, op, plan, where), repeats=3)
            first = results[0].view(shape=(min(results[0].size, PART),))
            found[name] = seconds, plain(driver.download(first))
        except (DeviceError, KernelError) as error:
            print(f"    {name}: {str(error).splitlines()[0]}")
    return found


def show(driver, title: str, op, ins, outs, traits: Traits, report: Report) -> None:
    """The lines of one product."""
    plans = op.cuda.plans(op, ins, outs, traits)
    first = next(iter(plans))
    found = times(driver, op, ins, outs, plans)
    flops = op.flops(ins, outs)
    nbytes = sum(t.size * numpy_dtype(t.dtype).itemsize for t in (*ins, *outs))
    lines = sorted(found.items(), key=lambda item: item[1][0])
    for name, (seconds, result) in lines:
        best, fastest = lines[0][1]
        off = np.linalg.norm(result - fastest) / np.linalg.norm(fastest)
        report.add(f"{title:44}{name + ' *' * (name == first):22}{seconds * 1e6:10.1f} us"
                   f"{flops / seconds / 1e12:9.2f} TFLOP/s{nbytes / seconds / 1e9:9.1f} GB/s"
                   f"{seconds / best:7.2f}{off:9.1e}", product=" ".join(title.split()), plan=name,
                   us=seconds * 1e6, tflops=flops / seconds / 1e12)


def convolutions(driver, shapes: dict, types: list[str], report: Report) -> None:
    """All shapes, products, types and plans."""
    plans_implicit.TRIED = 9                             # every tile
    for how in types:
        dtype = "float32" if how == "tf32" else how
        config.math = "tf32" if how == "tf32" else "float32"
        traits = Traits(driver.arch, config.math)
        for name, shape in shapes.items():
            for kind in KINDS:
                op, ins, outs = problem(kind, shape, dtype)
                show(driver, f"{how:9}{kind:7}{name}", op, ins, outs, traits, report)
    config.math = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emu", action="store_true", help="dry run on the emulator")
    parser.add_argument("--types", nargs="+", default=["float32", "tf32", "bfloat16"],
                        choices=("float32", "tf32", "float16", "bfloat16"))
    parser.add_argument("--shapes", default="", help="part of their names")
    parser.add_argument("--results", default=RESULTS, help="folder of the JSON file")
    options = parser.parse_args()
    if options.emu:
        from gpukeras.devices.emu import EmuDriver
        driver = EmuDriver()
    else:
        from gpukeras.devices.cuda import CudaDriver
        driver = CudaDriver()
    shapes = {name: shape for name, shape in (SMALL if options.emu else SHAPES).items()
              if options.shapes in name}
    report = Report("convolutions", driver, None if options.emu else options.results)
    convolutions(driver, shapes, options.types, report)


if __name__ == "__main__":
    main()
