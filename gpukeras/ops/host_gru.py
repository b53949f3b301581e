"""Whole GRU layers on the host: ops/gru.py as lists of calls, parts of the batch to threads.

As in host_lstm.py the input product rides along with that of the states, gates are contiguous
blocks, and weight gradients are taken while the gradients of the gates are in the cache.
"""
from __future__ import annotations

from functools import partial

import numpy as np

from ..blas import bind_gemm
from ..team import in_turn, team
from .host_loops import compiled, loop_group
from .host_rnn import _APPLY, _SLOPE, Arrays, Run, _Chunk, _clear, _keep, _off
from .host_whole import Backward, Forward, by_threads, is_fast, merged, of_gates, stacked

_gemm = partial(bind_gemm, split=False)


def _by_gate(x: np.ndarray) -> np.ndarray:
    """(rows, 3U) as (3, rows, U)"""
    return x.reshape(len(x), 3, -1).swapaxes(0, 1)


# ---- forward

def bind_gru_whole(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of a GruWhole op on its arrays."""
    x, w, r, *more = ins
    bias = more.pop(0)[None] if op.has_bias else None
    second = more.pop(0)[None] if op.two_biases else None
    features, units, dtype = x.shape[2], r.shape[0], r.dtype
    # [w; bias; r] of each gate, and [recurrent bias; r] of y
    weights, inner = np.zeros((3, features + 1 + units, units), dtype), np.zeros(
        (1 + units, units), dtype)
    # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2: the inner half goes into weights
    scales = np.array([0.5, 0.5, 1] if is_fast(op) else [1] * 3, dtype)[:, None, None]
    ones = weights[:, features:features + 1]
    front = [partial(np.copyto, weights[:, :features], _by_gate(w)),
             partial(np.copyto, weights[:, features + 1:], _by_gate(r)),
             partial(np.copyto, inner[1:], r[:, 2 * units:])]
    front.append(partial(ones.fill, 0) if bias is None else
                 partial(np.copyto, ones, _by_gate(bias)))
    if second is not None:
        count = 2 if op.reset_after else 3          # of gates, to which both are simply added
        front += [partial(np.add, ones[:count], _by_gate(second)[:count], ones[:count]),
                  partial(np.copyto, inner[:1], second[:, 2 * units:])]
    front.append(partial(np.multiply, weights, scales, weights))
    jobs = [_Forward(op, weights, inner, x, more, outs, part).run()
            for part in by_threads(x.shape[0], x.shape[0] * x.shape[1] * units)]
    return in_turn([*front, team().bind(jobs)])


class _Forward(Forward):
    """The calls for some rows of the batch."""

    def __init__(self, op, weights: np.ndarray, inner: np.ndarray, x: np.ndarray, more: Arrays,
                 outs: Arrays, part: slice) -> None:
        self.op, self.weights, self.inner_weights, self.x = op, weights, inner, x[part]
        self.rows, self.steps, self.features = self.x.shape
        self.units, dtype = weights.shape[2], weights.dtype
        more = [m[part] for m in more]
        self.first = more.pop(0) if op.has_state else None
        self.mask = more
        self.off, self.masks = _off(more)
        self.h_last, *rest = outs
        self.h_last = self.h_last[part]
        self.h = rest.pop(0)[part] if op.sequence else None
        self.chunks = _Chunk.walk(self.steps, 3 * self.rows * self.units * dtype.itemsize,
                                  op.reverse)
        self.kept = bool(rest)
        if rest:
            hx, gates, inner = rest
            self.hx, self.gates, self.inner = hx[:, part], gates[:, :, part], inner[:, part]
        else:                                       # memory for a few steps, used again and again
            most = max(k.count for k in self.chunks)
            self.hx = np.empty((most + 1, self.rows, weights.shape[1]), dtype)
            self.gates = np.empty((1, 3, self.rows, self.units), dtype)
            self.inner = np.empty((1, self.rows, self.units), dtype)
        self.mix = np.empty((self.rows, self.units), dtype)
        self.half = np.array(0.5, dtype)

    def run(self) -> Run:
        """One compiled function, if it can be had, or else the calls."""
        op, sizes = self.op, (self.rows, self.steps, self.units, self.features)
        run = None if not is_fast(op) else compiled(
            "gru", "forward", sizes, (op.reverse, op.reset_after, self.kept), [
            (self.x, 0, 1), (self.weights,), (self.inner_weights,), (self.hx, 0),
            (self.gates, 0, 1), (self.inner, 0), (self.h, 0, 1), (self.first,), (self.h_last,),
            ((*self.mask, None)[0], 0, 1), (self.mix,)])
        return run or in_turn(self.calls())

    def states(self, rows: np.ndarray) -> np.ndarray:
        """The columns of hx that hold states."""
        return rows[..., self.features + 1:]

    def begin(self) -> list[Run]:
        h = self.states(self.hx[0])
        return [partial(h.fill, 0) if self.first is None else partial(np.copyto, h, self.first)]

    def inputs(self, chunk: _Chunk, here: np.ndarray) -> list[Run]:
        """x and the ones of the bias to their columns."""
        return [partial(np.copyto, here[..., :self.features], chunk.seen(self.x)),
                partial(here[..., self.features].fill, 1)]

    def step(self, k: int, row: int, t: int) -> list[Run]:
        """Step k of the walk, which is time t, and lies in `row` of hx."""
        op, n, mix = self.op, (k if self.kept else 0), self.mix
        hx, gates, inner = self.hx[row], self.gates[n], self.inner[n]
        h, (z, reset, y) = self.states(hx), gates
        h_new = self.h_last if k + 1 == self.steps else self.states(self.hx[row + 1])
        f = self.features
        calls = [stacked(of_gates(hx, 2), self.weights[:2], gates[:2]),
                 _gemm(hx[:, :f + 1], self.weights[2, :f + 1], y)]
        if is_fast(op):
            calls += [partial(np.tanh, gates[:2], gates[:2]),
                      partial(np.multiply, gates[:2], self.half, gates[:2]),
                      partial(np.add, gates[:2], self.half, gates[:2])]
        else:
            calls.append(partial(_APPLY[op.recurrent_activation], gates[:2]))
        if op.reset_after:
            calls += [_gemm(hx[:, f:], self.inner_weights, inner),
                      partial(np.multiply, reset, inner, mix), partial(np.add, y, mix, y)]
        else:
            calls += [partial(np.multiply, reset, h, inner),
                      _gemm(inner, self.inner_weights[1:], y, accumulate=True)]
        act = partial(np.tanh, y, y) if op.activation == "tanh" else partial(
            _APPLY[op.activation], y)
        return [*calls, act, partial(np.subtract, h, y, mix), partial(np.multiply, mix, z, mix),
                partial(np.add, mix, y, h_new), *_keep(self.off, t, [(h_new, h)])]


# ---- backward

def bind_gru_whole_grad(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of a GruWholeGrad op on its arrays."""
    inner, w, r = ins[2:5]
    steps, rows, units = inner.shape
    features, outs = len(w), list(outs)
    to_h, to_x = (np.empty((3, units, len(source)), inner.dtype) for source in (r, w))
    front = [partial(np.copyto, place, _by_gate(source).swapaxes(1, 2)) for source, place in (
        (r, to_h), *([(w, to_x)] if op.inputs else []))]
    results = [outs.pop(0) for _ in range(3 + op.two_biases)] if op.weights else []
    backs = [_Backward(op, to_h, to_x, ins, outs, part)
             for part in by_threads(rows, steps * rows * units)]
    end: list[Run] = []
    if op.weights:
        sums, sums_in = backs[0].sums, backs[0].sums_in
        for b in backs[1:]:
            end += [partial(np.add, sums, b.sums, sums),
                    partial(np.add, sums_in, b.sums_in, sums_in)]
        gr, gw, gb, *second = results
        end += [partial(np.copyto, _by_gate(gw), sums[:, :features]),
                partial(np.copyto, gb.reshape(3, -1), sums[:, features]),
                partial(np.copyto, _by_gate(gr)[:2], sums[:2, features + 1:]),
                partial(np.copyto, gr[:, 2 * units:], sums_in[1:])]
        for gb2 in second:
            end += [partial(np.copyto, gb2[:2 * units].reshape(2, -1), sums[:2, features]),
                    partial(np.copyto, gb2[2 * units:],
                            sums_in[0] if op.reset_after else sums[2, features])]
    return in_turn([*front, team().bind([b.run() for b in backs]), *end])


class _Backward(Backward):
    """The calls for some rows of the batch; `sums` (3, K, U) and, of what multiplies the inner
    product, `sums_in` (1 + U, U) are their gradients of the weights."""

    def __init__(self, op, to_h: np.ndarray, to_x: np.ndarray, ins: Arrays, outs: Arrays,
                 part: slice) -> None:
        hx, gates, inner, w, _, g, *mask = ins
        self.to_h, self.to_x, self.features = to_h, to_x, len(w)
        self.gates, self.inner = gates[:, :, part], inner[:, part]
        super().__init__(op, self.inner, 3, hx[:, part], [m[part] for m in mask], g[part], len(w))
        if op.inputs:
            self.gx = outs[0][part]
        if op.has_state:
            self.g_first = [outs[-1][part]]
        one, dtype = (self.rows, self.units), inner.dtype
        # all_dz: of z, r, y, and the inner product
        self.sums = np.empty((3, hx.shape[2], self.units), dtype)
        self.sums_in = np.zeros((1 + self.units, self.units), dtype)
        self.q, self.s, self.v = np.empty((3, *one), dtype)
        self.slope = np.empty((3, *one), dtype)
        self.carried = [(self.gh, None if op.sequence else self.g)]

    def run(self) -> Run:
        """One compiled function, if it can be had, or else the calls."""
        op, group, first = self.op, loop_group(self.rows), (*self.g_first, None)[0]
        sizes = self.rows, self.steps, self.units, self.features
        sums = (self.sums, self.sums_in) if op.weights else (None, None)
        run = None if not is_fast(op) else compiled(
            "gru", "backward", sizes, (op.reverse, op.reset_after, group, op.sequence), [
            (self.hx, 0), (self.gates, 0, 1), (self.inner, 0),
            (self.g, 0, 1 if op.sequence else 0), (self.to_h,), (self.to_x,),
            *((y,) for y in sums), (self.gx, 0, 1), (first,), ((*self.mask, None)[0], 0, 1),
            *((y,) for y in self.scratch(group, self.features))])
        return run or in_turn(self.calls())

    def step(self, k: int, n: int, t: int) -> list[Run]:
        op = self.op
        self.dz = dz = self.all_dz[:, k % self.group]
        now, calls = self.arriving(n)
        calls += self._gates(k, now) if is_fast(op) else self._any_gates(k, now)
        calls += _clear(self.off, t, list(dz))
        if op.weights and k % self.group == 0:
            calls += self._weights(k, min(k + self.group, self.steps))
        if k or op.has_state:                       # gh already holds what goes past the products
            calls.append(stacked(dz[:2], self.to_h[:2], self.gh, True))
            if op.reset_after:
                calls.append(_gemm(dz[3], self.to_h[2], self.gh, accumulate=True))
        if op.inputs:
            calls.append(stacked(dz[:3], self.to_x, self.gx_here[n]))
        return calls + _keep(self.off, t, [(self.gh, now)])

    def _weights(self, k: int, end: int) -> list[Run]:
        add, f, hx = end < self.steps, self.features, merged(self.hx[k:end])
        dz, inner = merged(self.all_dz[:, :end - k]), merged(self.inner[k:end])
        inner = (_gemm(hx[:, f:].T, dz[3], self.sums_in, accumulate=add) if self.op.reset_after
                 else _gemm(inner.T, dz[2], self.sums_in[1:], accumulate=add))
        return [stacked(of_gates(hx.T, 2), dz[:2], self.sums[:2], add),
                _gemm(hx[:, :f + 1].T, dz[2], self.sums[2, :f + 1], accumulate=add), inner]

    def _gates(self, k: int, now: np.ndarray) -> list[Run]:
        """dz from `now`, what reaches the state, for tanh and sigmoid; and gh, what goes past the
        products with the gates: q = now z, dz_y = (now - q) (1 - y^2),
        dz_z = (h - y) q (1 - z), dz_r = (gradient by r) r (1 - r)."""
        mul, sub, q, s, v, dz = np.multiply, np.subtract, self.q, self.s, self.v, self.dz
        z, reset, y = self.gates[k]
        h = self.hx[k][:, self.features + 1:]
        calls = [partial(mul, now, z, q), partial(sub, now, q, s), partial(mul, s, y, v),
                 partial(mul, v, y, v), partial(sub, s, v, dz[2]),
                 partial(sub, h, y, s), partial(mul, s, q, s), partial(mul, s, z, v),
                 partial(sub, s, v, dz[0])]
        return calls + self._reset(k, [partial(mul, s, reset, v), partial(sub, s, v, dz[1])])

    def _reset(self, k: int, end: list[Run]) -> list[Run]:
        """s: r times the gradient by r; dz[3]; `end`, which makes dz[1] of s; gh."""
        mul, s, v, dz, q, gh = np.multiply, self.s, self.v, self.dz, self.q, self.gh
        reset, h, inner = self.gates[k, 1], self.hx[k][:, self.features + 1:], self.inner[k]
        if self.op.reset_after:
            return [partial(mul, dz[2], reset, dz[3]), partial(mul, dz[3], inner, s), *end,
                    partial(np.copyto, gh, q)]
        return [_gemm(dz[2], self.to_h[2], v), partial(mul, v, reset, v), partial(mul, v, h, s),
                partial(np.add, q, v, gh), *end]

    def _any_gates(self, k: int, now: np.ndarray) -> list[Run]:
        """The same for any activations, by their derivatives."""
        op, mul, sub, q, s, v, dz = (self.op, np.multiply, np.subtract, self.q, self.s, self.v,
                                     self.dz)
        z, reset, y = self.gates[k]
        h, inner, slope = self.hx[k][:, self.features + 1:], self.inner[k], self.slope
        calls = [partial(mul, now, z, q), partial(sub, now, q, s),
                 partial(_SLOPE[op.activation], y, slope[2]), partial(mul, s, slope[2], dz[2]),
                 partial(_SLOPE[op.recurrent_activation], self.gates[k, :2], slope[:2]),
                 partial(sub, h, y, s), partial(mul, s, now, s), partial(mul, s, slope[0], dz[0])]
        if op.reset_after:
            return calls + [partial(mul, dz[2], reset, dz[3]), partial(mul, dz[2], inner, s),
                            partial(mul, s, slope[1], dz[1]), partial(np.copyto, self.gh, q)]
        return calls + [_gemm(dz[2], self.to_h[2], v), partial(mul, v, h, s),
                        partial(mul, s, slope[1], dz[1]), partial(mul, v, reset, v),
                        partial(np.add, q, v, self.gh)]
