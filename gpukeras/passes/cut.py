"""Cut: products read columns of a matrix where they lie, instead of a copy of them (CUDA).

The last state of a sequence, a gate among gates: rows of such a slice stand a constant distance
apart, which is all that a product asks for.
"""
from __future__ import annotations

from collections import defaultdict
from math import prod

from ..graph import Graph, Node, Tensor, rebuild, toposort
from ..ops.broadcast import Reshape, reshape
from ..ops.linalg import CutDot, Dot
from ..ops.shape import Slice
from .target import Target


def cut(graph: Graph, target: Target) -> Graph:
    """x[:, a:b] @ w -> cut_dot(x, w)    where only products read the slice"""
    order = toposort(graph.roots) if target.kernels else []
    if not any(isinstance(n.op, Slice) for n in order):
        return graph
    readers: dict[Tensor, list[Node]] = defaultdict(list)
    for node in order:
        for t in dict.fromkeys(node.inputs):
            readers[t].append(node)
    roots = set(graph.roots)

    def only_products(t: Tensor) -> bool:
        return t not in roots and all(
            only_products(n.outputs[0]) if isinstance(n.op, Reshape) else type(n.op) is Dot
            for n in readers[t])

    def source(t: Tensor) -> tuple[Tensor, tuple[int, int]] | None:
        """(x, (first column, columns)) where t is those columns of x seen as a matrix."""
        while isinstance(t.node.op, Reshape):
            t = t.node.inputs[0]
        if not isinstance(t.node.op, Slice) or not only_products(t):
            return None
        return columns_of_slice(t.node)

    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if type(node.op) is not Dot:
            return None
        found = [source(t) for t in node.inputs]
        found = [f if f and t.shape == (_rows(f[0], t), f[1][1]) else None
                 for f, t in zip(found, node.inputs)]
        if not any(found):
            return None
        whole, cuts = [], []
        for f, t, new in zip(found, node.inputs, inputs):
            if f is None:
                whole.append(new)
                cuts.append(())
            else:                                  # what the slice reads, as far as it is rebuilt
                x = memory.get(f[0], f[0])
                whole.append(reshape(x, (t.shape[0], x.type.size // t.shape[0])))
                cuts.append(f[1])
        return (CutDot(node.op.trans_a, node.op.trans_b, *cuts)(*whole),)

    memory: dict[Tensor, Tensor] = {}
    return graph.with_roots(rebuild(graph.roots, memory, visit))


def _rows(x: Tensor, t: Tensor) -> int:
    """Rows of x as a matrix with as many rows as t; -1 if it has no such form."""
    return t.shape[0] if t.shape[0] and x.type.size % t.shape[0] == 0 else -1


def columns_of_slice(node: Node) -> tuple[Tensor, tuple[int, int]] | None:
    """(x, (first column, columns)) of a slice that takes one range along one axis but the first."""
    x, = node.inputs
    ranges = [range(*slice(*s).indices(d)) for d, s in zip(x.shape, node.op.slices)]
    partial = [k for k, (r, d) in enumerate(zip(ranges, x.shape)) if len(r) != d]
    if len(partial) != 1 or partial[0] == 0 or any(r.step != 1 for r in ranges):
        return None
    axis, inner = partial[0], prod(x.shape[partial[0] + 1:])
    return x, (ranges[axis].start * inner, len(ranges[axis]) * inner)
