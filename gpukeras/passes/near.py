"""Near: keep what belongs together in the cache (host only).

The output of a convolution that is only max-pooled never goes to memory: the block of images that
has just been convolved is pooled at once, and a mask of the elements taken serves the gradients.
"""
from __future__ import annotations

from collections import defaultdict
from math import prod

from ..graph import Graph, Node, Tensor, rebuild, toposort
from ..ops.conv import Conv, ConvWeightGrad
from ..ops.conv_pool import ConvMaxPool, MaskedConvWeightGrad, MaskedSpread
from ..ops.pool import MaxPool, MaxPoolGrad
from .rules import made_by
from .target import Target

LEAST_BYTES = 1 << 20                              # of the convolution's output


def near(graph: Graph, target: Target) -> Graph:
    """max_pool(conv(x, w)) and its gradient -> pooled, mask = conv_max_pool(x, w) and mask * g"""
    if target.kernels:
        return graph
    users: dict[Tensor, list[Node]] = defaultdict(list)
    order = toposort(graph.roots)
    for node in order:
        for t in dict.fromkeys(node.inputs):
            users[t].append(node)
    chosen = {node.outputs[0] for node in order
              if isinstance(node.op, Conv) and _pooled_only(node, users, graph)}
    if not chosen:
        return graph

    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        op = node.op
        if isinstance(op, MaxPool) and node.inputs[0] in chosen:
            return (_together(inputs[0].node, op.window)[0],)
        if isinstance(op, MaxPoolGrad) and node.inputs[0] in chosen:
            mask = _together(inputs[0].node, op.window)[1]
            return (MaskedSpread(op.window)(mask, inputs[2]),)
        if isinstance(op, ConvWeightGrad) and made_by(inputs[1], MaskedSpread) \
                and users[node.inputs[1]] == [node]:
            spread = inputs[1].node
            fused = MaskedConvWeightGrad(op.window, op.strides, op.pads, op.dilation,
                                         spread.op.window)
            return (fused(inputs[0], *spread.inputs),)
        return None
    return graph.with_roots(rebuild(graph.roots, {}, visit))


def _together(conv: Node, window: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """(pooled, mask) of a convolution's node; the same pair each time, for equal nodes are one."""
    op = conv.op
    return ConvMaxPool(op.strides, op.pads, op.dilation, window)(*conv.inputs)


def _pooled_only(node: Node, users: dict[Tensor, list[Node]], graph: Graph) -> bool:
    """The convolution is large, in float32 or float64, and used by one max pooling whose windows
    tile it, and by that one's gradient."""
    y, = node.outputs
    pools = [n for n in users[y] if isinstance(n.op, MaxPool)]
    grads = [n for n in users[y] if isinstance(n.op, MaxPoolGrad) and n.inputs[0] is y]
    if len(pools) != 1 or not grads or len(pools) + len(grads) != len(users[y]) \
            or y in graph.roots or y.dtype not in ("float32", "float64"):
        return False
    how = {(n.op.window, n.op.strides, n.op.pads) for n in pools + grads}
    window, strides, pads = how.pop()
    return (not how and window == strides and not any(p for pair in pads for p in pair)
            and all(o % k == 0 for o, k in zip(y.shape[1:], window)) and prod(window) > 1
            and y.type.nbytes >= LEAST_BYTES)
