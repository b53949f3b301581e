"""Pool: one update over all weights instead of one for each.

An optimizer writes its rule once per weight. Updates of the same form, say Adam's of twenty
weights, become a
single update of one flat vector: the weights (and each of their slots) then live side by side in
memory, and
their gradients are computed in place inside one packed vector (ops.shape.Pack).
"""
from __future__ import annotations

import weakref

from ..graph import Graph, Mark, Node, Tensor, Variable, apply, rebuild
from ..graph.op import unmarked
from ..ops.broadcast import BroadcastTo, broadcast_to
from ..ops.math import Add
from ..ops.shape import pack, pack_offsets
from .pool_sums import drop_zeros, whole_sums
from .rules import is_elementwise, made_by


class Pool(Variable):
    """Variables that live side by side, as one vector; `offsets` say where each starts, in
    elements."""

    def __init__(self, members: tuple[Variable, ...]) -> None:
        self.members = members
        self.offsets = pack_offsets(members)
        super().__init__(lambda: None, members[0].dtype, f"pool_of_{members[0].name}",
                         trainable=False, shape=(self.offsets[-1],))
        for v in members:
            v.home = weakref.ref(self)


def home_of(variable: Variable) -> Pool | None:
    """The living pool that a variable belongs to."""
    ref = getattr(variable, "home", None)
    return ref() if ref is not None else None


def pool(graph: Graph) -> Graph:
    """v1' = f(v1, g1), v2' = f(v2, g2), … -> (v1, v2, …)' = f((v1, v2, …), pack(g1, g2, …))"""
    groups: dict[tuple, list[tuple[Variable, list[Tensor]]]] = {}
    for variable, new in graph.updates:
        signature, leaves = _form(variable, new)
        groups.setdefault(signature, []).append((variable, leaves))
    columns: dict[tuple, Tensor] = {}
    updates, taken, pooled = [], set(), []
    new_of = dict(graph.updates)
    for group in groups.values():
        members = tuple(v for v, _ in group)
        if len(members) < 2 or not _can_pool(group):
            continue
        flat_of = {}
        for k, first in enumerate(group[0][1]):
            flat_of[first] = (first if _is_shared(first, group[0][0]) else
                              _column(tuple(leaves[k] for _, leaves in group), columns))
        flat = _retype(new_of[members[0]], members[0].shape, flat_of)
        updates.append((_column(members, columns), flat))
        taken.update(members)
        pooled.append((group, flat_of))
    sums = whole_sums(graph, pooled, _form, _retype)
    rest = [(v, new) for v, new in graph.updates if v not in taken]
    graph = Graph(graph.inputs, graph.outputs, tuple(rest + updates))
    if sums:
        graph = graph.with_roots(rebuild(graph.roots, sums, drop_zeros))
    return _unmark(graph)


def _form(variable: Variable, new: Tensor) -> tuple[tuple, list[Tensor]]:
    """The elementwise program that makes `new`, and its leaves: equal forms can be pooled.

    Leaves are variables of the same shape, gradients, whatever is not elementwise, and shared
    scalars, which
    must be the same tensor in every member of the group.
    """
    slots: dict[Tensor, int] = {}
    leaves: list[Tensor] = []
    program = []

    def visit(t: Tensor) -> int:
        if t in slots:
            return slots[t]
        if _is_shared(t, variable):
            program.append(("shared", id(t)))
            leaves.append(t)
        elif t.shape == variable.shape and is_elementwise(t.node.op):
            args = tuple(visit(u) for u in t.node.inputs)
            spread = isinstance(t.node.op, BroadcastTo)    # to the shape of each member
            program.append((BroadcastTo if spread else t.node.op, args))
        elif made_by(t, Mark) and _own_terms(t.node.inputs[0], variable.shape):
            slots[t] = add_own_terms(t.node.inputs[0])
            return slots[t]
        else:
            leaf(t)
        slots[t] = len(program) - 1
        return slots[t]

    def leaf(t: Tensor) -> None:
        kind = "variable" if isinstance(t, Variable) else "value"
        program.append((kind, t.dtype, t.shape == variable.shape))
        leaves.append(t)

    def add_own_terms(t: Tensor) -> int:
        """A gradient with what regularizers add to it."""
        own = _own_terms(t, variable.shape)
        if not own:
            leaf(t)
        else:
            program.append((t.node.op, tuple(visit(u) if u in own else add_own_terms(u)
                                             for u in t.node.inputs)))
        slots[t] = len(program) - 1
        return slots[t]

    visit(new)
    return (variable.dtype, variable.trainable, tuple(program)), leaves


