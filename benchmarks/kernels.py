"""Time of single kernels at real sizes: `python benchmarks/kernels.py [NAME]`, by `make kernel`.

NAME is a part of a kernel file's or an op's name; all of them without it. One line an op:
microseconds within a captured graph, GB/s of what it reads and writes once, TFLOP/s, and the larger
of both as a share of what this device does at best (roofline.py). Without a GPU the line says bytes
and operations only.
"""

import sys

import numpy as np

from gpukeras import devices
from gpukeras.devices.choose import no_gpu
from gpukeras.devices.null import NullDevice
from gpukeras.errors import DeviceError, KernelError
from gpukeras.function import function
from gpukeras.graph import Placeholder
from gpukeras.ops.broadcast import Sum
from gpukeras.ops.conv import Conv, ConvDataGrad, ConvWeightGrad
from gpukeras.ops.depthwise import DepthwiseConv
from gpukeras.ops.index import Gather, GatherGrad, OneHot
from gpukeras.ops.linalg import Dot
from gpukeras.ops.math import Add, Tanh
from gpukeras.ops.nn import Softmax, SoftmaxCrossEntropy
from gpukeras.ops.norm import BatchNormTrain
from gpukeras.ops.pool import AveragePool, MaxPool
from gpukeras.ops.reduce import ArgMax, CumSum, Max
from gpukeras.ops.rnn import Gru, Lstm, SimpleRnn
from gpukeras.ops.shape import Concat, Pad, Slice, Transpose
from gpukeras.ops.upsample import UpsampleLinear
from roofline import ceilings

SAME = ((1, 1), (1, 1))
IMAGES = (64, 56, 56, 64)
FREE = (None, None, None)

# file, op, shapes of its inputs (integers below 1000 where a dtype is given)
ROWS = [
    ("elementwise", Add(), ((1 << 26,), (1 << 26,))),
    ("elementwise", Tanh(), ((1 << 26,),)),
    ("gemm", Dot(), ((4096, 4096), (4096, 4096))),
    ("gemm", Dot(), ((128, 1024), (1024, 1000))),
    ("conv_implicit", Conv((1, 1), SAME, (1, 1)), (IMAGES, (3, 3, 64, 64))),
    ("conv_implicit", ConvDataGrad((1, 1), SAME, (1, 1), (56, 56)), (IMAGES, (3, 3, 64, 64))),
    ("conv_implicit", ConvWeightGrad((3, 3), (1, 1), SAME, (1, 1)), (IMAGES, IMAGES)),
    ("depthwise", DepthwiseConv((1, 1), SAME, (1, 1)), (IMAGES, (3, 3, 64, 1))),
    ("pool", MaxPool((2, 2), (2, 2), ((0, 0),) * 2), (IMAGES,)),
    ("pool", AveragePool((2, 2), (2, 2), ((0, 0),) * 2), (IMAGES,)),
    ("norm", BatchNormTrain(1e-3), (IMAGES, (64,), (64,))),
    ("softmax", Softmax(), ((8192, 1000),)),
    ("loss", SoftmaxCrossEntropy(), ((8192, 1000), (8192, 1000))),
    ("reduce", Sum((0, 1, 2), False), (IMAGES,)),
    ("reduce", Max((1,), False), ((8192, 1000),)),
    ("reduce", ArgMax(1), ((8192, 1000),)),
    ("reduce", CumSum(1, False), ((8192, 1000),)),
    ("embedding", Gather(), ((20000, 128), ("int32", 32, 80))),
    ("embedding", GatherGrad(20000), ((32, 80, 128), ("int32", 32, 80))),
    ("embedding", OneHot(1000, "float32"), (("int32", 8192),)),
    ("transpose", Transpose((0, 3, 1, 2)), (IMAGES,)),
    ("copy", Concat(3), (IMAGES, IMAGES)),
    ("copy", Pad(((0, 0), *SAME, (0, 0)), 0.0), (IMAGES,)),
    ("copy", Slice((FREE, (1, -1, None), (1, -1, None), FREE)), (IMAGES,)),
    ("upsample", UpsampleLinear((2, 2)), (IMAGES,)),
    ("lstm", Lstm(), ((32, 80, 512), (128, 512), (32, 128), (32, 128))),
    ("gru", Gru(), ((32, 80, 384), (128, 384), (32, 128))),
    ("simple_rnn", SimpleRnn(), ((32, 80, 128), (128, 128), (32, 128))),
]


def inputs_of(shapes):
    """(placeholders, arrays)"""
    rng, tensors, arrays = np.random.default_rng(0), [], []
    for shape in shapes:
        dtype, shape = (shape[0], shape[1:]) if isinstance(shape[0], str) else ("float32", shape)
        tensors.append(Placeholder(dtype, shape))
        whole = dtype != "float32"
        arrays.append(rng.integers(0, 1000, shape).astype(dtype) if whole
                      else rng.random(shape, dtype="f4"))
    return tensors, arrays


def steps_of(op, shapes):
    """(executable of the op alone, its arrays)"""
    tensors, arrays = inputs_of(shapes)
    outputs = op(*tensors)
    compiled = function(tensors, outputs if isinstance(outputs, tuple) else [outputs])
    return compiled.specialise(tuple(a.shape for a in arrays)), arrays


def line(name, op, shapes, most):
    executable, arrays = steps_of(op, shapes)
    nbytes = sum(s.nbytes for s in executable.schedule.steps)
    flops = sum(s.flops for s in executable.schedule.steps)
    what = f"{name:12} {type(op).__name__:20} {' '.join(map(_short, shapes)):44.44}"
    if most is None:
        return f"{what} {nbytes / 1e6:10.2f} MB {flops / 1e9:9.3f} GFLOP"
    executable.run(arrays)
    seconds = executable.driver.seconds(executable.calls)
    share = max(nbytes / 1e9 / most["gbytes"], flops / 1e9 / most["gflops"]) / seconds
    return (f"{what} {seconds * 1e6:10.1f} us {nbytes / seconds / 1e9:8.0f} GB/s "
            f"{flops / seconds / 1e12:8.2f} TFLOP/s {100 * share:6.1f} % of the ceiling")


def _short(shape):
    return "x".join(map(str, shape))


def main():
    wanted = sys.argv[1].lower().removesuffix(".cu") if len(sys.argv) > 1 else ""
    rows = [row for row in ROWS if wanted in row[0] or wanted in type(row[1]).__name__.lower()]
    if not rows:
        print(f"no timing for {wanted!r}: there is one for "
              f"{', '.join(dict.fromkeys(name for name, *_ in ROWS))}")
        return
    why = no_gpu()
    most = None if why else ceilings("gpu")
    if why:
        print(f"no times without a GPU ({why}): bytes and operations")
        devices.use(NullDevice())
    for row in rows:
        try:
            print(line(*row, most), flush=True)
        except (DeviceError, KernelError) as error:        # the other kernels shall still be timed
            print(f"{row[0]:12} {type(row[1]).__name__:20} {error}", flush=True)


if __name__ == "__main__":
    main()
