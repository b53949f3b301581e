"""Simplify: the rewrites that always help. The first line of each docstring is the rule."""
from __future__ import annotations

import numpy as np

from ..graph import Constant, Graph, Mark, Node, Tensor, broadcast_shapes, is_float, rebuild
from ..graph.halves import HALF
from ..ops import broadcast as b
from ..ops import math as m
from ..ops import shape as s
from ..ops.linalg import Dot
from ..ops.reduce import ArgMax
from .rules import Rules, made_by, scalar

RULES = Rules()
rule = RULES
WRITE_OUT_LIMIT = 1 << 18                          # elements: a constant that stays in memory


def simplify(graph: Graph) -> Graph:
    """Apply every rule of this file until nothing changes."""
    return RULES.rewrite(graph)


def write_out(graph: Graph) -> Graph:
    """broadcast(c) -> an array of c      where no fused kernel reads c itself: no launch"""
    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not isinstance(node.op, b.BroadcastTo) or scalar(inputs[0]) is None:
            return None
        y, = node.outputs
        if y.type.size > WRITE_OUT_LIMIT:
            return None
        return (Constant(np.full(y.shape, scalar(inputs[0])), y.dtype),)
    return graph.with_roots(rebuild(graph.roots, {}, visit))


# ---- nothing to do

@rule(Mark)
def drop_mark(node: Node) -> Tensor | None:
    """mark(x) -> x            gradient marks stay for `pool`, which looks for them"""
    return None if node.op.tag == "gradient" else node.inputs[0]


@rule(Mark)
def mark_before_widening(node: Node) -> Tensor | None:
    """mark(cast(x:f16, f32)) -> cast(mark(x), f32)     the optimizer reads 16-bit gradients"""
    x, = node.inputs
    if node.op.tag != "gradient" or not made_by(x, m.Cast) or x.node.inputs[0].dtype not in HALF:
        return None
    return m.cast(node.op(x.node.inputs[0]), x.dtype)


@rule(ArgMax)
def argmax_before_widening(node: Node) -> Tensor | None:
    """argmax(cast(x:f16, f32)) -> argmax(x)            no two numbers become one"""
    x, = node.inputs
    wide = made_by(x, m.Cast) and is_float(x.dtype) and x.node.inputs[0].dtype in HALF
    return node.op(x.node.inputs[0]) if wide else None


@rule(m.StopGradient)
def drop_stop_gradient(node: Node) -> Tensor | None:
    """stop_gradient(x) -> x   gradients are already taken"""
    return node.inputs[0]


@rule(m.Cast)
def drop_cast(node: Node) -> Tensor | None:
    """cast(x, type of x) -> x"""
    x, = node.inputs
    return x if x.dtype == node.op.dtype else None


@rule(b.BroadcastTo)
def merge_broadcasts(node: Node) -> Tensor | None:
    """broadcast(x, shape of x) -> x;  broadcast(broadcast(x)) -> broadcast(x)"""
    x, = node.inputs
    if x.shape == node.op.shape:
        return x
    if made_by(x, b.BroadcastTo):
        return b.broadcast_to(x.node.inputs[0], node.op.shape)
    return None


@rule(b.Reshape)
def merge_reshapes(node: Node) -> Tensor | None:
    """reshape(x, shape of x) -> x;  reshape(reshape(x)) -> reshape(x);  -1 becomes a number"""
    x, shape = node.inputs[0], node.outputs[0].shape
    if x.shape == shape:
        return x
    if made_by(x, b.Reshape):
        return b.reshape(x.node.inputs[0], shape) if None not in shape else None
    return b.Reshape(shape)(x) if -1 in node.op.shape and None not in shape else None


@rule(b.Reshape)
def reshape_of_scalar(node: Node) -> Tensor | None:
    """reshape(broadcast(c)) -> broadcast(c)"""
    x, = node.inputs
    if made_by(x, b.BroadcastTo) and x.node.inputs[0].ndim == 0 and node.outputs[0].type.is_static:
        return b.broadcast_to(x.node.inputs[0], node.outputs[0].shape)
    return None


# ---- arithmetic

