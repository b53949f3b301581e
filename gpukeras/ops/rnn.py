"""Recurrent layers over whole sequences: one op each way, whose meaning is a scan of one step.

Batch first everywhere: (B, S, ...). The products with the inputs are done before, for all steps at
once, the gradients of the recurrent weights after, so that a sequence kernel holds only the loop.
"""
from __future__ import annotations

from functools import partial

from ..errors import ShapeError
from ..graph import Node, Tensor, TensorType
from .broadcast import expand_dims, reshape, squeeze, sum_
from .composite import Composite
from .host_rnn import (bind_gru, bind_gru_grad, bind_lstm, bind_lstm_grad, bind_simple_rnn,
                       bind_simple_rnn_grad, by_rows)
from .linalg import dot
from .math import cast, clip, relu, sigmoid, square, tanh, where, zeros_like
from .plans_rnn import (ACTIVATIONS, plan_gru, plan_gru_grad, plan_lstm, plan_lstm_grad,
                        plan_simple_rnn, plan_simple_rnn_grad)
from .record import Kernel
from .scan import last, scan
from .shape import concat, shift, slice_axis, transpose

Types = tuple[TensorType, ...]

# name -> function, derivative by the function's value
_FUNCTIONS = {
    "tanh": (tanh, lambda y: 1 - square(y)),
    "sigmoid": (sigmoid, lambda y: y * (1 - y)),
    "hard_sigmoid": (lambda x: clip(x * 0.2 + 0.5, 0, 1),
                     lambda y: cast(y > 0, y.dtype) * cast(y < 1, y.dtype) * 0.2),
    "relu": (relu, lambda y: cast(y > 0, y.dtype)),
    "linear": (lambda x: x, lambda y: zeros_like(y) + 1),
}


def has_kernels(*activations: str) -> bool:
    """Do the sequence ops know all these activations?"""
    return all(a in ACTIVATIONS for a in activations)


def swapped(x: Tensor) -> Tensor:
    """(B, S, ...) <-> (S, B, ...)"""
    return transpose(x, (1, 0, *range(2, x.ndim)))


def parts(x: Tensor, n: int) -> list[Tensor]:
    """n equal pieces of the last axis."""
    size = x.shape[-1] // n
    return [slice_axis(x, -1, i * size, (i + 1) * size) for i in range(n)]


def states_before(history: Tensor, first: Tensor, reverse: bool) -> Tensor:
    """(B, S, U): the state that entered each step."""
    return shift(expand_dims(first, 1), history, 1, reverse)


def rows_of(x: Tensor) -> Tensor:
    """(B, S, F) -> (B * S, F)"""
    return reshape(x, (-1, x.shape[-1]))


def keep_where_masked(mask: Tensor | None, new: Tensor, old: Tensor) -> Tensor:
    """new where the mask holds, else old; mask (B,)."""
    return new if mask is None else where(expand_dims(mask, 1), new, old)


class _Sequence(Composite):
    """What the recurrent ops share."""

    activation = "tanh"
    recurrent_activation = "sigmoid"
    reverse = False

    @property
    def act(self):
        return _FUNCTIONS[self.activation][0]

    @property
    def ract(self):
        return _FUNCTIONS[self.recurrent_activation][0]

    @property
    def d_act(self):
        return _FUNCTIONS[self.activation][1]

    @property
    def d_ract(self):
        return _FUNCTIONS[self.recurrent_activation][1]

    def flops(self, ins, outs):
        """The products with the recurrent weights alone, of one row each step, count."""
        batch, steps, gates = ins[0].shape
        units = next(t.shape[0] for t in ins if t.ndim == 2 and t.shape[1] == gates)
        return 2 * batch * steps * units * gates

    def _check(self, xw: TensorType, r: TensorType, state: TensorType, gates: int) -> int:
        """Raises ShapeError unless they belong together; returns the units."""
        units = state.shape[-1]
        if xw.ndim != 3 or xw.shape[2] != gates * units or r.shape != (units, gates * units):
            raise ShapeError(f"got inputs {xw}, recurrent weights {r}, state {state}, expected "
                             f"(B, S, {gates} U), (U, {gates} U), (B, U)")
        return units


