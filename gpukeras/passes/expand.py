"""Expand: open every Composite that the target has no code of its own for."""
from __future__ import annotations

from ..graph import Graph, Node, Tensor, rebuild, toposort
from ..ops.composite import Composite
from .rules import settle
from .target import Target


def expand(graph: Graph, target: Target) -> Graph:
    """composite(x) -> its expansion, as deep as needed"""
    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not isinstance(node.op, Composite):
            return settle(node.op, inputs)
        if target.runs(node.op):
            return None
        # The expansion may hold composites again: walk it, from these inputs, as its own little
        # graph.
        outs = node.op.expansion(*inputs)
        return tuple(rebuild(outs, {t: t for t in inputs}, visit))

    if all(not isinstance(n.op, Composite) or target.runs(n.op) for n in toposort(graph.roots)):
        return graph
    return graph.with_roots(rebuild(graph.roots, {}, visit))


