"""Recurrent: an LSTM layer becomes one op each way, with its products and gradients (host only).

The op Lstm holds only the loop over time: the products with the inputs stand before it, those of
the weight gradients after LstmGrad, and in between the gates of all steps go through memory several
times. On the host ops/lstm.py does it all step by step. Whatever does not look exactly as the layer
LSTM writes it stays as it is.
"""
from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ..graph import Graph, Node, Tensor, rebuild, toposort
from ..ops.broadcast import Reshape, Sum, expand_dims, reshape
from ..ops.linalg import Dot
from ..ops.lstm import LstmWhole, LstmWholeGrad
from ..ops.math import Add
from ..ops.rnn import Lstm, LstmGrad
from ..ops.shape import Shift, Slice, Unslice
from .rules import made_by, scalar
from .target import Target

# Bytes of all weights. Each step reads them, so they must stay near; where inputs are wide (words
# as one-hot rows) one product for all steps is the better way.
MOST_WEIGHTS = 4 << 20

Users = dict[Tensor, list[Node]]


@dataclass
class _Layer:
    """One Lstm node whose surroundings are understood."""

    node: Node
    last_h: set[Node] = field(default_factory=set)              # slices of the last step
    last_c: set[Node] = field(default_factory=set)
    sequence: bool = False                          # all steps of h are read
    back: Node | None = None                        # its LstmGrad
    gradients: dict[Node, int] = field(default_factory=dict)    # node -> 0 r, 1 w, 2 bias, 3 x
    weights: tuple[Tensor, ...] = ()                # w and r
    mask: tuple[Tensor, ...] = ()                   # the mask, if there is one
    forward: tuple[Tensor, ...] = ()                # what the new ops give
    backward: dict[int, Tensor] = field(default_factory=dict)


