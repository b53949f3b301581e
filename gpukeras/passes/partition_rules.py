"""How ops treat tensors that are spread over replicas, or partial sums; see partition.py.

A rule gets the walk and a node of which some input is not whole. It returns the layout of the
output (a list of them for several), or None: the next rule is asked, and in the end the inputs are
gathered.
"""
from __future__ import annotations

from math import prod
from typing import Sequence

from ..graph import Node, Placeholder, Tensor, apply, toposort
from ..graph.op import Mark
from ..ops import ctc, nn, pool, rnn, upsample
from ..ops.broadcast import BroadcastTo, ExpandDims, Reshape, Squeeze, Sum, reshape
from ..ops.collective import AllReduce
from ..ops.conv import DataGradMap, ForwardMap, WeightGradMap
from ..ops.elementwise import Elementwise
from ..ops.index import Gather, GatherGrad, OneHot
from ..ops.linalg import BatchDot, Dot
from ..ops.math import Add, Copy, Neg, StopGradient, Sub, cast, maximum, rsqrt, square
from ..ops.norm import BatchNormGrad, BatchNormStats, BatchNormSums, BatchNormTrain
from ..ops.reduce import ArgMax, _Cumulate, _Reduction
from ..ops.scan import Scan, close_over
from ..ops.shape import (Concat, Pad, Repeat, Reverse, Shift, Slice, Tile, Transpose, Unslice)
from .partition import PARTIAL, RULES, SPREAD, WHOLE, Layout, NeedsAll, Walk
from .rules import scalar

Found = "Layout | list[Layout] | None"


def _applied(node: Node, inputs: Sequence[Tensor], op=None) -> Tensor:
    return apply(op or node.op, tuple(inputs), node.origin).outputs[0]


def _kinds(walk: Walk, node: Node) -> set[str]:
    return {walk.layouts[t].kind for t in node.inputs}


# ------------------------------------------------------------------------------ partial sums

@RULES(Add, Sub, Neg, Copy, StopGradient, Mark, Reshape, ExpandDims, Squeeze, Transpose, Sum,
       Slice, Unslice, Concat, Reverse)
def linear(walk: Walk, node: Node) -> Found:
    """The sum of partial values is the partial value of the sum."""
    if _kinds(walk, node) != {PARTIAL}:
        return None
    return Layout(PARTIAL, _applied(node, [walk.layouts[t].tensor for t in node.inputs]))


# ------------------------------------------------------------------------------ elementwise

@RULES(Elementwise, BroadcastTo)
def elementwise(walk: Walk, node: Node) -> Found:
    """Rows stay with their replica; what all share is cut to their rows."""
    y = node.outputs[0]
    spread = [t for t in node.inputs if walk.spreads(t)]
    if not spread:
        return None
    x = spread[0]
    axis = walk.layouts[x].axis + y.ndim - x.ndim
    if y.shape[axis] != x.shape[walk.layouts[x].axis]:
        return None                                # one row that is repeated
    op = node.op
    if isinstance(op, BroadcastTo):
        op = BroadcastTo(walk.local_shape(y.shape, axis))
    return walk.spread_as(node, _applied(node, [walk.aligned(t, y, axis) for t in node.inputs], op),
                          axis)


# ------------------------------------------------------------------------------ shape

@RULES(Mark)
def mark(walk: Walk, node: Node) -> Found:
    return walk.layouts[node.inputs[0]]


@RULES(Reshape, ExpandDims, Squeeze)
def reshaped(walk: Walk, node: Node) -> Found:
    """Samples stay apart if the axes before theirs hold as many elements as before."""
    (x,), (y,) = node.inputs, node.outputs
    layout = walk.layouts[x]
    if layout.kind != SPREAD:
        return None
    before = prod(x.shape[:layout.axis])
    for axis, d in enumerate(y.shape):
        if prod(y.shape[:axis]) == before and d >= walk.rows and d % walk.rows == 0:
            return walk.spread_as(node, reshape(layout.tensor, walk.local_shape(y.shape, axis)),
                                  axis)
    return None


