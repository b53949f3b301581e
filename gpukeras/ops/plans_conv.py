"""What convolution and pooling launch on a CUDA device: conv.cu, pool.cu and GEMMs.

Kernels see three spatial axes; windows over one or two get leading axes of size 1. A convolution is
the GEMM of its column matrix (N * places, taps * channels) with the weights; where the windows
neither overlap nor skip, that matrix is x itself and no kernel runs.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from ..errors import ShapeError
from ..graph.halves import numpy_dtype
from ..graph.types import TensorType
from .plans import DIVISION, THREADS, defines, division
from .record import Fill, Gemm, In, Launch, LaunchPlan, Out, Ref, Temp
from .window import Geometry

if TYPE_CHECKING:
    from .conv import Conv, ConvDataGrad, ConvWeightGrad

Types = tuple[TensorType, ...]

# Scratch for columns: bounds the memory of a step, since VGG's second layer at batch 64 would
# need 7.4 GB. Blocks of images are cut so that a block's columns stay below it.
COLUMN_BYTES = 256 << 20

_WINDOW = np.dtype(
    [(f, "i4") for f in ("N", "D", "H", "W", "OD", "OH", "OW", "KD", "KH", "KW", "sd", "sh", "sw",
                         "pd", "ph", "pw", "dd", "dh", "dw")]
    + [("threads", "u4"), ("x_image", "i8"), ("y_image", "i8")]
    + [(f, DIVISION) for f in ("by_c", "by_d", "by_h", "by_w", "by_kd", "by_kh", "by_kw", "by_sd",
                           "by_sh", "by_sw")], align=True)


def three(values: tuple, fill: Any) -> tuple:
    """One value per axis D, H, W: leading axes get `fill`."""
    return (fill,) * (3 - len(values)) + tuple(values)


def group_size(channels: int, itemsize: int) -> int:
    """Channels a thread moves at once: up to 16 bytes, as far as the channel count divides."""
    group = max(16 // itemsize, 1)
    while channels % group:
        group //= 2
    return group


def window_argument(g: Geometry, images: int, group: int, walk: str, filters: int = 1) -> np.void:
    """The `Window` struct of window.cuh. walk: what the threads walk, x, y, col or x of col.

    filters: y has so many channels for each of x (depthwise convolution).
    """
    size, out, window = three(g.size, 1), three(g.out, 1), three(g.window, 1)
    groups = g.channels // group
    columns = g.taps if walk in ("col", "x of col") else 1
    sides = {"x": size, "x of col": size, "y": out, "col": out}[walk]
    walked = groups * filters if walk == "y" else groups
    threads = int(np.prod(sides, dtype=np.int64)) * walked * (g.taps if walk == "col" else 1)
    if threads >= 1 << 31:
        raise ShapeError(f"one image needs {threads} elements in a convolution or pooling kernel: "
                         f"got size {g.size} with {g.channels} channels, expected below 2**31")
    by = (walked, *sides, *window, *three(g.strides, 1))
    return np.array(
        (images, *size, *out, *window, *three(g.strides, 1),
         *(before for before, _ in three(g.pads, (0, 0))), *three(g.dilation, 1),
         threads, g.pixels * groups, g.places * groups * columns * filters,
         *map(division, by)), _WINDOW)[()]


def launch(entry: str, g: Geometry, images: int, refs: tuple[Ref, ...], walk: str, dtype: str,
           filters: int | None = None) -> Launch:
    """One launch over `images` images: x walks the elements of an image, y the images.

    filters: an argument of depthwise kernels. Above 1 the channels do not correspond one to one,
    and a thread moves single channels.
    """
    group = group_size(g.channels, numpy_dtype(dtype).itemsize) if filters in (None, 1) else 1
    window = window_argument(g, images, group, walk, filters or 1)
    more = () if filters is None else (np.int32(filters),)
    # Small images share a block, so that a row of ten values does not take 256 threads.
    across = min(THREADS, max(32, 1 << (int(window["threads"]) - 1).bit_length()))
    down = THREADS // across
    grid = (-(-int(window["threads"]) // across), min(-(-images // down), 65535))
    return Launch(entry, grid, (across, down), (*refs, window, *more),
                  defines=(*defines(T=dtype), ("V", str(group))))


def column_is_input(g: Geometry) -> bool:
    """Is the column matrix x itself? One tap, or one window that is the whole image."""
    if any(p for pair in g.pads for p in pair):
        return False
    pointwise = g.taps == 1 and all(s == 1 for s in g.strides)
    return pointwise or (g.window == g.size and all(d == 1 for d in g.dilation))


def _blocks(g: Geometry, itemsize: int) -> Iterator[tuple[int, int]]:
    """(first image, images) of blocks whose columns fit the scratch buffer."""
    image = max(g.places * g.taps * g.channels * itemsize, 1)
    most = max(1, COLUMN_BYTES // image)
    blocks = -(-g.images // most)
    most = -(-g.images // max(blocks, 1))                # equal blocks: no small one at the end
    for first in range(0, g.images, max(most, 1)):
        yield first, min(most, g.images - first)


def empty(*types: TensorType) -> bool:
    return any(t.size == 0 for t in types)


def zeros(y: TensorType) -> LaunchPlan:
    return LaunchPlan((Fill(Out(0), y.nbytes),) if y.nbytes else ())


def plan_conv(op: "Conv", ins: Types, outs: Types) -> LaunchPlan:
    """y = columns of x @ w, in blocks of images."""
    (x, w), (y,) = ins, outs
    if empty(x, w, y):
        return zeros(y)
    g, f, size = op.geometry(x.shape, w.shape), w.shape[-1], x.itemsize
    k = g.taps * g.channels
    if column_is_input(g):
        return LaunchPlan((Gemm(In(0), In(1), Out(0), g.images * g.places, f, k, dtype=x.dtype),))
    steps: list = []
    for first, images in _blocks(g, size):
        rows = images * g.places
        steps.append(launch("im2col", g, images,
                            (In(0, first * g.pixels * g.channels * size), Temp(0)), "col", x.dtype))
        steps.append(Gemm(Temp(0), In(1), Out(0, first * g.places * f * size), rows, f, k,
                          dtype=x.dtype))
    return LaunchPlan(tuple(steps), (_column_bytes(g, size),))


def plan_conv_data_grad(op: "ConvDataGrad", ins: Types, outs: Types) -> LaunchPlan:
    """Columns = gy @ w transposed, then every element of gx gathers its columns."""
    (gy, w, *like), (gx,) = ins, outs
    if empty(gy, w, gx):
        return zeros(gx)
    g, f, size = op.geometry(gy.shape, w.shape, *(t.shape for t in like)), w.shape[-1], gy.itemsize
    k = g.taps * g.channels
    if column_is_input(g):
        return LaunchPlan((Gemm(In(0), In(1), Out(0), g.images * g.places, k, f, trans_b=True,
                                dtype=gy.dtype),))
    steps: list = []
    for first, images in _blocks(g, size):
        rows = images * g.places
        steps.append(Gemm(In(0, first * g.places * f * size), In(1), Temp(0), rows, k, f,
                          trans_b=True, dtype=gy.dtype))
        steps.append(launch("col2im", g, images,
                            (Temp(0), Out(0, first * g.pixels * g.channels * size)), "x of col",
                            gy.dtype))
    return LaunchPlan(tuple(steps), (_column_bytes(g, size),))


def plan_conv_weight_grad(op: "ConvWeightGrad", ins: Types, outs: Types) -> LaunchPlan:
    """gw = columns of x transposed @ gy, added up over blocks of images."""
    (x, gy), (gw,) = ins, outs
    if empty(x, gy, gw):
        return zeros(gw)
    g, f, size = op.geometry(x.shape), gy.shape[-1], x.itemsize
    k = g.taps * g.channels
    if column_is_input(g):
        return LaunchPlan((Gemm(In(0), In(1), Out(0), k, f, g.images * g.places, trans_a=True,
                                dtype=x.dtype),))
    steps: list = []
    for first, images in _blocks(g, size):
        rows = images * g.places
        steps.append(launch("im2col", g, images,
                            (In(0, first * g.pixels * g.channels * size), Temp(0)), "col", x.dtype))
        steps.append(Gemm(Temp(0), In(1, first * g.places * f * size), Out(0), k, f, rows,
                          trans_a=True, beta=1.0 if first else 0.0, dtype=x.dtype))
    return LaunchPlan(tuple(steps), (_column_bytes(g, size),))


def _column_bytes(g: Geometry, itemsize: int) -> int:
    return max(n for _, n in _blocks(g, itemsize)) * g.places * g.taps * g.channels * itemsize


def plan_pool(entry: str, g: Geometry, ins: Types, outs: Types, walk: str) -> LaunchPlan:
    """One pooling kernel over all images; its arguments are the inputs, then the output."""
    if empty(*outs):
        return LaunchPlan(())
    if g.places == 0:                                    # no window: nothing arrives
        return zeros(outs[0])
    refs = (*(In(i) for i in range(len(ins))), Out(0))
    return LaunchPlan((launch(entry, g, g.images, refs, walk, outs[0].dtype),))
