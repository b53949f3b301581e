"""Epilogues: products take in the bias and the relu behind them, and sums of their factors (CUDA).

A bias before other elementwise work stays there, where it costs nothing.
"""
from __future__ import annotations

from collections import defaultdict

from ..graph import Graph, Node, Tensor, rebuild, toposort
from ..ops import math as m
from ..ops.broadcast import Reshape, Sum, reshape
from ..ops.epilogue import DotBias, DotReluGrad, DotSums
from ..ops.linalg import Dot
from .rules import is_elementwise, made_by
from .target import Target

TYPES = ("float32", "float16", "bfloat16")
LEAST_BYTES = 16 * 1024                            # of a product: smaller ones' tails are merged


class _Readers:
    """Who reads each tensor."""

    def __init__(self, graph: Graph) -> None:
        self.order = toposort(graph.roots)
        self.roots = set(graph.roots)
        self.of: dict[Tensor, list[Node]] = defaultdict(list)
        for node in self.order:
            for t in dict.fromkeys(node.inputs):
                self.of[t].append(node)

    def only(self, t: Tensor) -> Node | None:
        """The one node that reads it, if there is one and it is no result."""
        found = self.of[t]
        return found[0] if len(found) == 1 and t not in self.roots else None

    def through_views(self, t: Tensor) -> list[Node]:
        return [r for n in self.of[t] for r in (
            self.through_views(n.outputs[0]) if n.op.view else [n])]


def epilogues(graph: Graph, target: Target) -> Graph:
    """relu(a @ b + bias) -> one op;  its gradient with the sums for the bias -> one op"""
    if not target.kernels or not any(type(n.op) is Dot for n in toposort(graph.roots)):
        return graph
    readers = _Readers(graph)
    biased = _biased(readers)                      # what is replaced -> (dot, bias, relu)
    gradients = _relu_gradients(readers, biased)   # relu_grad node -> (dot, y)
    masked = {y for _, y in gradients.values()}
    summed = _summed(readers)                      # dot node -> its Sum
    made: dict[Tensor, tuple[Tensor, ...]] = {}
    sums: dict[Tensor, Tensor] = {}

    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        y = node.outputs[0]
        if y in biased:
            dot, bias, relu = biased[y]
            op = DotBias(dot.op.trans_a, dot.op.trans_b, relu, y in masked)
            outs = op(*(new[t] for t in dot.inputs), reshape(new[bias], dot.outputs[0].shape[1:]))
            made[y] = outs if isinstance(outs, tuple) else (outs,)
            return (reshape(made[y][0], y.shape),)
        if y in gradients:
            dot, relu = gradients[y]
            total = _sum_of(y, readers)
            op = DotReluGrad(dot.op.trans_a, dot.op.trans_b, total is not None)
            outs = op(*(new[t] for t in dot.inputs), *made[relu])
            if total is None:
                return (outs,)
            sums[total] = outs[1]
            return outs[:1]
        if y in summed:
            outs = DotSums(node.op.trans_a)(*inputs)
            sums[summed[y]] = outs[1]
            return outs[:1]
        if y in sums:
            return (reshape(sums[y], y.shape),)
        return None

    new = _Memory()
    roots = rebuild(graph.roots, new, visit)
    # a sum that the walk met before the product that makes it is put in by a second walk
    late = {new[t]: reshape(total, t.shape) for t, total in sums.items() if new[t] is not total}
    return graph.with_roots(rebuild(roots, late) if late else roots)


class _Memory(dict):
    """Old tensors to new ones; what was not touched stands for itself."""

    def __missing__(self, t: Tensor) -> Tensor:
        return t


def _plain_dot(t: Tensor, readers: _Readers) -> Node | None:
    """The product behind t (through reshapes), if nothing else reads it."""
    while made_by(t, Reshape) and readers.only(t) is not None:
        t = t.node.inputs[0]
    node = t.node
    fits = (type(node.op) is Dot and t.dtype in TYPES and readers.only(t) is not None
            and t.type.nbytes >= LEAST_BYTES)
    return node if fits else None


def _biased(readers: _Readers) -> dict[Tensor, tuple[Node, Tensor, bool]]:
    found = {}
    for node in readers.order:
        if not isinstance(node.op, m.Add):
            continue
        for x, bias in (node.inputs, node.inputs[::-1]):
            dot = _plain_dot(x, readers)
            if dot is None or bias.type.size != dot.outputs[0].shape[1] or (
                    x.shape != node.outputs[0].shape or x.shape[-1] != bias.shape[-1]):
                continue
            y, = node.outputs
            only = readers.only(y)
            if only is not None and isinstance(only.op, m.Relu):
                found[only.outputs[0]] = (dot, bias, True)
            elif not any(is_elementwise(r.op) for r in readers.through_views(y)):
                found[y] = (dot, bias, False)
            break
    return found


def _relu_gradients(readers: _Readers, biased: dict) -> dict[Tensor, tuple[Node, Tensor]]:
    found = {}
    for node in readers.order:
        if isinstance(node.op, m.ReluGrad):
            g, y = node.inputs
            dot = _plain_dot(g, readers)
            if dot is not None and dot.outputs[0] is g and y.type == g.type and (
                    y in biased and biased[y][2] and _last(node, readers)):
                found[node.outputs[0]] = (dot, y)
    return found


def _last(node: Node, readers: _Readers) -> bool:
    """Does no other elementwise work follow, which would take it in for nothing?"""
    return not any(is_elementwise(r.op) for r in readers.of[node.outputs[0]])


def _sum_of(g: Tensor, readers: _Readers) -> Tensor | None:
    return next((r.outputs[0] for r in readers.of[g]
                 if type(r.op) is Sum and r.op.axes == (0,) and g.ndim == 2), None)


def _summed(readers: _Readers) -> dict[Tensor, Tensor]:
    """Products x.T @ g -> the sum of g over the same rows, where g is no elementwise result."""
    found: dict[Tensor, Tensor] = {}
    for node in readers.order:
        if type(node.op) is not Sum or node.inputs[0].dtype not in TYPES:
            continue
        g, = node.inputs
        if is_elementwise(g.node.op) or g.type.nbytes < LEAST_BYTES or (
                node.op.axes != tuple(range(g.ndim - 1))):
            continue
        flat = [g] + [r.outputs[0] for r in readers.of[g]
                      if isinstance(r.op, Reshape) and r.outputs[0].shape[-1] == g.shape[-1]]
        for r in (r for t in flat if t.ndim == 2 for r in readers.of[t]):
            if (type(r.op) is Dot and r.op.trans_a and not r.op.trans_b and r.inputs[1] in flat
                    and r.outputs[0] not in found):
                found[r.outputs[0]] = node.outputs[0]
                break
    return found
