"""Gradients by one reverse walk; they are graph themselves, so they have gradients too."""
from __future__ import annotations

from typing import Sequence

from ..errors import GraphError
from . import origin
from .leaves import Leaf
from .tensor import Tensor
from .walk import toposort


def gradients(seeds: Sequence[tuple[Tensor, Tensor]], wrt: Sequence[Tensor]) -> list[Tensor | None]:
    """d(sum of y·seed)/dx for every x in `wrt`; None where no smooth path leads from x to any y.

    seeds: pairs (y, gradient that arrives at y), each of the same shape.
    """
    order = toposort(y for y, _ in seeds)
    needed = _nodes_between(order, wrt)
    total: dict[Tensor, Tensor] = {}

    def add(x: Tensor, g: Tensor) -> None:
        total[x] = total[x] + g if x in total else g

    for y, seed in seeds:
        add(y, seed)
    for node in reversed(order):
        gys = [total.get(t) for t in node.outputs]
        if id(node) not in needed or isinstance(node.op, Leaf) or all(g is None for g in gys):
            continue
        with origin.origin_scope(node.origin):
            gxs = node.op.grad(node, *gys)
            if len(gxs) != len(node.inputs):
                raise GraphError(f"gradient of {node!r}: got {len(gxs)} values "
                                 f"for {len(node.inputs)} inputs")
            for x, gx in zip(node.inputs, gxs):
                if gx is None or id(x.node) not in needed:
                    continue
                _check(node, x, gx)
                add(x, gx)
    return [total.get(x) for x in wrt]


def _nodes_between(order, wrt: Sequence[Tensor]) -> set[int]:
    """Ids of the nodes that depend on some tensor of `wrt` (or make one of them)."""
    needed = {id(x.node) for x in wrt}
    for node in order:
        if id(node) not in needed and any(id(t.node) in needed for t in node.inputs):
            needed.add(id(node))
    return needed


def _check(node, x: Tensor, gx: Tensor) -> None:
    agree = len(x.shape) == len(gx.shape) and all(
        a == b or a is None or b is None for a, b in zip(x.shape, gx.shape))
    if not agree:
        raise GraphError(f"gradient of {node!r}: got {gx.type} for an input of type {x.type}")
