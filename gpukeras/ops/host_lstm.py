"""Whole LSTM layers on the host: ops/lstm.py as lists of calls, parts of the batch to threads.

A step forward is one product of [state | input | 1] with all weights and eight NumPy calls; a step
back thirteen calls and the two products that use the gradients of the gates while they are in the
cache. Gate by gate everything is one contiguous block, and everything a step touches fits an L2.
"""
from __future__ import annotations

from functools import partial

import numpy as np

from ..blas import bind_gemm
from ..team import in_turn, team
from .host_loops import compiled, loop_group
from .host_rnn import _APPLY, _SLOPE, Arrays, Run, _Chunk, _clear, _halves, _keep, _off
from .host_relay import Relay
from .host_whole import (Backward, Forward, by_relay, by_threads, is_fast, merged, of_gates,
                         stacked)

# ---- forward

def bind_lstm_whole(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an LstmWhole op on its arrays."""
    x, w, r, *more = ins
    bias = [more.pop(0)[None]] if op.has_bias else []
    units, dtype = r.shape[0], r.dtype
    weights = np.empty((4, units + x.shape[2] + len(bias), units), dtype)
    scales = np.array([0.5, 0.5, 0.5, 1] if is_fast(op) else [1] * 4, dtype)[:, None, None]
    front, at = [], 0
    for source in (r, w, *bias):
        place = weights[:, at:at + len(source)]
        front += [partial(np.multiply, part, scale, to) for (part, to), scale in zip(
            _halves(source, place), (scales[:2], scales[2:]))]
        at += len(source)
    (rows, steps, features), crew = x.shape, team()
    size = rows * steps * units
    if op.keep and by_relay(op, rows, units, features, size):
        ahead = _AheadForward(op, weights, x, more, outs)
        jobs = ahead.relay.jobs(in_turn(ahead.calls()), crew.size)
        return in_turn([*front, *ahead.front(), crew.bind(jobs)])
    jobs = [_Forward(op, weights, x, more, outs, part).run() for part in by_threads(rows, size)]
    return in_turn([*front, crew.bind(jobs)])


class _Forward(Forward):
    """The calls for some rows of the batch."""

    def __init__(self, op, weights: np.ndarray, x: np.ndarray, more: Arrays, outs: Arrays,
                 part: slice) -> None:
        self.op, self.weights, self.x = op, weights, x[part]
        self.rows, self.steps, self.features = self.x.shape
        self.units = units = weights.shape[2]
        more = [m[part] for m in more]
        self.first = more[:2] if op.has_state else None
        self.mask = more[2:] if op.has_state else more
        self.off, self.masks = _off(self.mask)
        self.h_last, self.c_last, *rest = outs
        self.h_last, self.c_last = self.h_last[part], self.c_last[part]
        self.h = rest.pop(0)[part] if op.sequence else None
        dtype = weights.dtype
        self.chunks = _Chunk.walk(self.steps, 4 * self.rows * units * dtype.itemsize, op.reverse)
        self.kept = bool(rest)
        if rest:
            self.hx, self.z, self.c, self.a = rest[0][:, part], rest[1][:, :, part], *(
                y[:, part] for y in rest[2:])
        else:                                       # memory for a few steps, used again and again
            most = max(k.count for k in self.chunks)
            self.hx = np.empty((most + 1, self.rows, weights.shape[1]), dtype)
            self.z = np.empty((1, 4, self.rows, units), dtype)
            self.c, self.a = np.empty((2, self.rows, units), dtype), np.empty(
                (1, self.rows, units), dtype)
        self.product = np.empty((self.rows, units), dtype)
        self.half = np.array(0.5, dtype)

    def run(self) -> Run:
        """One compiled function, if it can be had, or else the calls."""
        op, sizes = self.op, (self.rows, self.steps, self.units, self.features)
        run = None if not is_fast(op) else compiled(
            "lstm", "forward", sizes, (op.has_bias, op.reverse, self.kept), [
            (self.x, 0, 1), (self.weights,), (self.hx, 0), (self.z, 0, 1), (self.c, 0),
            (self.a, 0), (self.h, 0, 1), *((y,) for y in self.first or [None, None]),
            (self.h_last,), (self.c_last,), ((*self.mask, None)[0], 0, 1), (self.product,)])
        return run or in_turn(self.calls())

    def states(self, rows: np.ndarray) -> np.ndarray:
        """The columns of hx that hold states."""
        return rows[..., :self.units]

    def begin(self) -> list[Run]:
        h, c = self.states(self.hx[0]), self.c[0]
        if self.first is None:
            return [partial(h.fill, 0), partial(c.fill, 0)]
        return [partial(np.copyto, h, self.first[0]), partial(np.copyto, c, self.first[1])]

    def inputs(self, chunk: _Chunk, here: np.ndarray) -> list[Run]:
        """x and the ones of the bias to their columns."""
        units, end = self.units, self.units + self.features
        calls = [partial(np.copyto, here[..., units:end], chunk.seen(self.x))]
        return calls + ([partial(here[..., -1].fill, 1)] if self.op.has_bias else [])

    def step(self, k: int, row: int, t: int) -> list[Run]:
        """Step k of the walk, which is time t, and lies in `row` of hx."""
        op, n, units = self.op, (k if self.kept else 0), self.units
        hx, z, c, a = self.hx[row], self.z[n], self.c[k if self.kept else k % 2], self.a[n]
        last = k + 1 == self.steps
        h_new = self.h_last if last else self.hx[row + 1, :, :units]
        c_new = self.c_last if last else self.c[k + 1 if self.kept else (k + 1) % 2]
        start = units if not k and self.first is None else 0            # no state, no product
        calls, source = self._products(k, hx[:, start:], self.weights[:, start:], z)
        i, f, o, g = z
        if is_fast(op):
            calls += [partial(np.tanh, source, z), partial(np.multiply, z[:3], self.half, z[:3]),
                      partial(np.add, z[:3], self.half, z[:3])]
        else:
            calls += [] if source is z else [partial(np.copyto, z, source)]
            calls += [partial(_APPLY[op.recurrent_activation], z[:3]),
                      partial(_APPLY[op.activation], g)]
        if op.activation == "tanh":
            act = [partial(np.tanh, c_new, a)]
        else:
            act = [partial(np.copyto, a, c_new), partial(_APPLY[op.activation], a)]
        calls += [partial(np.multiply, i, g, self.product), partial(np.multiply, f, c, c_new),
                  partial(np.add, c_new, self.product, c_new), *act,
                  partial(np.multiply, o, a, h_new)]
        kept = _keep(self.off, t, [(h_new, hx[:, :units]), (c_new, c)])
        return calls + kept + (act if kept else [])


    def _products(self, k: int, inputs: np.ndarray, weights: np.ndarray, z: np.ndarray,
                  ) -> tuple[list[Run], np.ndarray]:
        """What the gates of step k are functions of: calls, and where they leave it."""
        return [stacked(of_gates(inputs), weights, z)], z


class _AheadForward(_Forward):
    """The whole batch; `relay`: products of the inputs with the weights, for a chunk of steps at a
    time, run ahead of the walk."""

    def __init__(self, op, weights: np.ndarray, x: np.ndarray, more: Arrays, outs: Arrays) -> None:
        super().__init__(op, weights, x, more, outs, slice(None))
        self.all_z = np.empty((4, self.steps, self.rows, self.units), weights.dtype)
        flat, pieces, end = self.hx.reshape(-1, self.hx.shape[2]), [], 0
        for chunk in self.chunks:
            begin, end = end, end + chunk.count * self.rows
            pieces.append([bind_gemm(flat[begin:end, self.units:], w[self.units:],
                                     z.reshape(-1, self.units)[begin:end], split=False)
                           for w, z in zip(weights, self.all_z)])
        self.relay, self.reached = Relay(pieces), 0

    def front(self) -> list[Run]:
        """What comes before the walk and the products."""
        calls, begin = [partial(self.relay.begin, len(self.chunks))], 0
        for chunk in self.chunks:
            calls += super().inputs(chunk, self.hx[begin:begin + chunk.count])
            begin += chunk.count
        return calls

    def inputs(self, chunk: _Chunk, here: np.ndarray) -> list[Run]:
        self.reached += 1
        return [partial(self.relay.reach, self.reached)]

    def _products(self, k: int, inputs: np.ndarray, weights: np.ndarray, z: np.ndarray,
                  ) -> tuple[list[Run], np.ndarray]:
        found = self.all_z[:, k]
        if not k and self.first is None:
            return [], found
        units = self.units
        return [stacked(of_gates(inputs[:, :units]), weights[:, :units], found, True)], found


# ---- backward

def bind_lstm_whole_grad(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an LstmWholeGrad op on its arrays."""
    w, r, c = ins[4], ins[5], ins[2]
    steps, rows, units = c.shape
    to_h, to_x = (np.empty((4, units, len(source)), c.dtype) for source in (r, w))
    front: list[Run] = []
    for source, place in ((r, to_h), *([(w, to_x)] if op.inputs else [])):
        one = np.empty((len(source), units), c.dtype)           # no power of 2 between its rows
        for gate, to in zip((0, 1, 3, 2), place):
            front += [partial(np.copyto, one, source[:, gate * units:(gate + 1) * units]),
                      partial(np.copyto, to, one.T)]
    outs = list(outs)
    sums = [outs.pop(0) for _ in range(2 + op.has_bias)] if op.weights else []
    size, crew = rows * steps * units, team()
    if by_relay(op, rows, units, len(w), size) and (op.weights or op.inputs):
        backs = [_AheadBackward(op, to_h, to_x, ins, outs, slice(None))]
        relay = backs[0].relay
        front.append(relay.begin)
        jobs = relay.jobs(in_turn(backs[0].calls()), crew.size)
    else:
        backs = [_Backward(op, to_h, to_x, ins, outs, part) for part in by_threads(rows, size)]
        jobs = [b.run() for b in backs]
    end, at = [], 0
    first = backs[0].sums
    end += [partial(np.add, first, b.sums, first) for b in backs[1:] if op.weights]
    for out in sums:
        out = np.atleast_2d(out)
        end += [partial(np.copyto, to, part)
                for to, part in _halves(out, first[:, at:at + len(out)])]
        at += len(out)
    return in_turn([*front, crew.bind(jobs), *end])


class _Backward(Backward):
    """The calls for some rows of the batch; `sums` (4, K, U) are their gradients of the weights."""

    def __init__(self, op, to_h: np.ndarray, to_x: np.ndarray, ins: Arrays, outs: Arrays,
                 part: slice) -> None:
        hx, z, c, a, w, _, g, *more = ins
        more = [m[part] for m in more]
        self.c, self.a, self.z = c[:, part], a[:, part], z[:, :, part]
        self.to_h, self.to_x = to_h, to_x
        gc = more.pop(0) if op.has_gc else None
        super().__init__(op, self.c, 4, hx[:, part], more, g[part], len(w))
        if op.inputs:
            self.gx = outs[0][part]
        if op.has_state:
            self.g_first = [y[part] for y in outs[-2:]]
        one, dtype = (self.rows, self.units), c.dtype
        self.sums = np.empty((4, hx.shape[2], self.units), dtype)
        self.slope = np.empty((4, *one), dtype)
        self.v = np.empty((3, *one), dtype)
        self.ue, self.e_old = np.empty((2, *one), dtype), np.empty(one, dtype)
        self.e = self.ue[1]                         # what reaches the cell from later steps
        self.p, self.s = np.empty((2, *one), dtype)
        self.carried = [(self.gh, None if op.sequence else self.g), (self.e, gc)]

    def run(self) -> Run:
        """One compiled function, if it can be had, or else the calls."""
        op, group, features = self.op, loop_group(self.rows), self.to_x.shape[2]
        sizes, first = (self.rows, self.steps, self.units, features), self.g_first or [None, None]
        run = None if not is_fast(op) else compiled(
            "lstm", "backward", sizes, (op.has_bias, op.reverse, group, op.sequence), [
            (self.hx, 0), (self.z, 0, 1), (self.c, 0), (self.a, 0),
            (self.g, 0, 1 if op.sequence else 0), (self.carried[1][1],), (self.to_h,),
            (self.to_x,), (self.sums if op.weights else None,), (self.gx, 0, 1),
            *((y,) for y in first), ((*self.mask, None)[0], 0, 1),
            *((y,) for y in self.scratch(group, features))])
        return run or in_turn(self.calls())

    def step(self, k: int, n: int, t: int) -> list[Run]:
        op = self.op
        self.dz = dz = self.all_dz[:, k % self.group]
        now, calls = self.arriving(n)
        if self.off is not None:
            calls.append(partial(np.copyto, self.e_old, self.e))
        calls += self._gates(k, now) if is_fast(op) else self._any_gates(k, now)
        calls += _clear(self.off, t, list(dz))
        if k or op.has_state:
            calls.append(stacked(dz, self.to_h, self.gh))
        calls += self._products(k, n)
        return calls + _keep(self.off, t, [(self.gh, now), (self.e, self.e_old)])

    def _products(self, k: int, n: int) -> list[Run]:
        """The gradients of weights and inputs."""
        calls = []
        if self.op.weights and k % self.group == 0:
            end = min(k + self.group, self.steps)
            calls.append(stacked(of_gates(merged(self.hx[k:end]).T),
                                 merged(self.all_dz[:, :end - k]), self.sums,
                                 accumulate=end < self.steps))
        if self.op.inputs:
            calls.append(stacked(self.dz, self.to_x, self.gx_here[n]))
        return calls

    def _gates(self, k: int, now: np.ndarray) -> list[Run]:
        """dz from `now`, what reaches the state, for tanh and sigmoid; d is what reaches the cell:
        d = e + now o (1 - a^2), dz_o = now o a (1 - o), dz_i = d i g (1 - i),
        dz_f = d f c (1 - f), dz_g = d i (1 - g^2), e = d f."""
        mul, add, sub = np.multiply, np.add, np.subtract
        y, c, a, dz, v, p, s = self.z[k], self.c[k], self.a[k], self.dz, self.v, self.p, self.s
        (i, f, o, g), (u, e) = y, self.ue
        return [partial(mul, now, o, p), partial(mul, p, a, v[2]), partial(mul, v[2], a, s),
                partial(sub, p, s, p), partial(add, p, e, p), partial(mul, p, i, u),
                partial(mul, p, f, e),
                partial(mul, u, g, v[0]), partial(mul, e, c, v[1]), partial(mul, v[0], g, s),
                partial(sub, u, s, dz[3]), partial(mul, v, y[:3], dz[:3]),
                partial(sub, v, dz[:3], dz[:3])]

    def _any_gates(self, k: int, now: np.ndarray) -> list[Run]:
        """The same for any activations, by their derivatives."""
        op, mul, dz, s = self.op, np.multiply, self.dz, self.s
        y, c, a, e, slope = self.z[k], self.c[k], self.a[k], self.e, self.slope
        i, f, o, g = y
        return [partial(mul, now, a, dz[2]), partial(_SLOPE[op.activation], a, s),
                partial(mul, s, o, s), partial(mul, s, now, s), partial(np.add, s, e, s),
                partial(mul, s, g, dz[0]), partial(mul, s, c, dz[1]), partial(mul, s, i, dz[3]),
                partial(mul, s, f, e), partial(_SLOPE[op.recurrent_activation], y[:3], slope[:3]),
                partial(_SLOPE[op.activation], g, slope[3]), partial(mul, dz, slope, dz)]


class _AheadBackward(_Backward):
    """The whole batch; `relay`: gradients of weights and inputs, for a chunk of steps at a time,
    follow the walk."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        op, units = self.op, self.units
        self.group = self.steps
        self.all_dz = np.empty((4, self.steps, self.rows, units), self.c.dtype)
        flat, dz = self.hx.reshape(-1, self.hx.shape[2]), self.all_dz.reshape(4, -1, units)
        pieces, begin = [], len(flat)
        for chunk in self.chunks:
            begin, end = begin - chunk.count * self.rows, begin
            lanes: list[Run] = []
            if op.weights:
                lanes += [bind_gemm(flat[begin:end].T, d[begin:end], to, accumulate=bool(pieces),
                                    split=False) for d, to in zip(dz, self.sums)]
            if op.inputs:
                to = self.gx_here[:chunk.count]
                products = [bind_gemm(d[begin:end], w, merged(to), accumulate=g > 0, split=False)
                            for g, (d, w) in enumerate(zip(dz, self.to_x))]
                lanes.append(in_turn([*products,
                                      partial(np.copyto, chunk.seen(self.gx)[::-1], to)]))
            pieces.append(lanes)
        self.relay = Relay(pieces)

    def _products(self, k: int, n: int) -> list[Run]:
        return []

    def end_of(self, chunk: _Chunk) -> list[Run]:
        return [self.relay.allow]
