"""What reductions launch on a CUDA device: reduce.cu.

Adjacent axes that are all reduced, or all kept, act as one. What is left is reduced one group at a
time, the innermost first, each as the middle axis of (outer, n, inner).
"""
from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..graph.types import TensorType, is_float
from .plans import (BLOCKS, THREADS, WARP_ROW, arithmetic, c_type, column_block, defines,
                    grid_for)
from .record import In, Launch, LaunchPlan, Out, Ref, Temp, Tickets

Types = tuple[TensorType, ...]

_ROW_SLICE = 2048                                  # least elements worth a slice of their own
_DEPTH = 8                                         # least elements a thread of a slice adds up


def plan_sum(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    return _plan(op, ins, outs, "Sum")


def plan_prod(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    return _plan(op, ins, outs, "Product")


def plan_max(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    return _plan(op, ins, outs, "Max")


def plan_min(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    return _plan(op, ins, outs, "Min")


def neutral(fold: str, dtype: str) -> str:
    """The C text of the value that changes nothing in a fold over `dtype`."""
    if fold in ("Sum", "Product"):
        return "((W)0)" if fold == "Sum" else "((W)1)"
    if is_float(dtype):
        return "((W)-POS_INF)" if fold == "Max" else "((W)POS_INF)"
    if dtype == "bool":
        return "false" if fold == "Max" else "true"
    info = np.iinfo(dtype)
    if fold == "Max":
        return f"((W)({info.min + 1}LL - 1))" if info.min else "((W)0)"
    return f"((W){info.max}{'ULL' if info.min == 0 else 'LL'})"


def groups_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[list]:
    """[size, is reduced] of each run of axes of one kind; axes of size 1 belong anywhere."""
    groups: list[list] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        reduced = axis in axes
        if groups and groups[-1][1] == reduced:
            groups[-1][0] *= size
        else:
            groups.append([size, reduced])
    return groups if any(r for _, r in groups) else [*groups, [1, True]]


class _Plan:
    """Collects the launches of one reduction; `work` is the accumulator's type."""

    def __init__(self, fold: str, work: str) -> None:
        self.fold, self.work = fold, work
        self.steps: list[Launch] = []
        self.temps: list[int] = []

    def temp(self, elements: int) -> Temp:
        self.temps.append(elements * np.dtype(self.work).itemsize)
        return Temp(len(self.temps) - 1)

    def names(self, x: str, y: str) -> tuple:
        return (*defines(T=x, Y=y, W=self.work), ("FOLD", self.fold),
                ("NEUTRAL", neutral(self.fold, self.work)))

    def stage(self, src: Ref, x: str, dst: Ref, y: str, outer: int, n: int, inner: int) -> None:
        """Reduce (outer, n, inner) of type x to (outer, inner) of type y."""
        names, slices = self.names(x, y), self.slices(outer, n, inner)
        if inner == 1 and slices == 1 and n <= WARP_ROW:
            self.steps.append(Launch("reduce_warps", grid_for(outer, 8), (32, 8),
                                     (src, dst, np.int64(outer), np.int32(n)), defines=names))
            return
        p, rows = column_block(inner) if inner > 1 else (THREADS, 1)
        blocks = outer * (-(-inner // p) if inner > 1 else 1)
        more = (None, None)
        if slices > 1:
            more = (self.temp(outer * slices * inner), Tickets(blocks))
        if inner > 1:
            self.steps.append(Launch("reduce_middle", (blocks, slices), (p, rows),
                                     (src, dst, *more, np.int64(n), np.int64(inner)),
                                     defines=names))
        else:
            self.steps.append(Launch("reduce_rows", (outer * slices,), (THREADS,),
                                     (src, dst, *more, np.int64(n), np.int32(slices)),
                                     defines=names))

    def slices(self, outer: int, n: int, inner: int) -> int:
        if inner == 1:
            return max(min(BLOCKS // max(outer, 1), n // _ROW_SLICE), 1)
        p, rows = column_block(inner)
        return max(min(BLOCKS // max(outer * -(-inner // p), 1), n // (rows * _DEPTH)), 1)


def _plan(op: Any, ins: Types, outs: Types, fold: str) -> LaunchPlan:
    (x,), (y,) = ins, outs
    if not y.size:
        return LaunchPlan(())
    work = "int32" if x.dtype == "bool" and y.dtype == "int32" else arithmetic(x.dtype)
    plan = _Plan(fold, work)
    groups = groups_of(x.shape, op.axes)
    src, dtype = In(0), x.dtype
    while any(reduced for _, reduced in groups):
        last = max(i for i, (_, reduced) in enumerate(groups) if reduced)
        outer = prod(size for size, _ in groups[:last])
        inner = prod(size for size, _ in groups[last + 1:])
        more = any(reduced for _, reduced in groups[:last])
        dst = plan.temp(outer * inner) if more else Out(0)
        plan.stage(src, dtype, dst, work if more else y.dtype, outer, groups[last][0], inner)
        src, dtype = dst, work
        del groups[last]
    return LaunchPlan(tuple(plan.steps), tuple(plan.temps))


def _line(x: TensorType, axis: int) -> tuple[int, int, int]:
    return prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1:])


def plan_argmax(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    return _plan_arg(op, ins, outs, ">")


def plan_argmin(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    return _plan_arg(op, ins, outs, "<")


def _plan_arg(op: Any, ins: Types, outs: Types, order: str) -> LaunchPlan:
    (x,), (y,) = ins, outs
    if not y.size:
        return LaunchPlan(())
    outer, n, inner = _line(x, op.axis)
    names = (*defines(T=x.dtype), ("ORDER", order))
    if inner > 1 or n <= 32:                       # a short row is one thread's work
        args = (In(0), Out(0), np.int64(outer), np.int64(n), np.int64(inner))
        return LaunchPlan((Launch("arg_middle", grid_for(outer * inner), (THREADS,), args,
                                  defines=names),))
    threads = min(THREADS, -(-n // 32) * 32)
    return LaunchPlan((Launch("arg_rows", (outer,), (threads,), (In(0), Out(0), np.int64(n)),
                              defines=names),))


def plan_cumulate(op: Any, ins: Types, outs: Types) -> LaunchPlan:
    """Running folds (`op.fold`) along `op.axis`."""
    x, = ins
    if not x.size:
        return LaunchPlan(())
    outer, n, inner = _line(x, op.axis)
    args = (In(0), Out(0), np.int64(outer), np.int64(n), np.int64(inner), np.int32(op.reverse))
    names = (("T", c_type(x.dtype)), ("FOLD", op.fold), ("NEUTRAL", neutral(op.fold, x.dtype)))
    return LaunchPlan((Launch("cumulate_fwd", grid_for(outer * inner), (THREADS,), args,
                              defines=names),))
