"""Fuse: neighbouring elementwise ops of one shape become one Fused op, one kernel, one walk over
memory."""
from __future__ import annotations

from typing import Callable, Iterable

from ..graph import Constant, Graph, Node, Tensor, Variable, apply, toposort
from ..graph.leaves import Leaf
from ..ops.broadcast import reshape
from ..ops.fused import Fused, FusedStep
from ..ops.sums import FusedSums
from .groups import Group, attach_sums, drop_unread, inputs_of, masks_inside, repeat_cheap
from .rules import is_elementwise
from .target import HOST, Target

MAX_INPUTS = 24                                    # arrays a kernel may read


def fuse(graph: Graph, target: Target = HOST) -> Graph:
    """f(g(x), h(y)) -> fused(x, y);  sum(f(x)) -> fused(x) with sums, on CUDA"""
    if target.kernels:
        graph = masks_inside(graph)
    order = toposort(graph.roots)
    grouping = _Grouping()
    for node in order:
        grouping.add(node)
    if target.kernels:
        grouping.join_readers_of_variables(order)
    groups = _merge_scalars(order, grouping.groups)
    keep = set(graph.roots)
    if target.kernels:
        repeat_cheap(order, groups, keep)
        attach_sums(order, groups)
    if not any(len(g.all) > 1 for g in groups):
        return graph
    drop_unread(groups, _used_outside(order, groups, keep))
    outside = _used_outside(order, groups, keep)
    replace: dict[Tensor, Tensor] = {}
    # Groups in dependency order: build each from tensors that are already rebuilt.
    for unit in _order_units(order, groups):
        if isinstance(unit, Group) and len(unit.all) > 1:
            _emit(unit, outside, replace)
        else:
            for node in unit.nodes if isinstance(unit, Group) else [unit]:
                _copy(node, replace)
    return graph.with_roots(replace.get(t, t) for t in graph.roots)


class _Grouping:
    """Greedy: a node joins the groups of its inputs that have its shape, if that closes no cycle.

    `reach[node]` has a bit for every group that a node outside of groups depends on, `depends[g]`
    the same
    for a group. A group may gain dependencies after others came to depend on it, and a merged
    group lives on
    as a dependency on the one that took it in, so the bits are followed transitively when a
    question is asked.
    """

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.group_of: dict[int, int] = {}
        self.reach: dict[int, int] = {}
        self.depends: list[int] = []

    def closure(self, bits: int) -> int:
        """All groups that must run before something with these direct dependencies."""
        seen = 0
        while bits:
            low = bits & -bits
            bits ^= low
            seen |= low
            bits |= self.depends[low.bit_length() - 1] & ~seen
        return seen

    def needs(self, nodes: list[Node]) -> int:
        """Bits of the groups that the nodes read, directly or through nodes outside of groups."""
        inside = {id(n) for n in nodes}
        bits = 0
        for n in nodes:
            for t in n.inputs:
                if id(t.node) not in inside:
                    g = self.group_of.get(id(t.node))
                    bits |= (1 << g) if g is not None else self.reach.get(id(t.node), 0)
        return bits

    def add(self, node: Node) -> None:
        if isinstance(node.op, Leaf):
            return
        if not is_elementwise(node.op):
            self.reach[id(node)] = self.needs([node])
            return
        shape = node.outputs[0].shape
        unit = Group(shape, [node])
        joined: set[int] = set()
        near = {self.group_of.get(id(t.node)) for t in node.inputs} - {None}
        for g in sorted(near, reverse=True):
            other = self.groups[g]
            if other.shape == shape and self._can_join(joined | {g}, other.nodes + unit.nodes):
                unit.nodes = other.nodes + unit.nodes
                joined.add(g)
        self._settle(unit, joined)

    def _can_join(self, joined: set[int], nodes: list[Node]) -> bool:
        """No path leads from one of the groups through an outside node back into one of them."""
        if len(inputs_of(nodes)) > MAX_INPUTS:
            return False
        before = self.closure(self.needs(nodes))
        return not any(before >> g & 1 for g in joined)

    def _settle(self, unit: Group, joined: set[int]) -> None:
        """Number the new group; the groups it took in become empty and point to it."""
        number = len(self.groups)
        self.groups.append(unit)
        self.depends.append(self.needs(unit.nodes))
        for g in joined:
            self.groups[g] = Group(unit.shape)
            self.depends[g] = 1 << number
        for n in unit.nodes:
            self.group_of[id(n)] = number

    def join_readers_of_variables(self, order: list[Node]) -> None:
        """Groups of one shape join the one that reads all the variables they read, and more:
        the squares of all weights, summed for a loss, join their update."""
        place = {id(n): i for i, n in enumerate(order)}
        wide = [(g, _full_inputs(group)) for g, group in enumerate(self.groups)
                if len(group.shape) and group.nodes]
        for small, few in wide:
            if not few or not all(isinstance(t, Variable) for t in few):
                continue
            for large, many in wide:
                if large == small or not few < many or not self.groups[large].nodes:
                    continue
                a, b = self.groups[small], self.groups[large]
                nodes = sorted(a.nodes + b.nodes, key=lambda n: place[id(n)])
                if a.shape == b.shape and self._can_join({small, large}, nodes):
                    self._settle(Group(a.shape, nodes), {small, large})
                    break