class Lstm(_Sequence):
    """All steps of a long short-term memory (Hochreiter and Schmidhuber 1997, as Keras has it).

    xw (B, S, 4U) = x W + b, r (U, 4U), h0 (B, U), c0 (B, U)[, mask (B, S) bool]
    -> h (B, S, U), c (B, S, U), gates (B, S, 4U) after their activations, in the order i f c o.
    A masked step leaves h and c as they are. `reverse` walks from the last step to the first.
    """

    params = ("activation", "recurrent_activation", "reverse")
    cuda = Kernel("lstm.cu", plan_lstm)

    def infer(self, xw: TensorType, r: TensorType, h0: TensorType, c0: TensorType,
              mask: TensorType | None = None) -> Types:
        units = self._check(xw, r, h0, 4)
        h = xw.with_shape((*xw.shape[:2], units))
        return h, h, xw

    def host(self, ins, outs):
        return by_rows(partial(bind_lstm, self), ins, outs, frozenset({1}))

    def expand(self, xw: Tensor, r: Tensor, h0: Tensor, c0: Tensor, *mask: Tensor):
        def step(slices, states):
            (z, *on), (h, c) = slices, states
            i, f, g, o = parts(z + dot(h, r), 4)
            i, f, g, o = self.ract(i), self.ract(f), self.act(g), self.ract(o)
            new_c = f * c + i * g
            keep = on[0] if on else None
            states = [keep_where_masked(keep, o * self.act(new_c), h),
                      keep_where_masked(keep, new_c, c)]
            return states, [concat([i, f, g, o], -1)]

        (h, c), (gates,) = scan(step, [swapped(x) for x in (xw, *mask)], [h0, c0], self.reverse)
        return swapped(h), swapped(c), swapped(gates)

    def grad(self, node: Node, gh: Tensor | None, gc: Tensor | None, gates: Tensor | None):
        if gates is not None:
            return super().grad(node, gh, gc, gates)
        xw, r, h0, c0, *mask = node.inputs
        h, c, y = node.outputs
        more = () if gc is None else (gc,)
        gh = zeros_like(h) if gh is None else gh
        back = LstmGrad(self.activation, self.recurrent_activation, self.reverse, bool(more))
        gz, gh0, gc0 = outs = back(y, c, c0, r, gh, *more, *mask)
        return (gz, *self.weight_gradients(node, outs), gh0, gc0, *(None for _ in mask))

    def weight_gradients(self, node: Node, back: tuple[Tensor, ...]) -> tuple[Tensor]:
        """That by r, from the outputs of LstmGrad."""
        before = states_before(node.outputs[0], node.inputs[2], self.reverse)
        return (dot(rows_of(before), rows_of(back[0]), trans_a=True),)


class LstmGrad(_Sequence):
    """The gradients of Lstm by xw and by the first states.

    gates (B, S, 4U), c (B, S, U), c0 (B, U), r (U, 4U), gh (B, S, U)[, gc (B, S, U)][, mask (B, S)]
    -> gz (B, S, 4U), gh0 (B, U), gc0 (B, U).
    """

    params = ("activation", "recurrent_activation", "reverse", "has_gc")
    has_gc = False
    cuda = Kernel("lstm.cu", plan_lstm_grad)

    def infer(self, gates: TensorType, c: TensorType, c0: TensorType, r: TensorType,
              gh: TensorType, *more: TensorType) -> Types:
        self._check(gates, r, c0, 4)
        return gates, c0, c0

    def host(self, ins, outs):
        return by_rows(partial(bind_lstm_grad, self), ins, outs, frozenset({3}))

    def expand(self, gates: Tensor, c: Tensor, c0: Tensor, r: Tensor, gh: Tensor, *more: Tensor):
        before = states_before(c, c0, self.reverse)

        def step(slices, states):
            y, c, c_before, gh, *rest = slices
            gh, gc = gh + states[0], states[1]
            if self.has_gc:
                gc = gc + rest.pop(0)
            i, f, g, o = parts(y, 4)
            a = self.act(c)
            sum_c = gc + gh * o * self.d_act(a)
            gz = concat([sum_c * g * self.d_ract(i), sum_c * c_before * self.d_ract(f),
                         sum_c * i * self.d_act(g), gh * a * self.d_ract(o)], -1)
            new_h, new_c = dot(gz, r, trans_b=True), sum_c * f
            on = rest[0] if rest else None
            states = [keep_where_masked(on, new_h, gh), keep_where_masked(on, new_c, gc)]
            return states, [keep_where_masked(on, gz, zeros_like(gz))]

        sequences = [swapped(x) for x in (gates, c, before, gh, *more)]
        (gh0, gc0), (gz,) = scan(step, sequences, [zeros_like(c0), zeros_like(c0)],
                                 not self.reverse)
        return (swapped(gz), last(gh0, not self.reverse), last(gc0, not self.reverse))


