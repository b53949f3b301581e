"""Scan: a graph run once per time step, with state carried from step to step; the general loop.

Gradients run the loop backwards and compute each step forwards again from its saved state, so only
states
are kept, not what lies inside a step (Chen et al. 2016, arXiv:1604.06174, with one segment a step).
"""
from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from ..errors import GraphError, ShapeError
from ..graph import (Constant, Graph, Node, Op, Placeholder, Tensor, TensorType, gradients,
                     is_float, rebuild, toposort)
from .broadcast import expand_dims, squeeze
from .composite import evaluate, static_form
from .math import zeros_like
from .shape import concat, slice_axis


class Body:
    """The graph of one step.

    inputs: placeholders for the slices of the sequences, then the states, then what stays the same.
    outputs: the new states, then what is collected.
    """

    def __init__(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], n_seqs: int,
                 n_states: int) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.n_seqs, self.n_states = n_seqs, n_states

    @property
    def graph(self) -> Graph:
        return Graph(self.inputs, self.outputs)

    def split(self, values: Sequence) -> tuple[list, list, list]:
        """Sequences, states, constants of a list in the order of `inputs`."""
        a, b = self.n_seqs, self.n_seqs + self.n_states
        return list(values[:a]), list(values[a:b]), list(values[b:])

    def __repr__(self) -> str:
        return f"<{len(toposort(self.outputs))} nodes>"


class Scan(Op):
    """Sequences (T, …), first states, constants -> states after each step (T, …), collected (T, …).

    keep[i] False: of state i only the last value is returned. `reverse` walks from the last step
    to the
    first; what is returned stays in the order of the sequences.
    """

    params = ("body", "keep", "reverse")
    reverse = False
    foldable = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        seqs, states, consts = self.body.split(types)
        steps = {t.shape[0] for t in seqs} - {None}
        if len(steps) > 1 or 0 in steps:
            raise ShapeError(f"sequences of {sorted(steps)} steps: expected one length above 0")
        for t, p in zip(states, self.body.outputs):
            if t.dtype != p.dtype or not _agree(t.shape, p.shape):
                raise ShapeError(f"a state changes its type: it starts as {t}, "
                                 f"one step makes it {p.type}")
        length = (steps.pop() if steps else None,)
        outs = []
        for i, t in enumerate(self.body.outputs):
            shape = states[i].shape if i < len(states) else t.shape
            lone = i < len(states) and not self.keep[i]
            outs.append(TensorType(t.dtype, shape if lone else length + shape))
        return tuple(outs)

    def static(self, *inputs: Tensor) -> tuple[Tensor, ...] | None:
        """The body for exactly these types, with all that is the same in every step moved out of
        it.

        Small constants, such as the learning phase, move into it.
        """
        types = _step_types(self.body, [t.type for t in inputs])
        slices, carried, _ = self.body.split(
            [p if p.type == t else Placeholder(t.dtype, t.shape, p.name)
             for p, t in zip(self.body.inputs, types)])
        seqs, states, consts = self.body.split(inputs)
        replace = dict(zip(self.body.inputs, slices + carried + consts))
        outputs = rebuild(self.body.outputs, replace, static_form)
        n = self.body.n_states
        body, captured = close_over(slices, carried, outputs[:n], outputs[n:])
        same = all(p.type == t for p, t in zip(self.body.inputs, types))
        if same and captured == consts:
            return None
        return as_tuple(Scan(body, self.keep, self.reverse)(*seqs, *states, *captured))

    def grad(self, node: Node, *gys: Tensor | None):
        return _ScanGradient(self, node, gys).run()

    def flops(self, ins, outs):
        one = toposort(self.body.outputs)
        return ins[0].shape[0] * sum(
            n.op.flops(tuple(t.type for t in n.inputs), tuple(t.type for t in n.outputs))
            for n in one if n.inputs)

    def numpy(self, *arrays):
        seqs, states, consts = self.body.split(arrays)
        length = seqs[0].shape[0]
        collected: list[list] = [[None] * length for _ in self.body.outputs]
        for t in range(length)[::-1 if self.reverse else 1]:
            given = dict(zip(self.body.inputs, [s[t] for s in seqs] + states + consts))
            values = evaluate(self.body.outputs, given)
            states = list(values[:len(states)])
            for column, value in zip(collected, values):
                column[t] = value
        last = 0 if self.reverse else -1
        return tuple(column[last] if i < len(states) and not self.keep[i] else np.stack(column)
                     for i, column in enumerate(collected))


