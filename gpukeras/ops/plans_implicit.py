"""Convolution as implicit GEMM on a CUDA device: conv_implicit.cu, whose operands lie where they
are."""
from __future__ import annotations

from dataclasses import replace
from math import gcd, prod
from typing import Callable, NamedTuple

import numpy as np

from ..graph.halves import numpy_dtype
from ..graph.types import TensorType
from .plans import DIVISION, THREADS, arithmetic, c_type, division, grid_for
from .plans_conv import column_is_input, group_size, plan_conv, three
from .record import In, Launch, LaunchPlan, Out, Temp, Tickets, Traits
from .window import Geometry

Types = tuple[TensorType, ...]
Plan = Callable[..., LaunchPlan]

MOST_PHASES = 4                          # strides above: the data gradient goes by columns
MOST = 1 << 31                           # kernels count elements of an array in 31 bits
MULTIPROCESSORS = 132                    # of an H200: what the choice of tiles is made for
SPLIT_TERMS = 128                        # a split sums at least as many
JOIN = 450e3                             # products in the time that joining splits takes, estimated
DEPTH = 32                               # elements along the sum that tiles divide into
ALONE = 0.6                              # pace of a multiprocessor with a single block, estimated

_PHASE = np.dtype([("start", "i4"), ("taps", "i4"), ("first_tap", "i4"), ("by_taps", DIVISION)])
_GATHER = np.dtype(
    [(f, "i4") for f in ("rows", "inner", "columns", "run", "splits")]
    + [(f, "i4", 3) for f in ("size", "target", "stride", "step", "window", "tap_step", "phases")]
    + [("by_tiles", DIVISION), ("by_inner", DIVISION), ("by_places", DIVISION, 3),
       ("phase", _PHASE, (3, MOST_PHASES))], align=True)


class Tile(NamedTuple):
    """Rows and columns of a block's tile, and of one thread's part of it: conv_implicit.cu.

    pace: estimated share of the arithmetic units' rate that full tiles reach.
    """

    rows: int
    columns: int
    down: int
    across: int
    pace: float

    @property
    def threads(self) -> int:
        return self.rows // self.down * (self.columns // self.across)

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        return (("BM", str(self.rows)), ("BN", str(self.columns)), ("TM", str(self.down)),
                ("TN", str(self.across)))

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.columns}"

    file, prefix, depth, alone = "conv_implicit.cu", "conv_implicit", DEPTH, ALONE

    def smem(self, kind: str, size: int) -> int:
        return 0                                         # a kernel's own array


class TensorTile(NamedTuple):
    """Rows and columns of a block's tile, and warps that share it: conv_implicit_mma.cu.

    stages: tiles along the sum that are in shared memory at once.
    """

    rows: int
    columns: int
    down: int
    across: int
    pace: float
    stages: int = 4

    @property
    def threads(self) -> int:
        return 32 * self.down * self.across

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        return (("BM", str(self.rows)), ("BN", str(self.columns)), ("WARPS_M", str(self.down)),
                ("WARPS_N", str(self.across)), ("STAGES", str(self.stages)))

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.columns} by {self.down}x{self.across}"

    file, prefix, depth, alone = "conv_implicit_mma.cu", "conv_implicit_mma", DEPTH, ALONE

    def smem(self, kind: str, size: int) -> int:
        """Bytes of both operands' tiles: rows of 64 bytes along the sum, or rows along the other
        index and 8 elements of padding."""
        group = 16 // size
        lengths = (self.rows, kind != "weight"), (self.columns, kind == "data")
        return self.stages * size * sum(
            length * 4 * group if inner else 4 * group * (length + 8) for length, inner in lengths)


