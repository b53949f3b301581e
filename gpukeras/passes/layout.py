"""Layout: images stay channels last from one end of a model to the other.

Convolution and pooling compute channels last; a channels_first model is full of transposes there
and back. Each "to channels first" is pushed towards the outputs, through ops that do not care,
until it meets its inverse and both go, or until it meets something that does care (a Flatten). The
first line of each docstring is the rule; T is transpose(0, n - 1, 1, ... n - 2).
"""
from __future__ import annotations

import numpy as np

from ..graph import Graph, Node, Tensor
from ..ops import broadcast as b
from ..ops import reduce as r
from ..ops import shape as s
from ..ops.math import Elementwise
from .rules import Rules, made_by
from .simplify import merge_reshapes, merge_transposes, transpose_of_ones

RULES = Rules()
rule = RULES

rule(s.Transpose)(merge_transposes)
rule(s.Transpose)(transpose_of_ones)
rule(b.Reshape)(merge_reshapes)


def layout(graph: Graph) -> Graph:
    """Apply every rule of this file until nothing changes."""
    return RULES.rewrite(graph)


def to_first(ndim: int) -> tuple[int, ...]:
    """Axes of the transpose that makes channels first."""
    return (0, ndim - 1, *range(1, ndim - 1))


def first(x: Tensor) -> Tensor | None:
    """z of x = T(z), else None."""
    if x.ndim > 2 and made_by(x, s.Transpose) and x.node.op.perm == to_first(x.ndim):
        return x.node.inputs[0]
    return None


def back(x: Tensor) -> Tensor:
    """T(x)"""
    return s.transpose(x, to_first(x.ndim))


@rule(Elementwise)
def through_elementwise(node: Node) -> Tensor | None:
    """f(T(x), T(y), small) -> T(f(x, y, small'))      masks of booleans count as small"""
    out = node.outputs[0]
    inputs = [first(t) if t.shape == out.shape else None for t in node.inputs]
    if not any(t is not None for t in inputs):
        return None
    inverse = np.argsort(to_first(out.ndim))
    for i, t in enumerate(node.inputs):
        if inputs[i] is not None:
            continue
        if t.shape == out.shape and t.dtype != "bool":
            return None
        wide = b.reshape(t, (1,) * (out.ndim - t.ndim) + t.shape) if t.ndim else t
        inputs[i] = s.transpose(wide, inverse) if t.ndim else t
    return back(node.op(*inputs))


@rule(b.Sum, r.Max, r.Min, r.Prod)
def through_reduction(node: Node) -> Tensor | None:
    """sum(T(x), axes) -> transpose(sum(x, axes'))"""
    x, = node.inputs
    z = first(x)
    if z is None:
        return None
    perm, axes = to_first(x.ndim), node.op.axes
    reduced = type(node.op)(tuple(sorted(perm[a] for a in axes)), node.op.keepdims)(z)
    if node.op.keepdims:
        return back(reduced)
    left = [perm[i] for i in range(x.ndim) if i not in axes]
    return s.transpose(reduced, tuple(sorted(left).index(a) for a in left))


@rule(s.Pad)
def through_pad(node: Node) -> Tensor | None:
    """pad(T(x)) -> T(pad(x))"""
    z = first(node.inputs[0])
    pads = node.op.pads
    return None if z is None else back(s.Pad((pads[0], *pads[2:], pads[1]), node.op.value)(z))


@rule(s.Slice)
def through_slice(node: Node) -> Tensor | None:
    """T(x)[...] -> T(x[...'])"""
    z = first(node.inputs[0])
    cut = node.op.slices
    return None if z is None else back(s.Slice((cut[0], *cut[2:], cut[1]))(z))


@rule(s.Concat)
def through_concat(node: Node) -> Tensor | None:
    """concat(T(x), T(y)) -> T(concat(x, y))"""
    inputs = [first(t) for t in node.inputs]
    if any(t is None for t in inputs):
        return None
    ndim = node.outputs[0].ndim
    return back(s.Concat(to_first(ndim)[node.op.axis % ndim])(*inputs))


@rule(s.Transpose)
def transpose_of_broadcast(node: Node) -> Tensor | None:
    """transpose(broadcast(x)) -> broadcast(transpose(x))      x is the smaller one to move"""
    x, = node.inputs
    if not made_by(x, b.BroadcastTo):
        return None
    narrow, perm = x.node.inputs[0], node.op.perm
    narrow = b.reshape(narrow, (1,) * (x.ndim - narrow.ndim) + narrow.shape)
    return b.broadcast_to(s.transpose(narrow, perm), node.outputs[0].shape)
