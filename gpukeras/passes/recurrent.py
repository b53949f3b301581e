"""Recurrent: an LSTM or GRU layer becomes one op each way, with its products and weight gradients
(host only).

The ops Lstm and Gru hold only the loop over time: the products with the inputs stand before it,
those of the weight gradients after, and in between the gates of all steps go through memory several
times. On the host ops/lstm.py and ops/gru.py do it all step by step.

What belongs to a layer is found by writing it once more: equal nodes are one. If anything else
reads what the new ops do not give, the layer stays as it is.
"""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ..graph import Graph, Node, Placeholder, Tensor, rebuild, toposort
from ..ops.broadcast import Reshape, expand_dims, reshape, sum_
from ..ops.gru import GruWhole, GruWholeGrad
from ..ops.linalg import Dot, dot
from ..ops.lstm import LstmWhole, LstmWholeGrad
from ..ops.math import Add
from ..ops.rnn import Gru, GruGrad, Lstm, LstmGrad, rows_of
from ..ops.shape import Shift, Slice, Unslice
from .layout import layout
from .rules import made_by, scalar
from .simplify import simplify
from .target import Target

# Bytes of all weights. Each step reads them, and adds to as many gradients, so they must stay in an
# L2; beyond, products over all steps are up to a tenth faster.
MOST_WEIGHTS = 5 << 18

Inputs = tuple[Tensor, ...]


@dataclass
class _Layer:
    """One Lstm or Gru node and what belongs to it."""

    node: Node
    x: Tensor                                       # rows of inputs (B * S, F)
    w: Tensor
    bias: Tensor | None
    back: Node | None = None                        # its LstmGrad or GruGrad
    sequence: bool = False                          # all steps of h are read
    last: dict[Node, int] = field(default_factory=dict)         # slices: 0 of h, 1 of c
    gradients: dict[Node, str] = field(default_factory=dict)
    new: dict[str, Tensor] = field(default_factory=dict)        # gradients by name
    forward: Inputs = ()                            # what the new op gives
    read: Inputs = ()                               # w, r
    mask: Inputs = ()


def recurrent(graph: Graph, target: Target) -> Graph:
    """lstm(x w + b, r) and its gradients -> lstm_whole(x, w, r, b), lstm_whole_grad(..)"""
    if target.kernels:
        return graph
    order = toposort(graph.roots)
    nodes = [n for n in order if isinstance(n.op, (Lstm, Gru))]
    if not nodes:
        return graph
    users: dict[Tensor, list[Node]] = defaultdict(list)
    for node in order:
        for t in dict.fromkeys(node.inputs):
            users[t].append(node)
    layers = [layer for n in nodes for layer in [_read(n, users, set(order))] if layer]
    while layers:
        new, wanting = _rewritten(graph, layers)
        if not wanting:
            return new
        for i in wanting:                           # all steps of h, or something else
            layers[i] = _with_sequence(layers[i]) if wanting[i] == {0} else None
        layers = [layer for layer in layers if layer is not None]
    return graph


# ---- reading

def _read(node: Node, users: dict[Tensor, list[Node]], nodes: set[Node]) -> _Layer | None:
    """The layer around a node, or None."""
    projected = _projection(node.inputs[0])
    if projected is None or node.outputs[0].dtype not in ("float32", "float64"):
        return None
    layer = _Layer(node, *projected)
    if layer.w.type.nbytes + node.inputs[1].type.nbytes > MOST_WEIGHTS:
        return None
    states = node.outputs[:1 if isinstance(node.op, Gru) else 2]
    for i, history in enumerate(states):
        layer.last.update((n, i) for n in users[history] if _is_last(n.op, node, Slice))
    gates = node.outputs[1 if isinstance(node.op, Gru) else 2]
    backs = [n for n in users[gates] if isinstance(n.op, (LstmGrad, GruGrad))]
    if len(backs) > 1:
        return None
    if backs:
        layer.back, = backs
        layer.gradients = {n: name for n, name in _gradients(layer).items() if n in nodes}
    h_users = [n for n in users[states[0]] if not isinstance(n.op, (Shift, GruGrad))]
    return layer if all(n in layer.last for n in h_users) else _with_sequence(layer)


def _with_sequence(layer: _Layer) -> _Layer | None:
    """The layer, all steps of h among its results; None if they were already."""
    if layer.sequence:
        return None
    layer.sequence = True                           # slices of it are as good as the last ones
    layer.last = {n: i for n, i in layer.last.items() if i == 1}
    return layer


def _projection(xw: Tensor) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """(rows of x, w, bias or None) of xw = reshape(rows of x @ w) + bias."""
    bias = None
    if made_by(xw, Add):
        xw, bias = xw.node.inputs
        if bias.ndim == 3:
            xw, bias = bias, xw
        if bias.shape != xw.shape[-1:]:
            return None
    if not made_by(xw, Reshape) or xw.ndim != 3:
        return None
    product = xw.node.inputs[0]
    if not made_by(product, Dot) or product.node.op != Dot() or product.shape != (
            xw.shape[0] * xw.shape[1], xw.shape[2]):
        return None
    return (*product.node.inputs, bias)


def _is_last(op, node: Node, kind: type) -> bool:
    """The op takes (or, an Unslice, puts back) the step at which the walk ends, and no more."""
    steps = node.outputs[0].shape[1]
    if not isinstance(op, kind) or len(op.slices) != 3:
        return False
    whole, at, units = op.slices
    place = list(range(*slice(*at).indices(steps)))
    return (whole == units == (None, None, None)
            and place == [0 if node.op.reverse else steps - 1])


