"""Condense: the ends of a classifier's training step become single launches, on CUDA."""
from __future__ import annotations

from ..graph import Graph, Node, Tensor, apply, rebuild, toposort
from ..ops.broadcast import Sum
from ..ops.head import (CrossEntropyRows, CrossEntropySum, LabelCount, MatchCount,
                        SparseCrossEntropyRows, SparseCrossEntropySum, is_small)
from ..ops.math import Cast, Equal
from ..ops.nn import (SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad, SparseSoftmaxCrossEntropy,
                      SparseSoftmaxCrossEntropyGrad)
from ..ops.reduce import ArgMax
from .rules import Rules, made_by
from .target import Target

RULES = Rules()
rule = RULES

LOSSES = {SoftmaxCrossEntropy: (SoftmaxCrossEntropyGrad, CrossEntropySum),
          SparseSoftmaxCrossEntropy: (SparseSoftmaxCrossEntropyGrad, SparseCrossEntropySum)}
ROWS = {SoftmaxCrossEntropy: (SoftmaxCrossEntropyGrad, CrossEntropyRows),
        SparseSoftmaxCrossEntropy: (SparseSoftmaxCrossEntropyGrad, SparseCrossEntropyRows)}


def condense(graph: Graph, target: Target) -> Graph:
    """sum of cross-entropies with their gradient -> one op;  sum of hits -> one op"""
    if not target.kernels:
        return graph
    graph = RULES.rewrite(graph)
    while True:
        pair = _loss_with_gradient(graph)
        if pair is None:
            return _by_rows(graph)
        total, gx, joined = pair
        graph = graph.with_roots(rebuild(graph.roots, dict(zip((total, gx), joined))))


def _loss_with_gradient(graph: Graph) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]] | None:
    """(sum of the losses, their gradient, both out of one op), if the graph has such a pair."""
    order = toposort(graph.roots)
    for node in order:
        x = node.inputs[0] if _is_full_sum(node) else None
        if x is None or type(x.node.op) not in LOSSES or not is_small(x.node.inputs[0].type):
            continue
        grad_op, joined_op = LOSSES[type(x.node.op)]
        for other in order:
            if type(other.op) is grad_op and other.inputs[:2] == x.node.inputs:
                if not {id(node), id(other)} & {id(n) for n in toposort(other.inputs)}:
                    total, gx = node.outputs[0], other.outputs[0]
                    return total, gx, apply(joined_op(), other.inputs, node.origin).outputs
    return None


def _by_rows(graph: Graph) -> Graph:
    """Losses, gradient and hits of a wide classifier -> one op that walks the rows once."""
    while True:
        order = toposort(graph.roots)
        found = next(filter(None, (_rows(node, order) for node in order)), None)
        if found is None:
            return graph
        graph = graph.with_roots(rebuild(graph.roots, found))


def _rows(loss: Node, order: list[Node]) -> dict[Tensor, Tensor] | None:
    """What stands for the losses, their gradient and the hits, if the node makes such losses."""
    if type(loss.op) not in ROWS or loss.outputs[0].type.size in (None, 0):
        return None
    scores, targets = loss.inputs
    grad_op, joined_op = ROWS[type(loss.op)]
    gradient = next((n for n in order if type(n.op) is grad_op and n.inputs[:2] == loss.inputs
                     and loss not in toposort(n.inputs)), None)
    if gradient is None:
        return None
    below = set(map(id, toposort(gradient.inputs)))
    hits = next((n.outputs[0] for n in order if _tells_hits(n, scores, targets)
                 and n.outputs[0].type == loss.outputs[0].type and id(n) not in below), None)
    outs = apply(joined_op(hits is not None), gradient.inputs, loss.origin).outputs
    found = {loss.outputs[0]: outs[0], gradient.outputs[0]: outs[1]}
    return found if hits is None else {**found, hits: outs[2]}


def _tells_hits(node: Node, scores: Tensor, targets: Tensor) -> bool:
    """cast(argmax(scores) == argmax(targets)), or == targets where these are class numbers"""
    if not (isinstance(node.op, Cast) and made_by(node.inputs[0], Equal)):
        return False
    return any(_scores(a) is scores and (b is targets or _scores(b) is targets)
               for pair in [node.inputs[0].node.inputs] for a, b in (pair, pair[::-1]))


def _is_full_sum(node: Node) -> bool:
    return isinstance(node.op, Sum) and node.outputs[0].ndim == 0


@rule(Sum)
def count_of_matches(node: Node) -> Tensor | None:
    """sum(argmax(t) == argmax(p)) -> match_count(t, p);  sum(t == argmax(p)) -> label_count"""
    hits, = node.inputs
    if not (_is_full_sum(node) and made_by(hits, Cast) and made_by(hits.node.inputs[0], Equal)):
        return None
    for t, place in (pair := hits.node.inputs[0].node.inputs, pair[::-1]):
        scores = _scores(place)
        if scores is None or not is_small(scores.type) or scores.dtype != hits.dtype:
            continue
        targets = _scores(t)
        if targets is not None and targets.type == scores.type:
            return MatchCount()(targets, scores)
        if t.shape == scores.shape[:-1]:
            return LabelCount()(t, scores)
    return None


def _scores(place: Tensor) -> Tensor | None:
    """x where `place` is argmax(x) over the last axis, perhaps cast."""
    if made_by(place, Cast):
        place = place.node.inputs[0]
    if type(place.node.op) is not ArgMax:
        return None
    x, = place.node.inputs
    return x if place.node.op.axis == x.ndim - 1 else None