class WarpgroupTile(NamedTuple):
    """Rows and columns of a block's tile, and the warpgroups that share its rows:
    conv_implicit_wgmma.cu.

    stages: tiles along the sum that are in shared memory at once. alone: share of its pace that a
    block reaches on a multiprocessor where it could have company.
    """

    rows: int
    columns: int
    groups: int
    pace: float
    stages: int = 4
    alone: float = 1.0

    @property
    def threads(self) -> int:
        return 128 * self.groups

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        return (("BM", str(self.rows)), ("BN", str(self.columns)), ("GROUPS", str(self.groups)),
                ("STAGES", str(self.stages)))

    @property
    def name(self) -> str:
        return f"wgmma {self.rows}x{self.columns}"

    file, prefix, depth = "conv_implicit_wgmma.cu", "conv_implicit_wgmma", 2 * DEPTH

    def smem(self, kind: str, size: int) -> int:
        """Bytes of both operands' tiles, 128 of each row, and room to start at a multiple of
        1024."""
        return self.stages * 128 * (self.rows + self.columns) + 1024


TILES = (Tile(128, 64, 8, 8, .85), Tile(64, 64, 8, 4, .75), Tile(128, 32, 8, 4, .75),
         Tile(128, 16, 4, 4, .5), Tile(32, 32, 4, 4, .5))
# sm_80 to sm_90, not for odd numbers of channels of 16 bits: others spill registers
LARGE_WARPS = TensorTile(128, 128, 2, 2, .9)
TENSOR_TILES = (TensorTile(128, 128, 2, 4, .75), TensorTile(128, 64, 2, 2, .7),
                TensorTile(64, 64, 2, 2, .6), TensorTile(128, 32, 4, 1, .5),
                TensorTile(64, 16, 4, 1, .3))
WARPGROUP_TILES = (WarpgroupTile(128, 256, 2, .95), WarpgroupTile(256, 128, 2, .85),
                   WarpgroupTile(128, 128, 2, .8, 3, .75), WarpgroupTile(128, 64, 1, .55, 3, ALONE),
                   WarpgroupTile(64, 128, 1, .65, 3, ALONE))
DOUBLE_TILES = (Tile(64, 64, 4, 4, .8), Tile(32, 32, 4, 4, .6))


AnyTile = Tile | TensorTile | WarpgroupTile


def axis_phases(length: int, taps: int, stride: int, before: int, dilation: int) -> list[tuple]:
    """(start, taps, first tap) for the pixels of each phase of an axis: in the data gradient pixel
    i * stride + phase gathers place i + start + j * step of tap first + j * tap_step."""
    step = stride // gcd(stride, dilation)
    phases = []
    for r in range(stride):
        first = next((k for k in range(min(step, taps)) if (r + before - k * dilation) % stride
                      == 0), taps)
        phases.append(((r + before - first * dilation) // stride, -(-(taps - first) // step),
                       first))
    return phases


