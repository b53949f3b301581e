"""Walking and rebuilding graphs."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Container, Iterable

from . import origin
from .leaves import Leaf, Variable
from .op import apply
from .tensor import Node, Tensor


@dataclass(frozen=True)
class Graph:
    """What a function computes: `outputs`, and new values for variables, from `inputs`."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    updates: tuple[tuple[Variable, Tensor], ...] = ()

    @property
    def roots(self) -> tuple[Tensor, ...]:
        return self.outputs + tuple(new for _, new in self.updates)

    def with_roots(self, roots: Iterable[Tensor]) -> "Graph":
        roots = tuple(roots)
        n = len(self.outputs)
        return Graph(self.inputs, roots[:n], tuple(zip((v for v, _ in self.updates), roots[n:])))


def toposort(roots: Iterable[Tensor], known: Container[Tensor] = ()) -> list[Node]:
    """All nodes that `roots` depend on, inputs before users; nodes with all outputs `known` are
    left out.

    Iterative, because deep graphs are common.
    """
    done: set[int] = set()
    order: list[Node] = []
    stack: list[tuple[Node, bool]] = [(t.node, False) for t in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            order.append(node)
            continue
        if known and all(t in known for t in node.outputs):
            done.add(id(node))
            continue
        stack.append((node, True))
        for t in reversed(node.inputs):
            if id(t.node) not in done:
                stack.append((t.node, False))
    return order


Visit = Callable[[Node, tuple[Tensor, ...]], "tuple[Tensor, ...] | None"]


def rebuild(roots: Iterable[Tensor], replace: dict[Tensor, Tensor], visit: Visit | None = None
            ) -> list[Tensor]:
    """`roots` with the tensors in `replace` exchanged and every node passed through `visit`.

    visit(node, new_inputs) returns the tensors that stand for the node's outputs, or None to keep
    the op.
    `replace` also serves as the memory of the walk and holds every visited tensor afterwards.
    """
    roots = list(roots)
    before = origin.set_current(None)
    try:
        for node in toposort(roots, replace):
            if isinstance(node.op, Leaf):
                continue
            inputs = tuple([replace.get(t, t) for t in node.inputs])
            origin.set_current(node.origin)
            new = visit(node, inputs) if visit else None
            if new is None:
                changed = any(a is not b for a, b in zip(inputs, node.inputs))
                new = apply(node.op, inputs, node.origin).outputs if changed else node.outputs
            for old, tensor in zip(node.outputs, new):
                if old not in replace:
                    replace[old] = tensor
    finally:
        origin.set_current(before)
    return [replace.get(t, t) for t in roots]
