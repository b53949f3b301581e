"""A whole LSTM layer as two ops, products with the inputs and weight gradients included.

The pass `recurrent` puts them in the place of Lstm and what surrounds it, on the host: there one
product a step does for inputs, bias and states, and gates never leave the cache before their
gradients have been used. Arrays between the two ops lie in the order of the walk over time, steps
first: hx (S, B, K) holds [state before | input | 1] of each step, K = U + F (+ 1 with a bias);
gates (S, 4, B, U) in the order i f o g; c (S, B, U) the cells before, a (S, B, U) act(cells
after).
"""
from __future__ import annotations

from functools import partial

from ..errors import ShapeError
from ..graph import Tensor, TensorType
from .broadcast import reshape, squeeze
from .host_lstm import bind_lstm_whole, bind_lstm_whole_grad
from .linalg import dot
from .math import ones_like, zeros_like
from .rnn import Lstm, Types, keep_where_masked, parts, rows_of, states_before
from .scan import last, scan
from .shape import concat, slice_axis, stack
from .whole import _Whole, _WholeGrad


class LstmWhole(_Whole):
    """All steps of an LSTM layer.

    x (B, S, F), w (F, 4U), r (U, 4U)[, bias (4U,)][, h0, c0 (B, U)][, mask (B, S) bool]
    -> last h, last c (B, U)[, h (B, S, U) if `sequence`]
    [, hx (S, B, K), gates (S, 4, B, U), c, a (S, B, U) if `keep`: what LstmWholeGrad reads].
    """

    params = ("activation", "recurrent_activation", "reverse", "sequence", "keep", "has_bias",
              "has_state")

    def infer(self, x: TensorType, w: TensorType, r: TensorType, *more: TensorType) -> Types:
        units = r.shape[0]
        if x.ndim != 3 or w.shape != (x.shape[2], 4 * units) or r.shape != (units, 4 * units):
            raise ShapeError(f"got inputs {x}, weights {w} and {r}, expected (B, S, F), (F, 4 U), "
                             "(U, 4 U)")
        (b, s, f), of = x.shape, x.with_shape
        state = of((b, units))
        history = of((s, b, units))
        kept = (of((s, b, units + f + self.has_bias)), of((s, 4, b, units)), history, history)
        return (state, state, *((of((b, s, units)),) if self.sequence else ()),
                *(kept if self.keep else ()))

    def host(self, ins, outs):
        return bind_lstm_whole(self, ins, outs)

    def expand(self, x: Tensor, w: Tensor, r: Tensor, *more: Tensor):
        more = list(more)
        z = reshape(dot(rows_of(x), w), (-1, *x.shape[1:2], w.shape[1]))
        if self.has_bias:
            z = z + more.pop(0)
        zeros = zeros_like(squeeze(slice_axis(slice_axis(z, 1, 0, 1), 2, 0, r.shape[0]), 1))
        h0, c0 = (more.pop(0), more.pop(0)) if self.has_state else (zeros, zeros)
        h, c, gates = Lstm(self.activation, self.recurrent_activation, self.reverse)(
            z, r, h0, c0, *more)
        outs = [self.last(h), self.last(c), *((h,) if self.sequence else ())]
        if not self.keep:
            return tuple(outs)
        i, f, g, o = parts(gates, 4)
        ones = (ones_like(slice_axis(x, 2, 0, 1)),) if self.has_bias else ()
        hx = concat([states_before(h, h0, self.reverse), x, *ones], 2)
        return (*outs, self.in_walk(hx), stack([self.in_walk(y) for y in (i, f, o, g)], 1),
                self.in_walk(states_before(c, c0, self.reverse)), self.in_walk(self.act(c)))


class LstmWholeGrad(_WholeGrad):
    """The gradients of LstmWhole.

    hx, gates, c, a (see the module), w (F, 4U), r (U, 4U), g (B, U) of the last h, or (B, S, U) if
    `sequence`[, gc (B, U) of the last c if `has_gc`][, mask (B, S)]
    -> [gr (U, 4U), gw (F, 4U)[, gb (4U,)] if `weights`][, gx (B, S, F) if `inputs`]
    [, gh0, gc0 (B, U) if `has_state`].
    """

    params = ("activation", "recurrent_activation", "reverse", "sequence", "has_gc", "has_bias",
              "has_state", "weights", "inputs")
    has_gc = False
    at = 4

    def infer(self, hx: TensorType, gates: TensorType, c: TensorType, a: TensorType,
              w: TensorType, r: TensorType, g: TensorType, *more: TensorType) -> Types:
        s, b, units = c.shape
        wanted = (b, s, units) if self.sequence else (b, units)
        if g.shape != wanted or hx.shape != (s, b, units + w.shape[0] + self.has_bias):
            raise ShapeError(f"got a gradient {g}, inputs {hx} and states {c}, expected "
                             f"{g.with_shape(wanted)}, (S, B, K), (S, B, U)")
        bias = (w.with_shape(w.shape[1:]),) if self.has_bias else ()
        state = (c.with_shape((b, units)),) * 2
        return (*((r, w, *bias) if self.weights else ()),
                *((c.with_shape((b, s, w.shape[0])),) if self.inputs else ()),
                *(state if self.has_state else ()))

    def host(self, ins, outs):
        return bind_lstm_whole_grad(self, ins, outs)

    def expand(self, hx: Tensor, gates: Tensor, c: Tensor, a: Tensor, w: Tensor, r: Tensor,
               g: Tensor, *more: Tensor):
        more, zeros = list(more), zeros_like(last(c))
        first = [zeros if self.sequence else g, more.pop(0) if self.has_gc else zeros]
        sequences = [*(squeeze(slice_axis(gates, 1, k, k + 1), 1) for k in range(4)), c, a]
        sequences += [self.in_walk(t) for t in ([g] if self.sequence else []) + more]
        (gh0, gc0), (gz,) = scan(partial(self._step, r, bool(more)), sequences, first, True)
        flat = rows_of(gz)
        both = dot(rows_of(hx), flat, trans_a=True)
        units, end = r.shape[0], r.shape[0] + w.shape[0]
        outs = [slice_axis(both, 0, 0, units), slice_axis(both, 0, units, end)]
        if self.has_bias:
            outs.append(squeeze(slice_axis(both, 0, end, end + 1), 0))
        return self.results(c.shape[0], w, flat, outs, (gh0, gc0))

    def _step(self, r: Tensor, masked: bool, slices: list[Tensor], states: list[Tensor]):
        i, f, o, y, c, a, *rest = slices
        on = rest.pop() if masked else None
        gh, gc = states
        if self.sequence:
            gh = gh + rest.pop()
        sum_c = gc + gh * o * self.d_act(a)
        gz = concat([sum_c * y * self.d_ract(i), sum_c * c * self.d_ract(f),
                     sum_c * i * self.d_act(y), gh * a * self.d_ract(o)], -1)
        states = [keep_where_masked(on, dot(gz, r, trans_b=True), gh),
                  keep_where_masked(on, sum_c * f, gc)]
        return states, [keep_where_masked(on, gz, zeros_like(gz))]