@RULES(Transpose)
def transposed(walk: Walk, node: Node) -> Found:
    layout = walk.layouts[node.inputs[0]]
    return walk.spread_as(node, _applied(node, [layout.tensor]), node.op.perm.index(layout.axis)) \
        if layout.kind == SPREAD else None


def _open(slices, axis: int, size: int):
    """The slices with the one of `axis` left open, None if it takes less than all."""
    if range(*slice(*slices[axis]).indices(size)) != range(size):
        return None
    return (*slices[:axis], (None, None, None), *slices[axis + 1:])


@RULES(Slice, Unslice)
def sliced(walk: Walk, node: Node) -> Found:
    layout = walk.layouts[node.inputs[0]]
    if layout.kind != SPREAD:
        return None
    wide = node.inputs[0] if isinstance(node.op, Slice) else node.outputs[0]
    slices = _open(node.op.slices, layout.axis, wide.shape[layout.axis])
    if slices is None:
        return None
    op = Slice(slices) if isinstance(node.op, Slice) else Unslice(
        slices, walk.local_shape(node.op.shape, layout.axis))
    return walk.spread_as(node, _applied(node, [layout.tensor], op), layout.axis)


@RULES(Pad, Tile, Reverse, _Cumulate)
def along_other_axes(walk: Walk, node: Node) -> Found:
    """Ops that leave the axis of the samples alone."""
    layout, op = walk.layouts[node.inputs[0]], node.op
    if layout.kind != SPREAD:
        return None
    axis = layout.axis
    touched = (op.pads[axis] != (0, 0) if isinstance(op, Pad)
               else op.reps[axis] != 1 if isinstance(op, Tile)
               else axis in op.axes if isinstance(op, Reverse)
               else op.axis % node.inputs[0].ndim == axis)
    return None if touched else walk.spread_as(node, _applied(node, [layout.tensor]), axis)


@RULES(Repeat)
def repeated(walk: Walk, node: Node) -> Found:
    layout = walk.layouts[node.inputs[0]]
    return walk.spread_as(node, _applied(node, [layout.tensor]), layout.axis) \
        if layout.kind == SPREAD else None


@RULES(Concat, Shift)
def joined(walk: Walk, node: Node) -> Found:
    axes = {walk.layouts[t].axis for t in node.inputs if walk.spreads(t)}
    if len(axes) != 1 or node.op.axis in axes:
        return None
    axis, = axes
    return walk.spread_as(node, _applied(node, [walk.part(t, axis) for t in node.inputs]), axis)


# ------------------------------------------------------------------------------ reductions

def _remaining(axis: int, axes: Sequence[int], keepdims: bool) -> int:
    return axis if keepdims else axis - sum(a < axis for a in axes)


@RULES(Sum, _Reduction, ArgMax)
def reduced(walk: Walk, node: Node) -> Found:
    layout, op = walk.layouts[node.inputs[0]], node.op
    if layout.kind != SPREAD:
        return None
    ndim = node.inputs[0].ndim
    axes = (op.axis,) if isinstance(op, ArgMax) else op.axes
    axes = [a % ndim for a in axes]
    own = _applied(node, [layout.tensor])
    if layout.axis in axes:
        return Layout(PARTIAL, own) if isinstance(op, Sum) else None
    keepdims = not isinstance(op, ArgMax) and op.keepdims
    return walk.spread_as(node, own, _remaining(layout.axis, axes, keepdims))


# ------------------------------------------------------------------------------ products

@RULES(Dot)
def product(walk: Walk, node: Node) -> Found:
    """Rows of the result, columns of it, or, when samples are summed over, a partial sum."""
    (a, b), op = node.inputs, node.op
    rank = a.ndim
    rows, inner_a = (rank - 1, rank - 2) if op.trans_a else (rank - 2, rank - 1)
    inner_b, columns = (rank - 1, rank - 2) if op.trans_b else (rank - 2, rank - 1)
    of_a, of_b = (walk.layouts[t].axis if walk.spreads(t) else None for t in (a, b))
    if isinstance(op, BatchDot) and 0 in (of_a, of_b):
        return walk.spread_as(node, _applied(node, [walk.part(a, 0), walk.part(b, 0)]), 0)
    if inner_a == of_a or inner_b == of_b:
        if inner_a != of_a and of_a is not None or inner_b != of_b and of_b is not None:
            return None
        return Layout(PARTIAL, _applied(node, [walk.part(a, inner_a), walk.part(b, inner_b)]))
    if of_a == rows:
        return walk.spread_as(node, _applied(node, [walk.part(a, rows), walk.whole(b)]), rank - 2)
    if of_b == columns:
        return walk.spread_as(node, _applied(node, [walk.whole(a), walk.part(b, columns)]),
                              rank - 1)
    return None