def _fits(x: Tensor, node: Node) -> Tensor | None:
    return x if x.type == node.outputs[0].type else None


@rule(m.Add)
def add_zero(node: Node) -> Tensor | None:
    """x + 0 -> x"""
    x, y = node.inputs
    return _fits(y, node) if scalar(x) == 0 else _fits(x, node) if scalar(y) == 0 else None


@rule(m.Add)
def add_negative(node: Node) -> Tensor | None:
    """x + (-y) -> x - y"""
    x, y = node.inputs
    if made_by(y, m.Neg):
        return m.sub(x, y.node.inputs[0])
    return m.sub(y, x.node.inputs[0]) if made_by(x, m.Neg) else None


@rule(m.Sub)
def sub_zero(node: Node) -> Tensor | None:
    """x - 0 -> x"""
    x, y = node.inputs
    return _fits(x, node) if scalar(y) == 0 else None


@rule(m.Mul)
def multiply_by_one(node: Node) -> Tensor | None:
    """x * 1 -> x"""
    x, y = node.inputs
    return _fits(y, node) if scalar(x) == 1 else _fits(x, node) if scalar(y) == 1 else None


@rule(m.Mul)
def multiply_by_zero(node: Node) -> Tensor | None:
    """x * 0 -> 0             so a branch the learning phase left out has no gradient to compute

    An infinite x would give NaN instead: in a gradient that is noise from a value nobody used.
    """
    y, = node.outputs
    return m.zeros_like(y) if 0 in (scalar(t) for t in node.inputs) else None


@rule(m.Div)
def divide_by_one(node: Node) -> Tensor | None:
    """x / 1 -> x"""
    x, y = node.inputs
    return _fits(x, node) if scalar(y) == 1 else None


@rule(m.Pow)
def small_powers(node: Node) -> Tensor | None:
    """x ** 1 -> x;  x ** 2 -> square(x);  x ** 0.5 -> sqrt(x)"""
    x, y = node.inputs
    forms = {1: lambda t: t, 2: m.square, 0.5: m.sqrt}
    n = scalar(y)
    new = forms[n](x) if n in forms and not isinstance(n, bool) else None
    return _fits(new, node) if new is not None else None


@rule(m.Neg)
def double_negative(node: Node) -> Tensor | None:
    """-(-x) -> x"""
    x, = node.inputs
    return x.node.inputs[0] if made_by(x, m.Neg) else None


@rule(m.Elementwise)
def implicit_broadcast(node: Node) -> Tensor | None:
    """f(x, broadcast(y)) -> f(x, y)   where f's own broadcasting gives the same shape"""
    if not any(made_by(t, b.BroadcastTo) for t in node.inputs):
        return None
    inputs = list(node.inputs)
    shape = node.outputs[0].shape
    for i, t in enumerate(inputs):
        if not made_by(t, b.BroadcastTo):
            continue
        narrow = t.node.inputs[0]
        others = [u.shape for k, u in enumerate(inputs) if k != i]
        if broadcast_shapes(narrow.shape, *others) == shape:
            inputs[i] = narrow
    if any(a is not b_ for a, b_ in zip(inputs, node.inputs)):
        return node.op(*inputs)
    if len(inputs) == 1:                           # f(broadcast(x)) -> broadcast(f(x))
        return b.broadcast_to(node.op(inputs[0].node.inputs[0]), shape)
    narrow = [t.node.inputs[0] if made_by(t, b.BroadcastTo) else t for t in inputs]
    if all(t.type.size == 1 for t in narrow):      # the same for several numbers
        return b.broadcast_to(node.op(*narrow), shape)
    return None


@rule(m.Elementwise)
def number_without_axes(node: Node) -> Tensor | None:
    """f(x, [[c]]) -> f(x, c)"""
    inputs = [Constant(t.value.reshape(()), t.dtype)
              if isinstance(t, Constant) and t.type.size == 1 and t.ndim else t
              for t in node.inputs]
    same = broadcast_shapes(*(t.shape for t in inputs)) == node.outputs[0].shape
    changed = any(t is not u for t, u in zip(inputs, node.inputs))
    return node.op(*inputs) if changed and same else None


