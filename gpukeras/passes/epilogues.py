"""Epilogues: products take in the bias and the relu or gelu behind them, and sums of their factors
(CUDA).

A bias before other elementwise work stays there, where it costs nothing. So does a gelu of exact
float32: the library's is by tanh, and it does not say how exact its tanh is. Where the product
itself is of 16-bit or TF32 numbers, that is the smaller error.
"""
from __future__ import annotations

from collections import defaultdict

from ..config import math_mode
from ..graph import Graph, Node, Op, Tensor, rebuild, toposort
from ..graph.halves import HALF
from ..ops import math as m
from ..ops.broadcast import Reshape, Sum, reshape
from ..ops.epilogue import DotBias, DotGelu, DotGeluGrad, DotReluGrad, DotSums
from ..ops.gelu import Gelu, GeluGrad
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
    walk = _Walk(_Readers(graph))
    roots = rebuild(graph.roots, walk.new, walk.visit)
    # a sum that the walk met before the product that makes it is put in by a second walk
    late = {walk.new[t]: reshape(total, t.shape) for t, total in walk.sums.items()
            if walk.new[t] is not total}
    return graph.with_roots(rebuild(roots, late) if late else roots)


class _Walk:
    """What becomes of each node, from what was found in the graph."""

    def __init__(self, readers: _Readers) -> None:
        self.readers = readers
        self.biased = _biased(readers)             # what is replaced -> (dot, bias, relu)
        self.gradients = _relu_gradients(readers, self.biased)      # relu_grad -> (dot, y)
        self.masked = {y for _, y in self.gradients.values()}
        self.gelus = _gelus(readers)               # x -> (dot, bias, gelu of x)
        self.bends = _gelu_gradients(readers)      # gelu_grad -> (dot, x)
        self.summed = _summed(readers)             # dot -> its Sum
        self.new = _Memory()
        self.made: dict[Tensor, tuple[Tensor, ...]] = {}
        self.sums: dict[Tensor, Tensor] = {}

    def visit(self, node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        y = node.outputs[0]
        if y in self.biased:
            dot, bias, relu = self.biased[y]
            op = DotBias(dot.op.trans_a, dot.op.trans_b, relu, y in self.masked)
            self.made[y] = self._product(op, dot, self._row(bias, dot))
        elif y in self.gelus:                      # y is what a gelu is taken of
            dot, bias, gelu = self.gelus[y]
            aux = y in self.readers.roots or len(self.readers.of[y]) > 1
            op = DotGelu(dot.op.trans_a, dot.op.trans_b, aux)
            self.made[gelu] = self._product(op, dot, self._row(bias, dot))
            return (reshape(self.made[gelu][1], y.shape),) if aux else None
        elif y in self.gradients:
            dot, relu = self.gradients[y]
            return self._with_sums(DotReluGrad, dot, y, *self.made[relu])
        elif y in self.bends:
            dot, x = self.bends[y]
            return self._with_sums(DotGeluGrad, dot, y, reshape(self.new[x], dot.outputs[0].shape))
        elif y in self.summed:
            outs = DotSums(node.op.trans_a)(*inputs)
            self.sums[self.summed[y]] = outs[1]
            return outs[:1]
        elif y in self.sums:
            return (reshape(self.sums[y], y.shape),)
        return (reshape(self.made[y][0], y.shape),) if y in self.made else None

    def _row(self, bias: Tensor, dot: Node) -> Tensor:
        return reshape(self.new[bias], dot.outputs[0].shape[1:])

    def _product(self, op: Op, dot: Node, *more: Tensor) -> tuple[Tensor, ...]:
        outs = op(*(self.new[t] for t in dot.inputs), *more)
        return outs if isinstance(outs, tuple) else (outs,)

    def _with_sums(self, kind: type[Op], dot: Node, g: Tensor, *more: Tensor
                   ) -> tuple[Tensor, ...]:
        """A gradient before the product's activation, and the sum of it if someone asks."""
        total = next((r.outputs[0] for r in self.readers.of[g] if type(r.op) is Sum
                      and r.op.axes == tuple(range(g.ndim - 1))), None)
        op = kind(dot.op.trans_a, dot.op.trans_b, total is not None)
        outs = self._product(op, dot, *more)
        if total is not None:
            self.sums[total] = outs[1]
        return (reshape(outs[0], g.shape),)


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
        dot, bias = _dot_and_bias(node, readers)
        if dot is None:
            continue
        y, = node.outputs
        only = readers.only(y)
        if only is not None and isinstance(only.op, m.Relu):
            found[only.outputs[0]] = (dot, bias, True)
        elif not any(is_elementwise(r.op) for r in readers.through_views(y)):
            found[y] = (dot, bias, False)
    return found


def _dot_and_bias(add: Node, readers: _Readers) -> tuple[Node, Tensor] | tuple[None, None]:
    """The product that a sum is made of, and what is added to all its rows."""
    for x, bias in (add.inputs, add.inputs[::-1]):
        dot = _plain_dot(x, readers)
        if dot is not None and bias.type.size == dot.outputs[0].shape[1] and (
                x.shape == add.outputs[0].shape and x.shape[-1] == bias.shape[-1]):
            return dot, bias
    return None, None


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


def _gelus(readers: _Readers) -> dict[Tensor, tuple[Node, Tensor, Tensor]]:
    found = {}
    for node in readers.order:
        if not (isinstance(node.op, Gelu) and _by_tanh(node)):
            continue
        x, = node.inputs
        others = [r for r in readers.of[x] if r is not node]
        if isinstance(x.node.op, m.Add) and all(isinstance(r.op, GeluGrad) for r in others):
            dot, bias = _dot_and_bias(x.node, readers)
            if dot is not None:
                found[x] = (dot, bias, node.outputs[0])
    return found


def _gelu_gradients(readers: _Readers) -> dict[Tensor, tuple[Node, Tensor]]:
    found = {}
    for node in readers.order:
        if isinstance(node.op, GeluGrad) and _by_tanh(node) and _last(node, readers):
            g, x = node.inputs
            dot = _plain_dot(g, readers)
            if dot is not None and x.type == g.type and dot.outputs[0].shape[1] == g.shape[-1]:
                found[node.outputs[0]] = (dot, x)
    return found


def _by_tanh(node: Node) -> bool:
    """Is it a gelu that the library's stands for, in its sizes and its exactness?"""
    y, = node.outputs
    return node.op.approximate and y.ndim > 1 and y.shape[-1] % 8 == 0 and (
        y.dtype in HALF or math_mode() == "tf32" and y.dtype == "float32")


def _last(node: Node, readers: _Readers) -> bool:
    """Does no other elementwise work follow, which would take it in for nothing?"""
    return not any(is_elementwise(r.op) for r in readers.of[node.outputs[0]])


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