# ------------------------------------------------------------------------------ batch first

def batch_first(walk: Walk, node: Node, weights: frozenset[int] = frozenset()) -> Found:
    """Samples along the first axis of every input that is no weight, and of every output."""
    for i, t in enumerate(node.inputs):
        layout = walk.layouts[t]
        if layout.kind == SPREAD and (i in weights or layout.axis):
            return None
        if i not in weights and (not t.ndim or t.shape[0] % walk.rows or not t.shape[0]):
            return None
    if all(walk.layouts[t].kind != SPREAD for t in node.inputs):
        return None
    inputs = [walk.whole(t) if i in weights else walk.part(t, 0)
              for i, t in enumerate(node.inputs)]
    made = apply(node.op, tuple(inputs), node.origin).outputs
    return [walk.spread_as(node, t, 0, i) for i, t in enumerate(made)]


for classes, numbers in (
        ((pool._Pool, upsample._Upsample, ctc.Ctc, ctc.CtcGrad, ctc.CtcGreedy, ctc.CtcBeam), ()),
        ((ForwardMap, DataGradMap, rnn.Lstm, rnn.SimpleRnn, rnn.SimpleRnnGrad), (1,)),
        ((rnn.LstmGrad,), (3,)), ((rnn.GruGrad,), (4,))):
    RULES(*classes)(lambda walk, node, numbers=frozenset(numbers): batch_first(walk, node, numbers))


@RULES(rnn.Gru)
def gru(walk: Walk, node: Node) -> Found:
    return batch_first(walk, node, frozenset({1, 3} if node.op.has_bias else {1}))


@RULES(WeightGradMap)
def weight_gradient(walk: Walk, node: Node) -> Found:
    if any(walk.spreads(t) and walk.layouts[t].axis for t in node.inputs) \
            or not any(walk.spreads(t) for t in node.inputs):
        return None
    return Layout(PARTIAL, _applied(node, [walk.part(t, 0) for t in node.inputs]))


@RULES(nn.Softmax, nn.SoftmaxGrad, nn.LogSoftmax, nn.LogSoftmaxGrad, nn.SoftmaxCrossEntropy,
       nn.SoftmaxCrossEntropyGrad, nn.SparseSoftmaxCrossEntropy, nn.SparseSoftmaxCrossEntropyGrad)
def class_scores(walk: Walk, node: Node) -> Found:
    """Classes along the last axis of the first input; samples along any other one."""
    axes = {walk.layouts[t].axis for t in node.inputs if walk.spreads(t)}
    if len(axes) != 1 or axes == {node.inputs[0].ndim - 1}:
        return None
    axis, = axes
    return walk.spread_as(node, _applied(node, [walk.part(t, axis) for t in node.inputs]), axis)


# ------------------------------------------------------------------------------ batch statistics

def _samples(walk: Walk, node: Node, numbers: Sequence[int]) -> int | None:
    """The axis of the samples if the inputs with these numbers are spread along one that is not
    that of the channels, and replicas may wait for each other."""
    axes = {walk.layouts[node.inputs[i]].axis for i in numbers if walk.spreads(node.inputs[i])}
    if walk.inner or len(axes) != 1 or axes == {node.inputs[0].ndim - 1} or any(
            walk.spreads(t) for i, t in enumerate(node.inputs) if i not in numbers):
        return None
    return axes.pop()


