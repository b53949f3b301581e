"""What the groups of `fuse` take in besides elementwise ops: sums of their results, and work of
other groups that is cheaper to repeat than to fetch. For devices with kernels."""
from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import prod

from ..graph import Constant, Graph, Node, Tensor, is_float, rebuild
from ..ops import math as m
from ..ops.broadcast import BroadcastTo, Sum
from ..ops.plans import arithmetic
from ..ops.random import MaskBits, RandomMask, mask_bits

CHEAP = (m.Add, m.Sub, m.Mul, m.Neg, m.Square, m.Cast, m.Relu, m.ReluGrad, BroadcastTo, MaskBits)
MAX_REPEATED = 6                                   # cheap ops made again rather than fetched
MAX_SUMS = 6                                       # of one kernel: 1 KB of shared memory each


@dataclass
class Group:
    """Elementwise nodes of one shape to be fused, in order, and sums over rows of what they make.

    columns: the size of each sum; 0 while there are none. repeated: ids of nodes that belong to
    other groups, made here once more.
    """

    shape: tuple
    nodes: list[Node] = field(default_factory=list)
    sums: list[Node] = field(default_factory=list)
    columns: int = 0
    repeated: set[int] = field(default_factory=set)

    @property
    def all(self) -> list[Node]:
        return self.nodes + self.sums

    @property
    def own(self) -> list[Node]:
        """All but what is made again."""
        return [n for n in self.all if id(n) not in self.repeated]


def inputs_of(nodes: list[Node]) -> list[Tensor]:
    """Tensors that the nodes read from outside, constants of one element left out."""
    inside = {id(n) for n in nodes}
    found = dict.fromkeys(t for n in nodes for t in n.inputs if id(t.node) not in inside)
    return [t for t in found if not (isinstance(t, Constant) and t.value.size == 1)]


def masks_inside(graph: Graph) -> Graph:
    """random_mask(step) -> mask_bits(step), so that fused kernels make the bits: none are stored"""
    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if type(node.op) is RandomMask and len(inputs) == 1 and node.outputs[0].type.size:
            return (mask_bits(node.op, inputs[0]),)
        return None
    return graph.with_roots(rebuild(graph.roots, {}, visit))


def attach_sums(order: list[Node], groups: list[Group]) -> None:
    """Sums over all leading axes join the group that makes what they add up.

    A sum depends on that group alone, so this closes no cycle.
    """
    home = {id(n): g for g in groups for n in g.own}
    wanted: dict[int, list[tuple[int, Node]]] = defaultdict(list)
    for node in order:
        columns = columns_of(node)
        if columns and id(node.inputs[0].node) in home:
            wanted[id(home[id(node.inputs[0].node)])].append((columns, node))
    for g in groups:
        found = wanted.get(id(g), [])
        kinds = Counter((columns, arithmetic(node.inputs[0].dtype)) for columns, node in found)
        if not kinds:
            continue
        (g.columns, work), _ = kinds.most_common(1)[0]
        g.sums = [node for columns, node in found if columns == g.columns
                  and arithmetic(node.inputs[0].dtype) == work][:MAX_SUMS]


def columns_of(node: Node) -> int:
    """Size of the result, if the node sums floats over all leading axes (and no others)."""
    if type(node.op) is not Sum:
        return 0
    x, = node.inputs
    axes = [a for a in range(x.ndim) if x.shape[a] != 1]
    summed = [a for a in axes if a in node.op.axes]
    if not x.type.size or not is_float(x.dtype) or not summed or summed != axes[:len(summed)]:
        return 0
    return x.type.size // prod(x.shape[a] for a in summed)


def repeat_cheap(order: list[Node], groups: list[Group], roots: set[Tensor]) -> None:
    """Let groups make again what costs little, where the tensor then need not go to memory at all
    and no group reads more than before: xhat of a batch normalisation, made from x."""
    home = {id(n): g for g in groups for n in g.nodes}
    readers: dict[Tensor, list[Group | None]] = defaultdict(list)
    for node in order:
        for t in node.inputs:
            maker = home.get(id(t.node))
            if maker is not None and maker is not home.get(id(node)):
                readers[t].append(home.get(id(node)))
    place = {id(n): i for i, n in enumerate(order)}
    for t, users in readers.items():
        maker = home[id(t.node)]
        if t in roots or any(g is None or g.shape != maker.shape for g in users):
            continue
        nodes = _makers(t, maker)
        if nodes is None:
            continue
        large = [u for u in inputs_of(nodes) if u.shape == maker.shape]
        if all(len([u for u in large if u not in inputs_of(g.nodes)]) <= 1 for g in users):
            for g in users:
                extra = [n for n in nodes if n not in g.nodes]
                g.nodes = sorted(g.nodes + extra, key=lambda n: place[id(n)])
                g.repeated.update(map(id, extra))


def _makers(t: Tensor, group: Group) -> list[Node] | None:
    """The nodes of the group that t takes, if they are few and cheap."""
    inside = {id(n) for n in group.nodes}
    found, stack = [], [t.node]
    while stack:
        node = stack.pop()
        if node in found:
            continue
        if not isinstance(node.op, CHEAP) or len(found) == MAX_REPEATED:
            return None
        found.append(node)
        stack += [u.node for u in node.inputs if id(u.node) in inside]
    return found


def drop_unread(groups: list[Group], used: set[Tensor]) -> None:
    """Forget nodes whose results no one reads any more."""
    for g in groups:
        needed = set(used) | {t for n in g.sums for t in n.inputs}
        kept = []
        for n in reversed(g.nodes):
            if any(t in needed for t in n.outputs):
                kept.append(n)
                needed.update(n.inputs)
        g.nodes = kept[::-1]
