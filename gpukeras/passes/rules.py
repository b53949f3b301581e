"""The rewrite engine: rules keyed by op class, run over a graph until nothing changes."""
from __future__ import annotations

from typing import Callable

import numpy as np

from ..errors import GraphError
from ..graph import Constant, Graph, Node, Op, Tensor, apply, rebuild
from ..graph.halves import values_dtype
from ..ops.broadcast import BroadcastTo, Reshape, broadcast_to
from ..ops.math import Elementwise

Rule = Callable[[Node], "Tensor | None"]
FOLD_LIMIT = 4096                                  # elements: larger ones are left to the device


class Rules:
    """A set of rules; `@rules(Log)` adds one for nodes of class Log (subclasses too)."""

    def __init__(self) -> None:
        self._by_class: dict[type, list[Rule]] = {}
        self._resolved: dict[type, list[Rule]] = {}

    def __call__(self, *classes: type[Op]) -> Callable[[Rule], Rule]:
        def register(rule: Rule) -> Rule:
            for c in classes:
                self._by_class.setdefault(c, []).append(rule)
            self._resolved.clear()
            return rule
        return register

    def of(self, op: Op) -> list[Rule]:
        """The rules for nodes of this op, those of its base classes last."""
        own = type(op)
        if own not in self._resolved:
            self._resolved[own] = [r for c in own.__mro__ for r in self._by_class.get(c, [])]
        return self._resolved[own]

    def rewrite(self, graph: Graph) -> Graph:
        """The graph with every rule applied wherever it fits, until nothing changes."""
        roots = graph.roots
        for _ in range(20):
            new = tuple(rebuild(roots, {}, self._visit))
            if all(a is b for a, b in zip(new, roots)):
                return graph.with_roots(new)
            roots = new
        raise GraphError("two rewrite rules undo each other: no end after 20 rounds")

    def _visit(self, node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        folded = settle(node.op, inputs)
        if folded is not None:
            return folded
        node = apply(node.op, inputs, node.origin)
        for rule in self.of(node.op):
            new = rule(node)
            if new is not None:
                _check(rule, node, new)
                return (new,)
        return node.outputs


def settle(op: Op, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """What an op becomes once its inputs are known: its static form, or a constant."""
    new = op.static(*inputs)
    if isinstance(new, Tensor):
        again = settle(new.node.op, new.node.inputs)         # a squeeze of a constant, say
        return (new,) if again is None else again
    if new is not None:
        return new
    values = [_value(t) for t in inputs]
    if not op.foldable or not values or any(v is None for v in values):
        return None
    types = op.infer(*(t.type for t in inputs))
    if not hasattr(types, "dtype") or types.size > FOLD_LIMIT:
        return None
    if isinstance(op, BroadcastTo) and values[0].size == 1:
        return None                                # stays one number, which rules see through
    value = np.asarray(op.numpy(*values), values_dtype(types.dtype))
    if value.size > 1 and (value == value.flat[0]).all():
        return (broadcast_to(Constant(value.flat[0], types.dtype), value.shape),)
    return (Constant(value, types.dtype),)


def _value(t: Tensor) -> np.ndarray | None:
    """The array of a constant, also of one number repeated."""
    if isinstance(t, Constant):
        return t.value
    number = t.node.inputs[0] if isinstance(t.node.op, BroadcastTo) else None
    if isinstance(number, Constant) and number.value.size == 1 and t.type.size <= FOLD_LIMIT:
        return np.broadcast_to(number.value, t.shape)
    return None


def _check(rule: Rule, node: Node, new: Tensor) -> None:
    if new.type != node.outputs[0].type:
        raise GraphError(f"rule {rule.__name__} changed the type of {node!r}: "
                         f"got {new.type}, expected {node.outputs[0].type}")


def scalar(t: Tensor) -> float | int | bool | None:
    """The one value of a constant, seen through broadcasts and views; None if there is none."""
    while isinstance(t.node.op, (BroadcastTo, Reshape)):
        t = t.node.inputs[0]
    return t.value.reshape(-1)[0].item() if isinstance(t, Constant) and t.value.size == 1 else None


def made_by(t: Tensor, *classes: type[Op]) -> bool:
    return isinstance(t.node.op, classes)


def is_elementwise(op: Op) -> bool:
    return isinstance(op, (Elementwise, BroadcastTo))