def _own_terms(t: Tensor, shape: tuple) -> set[Tensor]:
    """Of a gradient, the term that depends on nothing but one weight and scalars: what an L2
    regularizer adds to it. Empty if there is none, or nothing else."""
    if not (made_by(t, Add) and t.shape == shape):
        return set()
    own = {u for u in t.node.inputs if u.shape == shape and len(_weights(u)) == 1}
    return own if len(own) == 1 else set()


def _weights(t: Tensor) -> set[Tensor]:
    """The tensors that an elementwise expression in its own shape depends on, if there are but
    variables; else more than one of them."""
    if isinstance(t, Variable):
        return {t}
    if not is_elementwise(t.node.op):
        return {t, *t.node.inputs}
    found: set[Tensor] = set()
    for u in t.node.inputs:
        if u.type.size != 1:
            found |= _weights(u) if u.shape == t.shape else {t, u}
    return found


def _is_shared(t: Tensor, variable: Variable) -> bool:
    return t.type.size == 1 and t is not variable and not (variable.type.size == 1 and t.ndim)


def _can_pool(group: list[tuple[Variable, list[Tensor]]]) -> bool:
    """Every leaf fills the shape of its variable; variables among the leaves are free or already
    neighbours."""
    for variable, leaves in group:
        if variable not in leaves and not any(isinstance(t, Variable) for t in leaves):
            return False                           # nothing to gain: a plain assignment
        if any(t.shape != variable.shape for t in leaves if not _is_shared(t, variable)):
            return False
    columns = {tuple(v for v, _ in group)}
    for k, first in enumerate(group[0][1]):
        if isinstance(first, Variable) and not _is_shared(first, group[0][0]):
            columns.add(tuple(leaves[k] for _, leaves in group))
    together = [v for column in columns for v in column]       # no variable in two places
    return len(set(together)) == len(together) and all(map(_is_free, columns))


def _is_free(variables: tuple[Variable, ...]) -> bool:
    homes = {home_of(v) for v in variables}
    if homes == {None}:
        return len(set(variables)) == len(variables)
    return len(homes) == 1 and homes.pop().members == variables


def _column(tensors: tuple[Tensor, ...], columns: dict[tuple, Tensor]) -> Tensor:
    """The same leaf of every member, as one vector."""
    if tensors not in columns:
        if all(isinstance(t, Variable) for t in tensors):
            home = home_of(tensors[0])
            columns[tensors] = Pool(tensors) if home is None else home
        else:
            columns[tensors] = pack([unmarked(t) for t in tensors])
    return columns[tensors]


def _retype(new: Tensor, shape: tuple, flat_of: dict[Tensor, Tensor]) -> Tensor:
    """The program of one member, run over the flat vectors. It ends at its leaves: what lies below
    a shared scalar (the norm of all gradients, say) stays as it is."""
    flat = next(v.shape for t, v in flat_of.items() if v is not t)
    made = dict(flat_of)

    def visit(t: Tensor) -> Tensor:
        if t not in made:
            inputs = [visit(u) for u in t.node.inputs]
            if isinstance(t.node.op, BroadcastTo) and t.node.op.shape == shape:
                made[t] = broadcast_to(inputs[0], flat)
            else:
                made[t] = apply(t.node.op, inputs, t.node.origin).outputs[t.index]
        return made[t]

    return visit(new)


def _unmark(graph: Graph) -> Graph:
    """The gradient marks have done their work."""
    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return inputs[:1] if isinstance(node.op, Mark) else None
    return graph.with_roots(rebuild(graph.roots, {}, visit))