@RULES(BatchNormTrain)
def normalised(walk: Walk, node: Node) -> Found:
    """Means of x and of x^2 over all samples, from each replica's mean and variance, in double:
    one exchange, and no digits lost where means are large."""
    axis = _samples(walk, node, (0,))
    if axis is None:
        return None
    (x, gamma, beta), eps = node.inputs, node.op.eps
    own = walk.part(x, axis)
    mean, var, _ = BatchNormStats(eps)(own)
    share = prod(own.shape[:-1]) / prod(x.shape[:-1])
    wide = cast(mean, "float64")
    first = AllReduce()(wide * share)
    second = AllReduce()((cast(var, "float64") + square(wide)) * share)
    m = cast(first, gamma.dtype)
    v = cast(maximum(second - square(first), 0.0), gamma.dtype)
    scale = walk.whole(gamma) * rsqrt(v + eps)
    y = cast((cast(own, gamma.dtype) - m) * scale + walk.whole(beta), x.dtype)
    return [walk.spread_as(node, y, axis), Layout(WHOLE, m), Layout(WHOLE, v)]


@RULES(BatchNormGrad)
def normalised_gradient(walk: Walk, node: Node) -> Found:
    """Sums over the samples of this replica, one exchange, then the gradient by x."""
    axis = _samples(walk, node, (0, 4))
    if axis is None:
        return None
    (x, gamma, mean, var, gy), dtype = node.inputs, node.inputs[1].dtype
    own, g, m = walk.part(x, axis), walk.part(gy, axis), walk.whole(mean)
    by_x, by_g = (AllReduce()(t) for t in BatchNormSums()(own, m, g))
    rstd = rsqrt(walk.whole(var) + node.op.eps)
    scale = walk.whole(gamma) * rstd
    share = -1.0 / prod(x.shape[:-1])
    slope, base = scale * square(rstd) * by_x * share, scale * by_g * share
    # not (x - mean), which would then be kept from the forward pass
    gx = cast(g, dtype) * scale + cast(own, dtype) * slope + (base - m * slope)
    return [walk.spread_as(node, cast(gx, x.dtype), axis), Layout(WHOLE, by_x * rstd),
            Layout(WHOLE, by_g)]


# ------------------------------------------------------------------------------ tables

@RULES(Gather)
def gathered(walk: Walk, node: Node) -> Found:
    x, idx = node.inputs
    if walk.spreads(idx):
        axis = walk.layouts[idx].axis
        inputs = [walk.whole(x), walk.layouts[idx].tensor]
    elif walk.spreads(x) and walk.layouts[x].axis:
        axis = walk.layouts[x].axis + idx.ndim - 1
        inputs = [walk.layouts[x].tensor, walk.whole(idx)]
    else:
        return None
    return walk.spread_as(node, _applied(node, inputs), axis)


@RULES(GatherGrad)
def gathered_gradient(walk: Walk, node: Node) -> Found:
    gy, idx = node.inputs
    axes = {walk.layouts[t].axis for t in node.inputs if walk.spreads(t)}
    if len(axes) != 1 or axes.pop() >= idx.ndim:
        return None
    axis = next(walk.layouts[t].axis for t in node.inputs if walk.spreads(t))
    return Layout(PARTIAL, _applied(node, [walk.part(gy, axis), walk.part(idx, axis)]))


@RULES(OneHot)
def one_hot(walk: Walk, node: Node) -> Found:
    layout = walk.layouts[node.inputs[0]]
    return walk.spread_as(node, _applied(node, [layout.tensor]), layout.axis) \
        if layout.kind == SPREAD else None


# ------------------------------------------------------------------------------ loops

