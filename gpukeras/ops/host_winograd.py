"""Winograd's convolution along the first spatial axis, on the host: half the multiplications.

    best(g, filters, dtype)                   a Shape for bind_conv and bind_conv_grad_weight
    best_back(g, filters, dtype)              a Shape for bind_conv_grad_input
    bind_conv(x, w, y, shape), bind_conv_grad_input(gy, w, gx, shape),
    bind_conv_grad_weight(x, gy, gw, shape)

Layouts and run() as in host_conv.py; unit strides and dilation, windows 3 or 5 high.  best() is
None where the plain products of host_conv.py are faster.

m output rows of a window r rows high take n = m + r - 1 products of rows and not m * r: with small
matrices A (m, n), G (n, r), B (n, n)

    y = A [(G w) . (B x)],   gw = G' [(B x) . (A' gy)],

where . is a convolution along the other axis, over channels, for each of the n (Winograd 1980;
Lavin, Gray 2016, arXiv:1509.09308, there in two dimensions).  A, B and G are applied by matrix
products too.  Along the other axis nothing need be unfolded: rows of pixels with their borders lie
one after the other, so the windows that start at every k-th pixel are a matrix of k * C columns as
they lie, and k products (k: width of the window) make all of y, with some places at the borders
that nobody reads.  Where these would be many (short rows), windows are unfolded after all.

Rounding: the points 0, 1, -1, 1/2, -2 (Barabasz et al. 2020, arXiv:1803.10986) keep the error at
three times that of the plain sum, a few 1e-7 of y's spread.  What is not finite spreads to the
other rows of its m.  Only float32 comes here; host_conv.py serves float64 by plain sums.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache, partial
from math import prod

import numpy as np

from .. import config
from ..blas import bind_gemm, bind_stack, workers
from ..team import in_turn
from .host_block import Block, Run, share_out
from .host_scratch import take
from .window import Geometry

POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2), Fraction(-1, 2),
          Fraction(2))
ROWS = {3: (4, 2), 5: (4, 2)}  # height of the window: output rows at a time, m
BLOCK_BYTES = 3 << 18         # rows before and after the products of one block
LEAST_ROWS = 192              # of a product, where blocks would be smaller
# ns on one core: a multiplication and addition, an element of B x or A' gy or y, an element that is
# unfolded, an element of the transformed weights (they are written and read once)
PRODUCT, TRANSFORM, UNFOLD, WEIGHT = 0.019, 0.16, 0.12, 0.4


@lru_cache(None)
def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(A (m, n), G (n, r), B (n, n)) in float64: Toom and Cook's interpolation at n - 1 points and
    at infinity, transposed."""
    n = m + r - 1
    points = POINTS[:n - 1]
    a = [[p ** i for p in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    g, b = [], []
    for i, p in enumerate(points):
        others = points[:i] + points[i + 1:]
        scale = prod((p - q for q in others), start=Fraction(1))
        g.append([p ** k / scale for k in range(r)])
        b.append(_polynomial(others) + [Fraction(0)])
    g.append([Fraction(int(k == r - 1)) for k in range(r)])
    b.append(_polynomial(points))
    return tuple(np.array([[float(v) for v in row] for row in rows]) for rows in (a, g, b))


def _polynomial(roots: tuple[Fraction, ...]) -> list[Fraction]:
    """Coefficients, lowest first, of the product of (x - root)."""
    c = [Fraction(1)]
    for root in roots:
        c = [low - root * high for low, high in zip([Fraction(0)] + c, c + [Fraction(0)])]
    return c


class Shape:
    """Sizes of one convolution: rows of pixels with borders, `groups` of m output rows an image."""

    def __init__(self, g: Geometry, filters: int, m: int, scatter: bool = False) -> None:
        """scatter: for host_scatter.py, where places have no border."""
        self.g, self.filters, self.channels, self.m = g, filters, g.channels, m
        self.r, self.taps = g.window[0], prod(g.window[1:])
        self.n = m + self.r - 1
        self.groups = -(-g.out[0] // m)
        self.low, (self.left, right) = g.pads[0][0], (g.pads[1:] or ((0, 0),))[0]
        self.inside, self.out = prod(g.size[1:]), prod(g.out[1:])
        # a row's last border is the next one's first
        row = max(self.inside + max(self.left, right), self.out)
        even = -(-row // self.taps) * self.taps
        spare = (even - self.out) * PRODUCT * filters
        self.unfolds = scatter or self.taps > 1 and UNFOLD * self.out < spare
        self.width, self.width_out = (row, self.out) if self.unfolds else (even, even)

    def cost(self) -> float:
        """ns on one core."""
        unfold = UNFOLD * self.taps * self.channels if self.unfolds else 0
        a_pixel = (PRODUCT * self.taps * self.channels * self.filters + unfold
                   + TRANSFORM * (self.channels + self.filters))
        return self.n * (self.g.images * self.groups * self.width_out * a_pixel
                         + WEIGHT * self.taps * self.channels * self.filters)

    def bytes(self, itemsize: int) -> int:
        """Of one group in a block."""
        depth = self.channels * (1 + self.taps * self.unfolds) + self.filters
        return self.n * self.width * depth * itemsize


def best(g: Geometry, filters: int, dtype: np.dtype) -> Shape | None:
    """How to do this convolution; None: the plain products of host_conv.py are faster."""
    if not usable(g, dtype):
        return None
    shape = min((Shape(g, filters, m) for m in ROWS[g.window[0]]), key=Shape.cost)
    return shape if shape.cost() < plain_cost(g, filters) else None


def usable(g: Geometry, dtype: np.dtype) -> bool:
    """Whether this is a convolution for the algorithm."""
    return (config.winograd and dtype == np.float32 and g.window[0] in ROWS and len(g.window) <= 2
            and prod(g.strides) == prod(g.dilation) == 1
            and all(p < k for pair, k in zip(g.pads, g.window) for p in pair))


def plain_cost(g: Geometry, filters: int) -> float:
    """ns of the plain products, without their copies."""
    return PRODUCT * g.images * g.places * g.taps * g.channels * filters


def best_back(g: Geometry, filters: int, dtype: np.dtype) -> Shape | None:
    """The same for the input gradient of this convolution: a convolution over gy."""
    if any(p >= k for pair, k in zip(g.pads, g.window) for p in pair):
        return None
    pads = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip(g.window, g.pads))
    back = g._replace(size=g.out, out=g.size, channels=filters, pads=pads)
    shape = best(back, g.channels, dtype)
    # the plain way may scatter gy instead of gathering it
    return shape if shape is not None and shape.cost() < plain_cost(g, filters) else None


def cut(shape: Shape, itemsize: int) -> list[Block]:
    """Blocks in order: whole images while they are small, ranges of groups when not."""
    g = shape.g
    least = -(-LEAST_ROWS * shape.taps // shape.width)              # groups
    most = max(BLOCK_BYTES // shape.bytes(itemsize), least)
    if most < shape.groups:
        parts = -(-shape.groups // most)
        edges = [shape.groups * i // parts * shape.m for i in range(parts)] + [g.out[0]]
        return [Block(i, i + 1, a, b) for i in range(g.images) for a, b in zip(edges, edges[1:])]
    count = min(most // shape.groups, -(-g.images // workers().size))
    return [Block(i, min(i + count, g.images), 0, g.out[0]) for i in range(0, g.images, count)]


class Rows:
    """Groups of rows of a block, transformed: room (n, groups * width + a rest, depth); what lies
    between the rows is zero, once `clear` has been called."""

    def __init__(self, shape: Shape, todo: list[Block], name: str, depth: int, width: int,
                 dtype: np.dtype) -> None:
        self.shape, self.width = shape, width
        most = max((b.last - b.first) * self._groups(b) for b in todo)
        self.room = take(name, (shape.n, most * width + shape.taps, depth), dtype)
        self.clear: Run = partial(self.room.fill, 0)
        self.columns = None
        if shape.unfolds and width == shape.width:
            self.columns = take(f"{name} columns", (shape.n, most * shape.out, shape.taps * depth),
                                dtype)

    def _groups(self, block: Block) -> int:
        return -(-(block.bottom - block.top) // self.shape.m)

    def _rows(self, block: Block) -> int:
        return (block.last - block.first) * self._groups(block)

    def windows(self, block: Block) -> tuple[list[Run], list[np.ndarray]]:
        """(calls, matrices (n, M, k * depth) of the windows they fill)"""
        k, (outer, down, item) = self.shape.taps, self.room.strides
        depth, rows = k * self.room.shape[-1], self._rows(block)
        if self.columns is None:
            return [], [self._every(block, start, depth) for start in range(k)]
        seen = np.lib.stride_tricks.as_strided(
            self.room, (self.shape.n, rows, self.shape.out, depth),
            (outer, self.width * down, down, item))
        into = self.columns[:, :rows * self.shape.out]
        return [partial(np.copyto, into.reshape(seen.shape), seen)], [into]

    def pixels(self, block: Block) -> list[np.ndarray]:
        """Matrices (n, M, depth) that meet the windows."""
        count = 1 if self.shape.unfolds else self.shape.taps
        return [self._every(block, start, self.room.shape[-1]) for start in range(count)]

    def _every(self, block: Block, start: int, columns: int) -> np.ndarray:
        """Every k-th place from `start` on (all, where windows are unfolded)."""
        k = 1 if self.shape.unfolds else self.shape.taps
        outer, down, item = self.room.strides
        return np.lib.stride_tricks.as_strided(
            self.room[:, start:], (self.shape.n, self._rows(block) * self.width // k, columns),
            (outer, k * down, item))

    def exchange(self, block: Block, rows: np.ndarray, matrix: np.ndarray, low: int, left: int,
                 out: bool) -> list[Run]:
        """Calls that put matrix @ (rows of a group) here, or with `out` matrix @ (what is here)
        into the rows.

        rows (N, R, pixels, depth): group j has rows j * m - low and on, as many as the matrix has
        columns (with `out`: rows), those outside of 0..R left out.  left: places before a row.
        """
        images, count = block.last - block.first, self._groups(block)
        first, pixels = block.top // self.shape.m, rows.shape[2]
        here = self.room[:, :self._rows(block) * self.width].reshape(
            self.shape.n, images, count, self.width, -1)
        here = here[:, :, :, left:left + pixels].reshape(self.shape.n, images, count, -1)
        assert np.may_share_memory(here, self.room)
        flat = rows[block.first:block.last].reshape(images, rows.shape[1], -1)
        size = matrix.shape[0 if out else 1]
        calls: list[Run] = []
        if size == self.shape.m and not low and rows.shape[1] == self.shape.groups * size:
            # rows in equal steps, on and on over the images: one call
            part = flat[:, block.top:block.top + count * size].reshape(images * count, size, -1)
            mine = here.reshape(self.shape.n, images * count, -1).swapaxes(0, 1)
            stack = np.broadcast_to(matrix, (images * count,) + matrix.shape)
            return [bind_stack(stack, mine, part) if out else bind_stack(stack, part, mine)]
        for j in range(count):
            start, mine = (first + j) * self.shape.m - low, here[:, :, j].swapaxes(0, 1)
            a, b = max(0, -start), min(size, rows.shape[1] - start)
            if b <= a:
                calls.append(partial(mine.fill, 0))
                continue
            part = flat[:, start + a:start + b]
            small = np.ascontiguousarray(matrix[a:b] if out else matrix[:, a:b])
            stack = np.broadcast_to(small, (images,) + small.shape)
            calls.append(bind_stack(stack, mine, part) if out else bind_stack(stack, part, mine))
        return calls


class Forward:
    """y = x * w block by block; x and y given as (N, rows, pixels, depth)."""

    def __init__(self, shape: Shape, todo: list[Block], kernels: np.ndarray) -> None:
        """kernels (n, k * C, F): what `transformed` made of w."""
        self.shape, self.kernels, dtype = shape, kernels, kernels.dtype
        self.before = Rows(shape, todo, "rows before", shape.channels, shape.width, dtype)
        self.after = Rows(shape, todo, "rows after", shape.filters, shape.width_out, dtype)
        a, _, b = matrices(shape.m, shape.r)
        self.a, self.b = a.astype(dtype), b.astype(dtype)
        self.began = False

    def calls(self, x: np.ndarray, block: Block, y: np.ndarray, target: Block) -> list[Run]:
        """Calls that compute the block; target: where it lies in y.  To be called in order."""
        shape, calls = self.shape, [] if self.began else [self.before.clear]
        self.began = True
        calls += self.before.exchange(block, x, self.b, shape.low, shape.left, False)
        fill, windows = self.before.windows(block)
        calls += fill + [bind_stack(seen, self.kernels, into)
                         for seen, into in zip(windows, self.after.pixels(block))]
        return calls + self.after.exchange(target, y, self.a, 0, 0, True)


class WeightGrad:
    """gw block by block: sums (n, k * C, F) of products of rows, and at the end G' of them."""

    def __init__(self, shape: Shape, todo: list[Block], dtype: np.dtype) -> None:
        self.shape = shape
        self.before = Rows(shape, todo, "rows before", shape.channels, shape.width, dtype)
        self.after = Rows(shape, todo, "rows after", shape.filters, shape.width_out, dtype)
        a, _, b = matrices(shape.m, shape.r)
        self.a, self.b = np.ascontiguousarray(a.T.astype(dtype)), b.astype(dtype)
        self.sums = np.empty((shape.n, shape.taps * shape.channels, shape.filters), dtype)
        self.began = False

    def calls(self, x: np.ndarray, block: Block, gy: np.ndarray, source: Block) -> list[Run]:
        """Calls that add a block's part; source: where it lies in gy.  To be called in order."""
        shape, calls = self.shape, [] if self.began else [self.before.clear, self.after.clear]
        calls += self.before.exchange(block, x, self.b, shape.low, shape.left, False)
        calls += self.after.exchange(source, gy, self.a, 0, 0, False)
        fill, windows = self.before.windows(block)
        calls += fill
        for seen, part in zip(windows, self.after.pixels(block)):
            calls.append(bind_stack(seen.swapaxes(1, 2), part, self.sums, accumulate=self.began))
            self.began = True
        return calls


def weights_of(sums: list[WeightGrad], gw: np.ndarray) -> list[Run]:
    """Calls for gw, from the sums of each member of the team."""
    shape, total = sums[0].shape, sums[0].sums
    _, g, _ = matrices(shape.m, shape.r)
    calls: list[Run] = [partial(np.add, total, s.sums, total) for s in sums[1:]]
    return calls + [bind_gemm(np.ascontiguousarray(g.T.astype(gw.dtype)),
                              total.reshape(shape.n, -1), gw.reshape(shape.r, -1), split=False)]


def transformed(shape: Shape, w: np.ndarray) -> tuple[np.ndarray, Run]:
    """(kernels (n, k * C, F), call that makes them of w (r, k.., C, F))."""
    _, g, _ = matrices(shape.m, shape.r)
    kernels = np.empty((shape.n, shape.taps * shape.channels, shape.filters), w.dtype)
    return kernels, bind_gemm(g.astype(w.dtype), w.reshape(shape.r, -1),
                              kernels.reshape(shape.n, -1), split=False)


def lined_up(x: np.ndarray) -> np.ndarray:
    """(N, *S, depth) as (N, rows, pixels, depth)"""
    return x.reshape(x.shape[0], x.shape[1], -1, x.shape[-1])


def bind_conv(x: np.ndarray, w: np.ndarray, y: np.ndarray, shape: Shape) -> Run:
    """run() for y = x * w."""
    kernels, turn = transformed(shape, w)
    rows, out = lined_up(x), lined_up(y)

    def job(todo: list[Block]) -> list[Run]:
        forward = Forward(shape, todo, kernels)
        return [call for b in todo for call in forward.calls(rows, b, out, b)]
    return in_turn([turn, share_out(shape.g, shape.filters, cut(shape, x.itemsize), job)])


def bind_conv_grad_input(gy: np.ndarray, w: np.ndarray, gx: np.ndarray, shape: Shape) -> Run:
    """run() for gx: gy convolved with the reversed kernel, channels for filters."""
    turned = np.empty(w.shape[:-2] + (w.shape[-1], w.shape[-2]), w.dtype)
    flips = (slice(None, None, -1),) * (w.ndim - 2)
    turn = partial(np.copyto, turned, w[flips].swapaxes(-1, -2))
    return in_turn([turn, bind_conv(gy, turned, gx, shape)])


def bind_conv_grad_weight(x: np.ndarray, gy: np.ndarray, gw: np.ndarray, shape: Shape) -> Run:
    """run() for gw.  Members of the team add up their own sums."""
    rows, out = lined_up(x), lined_up(gy)
    sums: list[WeightGrad] = []

    def job(todo: list[Block]) -> list[Run]:
        mine = WeightGrad(shape, todo, gw.dtype)
        sums.append(mine)
        return [call for b in todo for call in mine.calls(rows, b, out, b)]
    run = share_out(shape.g, shape.filters, cut(shape, x.itemsize), job)
    return in_turn([run, *weights_of(sums, gw)])
