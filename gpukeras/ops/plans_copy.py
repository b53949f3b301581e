"""What rearranging ops launch on a CUDA device: copy.cu and transpose.cu.

Every one of them copies boxes: element (i0, i1, ...) from x0 + sum s_k i_k to y0 + sum t_k i_k.
"""
from __future__ import annotations

from itertools import accumulate
from math import prod
from typing import Any, Sequence

import numpy as np

from ..errors import ShapeError
from ..graph.types import TensorType
from .plans import DIVISION, THREADS, defines, division, grid_for
from .record import Fill, In, Launch, LaunchPlan, Out, Ref

Types = tuple[TensorType, ...]
Strides = tuple[int, ...]

_RANK = 6
_MOST = 1 << 31                                    # elements of one launch, to index in 32 bits
_BOX = np.dtype([("n", "i8"), ("x0", "i8"), ("y0", "i8"), ("s", "i8", _RANK), ("t", "i8", _RANK),
                 ("d", DIVISION, _RANK)], align=True)

_JOIN = np.dtype([("n", "i8"), ("by_k", DIVISION), ("by_n", DIVISION), ("begin", "i4", 4),
                  ("len", "i4", 4), ("skip", "i4", 4)], align=True)
Part = tuple[Ref | None, int, int, int]            # source, places, places of it in all, first one


def strides_of(shape: Sequence[int]) -> Strides:
    """Row-major strides in elements."""
    return tuple(prod(shape[axis + 1:]) for axis in range(len(shape)))


def merged(shape: Sequence[int], s: Strides, t: Strides) -> list[tuple[int, int, int]]:
    """(size, stride in x, stride in y) of the fewest axes that walk the same elements in order."""
    axes: list[tuple[int, int, int]] = []
    for size, a, b in zip(shape, s, t):
        if size == 1:
            continue
        if axes and axes[-1][1] == a * size and axes[-1][2] == b * size:
            axes[-1] = (axes[-1][0] * size, a, b)
        else:
            axes.append((size, a, b))
    return axes


def copy_box(x: Ref, y: Ref, dtype: str, shape: Sequence[int], s: Strides, t: Strides,
             x0: int = 0, y0: int = 0) -> list[Launch]:
    """The launches that copy a box: none if it is empty, several from 2**31 elements on."""
    n = prod(shape)
    if not n:
        return []
    axes = merged(shape, s, t)
    if len(axes) > _RANK:
        raise ShapeError(f"cannot copy a box of {len(axes)} separate axes: got {tuple(shape)}, "
                         f"expected at most {_RANK}")
    axes = [(1, 0, 0)] * (_RANK - len(axes)) + axes
    d, s, t = zip(*axes)
    if n >= _MOST:                                 # halve the longest axis
        k = d.index(max(d))
        half = d[k] // 2
        return [launch for first, size in ((0, half), (half, d[k] - half))
                for launch in copy_box(x, y, dtype, (*d[:k], size, *d[k + 1:]), s, t,
                                       x0 + first * s[k], y0 + first * t[k])]
    box = np.array((n, x0, y0, s, t, list(map(division, d))), _BOX)[()]
    return [Launch("copy_strided", grid_for(n), (THREADS,), (x, y, box), defines=defines(T=dtype),
                   file="copy.cu")]


def join(y: TensorType, axis: int, parts: Sequence[Part], value: float = 0.0
         ) -> list[Launch] | None:
    """One launch that puts parts side by side along an axis; None is `value`. None if it cannot."""
    parts = [p for p in parts if p[1]]
    if not 1 <= len(parts) <= 4 or not 0 < y.size < _MOST:
        return None
    inner, places = prod(y.shape[axis + 1:]), y.shape[axis]
    begins = list(accumulate((count for _, count, _, _ in parts), initial=0))
    room = 4 - len(parts)
    what = np.array((y.size, division(inner), division(places), begins[:-1] + [places] * room,
                     [size for *_, size, _ in parts] + [0] * room,
                     [skip for *_, skip in parts] + [0] * room), _JOIN)[()]
    refs = [ref for ref, *_ in parts] + [None] * room
    return [Launch("join_fwd", grid_for(y.size), (THREADS,),
                   (*refs, Out(0), what, np.float64(value)), defines=defines(T=y.dtype),
                   file="copy.cu")]


def _one_axis(shape: Sequence[int], ranges: Sequence[range]) -> int | None:
    """The only axis along which the ranges, all of step 1, do not take the whole of a shape."""
    partial = [k for k, (r, d) in enumerate(zip(ranges, shape)) if len(r) != d]
    fits = len(partial) == 1 and all(r.step == 1 for r in ranges) and len(ranges[partial[0]])
    return partial[0] if fits else None


def _plan(*steps: Launch | Fill | list[Launch] | None) -> LaunchPlan:
    flat: list[Launch | Fill] = []
    for step in steps:
        flat += step if isinstance(step, list) else [] if step is None else [step]
    return LaunchPlan(tuple(flat))