@RULES(Scan)
def loop(walk: Walk, node: Node) -> Found:
    """The loop over this replica's samples, if no step of it needs all of them.

    States that start whole may become spread, or partial if they start as zeros: so the layouts of
    the states are looked for until one step keeps them.
    """
    seqs, states, consts = node.op.body.split(node.inputs)
    layouts = [walk.layouts[t] for t in node.inputs]
    if any(a.kind == PARTIAL or a.kind == SPREAD and not a.axis
           for a in layouts[:len(seqs)]) or any(a.kind == PARTIAL for a in layouts[len(seqs):]):
        return None
    kept = layouts[len(seqs):len(seqs) + len(states)]
    kept = [Layout(PARTIAL, a.tensor) if _adds_up(node, i) and a.kind == WHOLE else a
            for i, a in enumerate(kept, len(seqs))]
    for _ in range(len(states) + 2):
        try:
            body = _Step(walk, node, layouts, kept)
        except NeedsAll:
            return None
        if body.new == [(a.kind, a.axis) for a in kept]:
            return body.loop()
        kept = [_wider(walk, t, a, new) for t, a, new in zip(states, kept, body.new)]
        if None in kept:
            return None
    return None


def _adds_up(node: Node, i: int) -> bool:
    """Does a state start at zero and each step add something to it, as gradients of weights do?"""
    body = node.op.body
    place, new = body.inputs[i], body.outputs[i - body.n_seqs]
    if scalar(node.inputs[i]) != 0 or not isinstance(new.node.op, Add):
        return False
    return [t for n in toposort(body.outputs) for t in n.inputs].count(place) == 1 \
        and place in new.node.inputs


def _wider(walk: Walk, t: Tensor, now: Layout, new: tuple[str, int]) -> Layout | None:
    """The layout of a first state that suits what a step makes of it."""
    kind, axis = new
    if (now.kind, now.axis) == new or kind == WHOLE:
        return now if now.kind == WHOLE or (now.kind, now.axis) == new else None
    if now.kind != WHOLE:
        return None
    if kind == SPREAD:
        return Layout(SPREAD, walk.part(t, axis), axis, t.shape[axis] // walk.rows)
    zero = scalar(now.tensor) == 0
    return Layout(PARTIAL, now.tensor) if zero else None


class _Step:
    """One step of a loop over this replica's samples."""

    def __init__(self, walk: Walk, node: Node, layouts: list[Layout], states: list[Layout]) -> None:
        self.walk, self.node = walk, node
        body = node.op.body
        n = len(body.split(node.inputs)[0])
        self.first = [*layouts[:n], *states, *layouts[n + len(states):]]
        inner: dict[Tensor, Layout] = {}
        for i, (p, a) in enumerate(zip(body.inputs, self.first)):
            axis = a.axis - (i < n)
            carried = i < n + len(states)
            tensor = a.tensor
            if carried:
                shape = walk.local_shape(p.shape, axis) if a.kind == SPREAD else p.shape
                tensor = Placeholder(p.dtype, shape)
            inner[p] = Layout(a.kind, tensor, max(axis, 0), a.each)
        self.slices = [inner[p].tensor for p in body.inputs[:n]]
        self.carried = [inner[p].tensor for p in body.inputs[n:n + len(states)]]
        steps = Walk(walk.graph, walk.rows, walk.size, walk.first, inner)
        # constants from outside that no placeholder stands for are seen as they are
        steps.run(body.outputs)
        self.outs = [steps.layouts[t] for t in body.outputs]
        self.new = [(a.kind, a.axis) for a in self.outs[:len(states)]]
        for i, (kind, _) in enumerate(self.new):   # zeros that a partial sum is added to
            if kind == WHOLE and states[i].kind == SPREAD:
                self.outs[i] = Layout(SPREAD, steps.part(body.outputs[i], states[i].axis),
                                      states[i].axis)
                self.new[i] = (SPREAD, states[i].axis)

    def loop(self) -> list[Layout]:
        walk, op = self.walk, self.node.op
        n, m = len(self.slices), len(self.carried)
        outs = [a.tensor for a in self.outs]
        body, captured = close_over(self.slices, self.carried, outs[:m], outs[m:])
        given = [a.tensor for a in self.first[:n + m]]
        made = apply(Scan(body, op.keep, op.reverse), (*given, *captured), self.node.origin)
        found = []
        for i, (t, a) in enumerate(zip(made.outputs, self.outs)):
            lone = i < m and not op.keep[i]
            axis = a.axis if lone else a.axis + 1
            if a.kind == SPREAD:
                found.append(walk.spread_as(self.node, t, axis, i))
            else:
                found.append(Layout(a.kind, t))
        return found
