"""Bind: give the placeholders concrete shapes, and let everything that depended on shapes become
static."""
from __future__ import annotations

from typing import Sequence

from ..graph import Constant, Graph, Node, Placeholder, Tensor, learning_phase, rebuild
from .rules import settle


def bind(graph: Graph, shapes: Sequence[tuple[int, ...]], phase: bool) -> Graph:
    """The graph for inputs of exactly these shapes and this learning phase.

    Inputs are replaced by placeholders of static type.
    """
    replace: dict[Tensor, Tensor] = {learning_phase(): Constant(phase)}
    inputs = []
    for t, shape in zip(graph.inputs, shapes, strict=True):
        fits = shape == t.shape and isinstance(t, Placeholder)
        bound = t if fits else Placeholder(t.dtype, shape, t.name)
        replace[t] = bound
        inputs.append(bound)
    roots = rebuild(graph.roots, replace, _visit)
    return Graph(tuple(inputs), graph.outputs, graph.updates).with_roots(roots)


def _visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    return settle(node.op, inputs)
