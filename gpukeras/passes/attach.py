"""Attach: what follows a convolution is done before its output is written, on CUDA."""
from __future__ import annotations

from collections import defaultdict

from ..graph import Graph, Node, Tensor, rebuild, toposort
from ..ops.broadcast import Sum
from ..ops.conv import Conv, ConvDataGrad
from ..ops.conv_attached import ConvBias, ConvDataRelu, ConvStats
from ..ops.math import Add, Relu, ReluGrad
from ..ops.norm import BatchNormStats
from .rules import is_elementwise
from .target import Target

Tensors = tuple[Tensor, ...]


def attach(graph: Graph, target: Target) -> Graph:
    """relu(conv(x, w) + b) -> conv_bias(x, w, b)    where nothing else needs what is in between
    conv(x, w) with its batch_norm_stats -> conv_stats(x, w)
    relu_grad(conv_data_grad(gy, w), y) with its sums -> conv_data_relu(gy, w, y)"""
    return _Attach(graph).graph if target.kernels else graph


class _Attach:
    """A walk over a graph, and what comes out."""

    def __init__(self, graph: Graph) -> None:
        self.users: dict[Tensor, list[Node]] = defaultdict(list)
        self.roots = set(graph.roots)
        for node in toposort(graph.roots):
            for t in dict.fromkeys(node.inputs):
                self.users[t].append(node)
        self.sums: dict[Tensor, Tensor] = {}       # a Sum's result -> what took it along
        self.graph = graph.with_roots(rebuild(graph.roots, {}, self.visit))

    def visit(self, node: Node, inputs: Tensors) -> Tensors | None:
        if type(node.op) is Conv and len(found := self._stats_of(node)) == 1:
            eps = found[0].op.eps
            return ConvStats(*node.op.how, eps)(*inputs)[:1]
        if isinstance(node.op, BatchNormStats) and isinstance(inputs[0].node.op, ConvStats):
            return inputs[0].node.outputs[1:]
        if isinstance(node.op, Relu):
            return self._biased(node, inputs)
        if isinstance(node.op, ReluGrad):
            return self._cut(node, inputs)
        total = self.sums.get(node.outputs[0])
        return None if total is None else (total,)

    def _only_for(self, t: Tensor, node: Node) -> bool:
        return self.users[t] == [node] and t not in self.roots

    def _stats_of(self, conv: Node) -> list[Node]:
        return [n for n in self.users[conv.outputs[0]] if isinstance(n.op, BatchNormStats)]

    def _biased(self, node: Node, inputs: Tensors) -> Tensors | None:
        total = node.inputs[0]
        if type(total.node.op) is not Add or not self._only_for(total, node):
            return None
        for y, b in (total.node.inputs, total.node.inputs[::-1]):
            if (type(y.node.op) is Conv and b.shape == y.shape[-1:]
                    and self._only_for(y, total.node)):
                new = inputs[0].node.inputs                  # the same two, rebuilt
                y, b = new if total.node.inputs[0] is y else new[::-1]
                return (ConvBias(*y.node.op.how, 1)(*y.node.inputs, b),)
        return None

    def _cut(self, node: Node, inputs: Tensors) -> Tensors | None:
        """Where other elementwise work follows, the cut stays with that, where it costs nothing."""
        gx, y = node.inputs
        out, = node.outputs
        after = self.users[out]
        if not (type(gx.node.op) is ConvDataGrad and len(gx.node.inputs) == 2
                and self._only_for(gx, node) and y.type == gx.type
                and not any(is_elementwise(n.op) for n in after)):
            return None
        sums = [n.outputs[0] for n in after if type(n.op) is Sum
                and n.op.axes == tuple(range(out.ndim - 1))]
        data = inputs[0].node
        made = ConvDataRelu(*data.op.how, data.op.size, bool(sums))(*data.inputs, inputs[1])
        if not sums:
            return (made,)
        self.sums[sums[0]] = made[1]
        return made[:1]
