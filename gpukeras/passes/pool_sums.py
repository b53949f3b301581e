"""One sum over pooled vectors instead of one for each weight: L2 losses, the norm of all gradients.

Used by `pool`, which knows what lies side by side.
"""
from __future__ import annotations

from typing import Callable

import numpy as np

from ..graph import Constant, Graph, Node, Tensor, Variable, rebuild, toposort
from ..ops import math as m
from ..ops.broadcast import Sum, sum_
from ..ops.composite import evaluate
from .rules import scalar

Form = Callable[[Variable, Tensor], tuple[tuple, list[Tensor]]]
Retype = Callable[[Tensor, tuple, dict[Tensor, Tensor]], Tensor]


def whole_sums(graph: Graph, groups: list[tuple[list, dict[Tensor, Tensor]]], form: Form,
               retype: Retype) -> dict[Tensor, Tensor]:
    """What to put for sums over single members: the whole sum for the first, 0 for the others.

    groups: (members with their leaves, flat vector of each leaf of the first member) per pool.
    """
    sums = [n for n in toposort(graph.roots)
            if isinstance(n.op, Sum) and n.outputs[0].ndim == 0 and n.inputs[0].ndim]
    if not sums:
        return {}
    tops = _tops(graph, sums)
    replace: dict[Tensor, Tensor] = {}
    for members, flat_of in groups:
        owner = {t: v for v, leaves in members for t in leaves if t.shape == v.shape}
        found: dict[tuple, dict[Variable, tuple[Node, list[Tensor]]]] = {}
        for node in sums:
            v, signature, leaves = _belongs(node, owner, form)
            if v is not None:
                found.setdefault((tops[node.outputs[0]], signature), {})[v] = (node, leaves)
        for of_variable in found.values():
            if len(of_variable) == len(members):
                replace.update(_one_sum(of_variable, members, flat_of, retype))
    return replace


def _belongs(node: Node, owner: dict[Tensor, Variable], form: Form) -> tuple:
    """(variable, form, leaves) if what the node sums is made of one member's tensors alone."""
    x, = node.inputs
    stack, seen = [x], set()
    while stack:                                   # the first leaf found says whose it is
        t = stack.pop()
        if t in owner:
            break
        if t not in seen and t.shape == x.shape:
            seen.add(t)
            stack += t.node.inputs
    else:
        return None, None, None
    variable = owner[t]
    if variable.shape != x.shape:
        return None, None, None
    (_, _, program), leaves = form(variable, x)
    if any(owner.get(leaf) is not variable and leaf.type.size != 1 for leaf in leaves):
        return None, None, None
    return variable, program, leaves


def _one_sum(of_variable: dict, members: list, flat_of: dict[Tensor, Tensor], retype: Retype
             ) -> dict[Tensor, Tensor]:
    first = members[0][0]
    own = members[0][1]
    node, leaves = of_variable[first]
    for v, all_leaves in members:                  # the same places among the member's leaves
        other = of_variable[v][1]
        same = [t is u if t.type.size == 1 else own.index(t) == all_leaves.index(u)
                for t, u in zip(leaves, other)]
        if not all(same):
            return {}
    x, = node.inputs
    if not _zero_of_zeros(x, leaves):              # the gaps between members hold zeros
        return {}
    total = sum_(retype(x, first.shape, {**{t: t for t in leaves}, **flat_of}))
    if total.type != node.outputs[0].type:
        return {}
    nothing = Constant(0, total.dtype)
    return {n.outputs[0]: total if v is first else nothing for v, (n, _) in of_variable.items()}


def _zero_of_zeros(x: Tensor, leaves: list[Tensor]) -> bool:
    given = {t: Constant(np.full(t.shape, 1.37 if t.type.size == 1 else 0), t.dtype)
             for t in leaves if not isinstance(t, Constant)}
    value, = evaluate(tuple(rebuild([x], given)), {})
    return not value.any()


def _tops(graph: Graph, sums: list[Node]) -> dict[Tensor, Tensor]:
    """For each sum, the end of the chain of additions that is all that reads it."""
    readers: dict[Tensor, list[Node]] = {}
    for node in toposort(graph.roots):
        for t in dict.fromkeys(node.inputs):
            readers.setdefault(t, []).append(node)
    roots = set(graph.roots)
    tops = {}
    for node in sums:
        t = node.outputs[0]
        while t not in roots and len(readers.get(t, ())) == 1 and _adds(readers[t][0], t):
            t = readers[t][0].outputs[0]
        tops[node.outputs[0]] = t
    return tops


def _adds(node: Node, t: Tensor) -> bool:
    a, b = node.inputs if isinstance(node.op, m.Add) else (t, t)
    return a is not b and node.outputs[0].type == t.type


def drop_zeros(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """For `rebuild`: x + 0 -> x"""
    if isinstance(node.op, m.Add):
        for x, y in (inputs, inputs[::-1]):
            if scalar(y) == 0 and x.type == node.outputs[0].type:
                return (x,)
    return None