def recurrent(graph: Graph, target: Target) -> Graph:
    """lstm(x w + b, r) and its gradients -> lstm_whole(x, w, r, b), lstm_whole_grad(..)"""
    if target.kernels:
        return graph
    order = toposort(graph.roots)
    if not any(isinstance(n.op, Lstm) for n in order):
        return graph
    users: Users = defaultdict(list)
    for node in order:
        for t in dict.fromkeys(node.inputs):
            users[t].append(node)
    layers = [layer for n in order if isinstance(n.op, Lstm)
              for layer in [_read(n, users, graph)] if layer]
    parts: dict[Node, _Layer] = {}
    for layer in layers:
        named = [layer.node, layer.back, *layer.last_h, *layer.last_c, *layer.gradients]
        parts.update((n, layer) for n in named if n is not None)

    def visit(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        layer = parts.get(node)
        return None if layer is None else _replaced(layer, node, inputs)
    return graph.with_roots(rebuild(graph.roots, {}, visit)) if layers else graph


# ---- reading

def _read(node: Node, users: Users, graph: Graph) -> _Layer | None:
    """The layer around an Lstm node, or None."""
    h, c, gates = node.outputs
    ends = set(graph.roots)
    projected = _projection(node.inputs[0])
    if projected is None or h.dtype not in ("float32", "float64") or {c, gates} & ends:
        return None
    weights = projected[1].type.nbytes + node.inputs[1].type.nbytes
    if weights > MOST_WEIGHTS and projected[1].shape[0] > h.shape[2]:
        return None
    layer = _Layer(node)
    backs = [n for n in users[gates] if isinstance(n.op, LstmGrad)]
    if len(backs) != len(users[gates]) or len(backs) > 1:
        return None
    layer.back = backs[0] if backs else None
    for t, last in ((h, layer.last_h), (c, layer.last_c)):
        last.update(n for n in users[t] if _is_last(n.op, node, Slice))
    others = [n for n in users[c] if n not in layer.last_c and n is not layer.back]
    shifts = [n for n in users[h] if isinstance(n.op, Shift) and layer.back]
    rest = [n for n in users[h] if n not in layer.last_h and n not in shifts]
    if others or layer.back and not _read_back(layer, projected, shifts, users, ends):
        return None
    layer.sequence = bool(rest) or h in ends
    if layer.sequence:                             # then slices of it are as good
        layer.last_h.clear()
    return layer


def _projection(xw: Tensor) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """(rows of x, w, bias or None) of xw = reshape(rows of x @ w) + bias."""
    bias = None
    if made_by(xw, Add):
        xw, bias = xw.node.inputs
        if made_by(bias, Reshape, Dot) and bias.ndim == 3:
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


def _is_last(op, lstm: Node, kind: type) -> bool:
    """The op takes (or, an Unslice, puts back) the step at which the walk ends, and no more."""
    steps = lstm.outputs[0].shape[1]
    if not isinstance(op, kind) or len(op.slices) != 3:
        return False
    whole, at, units = op.slices
    place = list(range(*slice(*at).indices(steps)))
    return (whole == units == (None, None, None)
            and place == [0 if lstm.op.reverse else steps - 1])


def _read_back(layer: _Layer, projected: tuple, shifts: list[Node], users: Users,
               ends: set[Tensor]) -> bool:
    """Every use of LstmGrad's results is known; fills layer.gradients."""
    back, (x, w, bias) = layer.back, projected
    h, c, gates = layer.node.outputs
    gz, *firsts = back.outputs
    if back.inputs[:2] != (gates, c) or {gz, *firsts} & ends:
        return False
    has_gc = back.op.has_gc
    if has_gc and not _is_last(back.inputs[5].node.op, layer.node, Unslice):
        return False
    before = {s.outputs[0] for s in shifts}
    rows_before = {n.outputs[0] for t in before for n in users[t] if isinstance(n.op, Reshape)}
    if any(not isinstance(n.op, Reshape) for t in before for n in users[t]):
        return False
    for n in users[gz]:
        if isinstance(n.op, Reshape) and n.outputs[0].shape == (x.shape[0], gz.shape[2]):
            rows = n.outputs[0]
            for user in users[rows]:
                kind = _gradient(user, rows, x, w, rows_before)
                if kind is None:
                    return False
                layer.gradients[user] = kind
            if rows in ends:
                return False
        elif bias is not None and _is_bias_sum(n, (0, 1)):
            layer.gradients[n] = 2
        else:
            return False
    known = set(layer.gradients)
    return all(n in known for t in rows_before for n in users[t]) and not rows_before & ends \
        and not before & ends


def _is_bias_sum(node: Node, axes: tuple[int, ...]) -> bool:
    return isinstance(node.op, Sum) and node.op.axes == axes and not node.op.keepdims


def _gradient(user: Node, rows: Tensor, x: Tensor, w: Tensor, before: set[Tensor]) -> int | None:
    """Which gradient a node makes of `rows`, the gradient of x w + b: see _Layer.gradients."""
    if _is_bias_sum(user, (0,)):
        return 2
    if user.op == Dot(True, False) and user.inputs[1] is rows:
        left = user.inputs[0]
        return 0 if left in before else 1 if left is x else None
    if user.op == Dot(False, True) and user.inputs == (rows, w):
        return 3
    return None


# ---- writing

def _replaced(layer: _Layer, node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """What stands for the outputs of a node of the layer; None: nobody will read them."""
    if node is layer.node:
        _write_forward(layer, inputs)
        h, c, gates = layer.node.outputs
        return (layer.forward[2], c, gates) if layer.sequence else None
    if node in layer.last_h or node in layer.last_c:
        return (expand_dims(layer.forward[0 if node in layer.last_h else 1], 1),)
    if node is layer.back:
        _write_backward(layer, inputs)
        return node.outputs[:1] + tuple(
            layer.backward.get(i, t) for i, t in ((4, node.outputs[1]), (5, node.outputs[2])))
    new = layer.backward[layer.gradients[node]]
    return (reshape(new, node.outputs[0].shape),)


def _write_forward(layer: _Layer, inputs: tuple[Tensor, ...]) -> None:
    op, (x, w, bias) = layer.node.op, _projection(inputs[0])
    _, r, h0, c0, *mask = inputs
    b, s, _ = layer.node.outputs[0].shape
    zero = scalar(h0) == 0 and scalar(c0) == 0
    whole = LstmWhole(op.activation, op.recurrent_activation, op.reverse, layer.sequence,
                      layer.back is not None, bias is not None, not zero)
    layer.forward = whole(reshape(x, (b, s, x.shape[1])), w, r, *([] if bias is None else [bias]),
                          *([] if zero else [h0, c0]), *mask)
    layer.weights, layer.mask = (w, r), tuple(mask)


def _write_backward(layer: _Layer, inputs: tuple[Tensor, ...]) -> None:
    op, forward = layer.back.op, layer.node.op
    whole = layer.forward[0].node.op
    gh, more = inputs[4], list(inputs[5:])
    sequence = not _is_last(gh.node.op, layer.node, Unslice)
    gh = gh if sequence else reshape(gh.node.inputs[0], layer.forward[0].shape)
    gc = [reshape(more.pop(0).node.inputs[0], layer.forward[1].shape)] if op.has_gc else []
    kinds = set(layer.gradients.values())
    back = LstmWholeGrad(forward.activation, forward.recurrent_activation, forward.reverse,
                         sequence, op.has_gc, whole.has_bias, whole.has_state,
                         bool(kinds & {0, 1, 2}), 3 in kinds)
    outs = back(*layer.forward[-4:], *layer.weights, gh, *gc, *layer.mask)
    outs = list(outs) if isinstance(outs, tuple) else [outs]
    places = [0, 1, *([2] if whole.has_bias else [])] if back.weights else []
    places += [3] if back.inputs else []
    places += [4, 5] if whole.has_state else []
    layer.backward = dict(zip(places, outs, strict=True))