def gather_argument(g: Geometry, f: int, kind: str, tile_columns: int, run: int,
                    splits: int) -> np.void:
    """The `Gather` struct of implicit.cuh. kind: "fwd", "data" or "weight"."""
    size, out, window, strides, dilation = (
        three(v, 1) for v in (g.size, g.out, g.window, g.strides, g.dilation))
    before = tuple(b for b, _ in three(g.pads, (0, 0)))
    if kind == "data":
        phases = [axis_phases(*a) for a in zip(size, window, strides, before, dilation)]
        tap_step = [s // gcd(s, d) for s, d in zip(strides, dilation)]
        step = [-(t * d // s) for t, d, s in zip(tap_step, dilation, strides)]
        places = [-(-length // s) for length, s in zip(size, strides)]
        fields = (g.images * prod(places), f, g.channels, run, splits, out, size, (1, 1, 1), step,
                  window,
                  tap_step, strides)
    else:
        phases = [[(-b, k, 0)] for b, k in zip(before, window)]
        places = out
        fields = (g.images * g.places, g.channels, f, run, splits, size, out, strides, dilation,
                  window,
                  (1, 1, 1), (1, 1, 1))
    columns = fields[2]
    gather = np.zeros((), _GATHER)
    for name, value in zip(_GATHER.names, fields):
        gather[name] = value
    gather["by_tiles"] = division(-(-columns // tile_columns))
    gather["by_inner"] = division(fields[1])
    gather["by_places"] = [division(n) for n in places]
    for axis, of_axis in enumerate(phases):
        for r, (start, taps, first) in enumerate(of_axis):
            gather["phase"][axis, r] = (start, taps, first, division(taps))
    return gather[()]


def fits(g: Geometry, f: int, kind: str) -> bool:
    """Can the implicit kernels do it? They count elements in 31 bits and phases to four."""
    strides = g.strides if kind == "data" else (1,)
    rows = g.images * prod(-(-n // s) * s for n, s in zip(g.size, strides))
    counts = (rows * max(g.channels, 1), g.images * g.places * max(f, 1), g.taps * g.channels * f)
    return max(counts) < MOST - 4096 and max(strides) <= MOST_PHASES


def vectors(dtype: str, first: int, second: int,
            pieces: bool = False) -> tuple[tuple[str, str], ...]:
    """Do both operands' side-by-side channels divide into groups of 16 bytes? And if not, into what
    pieces of at least 4 bytes, where the kernel knows `pieces`?"""
    group = {"float32": 4, "float64": 2}.get(dtype, 8)
    names = [("VA", str(int(first % group == 0))), ("VB", str(int(second % group == 0)))]
    if pieces and (first % group or second % group):
        names += [(name, str(next((p for p in (group // 2, group // 4)
                                   if p and channels % p == 0), 1)))
                  for name, channels in (("PA", first), ("PB", second))]
    return tuple(names)


def shape_of(kind: str, g: Geometry, f: int) -> tuple[int, int, int, int]:
    """(rows, columns, terms, independent layers) of the product; terms of the longest layer."""
    if kind == "fwd":
        return g.images * g.places, f, g.taps * g.channels, 1
    if kind == "data":
        rows = g.images * prod(-(-n // s) for n, s in zip(g.size, g.strides))
        taps = prod(max(t for _, t, _ in axis_phases(*axis)) for axis in zip(
            g.size, g.window, g.strides, (before for before, _ in g.pads), g.dilation))
        return rows, g.channels, taps * f, prod(g.strides)
    return g.taps * g.channels, f, g.images * g.places, 1


def tiles_for(dtype: str, traits: Traits) -> tuple[Tile | TensorTile, ...]:
    """The tiles of a type, on tensor cores where device and arithmetic allow."""
    if dtype == "float64":
        return DOUBLE_TILES
    if dtype == "float32" and traits.math != "tf32":
        return TILES
    if 80 <= traits.arch <= 90:
        return (LARGE_WARPS, *TENSOR_TILES)
    if traits.arch > 90:
        return TENSOR_TILES
    if traits.arch >= 75 and dtype == "float16":         # no asynchronous copies to wait for
        return tuple(tile._replace(stages=2) for tile in TENSOR_TILES)
    return TILES


def ranked(kind: str, g: Geometry, f: int, dtype: str,
           traits: Traits = Traits()) -> list[Tile | TensorTile]:
    """The tiles, the one first that is estimated to be done first."""
    m, n, terms, layers = shape_of(kind, g, f)
    tiles = [tile for tile in tiles_for(dtype, traits) if tile is not LARGE_WARPS
             or dtype == "float32" or not any(channels % 2 for channels in inner_of(kind, g, f))]
    return sorted(tiles, key=lambda tile: split(m, n, terms, layers, tile)[0])


def inner_of(kind: str, g: Geometry, f: int) -> tuple[int, int]:
    """Channels that lie side by side in both operands of a product."""
    return (f, f) if kind == "data" else (g.channels, f)


def warpgroup_tiles(kind: str, g: Geometry, f: int, dtype: str,
                    traits: Traits) -> list[WarpgroupTile]:
    """The tiles of warpgroups by estimate, where the device has them (Hopper alone), the
    arithmetic is theirs and the channels divide into pieces of 16 bytes."""
    if traits.arch != 90 or not isinstance(tiles_for(dtype, traits)[0], TensorTile):
        return []
    if any(whole == "0" for _, whole in vectors(dtype, *inner_of(kind, g, f))):
        return []
    m, n, terms, layers = shape_of(kind, g, f)
    return sorted(WARPGROUP_TILES, key=lambda tile: split(m, n, terms, layers, tile)[0])


def split(m: int, n: int, terms: int, layers: int,
          tile: AnyTile) -> tuple[float, int, int]:
    """(cost, splits, terms of each): how to cut the sums so that all multiprocessors are busy. The
    cost is an estimate in products that one of them does meanwhile."""
    blocks = -(-m // tile.rows) * -(-n // tile.columns) * layers
    best = None
    for splits in range(1, max(1, min(2 * MULTIPROCESSORS // blocks, terms // SPLIT_TERMS)) + 1):
        run = -(-(-(-terms // splits)) // tile.depth) * tile.depth       # whole k-tiles
        pace = tile.pace * (tile.alone if blocks * splits <= MULTIPROCESSORS else 1)
        cost = (-(-blocks * splits // MULTIPROCESSORS) * tile.rows * tile.columns * run / pace
                + (splits > 1) * JOIN)
        if best is None or cost < best[0]:
            best = cost, -(-terms // run), run
    return best


def implicit(kind: str, g: Geometry, f: int, dtype: str, tile: AnyTile,
             bias: In | None = None, rectified: int = 0, eps: float | None = None,
             relu: In | None = None, total: Out | None = None) -> LaunchPlan:
    """The launch of one product. The weight gradient is split along the places, and each split
    leaves its sums in scratch memory for the block that comes last.

    With "fwd" bias and rectified, or eps for the statistics of batch normalisation; with "data"
    what a relu gave, and where the sums of the gradient before it go.
    """
    m, n, terms, layers = shape_of(kind, g, f)
    _, splits, run = split(m, n, terms, layers, tile)
    tiles = -(-m // tile.rows) * -(-n // tile.columns)
    gather = gather_argument(g, f, kind, tile.columns, run, splits)
    several = (Temp(0), Tickets(tiles * layers)) if splits > 1 else (None, None)
    args = {"fwd": (In(0), In(1), bias, Out(0), *several, gather, np.int32(rectified)),
            "data": (In(0), In(1), Out(0), *several, gather),
            "weight": (In(0), In(1), Out(0), *several, gather)}[kind]
    pieces = vectors(dtype, *inner_of(kind, g, f), isinstance(tile, TensorTile))
    names = (("T", c_type(dtype)), *tile.names, *pieces,
             *((("RANK", "3"),) if len(g.size) > 2 else ()))
    work = np.dtype(arithmetic(dtype))
    scratch = splits * tiles * layers * tile.rows * tile.columns * work.itemsize
    plan = LaunchPlan((Launch(f"{tile.prefix}_{kind}", (tiles, 1, layers * splits),
                              (tile.threads,), args,
                              tile.smem(kind, numpy_dtype(dtype).itemsize), names, tile.file),),
                      (scratch,) if splits > 1 else ())
    if relu is not None:
        return _with_relu(plan, m, n, layers, tile, relu, total, work.itemsize)
    return plan if eps is None else _with_stats(plan, m, n, tile, work.type(eps))


MERGED = 32                              # tiles whose columns one block merges: moments.cuh


def _with_stats(plan: LaunchPlan, m: int, n: int, tile: AnyTile,
                eps: np.floating) -> LaunchPlan:
    """The forward launch that gives the moments of its columns as well."""
    launch, = plan.steps
    down, across = -(-m // tile.rows), -(-n // tile.columns)
    groups = -(-down // MERGED)
    part, gather = launch.args[4], launch.args[6]
    args = (In(0), In(1), *map(Out, range(4)), Temp(len(plan.temps)), part,
            Tickets(across * (down + groups + 1)), gather, eps)
    return LaunchPlan((replace(launch, entry=f"{tile.prefix}_stats", args=args),),
                      (*plan.temps, 2 * (down + groups) * n * eps.itemsize))


def _with_relu(plan: LaunchPlan, m: int, n: int, layers: int, tile: AnyTile, relu: In,
               total: Out | None, size: int) -> LaunchPlan:
    """The data gradient's launch that cuts where a relu did, and may give the sums of columns."""
    launch, = plan.steps
    down, across = -(-m // tile.rows) * layers, -(-n // tile.columns)
    groups = -(-down // MERGED)
    part, tickets, gather = launch.args[3:]
    sums = (None, None)
    temps = plan.temps
    if total is not None:
        sums, temps = (total, Temp(len(temps))), (*temps, (down + groups) * n * size)
        tickets = Tickets(across * (down + groups + 1))
    args = (In(0), In(1), relu, Out(0), *sums, part, tickets, gather)
    return LaunchPlan((replace(launch, entry=f"{tile.prefix}_data_relu", args=args),), temps)


# ---- which of them

# Channels of the gathered array from which on the library's products on tensor cores are expected
# to gain more than writing out the columns costs: an estimate for an H200, to be measured. Without
# tensor cores the arithmetic takes so long that both ways are alike, and one needs no scratch.
COLUMNS_FROM = 512
TRIED = 3                                # tiles of a kind that a device which can measure tries


def choices(kind: str, by_columns: Plan,
            attached: str = "") -> Callable[..., dict[str, LaunchPlan]]:
    """The `choices` of the kernel record of one product; attached: "bias" or "stats" with "fwd",
    "relu" with "data".

    Names of plans:

    "product": the operands are matrices as they lie; "columns": the columns are written first (or,
    if a bias follows, both);
    "implicit 128x64": one launch with tiles of that size ("by 2x2" warps);
    "wgmma 128x128": the same with Hopper's instructions. Never the first, so that only a device
    which measures, and compares results, takes it.
    """
    def choose(op, ins: Types, outs: Types, traits: Traits) -> dict[str, LaunchPlan]:
        columns = by_columns(op, ins, outs)
        g, f = problem(kind, op, ins, attached)
        more = {"": {}, "bias": {"bias": In(2), "rectified": getattr(op, "rectified", 0)},
                "stats": {"eps": getattr(op, "eps", 0)},
                "relu": {"relu": In(2), "total": Out(1) if len(outs) > 1 else None}}[attached]
        if any(t.size == 0 for t in (*ins[:2], *outs)):
            return {"nothing": columns}
        if column_is_input(g) and not attached:
            return {"product": columns}
        if not fits(g, f, kind):
            return {"columns": columns}
        dtype = ins[0].dtype
        tiles = ranked(kind, g, f, dtype, traits)[:TRIED]
        plans = {f"implicit {tile.name}": implicit(kind, g, f, dtype, tile, **more)
                 for tile in tiles}
        others = {tile.name: implicit(kind, g, f, dtype, tile, **more)
                  for tile in warpgroup_tiles(kind, g, f, dtype, traits)[:TRIED]}
        gathered = f if kind == "data" else g.channels
        if gathered >= COLUMNS_FROM and isinstance(tiles[0], TensorTile):
            return {"columns": columns, **plans, **others}
        return {**plans, "columns": columns, **others}

    return choose


def problem(kind: str, op, ins: Types, attached: str = "") -> tuple[Geometry, int]:
    """(geometry, filters) of a convolution op on operands of these types."""
    if kind == "weight":
        return op.geometry(ins[0].shape), ins[1].shape[-1]
    given = ins if kind == "data" and not attached else ins[:2]
    return op.geometry(*(t.shape for t in given)), ins[1].shape[-1]


def plan_with_bias(op, ins: Types, outs: Types) -> LaunchPlan:
    """Sums by columns, then the bias in place."""
    (x, _, _), (y,) = ins, outs
    sums = plan_conv(op, ins[:2], outs)
    group = group_size(y.shape[-1], y.itemsize)
    columns = np.int32(y.shape[-1] // group)
    bias = Launch("conv_bias", grid_for(min(y.size // group, 1 << 22)), (THREADS,),
                  (In(2), Out(0), np.int64(y.size // group), columns, np.int32(op.rectified)),
                  defines=(("T", c_type(x.dtype)), ("V", str(group))))
    return LaunchPlan((*sums.steps, *((bias,) if y.size else ())), sums.temps)
