"""Graphs as text."""
from __future__ import annotations

from typing import Iterable

from .leaves import Constant, Leaf, Placeholder, Variable
from .tensor import Tensor
from .walk import toposort


def print_graph(roots: Iterable[Tensor]) -> str:
    """One line per node: t3:f32[32,16] = Dot(x, dense_1/kernel)    # dense_1 at demo.py:5"""
    names: dict[Tensor, str] = {}
    lines = []

    def name(t: Tensor) -> str:
        if t not in names:
            if isinstance(t, Constant):
                names[t] = str(t.value) if t.value.ndim == 0 else f"const{t.type}"
            elif isinstance(t, (Variable, Placeholder)):
                names[t] = t.name
            else:
                names[t] = f"t{len(names)}"
        return names[t]

    for node in toposort(roots):
        if isinstance(node.op, Leaf):
            continue
        args = ", ".join(name(t) for t in node.inputs)
        left = ", ".join(f"{name(t)}:{t.type}" for t in node.outputs)
        lines.append((f"{left} = {type(node.op).__name__}({args})", str(node.origin)))
    width = min(max((len(a) for a, _ in lines), default=0), 90)
    return "\n".join(f"{a:<{width}}  # {b}" if b else a for a, b in lines)
