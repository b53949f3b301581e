"""A whole GRU layer as two ops, products with the inputs and weight gradients included: ops/lstm.py
for gated recurrent units.

Arrays between the two ops lie in the order of the walk over time, steps first: hx (S, B, K) holds
[input | 1 | state before] of each step, K = F + 1 + U; gates (S, 3, B, U) are z r y; inner
(S, B, U) is that of the op Gru.
"""
from __future__ import annotations

from functools import partial

from ..errors import ShapeError
from ..graph import Tensor, TensorType
from .broadcast import reshape, squeeze
from .host_gru import bind_gru_whole, bind_gru_whole_grad
from .linalg import dot
from .math import ones_like, zeros_like
from .rnn import Gru, Types, keep_where_masked, parts, rows_of, states_before
from .scan import last, scan
from .shape import concat, slice_axis, stack
from .whole import _Whole, _WholeGrad


class GruWhole(_Whole):
    """All steps of a GRU layer.

    x (B, S, F), w (F, 3U), r (U, 3U)[, bias (3U,)][, recurrent bias (3U,) if `two_biases`]
    [, h0 (B, U)][, mask (B, S) bool]
    -> last h (B, U)[, h (B, S, U) if `sequence`]
    [, hx (S, B, K), gates (S, 3, B, U), inner (S, B, U) if `keep`: what GruWholeGrad reads].
    """

    params = ("activation", "recurrent_activation", "reverse", "reset_after", "sequence", "keep",
              "has_bias", "two_biases", "has_state")
    reset_after = False
    two_biases = False

    def infer(self, x: TensorType, w: TensorType, r: TensorType, *more: TensorType) -> Types:
        units = r.shape[0]
        if x.ndim != 3 or w.shape != (x.shape[2], 3 * units) or r.shape != (units, 3 * units):
            raise ShapeError(f"got inputs {x}, weights {w} and {r}, expected (B, S, F), (F, 3 U), "
                             "(U, 3 U)")
        (b, s, f), of = x.shape, x.with_shape
        kept = (of((s, b, f + 1 + units)), of((s, 3, b, units)), of((s, b, units)))
        return (of((b, units)), *((of((b, s, units)),) if self.sequence else ()),
                *(kept if self.keep else ()))

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs = super().__call__(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def host(self, ins, outs):
        return bind_gru_whole(self, ins, outs)

    def expand(self, x: Tensor, w: Tensor, r: Tensor, *more: Tensor):
        more = list(more)
        z = reshape(dot(rows_of(x), w), (-1, *x.shape[1:2], w.shape[1]))
        if self.has_bias:
            z = z + more.pop(0)
        second = [more.pop(0)] if self.two_biases else []
        h0 = more.pop(0) if self.has_state else zeros_like(
            squeeze(slice_axis(slice_axis(z, 1, 0, 1), 2, 0, r.shape[0]), 1))
        h, gates, inner = Gru(self.activation, self.recurrent_activation, self.reverse,
                              self.reset_after, self.two_biases)(z, r, h0, *second, *more)
        outs = [self.last(h), *((h,) if self.sequence else ())]
        if self.keep:
            hx = concat([x, ones_like(slice_axis(x, 2, 0, 1)),
                         states_before(h, h0, self.reverse)], 2)
            outs += [self.in_walk(hx), stack([self.in_walk(y) for y in parts(gates, 3)], 1),
                     self.in_walk(inner)]
        return tuple(outs)


class GruWholeGrad(_WholeGrad):
    """The gradients of GruWhole.

    hx, gates, inner (see the module), w (F, 3U), r (U, 3U), g (B, U) of the last h, or (B, S, U) if
    `sequence`[, mask (B, S)]
    -> [gr (U, 3U), gw (F, 3U), gb (3U,)[, that of the recurrent bias if `two_biases`] if `weights`]
    [, gx (B, S, F) if `inputs`][, gh0 (B, U) if `has_state`].
    """

    params = ("activation", "recurrent_activation", "reverse", "reset_after", "sequence",
              "two_biases", "has_state", "weights", "inputs")
    reset_after = False
    two_biases = False
    at = 3

    def infer(self, hx: TensorType, gates: TensorType, inner: TensorType, w: TensorType,
              r: TensorType, g: TensorType, *mask: TensorType) -> Types:
        s, b, units = inner.shape
        wanted = (b, s, units) if self.sequence else (b, units)
        if g.shape != wanted or hx.shape != (s, b, w.shape[0] + 1 + units):
            raise ShapeError(f"got a gradient {g}, inputs {hx} and products {inner}, expected "
                             f"{g.with_shape(wanted)}, (S, B, K), (S, B, U)")
        bias = (w.with_shape(w.shape[1:]),) * (1 + self.two_biases)
        return (*((r, w, *bias) if self.weights else ()),
                *((inner.with_shape((b, s, w.shape[0])),) if self.inputs else ()),
                *((inner.with_shape((b, units)),) if self.has_state else ()))

    def host(self, ins, outs):
        return bind_gru_whole_grad(self, ins, outs)

    def expand(self, hx: Tensor, gates: Tensor, inner: Tensor, w: Tensor, r: Tensor, g: Tensor,
               *mask: Tensor):
        features, units = w.shape[0], r.shape[0]
        before = slice_axis(hx, 2, features + 1, None)
        sequences = [*(squeeze(slice_axis(gates, 1, k, k + 1), 1) for k in range(3)), inner, before]
        sequences += [self.in_walk(t) for t in ([g] if self.sequence else []) + list(mask)]
        first = [zeros_like(last(inner)) if self.sequence else g]
        (gh0,), (gz, gi) = scan(partial(self._step, r, bool(mask)), sequences, first, True)
        flat, inputs = rows_of(gz), rows_of(slice_axis(hx, 2, 0, features + 1))
        states = [rows_of(before), rows_of(before if self.reset_after else inner)]
        sums = [slice_axis(flat, 1, 0, 2 * units),
                rows_of(gi) if self.reset_after else slice_axis(flat, 1, 2 * units, None)]
        both = dot(inputs, flat, trans_a=True)
        outs = [concat([dot(a, b, trans_a=True) for a, b in zip(states, sums)], 1),
                slice_axis(both, 0, 0, features), squeeze(slice_axis(both, 0, features, None), 0)]
        if self.two_biases:
            ones = slice_axis(inputs, 1, features, None)
            outs.append(squeeze(dot(ones, concat(sums, 1), trans_a=True), 0))
        return self.results(inner.shape[0], w, flat, outs, (gh0,))

    def _step(self, r: Tensor, masked: bool, slices: list[Tensor], states: list[Tensor]):
        z, reset, y, inner, h, *rest = slices
        on, units = rest.pop() if masked else None, h.shape[-1]
        gh = states[0] + rest.pop() if self.sequence else states[0]
        r_gates, r_y = slice_axis(r, 1, 0, 2 * units), slice_axis(r, 1, 2 * units, None)
        gy = gh * (1 - z) * self.d_act(y)
        gz, gi = gh * (h - y) * self.d_ract(z), gy * reset
        if self.reset_after:
            gr, through = gy * inner * self.d_ract(reset), dot(gi, r_y, trans_b=True)
        else:
            g_rh = dot(gy, r_y, trans_b=True)
            gr, through = g_rh * h * self.d_ract(reset), g_rh * reset
        new = gh * z + through + dot(concat([gz, gr], 1), r_gates, trans_b=True)
        return ([keep_where_masked(on, new, gh)],
                [keep_where_masked(on, t, zeros_like(t)) for t in (concat([gz, gr, gy], 1), gi)])
