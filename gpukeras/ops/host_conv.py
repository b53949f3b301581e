"""Convolution on the host: matrix products over blocks of images that stay in the L2 cache.

    bind_conv(x, w, y, g)                 y = x * w
    bind_conv_grad_input(gy, w, gx, g)    gx
    bind_conv_grad_weight(x, gy, gw, g)   gw

x (N, *S, C), w (*K, C, F), y (N, *O, F): C-contiguous arrays that stay where they are, one to three
spatial axes; g: their Geometry.  Each call returns run(): a flat list of bound copies and products,
shared out over the team by blocks; nothing is allocated while it runs.  None is returned for what
it cannot do (types other than float32 and float64, arrays with gaps): numpy() serves then.

Three ways to lay out the columns (the matrix that meets the weights), chosen by size:

rows   Only the inner spatial axes are unfolded: cols (H, O2.., K2.. * C).  The columns of kernel
       row k are then the contiguous rows k, k+1, ... of `cols`: one product per kernel row, each
       element of x copied K2 times and not K1*K2 times.  A stride sorts the rows by remainder.
       cf. the "accumulating" low-memory GEMM convolutions, Anderson et al. 2017, arXiv:1709.03395.
thin   Few channels (a first layer): cols.T (K*C, images * O), so that runs of pixels are copied.
flat   Small images: the usual im2col, several images in one product.
"""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np

from ..blas import bind_gemm, bind_stack, workers
from ..team import in_turn
from . import host_scatter, host_winograd
from .host_block import Block, Run, share_out
from .host_scratch import take
from .window import Geometry, padded_shape

BLOCK_BYTES = 1 << 19         # columns of one block: half of a common L2
THIN = 32                     # inner kernel size * channels below this: `thin`
GATHER = 1.25                 # input gradient: most extra products that save the folding
SMALL = 48                    # output positions of one image below this: `flat`
BANDED = 32                   # pixels of a row up to this: folded by a product, 0.02 ns a pixel and
                              # column against 0.9 ns a column for additions


def usable(*arrays: np.ndarray) -> bool:
    """Whether these arrays are for this file."""
    kind = arrays[0].dtype
    return kind.char in "fd" and all(a.dtype == kind and a.flags.c_contiguous and a.size
                                     for a in arrays)


def padded_size(g: Geometry) -> tuple[int, ...]:
    """Spatial size of the large side with its border."""
    return padded_shape(g, g.channels)[1:-1]


def unfolded(g: Geometry) -> int:
    """Elements of one unfolded kernel row: K2 * .. * C."""
    return prod(g.window[1:]) * g.channels


def method(g: Geometry) -> str:
    """`rows`, `thin` or `flat`: see the top of this file."""
    if unfolded(g) < THIN and g.channels <= 4:
        return "thin"
    return "flat" if g.places < SMALL and g.taps > 1 else "rows"