def _full_inputs(group: Group) -> set[Tensor]:
    return {t for t in inputs_of(group.nodes) if t.shape == group.shape}


def _merge_scalars(order: list[Node], groups: list[Group]) -> list[Group]:
    """Scalars cost a launch each, however little they compute, so they share two.

    Groups that depend on leaves only (learning rates, 1 - beta) become one, and so do those that
    nothing but the roots reads (losses, metric sums, counters): neither can close a cycle.
    """
    place = {id(n): i for i, n in enumerate(order)}
    early = _closed(order, lambda n: [t.node for t in n.inputs])
    readers: dict[int, list[Node]] = {}
    for n in order:
        for t in n.inputs:
            readers.setdefault(id(t.node), []).append(n)
    late = _closed(reversed(order), lambda n: readers.get(id(n), []))
    found: dict[str, list[Group]] = {"early": [], "late": []}
    rest = []
    for g in groups:
        ids = {id(n) for n in g.nodes}
        kind = "late" if ids <= late else "early" if ids <= early else None
        if g.shape or not ids or kind is None:
            rest.append(g)
        else:
            found[kind].append(g)
    for kind in found.values():
        while kind:
            merged = kind.pop(0)
            for g in list(kind):
                nodes = sorted(merged.nodes + g.nodes, key=lambda n: place[id(n)])
                if len(inputs_of(nodes)) <= MAX_INPUTS:
                    merged = Group((), nodes)
                    kind.remove(g)
            rest.append(merged)
    return rest


def _closed(order: Iterable[Node], neighbours: Callable[[Node], list[Node]]) -> set[int]:
    """Ids of the elementwise scalars all of whose neighbours are leaves or scalars of this kind."""
    found: set[int] = set()
    for n in order:
        if is_elementwise(n.op) and n.outputs[0].shape == () and all(
                isinstance(m.op, Leaf) or id(m) in found for m in neighbours(n)):
            found.add(id(n))
    return found


def _used_outside(order: list[Node], groups: list[Group], keep: set[Tensor]) -> set[Tensor]:
    """Tensors made inside a group that somebody else needs."""
    inside = {id(n) for g in groups for n in g.nodes}
    joined = {id(n) for g in groups for n in g.all}
    used = set(keep)
    for g in groups:
        used.update(inputs_of(g.nodes))
    for node in order:
        if id(node) not in joined:
            used.update(node.inputs)
    return {t for t in used if id(t.node) in inside}


def _order_units(order: list[Node], groups: list[Group]) -> list:
    """Groups and other nodes, so that each comes after all it needs."""
    unit_of = {id(n): g for g in groups for n in g.own}
    done: set[int] = set()
    result: list = []
    for node in order:
        if isinstance(node.op, Leaf):
            continue
        stack = [(unit_of.get(id(node), node), False)]
        while stack:
            unit, ready = stack.pop()
            if id(unit) in done:
                continue
            if ready:
                done.add(id(unit))
                result.append(unit)
                continue
            stack.append((unit, True))
            nodes = unit.all if isinstance(unit, Group) else [unit]
            for n in nodes:
                for t in n.inputs:
                    other = unit_of.get(id(t.node), t.node)
                    leaf = isinstance(t.node.op, Leaf)
                    if other is not unit and id(other) not in done and not leaf:
                        stack.append((other, False))
    return result


def _copy(node: Node, replace: dict[Tensor, Tensor]) -> None:
    inputs = tuple(replace.get(t, t) for t in node.inputs)
    changed = any(a is not b for a, b in zip(inputs, node.inputs))
    new = apply(node.op, inputs, node.origin) if changed else node
    replace.update(zip(node.outputs, new.outputs))


def _emit(group: Group, outside: set[Tensor], replace: dict[Tensor, Tensor]) -> None:
    """One Fused node for the group."""
    inputs = inputs_of(group.nodes)
    slot: dict[Tensor, int] = {t: i for i, t in enumerate(inputs)}
    constants: list[tuple] = []
    for n in group.nodes:
        for t in n.inputs:
            if t not in slot and isinstance(t, Constant):
                slot[t] = len(inputs) + len(constants)
                constants.append((t.dtype, t.value.reshape(-1)[0].item()))
    steps = []
    for i, n in enumerate(group.nodes):
        slot[n.outputs[0]] = len(inputs) + len(constants) + i
    for n in group.nodes:
        steps.append(FusedStep(n.op, tuple(slot[t] for t in n.inputs)))
    results = [n.outputs[0] for n in group.nodes
               if n.outputs[0] in outside and id(n) not in group.repeated]
    how = (len(inputs), tuple(constants), tuple(steps), tuple(slot[t] for t in results),
           group.shape)
    op = Fused(*how)
    if group.sums:
        op = FusedSums(*how, tuple(slot[n.inputs[0]] for n in group.sums), group.columns)
    node = apply(op, tuple(replace.get(t, t) for t in inputs), _origin(group))
    replace.update(zip(results, node.outputs))
    for n, total in zip(group.sums, node.outputs[len(results):]):
        replace[n.outputs[0]] = reshape(total, n.outputs[0].shape)


def _origin(group: Group):
    """The first origin that names a layer."""
    return next((n.origin for n in group.nodes if n.origin.layer), group.nodes[0].origin)
