"""Stabilise: formulas that overflow or lose digits become equal ones that do not."""
from __future__ import annotations

from ..graph import Graph, Node, Tensor
from ..ops import math as m
from ..ops.nn import Softmax, log_softmax
from ..ops.reduce import ArgMax
from .rules import Rules, made_by, scalar

RULES = Rules()
rule = RULES


def stabilise(graph: Graph) -> Graph:
    """Apply every rule of this file until nothing changes."""
    return RULES.rewrite(graph)


@rule(m.Log)
def log_of_sigmoid(node: Node) -> Tensor | None:
    """log(sigmoid(x)) -> -softplus(-x)        stays finite below -90"""
    x, = node.inputs
    return -m.softplus(-x.node.inputs[0]) if made_by(x, m.Sigmoid) else None


@rule(m.Log)
def log_of_softmax(node: Node) -> Tensor | None:
    """log(softmax(x)) -> log_softmax(x)       stays finite where a probability underflows"""
    x, = node.inputs
    return log_softmax(x.node.inputs[0]) if made_by(x, Softmax) else None


@rule(m.Log)
def log_of_one_plus(node: Node) -> Tensor | None:
    """log(1 + exp(x)) -> softplus(x);  log(1 + x) -> log1p(x)"""
    x, = node.inputs
    if not made_by(x, m.Add):
        return None
    a, b = x.node.inputs
    if scalar(b) == 1:
        a, b = b, a
    if scalar(a) != 1 or b.type != node.outputs[0].type:
        return None
    return m.softplus(b.node.inputs[0]) if made_by(b, m.Exp) else m.log1p(b)


@rule(ArgMax)
def place_in_softmax(node: Node) -> Tensor | None:
    """argmax(softmax(x)) -> argmax(x)         scores whose probabilities round alike stay apart"""
    x, = node.inputs
    if not made_by(x, Softmax) or node.op.axis != x.ndim - 1:
        return None
    return node.op(x.node.inputs[0])