class _ScanGradient:
    """The loop that runs backwards over a Scan node."""

    def __init__(self, op: Scan, node: Node, gys: Sequence[Tensor | None]) -> None:
        self.op, self.body = op, op.body
        self.seqs, self.states, self.consts = op.body.split(node.inputs)
        n = op.body.n_states
        self.histories, self.gys = node.outputs[:n], gys
        self.previous = [_before(h, s, op.reverse) if keep else None
                         for h, s, keep in zip(self.histories, self.states, op.keep)]

    def run(self) -> list[Tensor | None]:
        body, n = self.body, self.body.n_states
        x_in, s_in, c_in = body.split(body.inputs)
        g_state = [_like(s) for s in s_in]
        c_wrt = [c for c in c_in if is_float(c.dtype)]
        g_const = [_like(c) for c in c_wrt]
        arrive, g_steps = self._arriving(g_state)
        grads = gradients(arrive, x_in + s_in + c_wrt)
        gx, gs, gc = grads[:len(x_in)], grads[len(x_in):len(x_in) + n], grads[len(x_in) + n:]
        new = [zeros_like(s) if g is None else g for s, g in zip(g_state, gs)]
        new += [old if g is None else old + g for old, g in zip(g_const, gc)]
        collect = [g for g in gx if g is not None]
        previous = self._saved_states(s_in, new + collect)
        seq_in = x_in + [p for p, _ in previous] + [p for p, _ in g_steps]
        back = Body(seq_in + g_state + g_const + c_in, new + collect, len(seq_in), len(new))
        outs = as_tuple(Scan(back, (False,) * len(new), not self.op.reverse)(
            *self.seqs, *(v for _, v in previous), *(g for _, g in g_steps),
            *self._first_gradients(), *(zeros_like(c) for c in self.consts if is_float(c.dtype)),
            *self.consts))
        of_x = iter(outs[len(new):])
        of_c = iter(outs[n:len(new)])
        return ([None if g is None else next(of_x) for g in gx] + list(outs[:n])
                + [next(of_c) if is_float(c.dtype) else None for c in self.consts])

    def _arriving(self, g_state):
        """(value of the step, its gradient) pairs, and (placeholder, sequence) of the outer
        gradients."""
        n = self.body.n_states
        pairs, steps = [], []
        for i, y in enumerate(self.body.outputs):
            g = self.gys[i]
            if i < n:
                total = g_state[i]
                if g is not None and self.op.keep[i]:
                    steps.append((_like(y), g))
                    total = total + steps[-1][0]
                pairs.append((y, total))
            elif g is not None:
                steps.append((_like(y), g))
                pairs.append((y, steps[-1][0]))
        return pairs, steps

    def _saved_states(self, s_in, outputs) -> list[tuple[Tensor, Tensor]]:
        """(placeholder, sequence) of the states that entered each step, where the gradient needs
        them."""
        used = {n.outputs[0] for n in toposort(outputs)}
        pairs = []
        for p, sequence in zip(s_in, self.previous):
            if p in used and sequence is None:
                raise GraphError("the gradient needs every value of a state of which only the last "
                                 "was kept: second derivatives through this loop are not available")
            if p in used:
                pairs.append((p, sequence))
        return pairs

    def _first_gradients(self) -> list[Tensor]:
        """What arrives at the last states themselves, for those returned without their history."""
        return [g if g is not None and not keep else zeros_like(s)
                for s, g, keep in zip(self.states, self.gys, self.op.keep)]


def scan(step: Callable[..., tuple[Sequence[Tensor], Sequence[Tensor]]],
         sequences: Sequence[Tensor], states: Sequence[Tensor], reverse: bool = False
         ) -> tuple[list[Tensor], list[Tensor]]:
    """Run `step` once per time step.

    step(slices, states) -> (new states, values to collect), called once, on placeholders. Tensors
    from
    outside that it uses (weights, masks) are found and passed in.
    sequences: (T, …) each; states: the first ones.
    Returns the states after every step, (T, …) each, and the collected values, (T, …) each.
    """
    slices = [Placeholder(s.dtype, s.shape[1:]) for s in sequences]
    carried = [_like(s) for s in states]
    new, values = step(slices, carried)
    body = close_over(slices, carried, list(new), list(values))
    op = Scan(body[0], (True,) * len(carried), reverse)
    outs = as_tuple(op(*sequences, *states, *body[1]))
    return list(outs[:len(carried)]), list(outs[len(carried):])


def close_over(slices: list[Tensor], carried: list[Tensor], new: list[Tensor], values: list[Tensor]
               ) -> tuple[Body, list[Tensor]]:
    """The body of a step and the outside tensors it uses, each replaced by a placeholder."""
    own = set(slices) | set(carried)
    inside: set[Tensor] = set(own)
    order = toposort(new + values)
    for node in order:
        if any(t in inside for t in node.inputs):
            inside.update(node.outputs)
    outside: dict[Tensor, None] = {}
    for t in [t for n in order if n.outputs[0] in inside for t in n.inputs] + new + values:
        scalar = isinstance(t, Constant) and t.value.size == 1
        if t not in inside and not scalar:
            outside.setdefault(t)
    replace: dict[Tensor, Tensor] = {t: _like(t) for t in outside}
    outputs = rebuild(new + values, replace)
    captured = list(outside)
    inputs = slices + carried + [replace[t] for t in captured]
    return Body(inputs, outputs, len(slices), len(carried)), captured


def as_tuple(outputs) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def last(history: Tensor, reverse: bool = False) -> Tensor:
    """The state after the last step walked."""
    part = slice_axis(history, 0, 0, 1) if reverse else slice_axis(history, 0, -1, None)
    return squeeze(part, 0)


def _before(history: Tensor, first: Tensor, reverse: bool) -> Tensor:
    """The states that entered each step."""
    if reverse:
        return concat([slice_axis(history, 0, 1, None), expand_dims(first, 0)], 0)
    return concat([expand_dims(first, 0), slice_axis(history, 0, None, -1)], 0)


def _like(t: Tensor) -> Placeholder:
    return Placeholder(t.dtype, t.shape)


def _agree(a: tuple, b: tuple) -> bool:
    return len(a) == len(b) and all(x == y or x is None or y is None for x, y in zip(a, b))


def _step_types(body: Body, types: Sequence[TensorType]) -> list[TensorType]:
    seqs, states, consts = body.split(types)
    return [t.with_shape(t.shape[1:]) for t in seqs] + states + consts
