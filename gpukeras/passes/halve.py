"""Halve: weights that lie side by side become 16-bit floats together.

Under mixed precision every layer reads a copy of its float32 weights in 16 bits. Those of a pool
are one vector: one launch makes all copies, and each layer reads its part.
"""
from __future__ import annotations

from ..graph import Graph, Node, Tensor, Variable, rebuild, toposort
from ..graph.halves import HALF
from ..ops.math import Cast, cast
from ..ops.shape import Part
from .pool import Pool, home_of


def halve(graph: Graph) -> Graph:
    """cast(v1), cast(v2), … -> parts of cast((v1, v2, …))"""
    found: dict[tuple[Pool, str], list[Node]] = {}
    for node in toposort(graph.roots):
        if type(node.op) is Cast and node.op.dtype in HALF:
            v, = node.inputs
            pool = home_of(v) if isinstance(v, Variable) else None
            if pool is not None:
                found.setdefault((pool, node.op.dtype), []).append(node)
    replace: dict[Tensor, Tensor] = {}
    for (pool, dtype), nodes in found.items():
        wanted = sum(n.inputs[0].type.size for n in nodes)
        if len(nodes) < 2 or 2 * wanted < pool.type.size:
            continue
        flat = cast(pool, dtype)
        starts = dict(zip(pool.members, pool.offsets))
        for node in nodes:
            v, = node.inputs
            replace[node.outputs[0]] = Part(starts[v], v.shape)(flat)
    return graph.with_roots(rebuild(graph.roots, replace)) if replace else graph