def _gradients(layer: _Layer) -> dict[Node, str]:
    """The nodes that compute gradients of the weights and inputs, as the passes leave them."""
    outs = layer.back.outputs
    rows = rows_of(outs[0])
    found = dict(zip(("r", "bias 2"), layer.node.op.weight_gradients(layer.node, outs)))
    found |= {"w": dot(layer.x, rows, trans_a=True), "x": dot(rows, layer.w, trans_b=True),
              "bias": sum_(outs[0], (0, 1))}
    settled = layout(simplify(Graph((), tuple(found.values()), ()))).outputs
    return {t.node: name for t, name in zip(settled, found)}


# ---- writing

def _rewritten(graph: Graph, layers: list[_Layer]) -> tuple[Graph, dict[int, set[int]]]:
    """The graph with new ops for the layers; and for those of which something is read that the new
    ops do not give: which outputs of the old node (-1: others)."""
    parts: dict[Node, int] = {}
    for i, layer in enumerate(layers):
        named = [layer.node, layer.back, *layer.last, *layer.gradients]
        parts.update((n, i) for n in named if n is not None)
    missing: dict[Tensor, tuple[int, int]] = {}

    def visit(node: Node, inputs: Inputs) -> Inputs | None:
        i = parts.get(node)
        if i is None:
            return None
        outs = list(_written(layers[i], node, inputs))
        for k, (new, old) in enumerate(zip(outs, node.outputs)):
            if new is None:                        # something that nobody should read
                outs[k] = Placeholder(old.dtype, old.shape)
                missing[outs[k]] = i, 0 if node is layers[i].node and not k else -1
        return tuple(outs)

    new = graph.with_roots(rebuild(graph.roots, {}, visit))
    wanting: dict[int, set[int]] = defaultdict(set)
    for node in toposort(new.roots):
        for t in node.outputs:
            if t in missing:
                i, number = missing[t]
                wanting[i].add(number)
    return new, wanting


def _written(layer: _Layer, node: Node, inputs: Inputs) -> list[Tensor | None]:
    """What stands for the outputs of a node of the layer; None where the new ops give nothing."""
    states = _states(layer)
    if node is layer.node:
        _write_forward(layer, inputs)
        h = layer.forward[states] if layer.sequence else None
        return [h] + [None] * (len(node.outputs) - 1)
    if node is layer.back:
        _write_backward(layer, inputs)
        firsts = [layer.new.get(f"state {k}") for k in range(states)]
        return [None] * (len(node.outputs) - states) + firsts
    if node in layer.last:
        return [expand_dims(layer.forward[layer.last[node]], 1)]
    new = layer.new.get(layer.gradients[node])
    return [None if new is None else reshape(new, node.outputs[0].shape)]


def _states(layer: _Layer) -> int:
    return 1 if isinstance(layer.node.op, Gru) else 2


def _write_forward(layer: _Layer, inputs: Inputs) -> None:
    op, (x, w, bias), states = layer.node.op, _projection(inputs[0]), _states(layer)
    r, first, more = inputs[1], inputs[2:2 + states], list(inputs[2 + states:])
    zero = all(scalar(s) == 0 for s in first)
    biases = [] if bias is None else [bias]
    rule, keep = (op.activation, op.recurrent_activation, op.reverse), layer.back is not None
    if isinstance(op, Gru):
        biases += [more.pop(0)] if op.has_bias else []
        whole = GruWhole(*rule, op.reset_after, layer.sequence, keep, bias is not None,
                         op.has_bias, not zero)
    else:
        whole = LstmWhole(*rule, layer.sequence, keep, bias is not None, not zero)
    b, s, _ = layer.node.outputs[0].shape
    layer.forward = whole(reshape(x, (b, s, x.shape[1])), w, r, *biases,
                          *([] if zero else first), *more)
    layer.read, layer.mask = (w, r), tuple(more)


def _write_backward(layer: _Layer, inputs: Inputs) -> None:
    """Fills layer.new."""
    op, whole, forward = layer.back.op, layer.forward[0].node.op, layer.forward
    is_gru = isinstance(op, GruGrad)
    gh, *more = inputs[5 if is_gru else 4:]
    sequence = not _is_last(gh.node.op, layer.node, Unslice)
    gh = gh if sequence else reshape(gh.node.inputs[0], forward[0].shape)
    rule = op.activation, op.recurrent_activation, whole.reverse
    kinds = set(layer.gradients.values())
    flags = whole.has_state, bool(kinds - {"x"}), "x" in kinds
    if is_gru:
        weights = ["r", "w", "bias", *(["bias 2"] if whole.two_biases else [])]
        back = GruWholeGrad(*rule, op.reset_after, sequence, whole.two_biases, *flags)
        outs = back(*forward[-3:], *layer.read, gh, *layer.mask)
    else:
        weights = ["r", "w", *(["bias"] if whole.has_bias else [])]
        gc = []
        if op.has_gc:
            if not _is_last(more[0].node.op, layer.node, Unslice):
                return                              # nothing is given: the layer stays
            gc = [reshape(more[0].node.inputs[0], forward[1].shape)]
        back = LstmWholeGrad(*rule, sequence, op.has_gc, whole.has_bias, *flags)
        outs = back(*forward[-4:], *layer.read, gh, *gc, *layer.mask)
    names = (weights if back.weights else []) + (["x"] if back.inputs else [])
    names += [f"state {k}" for k in range(_states(layer))] if whole.has_state else []
    layer.new = dict(zip(names, outs if isinstance(outs, tuple) else (outs,), strict=True))
