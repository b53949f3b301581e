"""Partition: a step over a whole batch as one program per replica and one update of the variables.

The walk knows for every tensor how its values lie on the replicas: WHOLE (each has all of it),
SPREAD (each has the rows of its samples along one axis) or PARTIAL (the sum over the replicas is
the value). Rules (partition_rules.py) say how an op keeps its inputs apart. Where there is none,
inputs are gathered first: slower, never wrong. So a reduction over the batch, be it a loss, a
weight's gradient, a metric or the statistics of batch normalisation, becomes a sum over replicas.

Nothing here depends on the number of rows a replica has, but the shapes: programs of different
sizes come to the same collectives in the same order.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Sequence

from ..errors import GraphError
from ..graph import Graph, Node, Placeholder, Tensor, TensorType, apply, rebuild, toposort
from ..graph.halves import HALF
from ..graph.leaves import Leaf
from ..ops.broadcast import BroadcastTo, reshape
from ..ops.collective import (AllGather, AllReduce, Collective, Exchange, Part, RandomRows,
                              TakeRows)
from ..ops.composite import Composite, static_form
from ..ops.elementwise import Elementwise
from ..ops.math import cast
from ..ops.random import _Random
from ..ops.shape import concat
from .centre import centre
from .layout import layout
from .narrow import narrow
from .rules import Rules
from .simplify import simplify

WHOLE, SPREAD, PARTIAL = "whole", "spread", "partial"
RULES = Rules()                                    # partition_rules.py fills it


@dataclass(frozen=True)
class Layout:
    """How the values of a tensor lie on the replicas, and the tensor of this replica.

    SPREAD along `axis` with `each` rows per sample.
    """

    kind: str
    tensor: Tensor
    axis: int = 0
    each: int = 1


@dataclass
class Sum:
    """A value that the update needs from all replicas.

    index: its place among the outputs of a replica's program, or None with `exchange`: (number of
    the exchange that makes it anyway, place in it). slot: its place among the update's inputs.
    """

    part: Part
    type: TensorType
    slot: int
    index: int | None = None
    exchange: tuple[int, int] | None = None


@dataclass
class Program:
    """What a replica with a given number of rows runs.

    graph: inputs are those of the step that are spread (their rows only) or read here at all, then
    `first`, the number of its first row; outputs are sums, then spread outputs of the step.
    """

    graph: Graph
    inputs: list[int]


@dataclass
class Partition:
    """A step in parts: see `partition`.

    update: graph that runs once, after all replicas. sums: its inputs from the replicas; update
    inputs from slot len(sums) on are inputs of the step, numbered in `update_inputs`.
    exchanges: for each, its parts. outputs: where each output of the step is: (True, index in a
    program's outputs, axis, rows per sample) or (False, index in the update's outputs).
    spread: for each input of the step, whether it is spread.
    """

    rows: int
    spread: list[bool]
    update: Graph
    update_inputs: list[int]
    sums: list[Sum]
    exchanges: list[tuple[Part, ...]]
    outputs: list[tuple]
    programs: dict[int, Program] = field(default_factory=dict)


def partition(graph: Graph, rows: int, sizes: Sequence[int]) -> Partition:
    """The parts of a bound graph whose inputs have `rows` rows, for replicas of `sizes` rows."""
    from . import partition_rules  # noqa: F401
    graph = centre(narrow(layout(simplify(graph))))
    result = None
    for size in dict.fromkeys(sizes):
        made = _Parts(Walk(graph, rows, size)).result()
        if result is None:
            result = made
        elif [s.part for s in made.sums] != [s.part for s in result.sums] \
                or made.exchanges != result.exchanges:
            raise GraphError(f"replicas of {list(result.programs)} and {size} rows would come to "
                             "different collectives")
        else:
            result.programs.update(made.programs)
    return result


# ------------------------------------------------------------------------------ the walk

class Walk:
    """The layouts of all tensors of a graph, for a replica with `size` of `rows` rows."""

    def __init__(self, graph: Graph, rows: int, size: int, first: Tensor | None = None,
                 layouts: dict[Tensor, Layout] | None = None) -> None:
        self.graph, self.rows, self.size = graph, rows, size
        self.first = Placeholder("int64", (), "first row") if first is None else first
        self.inner = layouts is not None           # inside a loop, where no replica can wait
        self.layouts: dict[Tensor, Layout] = layouts or {}
        self._parts: dict[tuple[Tensor, int], Tensor] = {}
        if not self.inner:
            for t in graph.inputs:
                self.layouts[t] = self._input(t)

    def _input(self, t: Tensor) -> Layout:
        if not t.ndim or t.shape[0] != self.rows:
            return Layout(WHOLE, t)
        return Layout(SPREAD, Placeholder(t.dtype, (self.size, *t.shape[1:]), t.name))

    def run(self, roots: Sequence[Tensor]) -> "Walk":
        """Find the layout of everything that `roots` depend on."""
        for node in toposort(roots, self.layouts):
            for t, found in zip(node.outputs, self.visit(node), strict=True):
                self._check(node, t, found)
                self.layouts[t] = found
        return self

    def visit(self, node: Node) -> Sequence[Layout]:
        if isinstance(node.op, Leaf):
            return [Layout(WHOLE, t) for t in node.outputs]
        if any(self.layouts[t].kind != WHOLE for t in node.inputs):
            for rule in RULES.of(node.op):
                found = rule(self, node)
                if found is not None:
                    return [found] if isinstance(found, Layout) else found
            if isinstance(node.op, Composite):
                outs = rebuild(node.op.expansion(*node.inputs), {}, static_form)
                self.run(outs)
                return [self.layouts[t] for t in outs]
        new = apply(node.op, [self.whole(t) for t in node.inputs], node.origin)
        return [Layout(WHOLE, t) for t in new.outputs]

    def _check(self, node: Node, t: Tensor, layout: Layout) -> None:
        wanted = self.local_type(t, layout.axis) if layout.kind == SPREAD else t.type
        if layout.tensor.type != wanted:
            raise GraphError(f"cutting {node!r} for a replica: got {layout.tensor.type}, expected "
                             f"{wanted}")

    # ---- for rules

    def local_type(self, t: Tensor, axis: int) -> TensorType:
        """The type of this replica's part of a tensor that is spread along `axis`."""
        return t.type.with_shape(self.local_shape(t.shape, axis))

    def local_shape(self, shape: Sequence[int], axis: int) -> tuple[int, ...]:
        """A shape with this replica's rows along `axis`."""
        return tuple(d // self.rows * self.size if i == axis else d for i, d in enumerate(shape))

    def spread_as(self, node: Node, tensor: Tensor | Sequence[Tensor], axis: int, index: int = 0,
                  ) -> Layout:
        """The layout of an output that is spread along `axis`."""
        return Layout(SPREAD, tensor, axis, node.outputs[index].shape[axis] // self.rows)

    def spreads(self, t: Tensor) -> bool:
        return self.layouts[t].kind == SPREAD

    def whole(self, t: Tensor) -> Tensor:
        """All of a tensor, on every replica."""
        layout = self.layouts[t]
        if layout.kind == WHOLE:
            return layout.tensor
        if self.inner:
            raise NeedsAll(t)
        op = AllReduce() if layout.kind == PARTIAL else AllGather(layout.axis, t.shape[layout.axis])
        if t.dtype in HALF:                        # sums of 16-bit numbers are made in float32
            return cast(op(cast(layout.tensor, "float32")), t.dtype)
        return op(layout.tensor)

    def part(self, t: Tensor, axis: int) -> Tensor:
        """This replica's rows of a tensor along `axis`, which has rows for all samples."""
        layout = self.layouts[t]
        if layout.kind == SPREAD and layout.axis == axis:
            return layout.tensor
        key = t, axis
        if key not in self._parts:
            own = self._own_part(t.node, t, axis) if layout.kind == WHOLE else None
            if own is None:
                each = t.shape[axis] // self.rows
                first = self.first if each == 1 else self.first * each
                own = TakeRows(axis, self.size * each)(self.whole(t), first)
            self._parts[key] = own
        return self._parts[key]

    def _own_part(self, node: Node, t: Tensor, axis: int) -> Tensor | None:
        """The part computed by itself, without the whole; None where that is not simple."""
        if (isinstance(node.op, _Random) and prod(t.shape[:axis]) == 1
                and t.dtype != "bfloat16"):
            each = t.shape[axis] // self.rows
            first = self.first if each == 1 else self.first * each
            op = node.op if axis == 0 else _without_ones(node.op, axis)
            drawn = RandomRows(op, self.size * each)(self.whole(node.inputs[0]), first)
            return reshape(drawn, self.local_shape(t.shape, axis))
        if isinstance(node.op, (Elementwise, BroadcastTo)):
            inputs = [self.aligned(x, t, axis) for x in node.inputs]
            op = node.op
            if isinstance(op, BroadcastTo):
                op = BroadcastTo(self.local_shape(t.shape, axis))
            return apply(op, inputs, node.origin).outputs[0]
        return None

    def aligned(self, x: Tensor, y: Tensor, axis: int) -> Tensor:
        """x as it is broadcast against y's rows of this replica along `axis` of y."""
        own = axis - (y.ndim - x.ndim)
        if own < 0 or x.shape[own] != y.shape[axis]:
            return self.whole(x)
        return self.part(x, own)


class NeedsAll(Exception):
    """A step of a loop needs the values of all replicas: the loop runs on whole tensors."""


def _without_ones(op: _Random, axis: int) -> _Random:
    values = {name: getattr(op, name) for name in op.params}
    return type(op)(**{**values, "shape": op.shape[axis:]})


# ------------------------------------------------------------------------------ the parts

class _Parts:
    """A walked graph taken apart into a replica's program and the update."""

    def __init__(self, walk: Walk) -> None:
        self.walk, self.graph = walk, walk.graph
        walk.run(self.graph.roots)
        self.spread_outs = [t for t in dict.fromkeys(self.graph.outputs) if walk.spreads(t)]

    def result(self) -> Partition:
        walk, graph = self.walk, self.graph
        whole_outs = [t for t in dict.fromkeys(graph.outputs) if not walk.spreads(t)]
        roots = [walk.whole(t) for t in whole_outs]
        news = [walk.whole(t) for _, t in graph.updates]
        local_outs = [walk.layouts[t].tensor for t in self.spread_outs]
        needed = _collectives(roots + news)        # what the update reads, first of all
        inside = _inside(needed, local_outs)
        levels = _levels(inside)
        replace: dict[Tensor, Tensor] = {}
        for level in levels:
            inputs = rebuild([n.inputs[0] for n in level], replace)
            made = Exchange(tuple(n.op.part for n in level))(*inputs)
            replace.update(zip([n.outputs[0] for n in level],
                               (made,) if isinstance(made, Tensor) else made))
        places = {n: (i, j) for i, level in enumerate(levels) for j, n in enumerate(level)}
        ends = sorted((n for n in needed if n not in places), key=_depths(needed).get)
        slots = {n: i for i, n in enumerate([*ends, *(n for n in needed if n in places)])}
        sums = [Sum(n.op.part, n.outputs[0].type, i, None if n in places else i, places.get(n))
                for n, i in slots.items()]
        locals_ = rebuild([n.inputs[0] for n in ends] + local_outs, replace)
        update, numbers = self._update(slots, roots, news)
        outputs = [self._place(t, len(ends), whole_outs) for t in graph.outputs]
        program = Program(Graph(tuple(walk.layouts[t].tensor for t in graph.inputs)
                                + (walk.first,), tuple(locals_)), list(range(len(graph.inputs))))
        spread = [walk.spreads(t) for t in graph.inputs]
        return Partition(walk.rows, spread, update, numbers, sums,
                         [tuple(n.op.part for n in level) for level in levels], outputs,
                         {walk.size: program})

    def _update(self, slots: dict[Node, int], roots: list[Tensor], news: list[Tensor]):
        """(the update's graph, numbers of the step's inputs that it reads)."""
        given = {n.outputs[0]: Placeholder(n.outputs[0].dtype, n.outputs[0].shape, "sum")
                 for n in slots}
        new = rebuild([*roots, *news], dict(given))
        leaves = {n.outputs[0] for n in toposort(new) if isinstance(n.op, Leaf)}
        numbers = [i for i, t in enumerate(self.graph.inputs)
                   if not self.walk.spreads(t) and t in leaves]
        inputs = [given[n.outputs[0]] for n in slots] + [self.graph.inputs[i] for i in numbers]
        updates = tuple(zip((v for v, _ in self.graph.updates), new[len(roots):]))
        return Graph(tuple(inputs), tuple(new[:len(roots)]), updates), numbers

    def _place(self, t: Tensor, ends: int, whole_outs: list[Tensor]) -> tuple:
        if not self.walk.spreads(t):
            return False, whole_outs.index(t), 0, 0
        layout = self.walk.layouts[t]
        return True, ends + self.spread_outs.index(t), layout.axis, layout.each


def _collectives(roots: Sequence[Tensor]) -> list[Node]:
    """The collectives that are met first on the way from `roots` to the leaves."""
    stop, found = set(), {}
    stack = [t.node for t in reversed(roots)]
    while stack:
        node = stack.pop()
        if id(node) in stop:
            continue
        stop.add(id(node))
        if isinstance(node.op, Collective):
            found[node] = None
        else:
            stack += [t.node for t in reversed(node.inputs)]
    return list(found)


def _inside(needed: list[Node], local_outs: list[Tensor]) -> list[Node]:
    """The collectives whose results a replica's program itself reads."""
    roots = [t for n in needed for t in n.inputs] + local_outs
    return [n for n in toposort(roots) if isinstance(n.op, Collective)]


def _levels(nodes: list[Node]) -> list[list[Node]]:
    """Collectives in groups that can be done at once, each group needing earlier ones only."""
    level: dict[Node, int] = {}
    below: dict[Node, int] = {}                    # highest level on which a node depends
    for node in toposort([t for n in nodes for t in n.outputs]):
        own = max((below[t.node] for t in node.inputs), default=-1)
        if isinstance(node.op, Collective):
            own = level[node] = own + 1
        below[node] = own
    groups: list[list[Node]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for node, own in level.items():
        groups[own].append(node)
    return groups


def _depths(nodes: list[Node]) -> dict[Node, int]:
    """Longest way from a leaf to each node: what has the shortest is ready first."""
    depth: dict[Node, int] = {}
    for node in toposort([t for n in nodes for t in n.outputs]):
        depth[node] = 1 + max((depth[t.node] for t in node.inputs), default=0)
    return depth


# ------------------------------------------------------------------------------ on one device

def update_of_parts(parts: Partition, sizes: Sequence[int], summed: bool = False) -> Graph:
    """The update, reading each sum's parts from replicas of these sizes and adding them itself.

    Inputs: for each sum the parts of all replicas, or the result of its exchange; then inputs of
    the step. summed: what is to be added comes added up; what is to be gathered still in parts.
    """
    inputs: list[Tensor] = []
    replace: dict[Tensor, Tensor] = {}
    for s, given in zip(parts.sums, parts.update.inputs):
        if s.exchange is not None or summed and s.part.kind == "sum":
            inputs.append(given)
            continue
        values = placeholders(s.part, s.type, parts.rows, sizes)
        inputs += values
        replace[given] = together(s.part, values)
    inputs += parts.update.inputs[len(parts.sums):]
    graph = parts.update
    return Graph(tuple(inputs), graph.outputs, graph.updates).with_roots(
        rebuild(graph.roots, replace))


def exchange_of_parts(members: Sequence[tuple[Part, TensorType]], rows: int, sizes: Sequence[int],
                      ) -> Graph:
    """What an exchange does: from the parts of all replicas, member by member, to its results.
    members: (part, type of the result)."""
    inputs, outputs = [], []
    for part, type in members:
        values = placeholders(part, type, rows, sizes)
        inputs += values
        outputs.append(together(part, values))
    return Graph(tuple(inputs), tuple(outputs))


def placeholders(part: Part, whole: TensorType, rows: int, sizes: Sequence[int]) -> list[Tensor]:
    """For the part that each replica brings, one."""
    if part.kind == "sum":
        return [Placeholder(whole.dtype, whole.shape) for _ in sizes]
    each = part.size // rows
    return [Placeholder(whole.dtype, tuple(size * each if i == part.axis else d
                                           for i, d in enumerate(whole.shape))) for size in sizes]


def together(part: Part, values: Sequence[Tensor]) -> Tensor:
    """The values of all replicas as one; sums in the order of the replicas."""
    if part.kind == "gather":
        return concat(values, part.axis)
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