def blocks(g: Geometry, how: str, itemsize: int) -> list[Block]:
    """Blocks in order: whole images while they are small, ranges of output rows when not."""
    depth = unfolded(g) if how == "rows" else g.taps * g.channels
    row = max(1, prod(g.out[1:]) * depth * itemsize)
    image = row * (padded_size(g)[0] if how == "rows" else g.out[0])
    if image > 2 * BLOCK_BYTES and how != "flat":
        rows = max(2 * g.window[0], BLOCK_BYTES // (row * g.strides[0]))
        edges = list(range(0, g.out[0], rows)) + [g.out[0]]
        return [Block(n, n + 1, a, b) for n in range(g.images) for a, b in zip(edges, edges[1:])]
    # beside thin columns lies a y as large: 28x28x1 to 32 by 5x5 takes 1.7 ms, not 2.05
    limit = BLOCK_BYTES // 4 if how == "thin" else BLOCK_BYTES
    count = max(1, min(limit // image, -(-g.images // workers().size)))
    return [Block(n, min(n + count, g.images), 0, g.out[0]) for n in range(0, g.images, count)]


def input_rows(g: Geometry, block: Block) -> tuple[int, int]:
    """Padded input rows that the block's output rows read."""
    reach = (g.window[0] - 1) * g.dilation[0] + 1
    return block.top * g.strides[0], (block.bottom - 1) * g.strides[0] + reach


class Padded:
    """The padded input of one block at a time, in one scratch array (or in x where nothing pads).

    `whole`: no other block's rows come to lie where this one has its border.
    """

    def __init__(self, g: Geometry, images: int, rows: int, dtype: np.dtype, whole: bool) -> None:
        self.g, self.whole = g, whole
        self.scratch = None
        if padded_size(g) != g.size:
            self.scratch = np.zeros((images, rows, *padded_size(g)[1:], g.channels), dtype)

    def view(self, x: np.ndarray, first: int, last: int, top: int, bottom: int,
             ) -> tuple[np.ndarray, list[Run], tuple[np.ndarray, np.ndarray] | None]:
        """(padded rows top:bottom of images first:last, calls that zero the rows outside,
        (scratch part, part of x) that mirror each other)."""
        g = self.g
        if self.scratch is None:
            return x[first:last, top:bottom], [], None
        here = self.scratch[:last - first, :bottom - top]
        low = g.pads[0][0]
        begin, end = max(top, low), max(top, low, min(bottom, low + g.size[0]))
        inside = tuple(slice(lo, lo + s) for s, (lo, _) in zip(g.size[1:], g.pads[1:]))
        part = here[(slice(None), slice(begin - top, end - top)) + inside]
        zero = []
        if not self.whole:
            zero = [partial(v.fill, 0) for v in (here[:, :begin - top], here[:, end - top:])
                    if v.size]
        return here, zero, (part, x[first:last, begin - low:end - low])


def windows(padded: np.ndarray, g: Geometry, rows: int | None) -> np.ndarray:
    """Overlapping view (images, R, O2.., K2.., C) of every row, or with `rows` output rows
    (images, rows, O2.., K1, K2.., C)."""
    n, down, inner, item = (padded.strides[0], padded.strides[1], padded.strides[2:-1],
                            padded.strides[-1])
    shape: tuple[int, ...] = g.out[1:] + g.window[1:] + (g.channels,)
    steps = tuple(s * k for s, k in zip(inner, g.strides[1:]))
    offsets = tuple(s * d for s, d in zip(inner, g.dilation[1:]))
    if rows is None:
        shape = padded.shape[:2] + shape
        strides = (n, down) + steps + offsets + (item,)
    else:
        spatial = len(g.out) - 1
        shape = (padded.shape[0], rows) + shape[:spatial] + (g.window[0],) + shape[spatial:]
        strides = (n, down * g.strides[0]) + steps + (down * g.dilation[0],) + offsets + (item,)
    return np.lib.stride_tricks.as_strided(padded, shape, strides)


def matrix(view: np.ndarray, columns: int | None = None) -> np.ndarray:
    """`view` as (rows, its last axis or `columns`) without a copy."""
    flat = view.reshape(-1, view.shape[-1] if columns is None else columns)
    assert np.may_share_memory(flat, view)
    return flat


def stack(view: np.ndarray, columns: int | None = None) -> np.ndarray:
    """`view` as (images, rows, its last axis or `columns`) without a copy."""
    flat = view.reshape(len(view), -1, view.shape[-1] if columns is None else columns)
    assert np.may_share_memory(flat, view)
    return flat


class Columns:
    """The columns of one block at a time.  `parts(x, block)` -> (calls that fill them,
    [columns (B, M, K) that meet kernel part i]): B images, or 1 with all images in M."""

    def __init__(self, g: Geometry, how: str, todo: list[Block], dtype: np.dtype) -> None:
        self.g, self.how = g, how
        images = max(b.last - b.first for b in todo)
        whole = all(b.bottom - b.top == g.out[0] for b in todo)
        rows = max(bottom - top for top, bottom in (input_rows(g, b) for b in todo))
        self.padded = Padded(g, images, rows, dtype, whole)
        out_rows = max(b.bottom - b.top for b in todo)
        if how == "rows":
            shape = (images, g.strides[0], -(-rows // g.strides[0])) + g.out[1:] + (unfolded(g),)
        else:
            shape = (images * out_rows * prod(g.out[1:]) * g.taps * g.channels,)
        self.direct = how == "rows" and prod(g.window[1:]) == 1 and g.strides == (1,) * len(g.out)
        self.scratch = None if self.direct else take("rows before", shape, dtype)

    def parts(self, x: np.ndarray, block: Block) -> tuple[list[Run], list[np.ndarray]]:
        g = self.g
        top, bottom = input_rows(g, block)
        padded, calls, mirror = self.padded.view(x, block.first, block.last, top, bottom)
        if mirror is not None:
            calls = calls + [partial(np.copyto, *mirror)]
        rows = block.bottom - block.top
        if self.how == "rows":
            cols, fill = self._row_columns(padded)
            return calls + fill, [tap_rows(cols, g, k, k * g.dilation[0] // g.strides[0], rows)
                                  for k in range(g.window[0])]
        seen = windows(padded, g, rows)
        spatial = len(g.out)
        depth = g.taps * g.channels
        here = self.scratch[:seen.size]
        if self.how == "thin":
            order = tuple(range(spatial + 1, 2 * spatial + 2)) + tuple(range(spatial + 1))
            seen = seen.transpose(order)
            result = here.reshape(depth, -1).T
        else:
            result = here.reshape(-1, depth)
        return calls + [partial(np.copyto, here.reshape(seen.shape), seen)], [result[None]]

    def _row_columns(self, padded: np.ndarray) -> tuple[np.ndarray, list[Run]]:
        """Columns (images, stride, R, O2.., inner) and the calls that fill them."""
        g = self.g
        if self.direct:
            return padded[:, None], []
        seen = windows(padded, g, None)
        calls = []
        for phase in range(g.strides[0]):
            part = seen[:, phase::g.strides[0]]
            if part.size:
                into = self.scratch[:len(part), phase, :part.shape[1]].reshape(part.shape)
                calls.append(partial(np.copyto, into, part))
        return self.scratch[:len(padded)], calls


def tap_rows(cols: np.ndarray, g: Geometry, tap: int, start: int, rows: int) -> np.ndarray:
    """Rows start:start+rows of kernel row `tap`'s phase: (images, rows * O2.., inner)."""
    phase = tap * g.dilation[0] % g.strides[0]
    return stack(cols[:, phase, start:start + rows], unfolded(g))


def weight_parts(w: np.ndarray, g: Geometry, how: str) -> list[np.ndarray]:
    """w as one matrix (K, F) per part of the columns."""
    if how == "rows":
        return list(w.reshape(g.window[0], unfolded(g), -1))
    return [w.reshape(-1, w.shape[-1])]


def block_rows(y: np.ndarray, block: Block, parts: list[np.ndarray]) -> np.ndarray:
    """The block's part of y, cut like its columns: (B, M, F)."""
    part = y[block.first:block.last, block.top:block.bottom]
    return stack(part) if len(parts[0]) > 1 else matrix(part)[None]


def _pointwise(g: Geometry) -> bool:
    return (g.taps == 1 and prod(g.strides) == 1 and padded_size(g) == g.size)


def bind_conv(x: np.ndarray, w: np.ndarray, y: np.ndarray, g: Geometry) -> Run | None:
    """run() for y = x * w."""
    if not usable(x, w, y):
        return None
    if _pointwise(g):
        return bind_gemm(matrix(x), w.reshape(g.channels, -1), matrix(y))
    shape = host_winograd.best(g, w.shape[-1], x.dtype)
    if shape is not None:
        return host_winograd.bind_conv(x, w, y, shape)
    how = method(g)
    kernels = weight_parts(w, g, how)

    def job(todo: list[Block]) -> list[Run]:
        columns, calls = Columns(g, how, todo, x.dtype), []
        for block in todo:
            fill, parts = columns.parts(x, block)
            out = block_rows(y, block, parts)
            calls += fill + [bind_stack(a, k, out, accumulate=i > 0)
                             for i, (a, k) in enumerate(zip(parts, kernels))]
        return calls
    return share_out(g, w.shape[-1], blocks(g, how, x.itemsize), job)


def bind_conv_grad_weight(x: np.ndarray, gy: np.ndarray, gw: np.ndarray, g: Geometry,
                          ) -> Run | None:
    """run() for gw = d(sum(gy * conv(x, w))) / dw.  Members of the team add up their own sums."""
    if not usable(x, gw, gy):
        return None
    if _pointwise(g):
        return bind_gemm(matrix(x).T, matrix(gy), gw.reshape(g.channels, -1))
    shape = host_winograd.best(g, gw.shape[-1], x.dtype)
    if shape is not None:
        return host_winograd.bind_conv_grad_weight(x, gy, gw, shape)
    how = method(g)
    sums: list[np.ndarray] = []

    def job(todo: list[Block]) -> list[Run]:
        mine = np.empty_like(gw) if sums else gw
        sums.append(mine)
        kernels = weight_parts(mine, g, how)
        columns, calls = Columns(g, how, todo, x.dtype), []
        for number, block in enumerate(todo):
            fill, parts = columns.parts(x, block)
            out = block_rows(gy, block, parts)
            calls += fill + [bind_stack(a.swapaxes(1, 2), out, k, accumulate=number > 0)
                             for a, k in zip(parts, kernels)]
        return calls
    run = share_out(g, gw.shape[-1], blocks(g, how, x.itemsize), job)
    return in_turn([run] + [partial(np.add, gw, other, gw) for other in sums[1:]])


def bind_conv_grad_input(gy: np.ndarray, w: np.ndarray, gx: np.ndarray, g: Geometry,
                         ) -> Run | None:
    """run() for gx = d(sum(gy * conv(x, w))) / dx."""
    if not usable(gx, w, gy):
        return None
    if _pointwise(g):
        return bind_gemm(matrix(gy), w.reshape(g.channels, -1).T, matrix(gx))
    shape = host_scatter.saves(g, w.shape[-1], gx.dtype)
    if shape is not None:
        return host_scatter.bind_conv_grad_input(gy, w, gx, shape)
    shape = host_winograd.best_back(g, w.shape[-1], gx.dtype)
    if shape is not None:
        return host_winograd.bind_conv_grad_input(gy, w, gx, shape)
    if method(g) == "flat":
        todo, job = blocks(g, "flat", gx.itemsize), _flat_grad_input
    elif _gathers(g):
        todo = _input_blocks(g, g.size, prod(g.window[1:]) * w.shape[-1] * gx.itemsize)
        job = _gather_grad_input
    elif _bands(g):
        todo, job = _input_blocks(g, g.size, unfolded(g) * gx.itemsize), _banded_grad_input
    else:
        todo = _input_blocks(g, padded_size(g), unfolded(g) * gx.itemsize)
        job = _rows_grad_input
    return share_out(g, w.shape[-1], todo, partial(job, g, gy, w, gx))


def _gathers(g: Geometry) -> bool:
    """Is gx better gathered from gy than folded? Not where gy would have to lose its border."""
    within = all(p <= (k - 1) * d for pair, k, d in zip(g.pads, g.window, g.dilation) for p in pair)
    return within and prod(g.strides) == 1 and prod(g.size[1:]) <= GATHER * prod(g.out[1:])


def _bands(g: Geometry) -> bool:
    """Do the columns of a row fold faster by a product with ones than by additions?"""
    return len(g.size) == 2 and g.strides[0] == 1 and g.size[1] <= BANDED


def _turned(source: np.ndarray) -> tuple[np.ndarray, Run]:
    """(array, call that copies the view `source` of the weights into it): products with contiguous
    right sides are a fifth faster."""
    into = np.empty(source.shape, source.dtype)
    return into, partial(np.copyto, into, source)


def _input_blocks(g: Geometry, size: tuple[int, ...], cell: int) -> list[Block]:
    """Like blocks(), but over rows of the large side: each block writes rows of its own.
    cell: bytes of columns behind one inner position."""
    inner = prod(g.out[1:]) if size != g.size else prod(size[1:])
    height, rows = size[0], size[0]
    images = max(1, min(BLOCK_BYTES // max(1, inner * cell * height), -(-g.images // 4)))
    if inner * cell * height > 2 * BLOCK_BYTES:
        rows = max(2 * g.window[0], BLOCK_BYTES // (inner * cell))
    rows = -(-rows // g.strides[0]) * g.strides[0]
    return [Block(n, min(n + images, g.images), top, min(top + rows, height))
            for n in range(0, g.images, images) for top in range(0, height, rows)]


def _rows_grad_input(g: Geometry, gy: np.ndarray, w: np.ndarray, gx: np.ndarray,
                     todo: list[Block]) -> list[Run]:
    """Per block: cols = sum over kernel rows of gy @ w.T into their rows, then fold to gx."""
    stride = g.strides[0]
    most, images = (max(b.bottom - b.top for b in todo), max(b.last - b.first for b in todo))
    kernels, turn = _turned(w.reshape(g.window[0], unfolded(g), -1).swapaxes(1, 2))
    calls: list[Run] = [turn]
    padded = Padded(g, images, most, gx.dtype, True)
    scratch = take("rows before", (images, stride, -(-most // stride)) + g.out[1:] + (unfolded(g),),
                   gx.dtype)
    for block in todo:
        top, bottom = block.top, block.bottom
        touched: set[int] = set()
        for tap in range(g.window[0]):
            reach = tap * g.dilation[0]
            first = max(0, -((reach - top) // stride))              # ceil((top - reach) / stride)
            last = min(g.out[0], -((reach - bottom) // stride))
            start = first + reach // stride - top // stride
            if last > first:
                phase = reach % stride
                room = scratch[:block.last - block.first, phase]
                if phase not in touched:                            # the first need not add
                    calls += [partial(v.fill, 0) for v in
                              (room[:, :start], room[:, start + last - first:]) if v.size]
                into = tap_rows(scratch[:block.last - block.first], g, tap, start, last - first)
                calls.append(bind_stack(stack(gy[block.first:block.last, first:last]),
                                        kernels[tap], into, accumulate=phase in touched))
                touched.add(phase)
        calls += [partial(scratch[:, p].fill, 0) for p in range(stride) if p not in touched]
        here, _, mirror = padded.view(gx, block.first, block.last, top, bottom)
        calls.append(partial(here.fill, 0))
        folded = windows(here, g, None)
        for phase in range(stride):
            part = folded[:, phase::stride]
            if part.size:
                source = scratch[:part.shape[0], phase, :part.shape[1]].reshape(part.shape)
                calls += _fold(part, source, len(g.out), g.window[1:])
        if mirror is not None:
            calls.append(partial(np.copyto, mirror[1], mirror[0]))
    return calls


def _banded_grad_input(g: Geometry, gy: np.ndarray, w: np.ndarray, gx: np.ndarray,
                       todo: list[Block]) -> list[Run]:
    """Per block: cols = sum over kernel rows of gy @ w.T into their rows; then every row of gx is
    bands @ cols, where bands holds a one wherever a place at a tap is a pixel (so what is not
    finite spreads over its row)."""
    rows, images = (max(b.bottom - b.top for b in todo), max(b.last - b.first for b in todo))
    places, taps, pixels = g.out[1], g.window[1], g.size[1]
    at = (np.arange(places)[:, None] * g.strides[1] + np.arange(taps) * g.dilation[1]
          - g.pads[1][0]).reshape(-1)
    bands = (at == np.arange(pixels)[:, None]).astype(gx.dtype)         # (pixels, places * taps)
    kernels, turn = _turned(w.reshape(g.window[0], unfolded(g), -1).swapaxes(1, 2))
    calls: list[Run] = [turn]
    scratch = take("rows before", (images * rows * places * unfolded(g),), gx.dtype)
    for block in todo:
        shape = (block.last - block.first, block.bottom - block.top, places, unfolded(g))
        cols = scratch[:prod(shape)].reshape(shape)
        added = False
        for tap in range(g.window[0]):
            shift = tap * g.dilation[0] - g.pads[0][0]              # row o of gy reaches o + shift
            first, last = max(0, block.top - shift), min(g.out[0], block.bottom - shift)
            if last > first:
                start, end = first + shift - block.top, last + shift - block.top
                if not added:
                    calls += [partial(v.fill, 0)
                              for v in (cols[:, :start], cols[:, end:]) if v.size]
                calls.append(bind_stack(stack(gy[block.first:block.last, first:last]),
                                        kernels[tap], stack(cols[:, start:end]), accumulate=added))
                added = True
        if not added:
            calls.append(partial(cols.fill, 0))
        out = gx[block.first:block.last, block.top:block.bottom].reshape(-1, pixels, g.channels)
        calls.append(bind_stack(np.broadcast_to(bands, (len(out),) + bands.shape),
                                cols.reshape(len(out), -1, g.channels), out))
    return calls


def _gather_grad_input(g: Geometry, gy: np.ndarray, w: np.ndarray, gx: np.ndarray,
                       todo: list[Block]) -> list[Run]:
    """Per block: columns of the padded gy over the inner axes, one product per kernel row straight
    into gx.  For strides of 1 and gy about as wide as gx."""
    filters = gy.shape[-1]
    depth = prod(g.window[1:]) * filters
    reverse = (slice(None),) + (slice(None, None, -1),) * (len(g.window) - 1)
    kernels, turn = _turned(w[reverse].swapaxes(-1, -2))                # (K1, K2.., F, C)
    kernels = kernels.reshape(g.window[0], depth, g.channels)
    spans = [(k - 1) * d for k, d in zip(g.window, g.dilation)]
    pads = ((0, 0),) + tuple((e - lo, e - hi) for e, (lo, hi) in zip(spans[1:], g.pads[1:]))
    turned = Geometry(g.images, g.out, (g.out[0],) + g.size[1:], filters, (1,) + g.window[1:],
                      g.strides, pads, (1,) + g.dilation[1:])
    wanted = [(max(0, b.top + g.pads[0][0] - spans[0]), min(g.out[0], b.bottom + g.pads[0][0]))
              for b in todo]
    columns = Columns(turned, "rows", [Block(b.first, b.last, low, max(high, low + 1))
                                       for b, (low, high) in zip(todo, wanted)], gx.dtype)
    calls: list[Run] = [turn]
    for block, (low, high) in zip(todo, wanted):
        images = slice(block.first, block.last)
        calls.append(partial(gx[images, block.top:block.bottom].fill, 0))
        if high <= low:
            continue
        fill, (cols,) = columns.parts(gy, Block(block.first, block.last, low, high))
        calls += fill
        cols = cols.reshape(block.last - block.first, high - low, -1, depth)
        for tap in range(g.window[0]):
            shift = tap * g.dilation[0] - g.pads[0][0]               # row o of gy reaches o + shift
            first, last = max(low, block.top - shift), min(high, block.bottom - shift)
            if last > first:
                calls.append(bind_stack(stack(cols[:, first - low:last - low]), kernels[tap],
                                        stack(gx[images, first + shift:last + shift]),
                                        accumulate=True))
    return calls


def _fold(target: np.ndarray, source: np.ndarray, axes: int, kernel: tuple[int, ...]) -> list[Run]:
    """Calls that add source (N, O.., K.., C) to the overlapping view `target` of zeros, one kernel
    position at a time: positions overlap each other, elements of one position do not."""
    pixel = np.dtype((np.void, target.itemsize * target.shape[-1]))
    calls: list[Run] = []
    for position in np.ndindex(*kernel):
        pick = (slice(None),) * (1 + axes) + position
        if calls:
            calls.append(partial(np.add, target[pick], source[pick], target[pick]))
        else:                                       # whole pixels, four times faster than adding
            calls.append(partial(np.copyto, target[pick].view(pixel), source[pick].view(pixel)))
    return calls


def _flat_grad_input(g: Geometry, gy: np.ndarray, w: np.ndarray, gx: np.ndarray,
                     todo: list[Block]) -> list[Run]:
    """Per block of images: cols = gy @ w.T, then fold to gx."""
    images, depth = max(b.last - b.first for b in todo), g.taps * g.channels
    padded = Padded(g, images, padded_size(g)[0], gx.dtype, True)
    scratch = take("rows before", (images * g.places, depth), gx.dtype)
    kernels, turn = _turned(w.reshape(depth, -1).T)
    calls: list[Run] = [turn]
    for block in todo:
        out = matrix(gy[block.first:block.last])
        cols = scratch[:out.shape[0]]
        calls.append(bind_gemm(out, kernels, cols, split=False))
        here, _, mirror = padded.view(gx, block.first, block.last, 0, padded_size(g)[0])
        calls.append(partial(here.fill, 0))
        folded = windows(here, g, g.out[0])
        calls += _fold(folded, cols.reshape(folded.shape), len(g.out), g.window)
        if mirror is not None:
            calls.append(partial(np.copyto, mirror[1], mirror[0]))
    return calls
