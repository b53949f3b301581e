"""Narrow: do behind a pooling what is cheaper there. The first line of each docstring is the rule.

The largest element of a window stays the largest under a function that never falls, so a bias and
a relu may wait until pooling has thinned the data: of a 2x2 window three quarters of the work is
never done, forwards or backwards. Where rounding makes two elements of a window equal only after
the bias is added, the gradient may take the other of the two.
"""
from __future__ import annotations

from ..graph import Graph, Node, Tensor
from ..ops import broadcast as b
from ..ops import math as m
from ..ops import pool as p
from .rules import Rules, made_by

RULES = Rules()
rule = RULES


def narrow(graph: Graph) -> Graph:
    """Apply every rule of this file until nothing changes."""
    return RULES.rewrite(graph)


@rule(p.MaxPool)
def pool_before_relu(node: Node) -> Tensor | None:
    """max_pool(relu(z)) -> relu(max_pool(z))"""
    x, = node.inputs
    return m.relu(node.op(x.node.inputs[0])) if made_by(x, m.Relu) and _thins(node) else None


@rule(p.MaxPool)
def pool_before_bias(node: Node) -> Tensor | None:
    """max_pool(z + bias) -> max_pool(z) + bias        one number per channel"""
    z, bias = _biased(node.inputs[0])
    return node.op(z) + bias if z is not None and _thins(node) else None


@rule(m.ReluGrad)
def relu_grad_before_pool_grad(node: Node) -> Tensor | None:
    """relu_grad(max_pool_grad(r, y, g), r) -> max_pool_grad(z, max_pool(z), relu_grad(g, y))

    where r = relu(z) and y = max_pool(r). A window whose maximum relu cut off passes no gradient on
    either side; in every other the first largest element is the same one.
    """
    g, r = node.inputs
    if not (made_by(g, p.MaxPoolGrad) and made_by(r, m.Relu) and g.node.inputs[0] is r):
        return None
    _, y, gy = g.node.inputs
    z, = r.node.inputs
    how = (g.node.op.window, g.node.op.strides, g.node.op.pads)
    return g.node.op(z, p.MaxPool(*how)(z), m.relu_grad(gy, y))


@rule(p.MaxPoolGrad)
def pool_grad_before_bias(node: Node) -> Tensor | None:
    """max_pool_grad(z + bias, y, g) -> max_pool_grad(z, max_pool(z), g)"""
    x, _, gy = node.inputs
    z, _ = _biased(x)
    if z is None:
        return None
    return node.op(z, p.MaxPool(node.op.window, node.op.strides, node.op.pads)(z), gy)


@rule(b.Sum)
def sum_before_pool_grad(node: Node) -> Tensor | None:
    """sum of max_pool_grad(x, y, g) over all windows -> sum of g      no window loses any of it"""
    gx, = node.inputs
    if not made_by(gx, p.MaxPoolGrad, p.AveragePoolGrad):
        return None
    gy = gx.node.inputs[2 if made_by(gx, p.MaxPoolGrad) else 0]
    whole = set(range(1, gx.ndim - 1)) <= set(node.op.axes) and gy.dtype == gx.dtype
    return node.op(gy) if whole else None


def _thins(node: Node) -> bool:
    """Are there at most half as many windows as elements?"""
    x, y = node.inputs[0].type.size, node.outputs[0].type.size
    return x is not None and y is not None and 2 * y <= x


def _biased(x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """(z, bias) of x = z + bias where the bias is one number per channel, else (None, None)."""
    if made_by(x, m.Add):
        for z, bias in (x.node.inputs, x.node.inputs[::-1]):
            if z.type == x.type and bias.dtype == x.dtype and all(d == 1 for d in bias.shape[:-1]):
                return z, bias
    return None, None