def plan_transpose(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    (x,), (y,) = ins, outs
    strides = strides_of(x.shape)
    s, t = tuple(strides[p] for p in op.perm), strides_of(y.shape)
    axes = merged(y.shape, s, t)
    if 2 <= len(axes) <= 3 and x.size:
        batch = axes[0][0] if len(axes) == 3 else 1
        (n, sn, _), (m, sm, _) = axes[-2:]
        if (sn, sm) == (1, n) and min(m, n) >= 8 and batch <= 65535:
            tiles = -(-m // 32) * -(-n // 32)
            return _plan(Launch("transpose_fwd", (tiles, batch), (32, 8),
                                (In(0), Out(0), np.int32(m), np.int32(n)),
                                defines=defines(T=x.dtype), file="transpose.cu"))
    return _plan(copy_box(In(0), Out(0), x.dtype, y.shape, s, t))


def _sliced(shape: tuple[int, ...], slices: Sequence[tuple]) -> tuple[tuple, Strides, int]:
    """(shape, strides, first element) of x[slices] inside a row-major x."""
    ranges = [range(*slice(*s).indices(d)) for d, s in zip(shape, slices)]
    strides = strides_of(shape)
    first = sum(r.start * s for r, s in zip(ranges, strides))
    return tuple(map(len, ranges)), tuple(r.step * s for r, s in zip(ranges, strides)), first


def plan_slice(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    (x,), (y,) = ins, outs
    shape, s, x0 = _sliced(x.shape, op.slices)
    return _plan(copy_box(In(0), Out(0), x.dtype, shape, s, strides_of(y.shape), x0=x0))


def plan_unslice(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    (g,), (y,) = ins, outs
    ranges = [range(*slice(*s).indices(d)) for d, s in zip(y.shape, op.slices)]
    axis = _one_axis(y.shape, ranges)
    if axis is not None:
        r, n = ranges[axis], y.shape[axis]
        joined = join(y, axis, [(None, r.start, 0, 0), (In(0), len(r), len(r), 0),
                                (None, n - r.stop, 0, 0)])
        if joined:
            return _plan(joined)
    shape, t, y0 = _sliced(y.shape, op.slices)
    fill = Fill(Out(0), y.nbytes) if y.nbytes else None
    return _plan(fill, copy_box(In(0), Out(0), g.dtype, shape, strides_of(shape), t, y0=y0))


def fill_value(y: Ref, type: TensorType, value: float) -> Launch | Fill | None:
    """Set every element of a buffer."""
    if not type.size:
        return None
    if not value:
        return Fill(y, type.nbytes)
    return Launch("fill_value", grid_for(type.size), (THREADS,),
                  (y, np.int64(type.size), np.float64(value)), defines=defines(T=type.dtype),
                  file="copy.cu")


def plan_pad(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    (x,), (y,) = ins, outs
    padded = [k for k, pair in enumerate(op.pads) if any(pair)]
    if len(padded) == 1 and x.size:
        axis, = padded
        (before, after), n = op.pads[axis], x.shape[axis]
        joined = join(y, axis, [(None, before, 0, 0), (In(0), n, n, 0), (None, after, 0, 0)],
                      op.value)
        if joined:
            return _plan(joined)
    t = strides_of(y.shape)
    y0 = sum(before * stride for (before, _), stride in zip(op.pads, t))
    return _plan(fill_value(Out(0), y, op.value),
                 copy_box(In(0), Out(0), x.dtype, x.shape, strides_of(x.shape), t, y0=y0))


def plan_concat(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    y, = outs
    sizes = [x.shape[op.axis] for x in ins]
    joined = join(y, op.axis, [(In(i), n, n, 0) for i, n in enumerate(sizes)])
    if joined:
        return _plan(joined)
    t = strides_of(y.shape)
    starts = accumulate((x.shape[op.axis] for x in ins), initial=0)
    return _plan(*(copy_box(In(i), Out(0), x.dtype, x.shape, strides_of(x.shape), t,
                            y0=start * t[op.axis])
                   for i, (x, start) in enumerate(zip(ins, starts))))


def plan_shift(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    first, x = ins
    s, step = strides_of(x.shape), strides_of(x.shape)[op.axis]
    n = x.shape[op.axis]
    parts = [(In(0), 1, 1, 0), (In(1), n - 1, n, int(op.reverse))]
    joined = join(x, op.axis, parts[::-1] if op.reverse else parts)
    if joined:
        return _plan(joined)
    stays = tuple(d - (i == op.axis) for i, d in enumerate(x.shape))
    return _plan(copy_box(In(0), Out(0), x.dtype, first.shape, strides_of(first.shape), s,
                          y0=(n - 1) * step if op.reverse else 0),
                 copy_box(In(1), Out(0), x.dtype, stays, s, s, x0=step if op.reverse else 0,
                          y0=0 if op.reverse else step))


def plan_tile(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    x, = ins
    strides = strides_of(x.shape)
    shape = tuple(n for r, d in zip(op.reps, x.shape) for n in (r, d))
    s = tuple(n for stride in strides for n in (0, stride))
    return _plan(copy_box(In(0), Out(0), x.dtype, shape, s, strides_of(shape)))


def plan_repeat(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    x, = ins
    at = op.axis + 1
    strides = strides_of(x.shape)
    shape = (*x.shape[:at], op.n, *x.shape[at:])
    s = (*strides[:at], 0, *strides[at:])
    return _plan(copy_box(In(0), Out(0), x.dtype, shape, s, strides_of(shape)))


def plan_reverse(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    x, = ins
    axes = {a % x.ndim for a in op.axes}
    strides = strides_of(x.shape)
    x0 = sum((x.shape[a] - 1) * strides[a] for a in axes)
    s = tuple(-n if a in axes else n for a, n in enumerate(strides))
    return _plan(copy_box(In(0), Out(0), x.dtype, x.shape, s, strides, x0=x0))


def plan_pack(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    """Copies into one vector with zeros between; a planner that packs in place needs none of it."""
    y, = outs
    align = op.align
    starts = accumulate((-(-x.size // align) * align for x in ins), initial=0)
    fill = Fill(Out(0), y.nbytes) if y.nbytes else None
    return _plan(fill, *(copy_box(In(i), Out(0), x.dtype, (x.size,), (1,), (1,), y0=start)
                         for i, (x, start) in enumerate(zip(ins, starts))))