# ---- sums

@rule(b.Sum)
def sum_of_broadcast_scalar(node: Node) -> Tensor | None:
    """sum(broadcast(c)) -> c * n"""
    x, = node.inputs
    if not (made_by(x, b.BroadcastTo) and x.node.inputs[0].ndim == 0 and is_float(x.dtype)):
        return None
    n = 1
    for axis in node.op.axes:
        n *= x.shape[axis]
    return b.broadcast_to(x.node.inputs[0] * float(n), node.outputs[0].shape)


@rule(b.Sum)
def sum_over_nothing(node: Node) -> Tensor | None:
    """sum over axes of size 1 -> reshape"""
    x, = node.inputs
    if all(x.shape[a] == 1 for a in node.op.axes) and x.dtype == node.outputs[0].dtype:
        return b.reshape(x, node.outputs[0].shape)
    return None


@rule(b.Sum)
def sum_of_sum(node: Node) -> Tensor | None:
    """sum of all of sum(x) -> sum of all of x"""
    x, = node.inputs
    if len(node.op.axes) == x.ndim and made_by(x, b.Sum) and not node.op.keepdims:
        inner = x.node.inputs[0]
        return b.sum_(inner) if inner.dtype == x.dtype else None
    return None


# ---- moving

@rule(s.Transpose)
def merge_transposes(node: Node) -> Tensor | None:
    """transpose(transpose(x)) -> transpose(x)"""
    x, = node.inputs
    if made_by(x, s.Transpose):
        inner = x.node.op.perm
        return s.transpose(x.node.inputs[0], tuple(inner[p] for p in node.op.perm))
    return s.transpose(x, node.op.perm) if node.op.perm == tuple(range(x.ndim)) else None


@rule(s.Transpose)
def transpose_of_ones(node: Node) -> Tensor | None:
    """transpose that only moves axes of size 1 -> reshape"""
    x, = node.inputs
    moved = [p for p in node.op.perm if x.shape[p] != 1]
    return b.reshape(x, node.outputs[0].shape) if moved == sorted(moved) else None


@rule(Dot)
def dot_of_transpose(node: Node) -> Tensor | None:
    """transpose(a) @ b -> a.T @ b, without a copy"""
    inputs, flags = list(node.inputs), [node.op.trans_a, node.op.trans_b]
    swap = tuple(range(node.op.rank - 2)) + (node.op.rank - 1, node.op.rank - 2)
    for i, t in enumerate(inputs):
        if made_by(t, s.Transpose) and t.node.op.perm == swap:
            inputs[i], flags[i] = t.node.inputs[0], not flags[i]
    if flags == [node.op.trans_a, node.op.trans_b]:
        return None
    return type(node.op)(*flags)(*inputs)


@rule(s.Slice)
def whole_slice(node: Node) -> Tensor | None:
    """x[:] -> x"""
    x, = node.inputs
    whole = all((a or 0) == 0 and (z is None or z == d) and step in (None, 1)
                for (a, z, step), d in zip(node.op.slices, x.shape))
    return x if whole else None


@rule(s.Slice, s.Tile, s.Repeat, s.Concat, s.Transpose, s.Reverse)
def rearranged_number(node: Node) -> Tensor | None:
    """tile(broadcast(c)) -> broadcast(c), and so for every way to rearrange or join c's"""
    values = [scalar(t) for t in node.inputs]
    y, = node.outputs
    if None in values or len(set(map(repr, values))) > 1 or not y.type.is_static:
        return None
    return b.broadcast_to(Constant(values[0], y.dtype), y.shape)


@rule(m.Where)
def where_same(node: Node) -> Tensor | None:
    """where(c, x, x) -> x"""
    _, x, y = node.inputs
    return _fits(x, node) if x is y else None


@rule(m.Cast)
def cast_of_comparison(node: Node) -> Tensor | None:
    """cast(cast(x, bool), float) of a truth value -> cast(x, float)"""
    x, = node.inputs
    if made_by(x, m.Cast) and x.node.inputs[0].dtype == "bool":
        return m.cast(x.node.inputs[0], node.op.dtype)
    return None


