"""Centre: batch normalisation subtracts the mean, so what is constant over the batch drops out.

A bias before it changes nothing but the mean, and no gradient reaches that bias: summing one would
only collect rounding errors, which optimizers such as Adam then enlarge to full steps.
"""
from __future__ import annotations

from ..graph import Constant, Graph, Node, Tensor, rebuild, toposort
from ..ops import math as m
from ..ops.broadcast import Sum, broadcast_to, reshape
from ..ops.norm import BatchNormGrad, BatchNormTrain
from .rules import made_by, settle


def centre(graph: Graph) -> Graph:
    """batch_norm(z + bias) -> batch_norm(z), mean + bias;  sum of its gradient by x -> 0"""
    if not any(isinstance(n.op, BatchNormTrain) for n in toposort(graph.roots)):
        return graph
    return graph.with_roots(rebuild(graph.roots, {}, _visit))


def _visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    if isinstance(node.op, BatchNormTrain):
        z, bias = biased(inputs[0])
        if z is None:
            return None
        y, mean, var = node.op(z, *inputs[1:])
        return y, mean + m.cast(reshape(bias, mean.shape), mean.dtype), var
    if isinstance(node.op, BatchNormGrad):
        x, gamma, mean, var, gy = inputs
        z, _ = biased(x)
        made = var.node
        if z is None or not isinstance(made.op, BatchNormTrain) or made.inputs[0] is not z:
            return None
        return node.op(z, gamma, made.outputs[1], var, gy)
    if isinstance(node.op, Sum) and _is_centred(inputs[0], node.op.axes):
        total = node.outputs[0]
        return (broadcast_to(Constant(0, total.dtype), total.shape),)
    return settle(node.op, inputs)


def biased(x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """(z, bias) of x = z + bias where the bias is one number per channel, else (None, None)."""
    if made_by(x, m.Add):
        for z, bias in (x.node.inputs, x.node.inputs[::-1]):
            if (z.type == x.type and bias.dtype == x.dtype and bias.type.size == x.shape[-1]
                    and bias.ndim and bias.shape[-1] == x.shape[-1]):
                return z, bias
    return None, None


def _is_centred(gx: Tensor, axes: tuple[int, ...]) -> bool:
    """Is it the gradient that batch normalisation passes on to its input, summed over the batch?"""
    if not made_by(gx, BatchNormGrad) or gx.index or axes != tuple(range(gx.ndim - 1)):
        return False
    x, _, mean, var, _ = gx.node.inputs
    made = var.node
    return isinstance(made.op, BatchNormTrain) and mean.node is made and made.inputs[0] is x
