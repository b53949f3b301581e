"""Attach: what follows a convolution is done before its output is written, on CUDA."""
from __future__ import annotations

from collections import defaultdict

from ..graph import Graph, Node, Tensor, rebuild, toposort
from ..ops.conv import Conv
from ..ops.conv_attached import ConvBias, ConvStats
from ..ops.math import Add, Relu
from ..ops.norm import BatchNormStats
from .target import Target


def attach(graph: Graph, target: Target) -> Graph:
    """relu(conv(x, w) + b) -> conv_bias(x, w, b)    where nothing else needs what is in between
    conv(x, w) with its batch_norm_stats -> conv_stats(x, w)"""
    if not target.kernels:
        return graph
    users: dict[Tensor, list[Node]] = defaultdict(list)
    for node in toposort(graph.roots):
        for t in dict.fromkeys(node.inputs):
            users[t].append(node)

    def stats_of(conv: Node) -> list[Node]:
        return [n for n in users[conv.outputs[0]] if isinstance(n.op, BatchNormStats)]

    def only_for(t: Tensor, node: Node) -> bool:
        return users[t] == [node] and t not in graph.roots

    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if type(node.op) is Conv and len(found := stats_of(node)) == 1:
            eps = found[0].op.eps
            return ConvStats(*node.op.how, eps)(*inputs)[:1]
        if isinstance(node.op, BatchNormStats) and isinstance(inputs[0].node.op, ConvStats):
            return inputs[0].node.outputs[1:]
        if not isinstance(node.op, Relu):
            return None
        total = node.inputs[0]
        if type(total.node.op) is not Add or not only_for(total, node):
            return None
        for y, b in (total.node.inputs, total.node.inputs[::-1]):
            if type(y.node.op) is Conv and b.shape == y.shape[-1:] and only_for(y, total.node):
                new = inputs[0].node.inputs                  # the same two, rebuilt
                y, b = new if total.node.inputs[0] is y else new[::-1]
                return (ConvBias(*y.node.op.how, 1)(*y.node.inputs, b),)
        return None
    return graph.with_roots(rebuild(graph.roots, {}, visit))