class Gru(_Sequence):
    """All steps of a gated recurrent unit (Cho et al. 2014), as Keras has it.

    xw (B, S, 3U) = x W + b, r (U, 3U), h0 (B, U)[, recurrent bias (3U,)][, mask (B, S) bool]
    -> h (B, S, U), gates (B, S, 3U) after their activations, in the order z r y, inner (B, S, U).
    The new state is z h + (1 - z) y with y = act(xw + (r h) Rh), or with `reset_after`
    y = act(xw + r (h Rh + b)), as cuDNN has it. inner is r h, or h Rh + b.
    """

    params = ("activation", "recurrent_activation", "reverse", "reset_after", "has_bias")
    reset_after = False
    has_bias = False
    cuda = Kernel("gru.cu", plan_gru)

    def infer(self, xw: TensorType, r: TensorType, h0: TensorType, *more: TensorType) -> Types:
        units = self._check(xw, r, h0, 3)
        if self.has_bias and more[0].shape != (3 * units,):
            raise ShapeError(f"got a recurrent bias {more[0]}, expected ({3 * units},)")
        h = xw.with_shape((*xw.shape[:2], units))
        return h, xw, h

    def host(self, ins, outs):
        shared = frozenset({1, 3} if self.has_bias else {1})
        return by_rows(partial(bind_gru, self), ins, outs, shared)

    def expand(self, xw: Tensor, r: Tensor, h0: Tensor, *more: Tensor):
        bias, mask = (more[0], more[1:]) if self.has_bias else (None, more)
        units = h0.shape[-1]
        r_gates, r_y = slice_axis(r, 1, 0, 2 * units), slice_axis(r, 1, 2 * units, None)

        def plus_bias(x: Tensor, start: int, stop: int) -> Tensor:
            return x if bias is None else x + slice_axis(bias, 0, start, stop)

        def step(slices, states):
            (x, *on), (h,) = slices, states
            gates = self.ract(slice_axis(x, 1, 0, 2 * units)
                              + plus_bias(dot(h, r_gates), 0, 2 * units))
            z, reset = parts(gates, 2)
            x_y = slice_axis(x, 1, 2 * units, None)
            if self.reset_after:
                inner = plus_bias(dot(h, r_y), 2 * units, 3 * units)
                y = self.act(x_y + reset * inner)
            else:
                inner = reset * h
                y = self.act(x_y + plus_bias(dot(inner, r_y), 2 * units, 3 * units))
            new = keep_where_masked(on[0] if on else None, z * h + (1 - z) * y, h)
            return [new], [concat([gates, y], -1), inner]

        (h,), (gates, inner) = scan(step, [swapped(x) for x in (xw, *mask)], [h0], self.reverse)
        return swapped(h), swapped(gates), swapped(inner)

    def grad(self, node: Node, gh: Tensor | None, *others: Tensor | None):
        if any(g is not None for g in others):
            return super().grad(node, gh, *others)
        xw, r, h0, *more = node.inputs
        h, gates, inner = node.outputs
        mask = more[self.has_bias:]
        back = GruGrad(self.activation, self.recurrent_activation, self.reverse, self.reset_after)
        gz, _, gh0 = outs = back(gates, inner, h, h0, r, gh, *mask)
        gr, *g_bias = self.weight_gradients(node, outs)
        return (gz, gr, gh0, *g_bias, *(None for _ in mask))

    def weight_gradients(self, node: Node, back: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Those by r and the recurrent bias, if there is one, from the outputs of GruGrad."""
        (h, _, inner), (gz, gi, _), h0 = node.outputs, back, node.inputs[2]
        units, before = h0.shape[-1], rows_of(states_before(h, h0, self.reverse))
        g_gates = rows_of(slice_axis(gz, 2, 0, 2 * units))
        g_y = rows_of(gi if self.reset_after else slice_axis(gz, 2, 2 * units, None))
        gr = concat([dot(before, g_gates, trans_a=True),
                     dot(before if self.reset_after else rows_of(inner), g_y, trans_a=True)], 1)
        return (gr, sum_(concat([g_gates, g_y], 1), 0)) if self.has_bias else (gr,)


class GruGrad(_Sequence):
    """The gradients of Gru by xw and by the first state.

    gates (B, S, 3U), inner (B, S, U), h (B, S, U), h0 (B, U), r (U, 3U), gh (B, S, U)[, mask]
    -> gz (B, S, 3U), gi (B, S, U), gh0 (B, U); gi: the gradient of the sum y times r, which
    with `reset_after` is that of inner.
    """

    params = ("activation", "recurrent_activation", "reverse", "reset_after")
    reset_after = False
    cuda = Kernel("gru.cu", plan_gru_grad)

    def infer(self, gates: TensorType, inner: TensorType, h: TensorType, h0: TensorType,
              r: TensorType, gh: TensorType, *mask: TensorType) -> Types:
        self._check(gates, r, h0, 3)
        return gates, inner, h0

    def host(self, ins, outs):
        return by_rows(partial(bind_gru_grad, self), ins, outs, frozenset({4}))

    def expand(self, gates: Tensor, inner: Tensor, h: Tensor, h0: Tensor, r: Tensor, gh: Tensor,
               *mask: Tensor):
        units = h0.shape[-1]
        r_gates, r_y = slice_axis(r, 1, 0, 2 * units), slice_axis(r, 1, 2 * units, None)

        def step(slices, states):
            gates, inner, h, gh, *on = slices
            gh = gh + states[0]
            z, reset, y = parts(gates, 3)
            gy = gh * (1 - z) * self.d_act(y)
            gz = gh * (h - y) * self.d_ract(z)
            gi = gy * reset
            if self.reset_after:
                gr = gy * inner * self.d_ract(reset)
                new = gh * z + dot(gi, r_y, trans_b=True)
            else:
                g_rh = dot(gy, r_y, trans_b=True)
                gr = g_rh * h * self.d_ract(reset)
                new = gh * z + g_rh * reset
            new = new + dot(concat([gz, gr], 1), r_gates, trans_b=True)
            keep, sums = on[0] if on else None, concat([gz, gr, gy], 1)
            return ([keep_where_masked(keep, new, gh)],
                    [keep_where_masked(keep, g, zeros_like(g)) for g in (sums, gi)])

        before = states_before(h, h0, self.reverse)
        sequences = [swapped(x) for x in (gates, inner, before, gh, *mask)]
        (gh0,), (gz, gi) = scan(step, sequences, [zeros_like(h0)], not self.reverse)
        return swapped(gz), swapped(gi), last(gh0, not self.reverse)


class SimpleRnn(_Sequence):
    """All steps of h = act(xw + h R).

    xw (B, S, U) = x W + b, r (U, U), h0 (B, U)[, mask (B, S) bool]
    -> h (B, S, U), y (B, S, U); y is act(...) also where the mask leaves h as it was.
    """

    params = ("activation", "reverse")
    cuda = Kernel("simple_rnn.cu", plan_simple_rnn)

    def infer(self, xw: TensorType, r: TensorType, h0: TensorType, *mask: TensorType) -> Types:
        self._check(xw, r, h0, 1)
        return xw, xw

    def host(self, ins, outs):
        return by_rows(partial(bind_simple_rnn, self), ins, outs, frozenset({1}))

    def expand(self, xw: Tensor, r: Tensor, h0: Tensor, *mask: Tensor):
        def step(slices, states):
            (x, *on), (h,) = slices, states
            y = self.act(x + dot(h, r))
            return [keep_where_masked(on[0] if on else None, y, h)], [y]

        (h,), (y,) = scan(step, [swapped(x) for x in (xw, *mask)], [h0], self.reverse)
        return swapped(h), swapped(y)

    def grad(self, node: Node, gh: Tensor | None, gy: Tensor | None):
        if gy is not None:
            return super().grad(node, gh, gy)
        xw, r, h0, *mask = node.inputs
        h, y = node.outputs
        gz, gh0 = SimpleRnnGrad(self.activation, self.reverse)(y, r, gh, *mask)
        before = states_before(h, h0, self.reverse)
        gr = dot(rows_of(before), rows_of(gz), trans_a=True)
        return (gz, gr, gh0, *(None for _ in mask))


class SimpleRnnGrad(_Sequence):
    """The gradients of SimpleRnn by xw and by the first state.

    y (B, S, U), r (U, U), gh (B, S, U)[, mask (B, S)] -> gz (B, S, U), gh0 (B, U).
    """

    params = ("activation", "reverse")
    cuda = Kernel("simple_rnn.cu", plan_simple_rnn_grad)

    def infer(self, y: TensorType, r: TensorType, gh: TensorType, *mask: TensorType) -> Types:
        self._check(y, r, y.with_shape((y.shape[0], y.shape[2])), 1)
        return y, y.with_shape((y.shape[0], y.shape[2]))

    def host(self, ins, outs):
        return by_rows(partial(bind_simple_rnn_grad, self), ins, outs, frozenset({1}))

    def expand(self, y: Tensor, r: Tensor, gh: Tensor, *mask: Tensor):
        def step(slices, states):
            y, gh, *on = slices
            gh = gh + states[0]
            gz = gh * self.d_act(y)
            keep = on[0] if on else None
            return ([keep_where_masked(keep, dot(gz, r, trans_b=True), gh)],
                    [keep_where_masked(keep, gz, zeros_like(gz))])

        first = zeros_like(squeeze(slice_axis(y, 1, 0, 1), 1))
        sequences = [swapped(x) for x in (y, gh, *mask)]
        (gh0,), (gz,) = scan(step, sequences, [first], not self.reverse)
        return swapped(gz), last(gh0, not self.reverse)
