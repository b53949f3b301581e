"""Whole LSTM layers on the host: ops/lstm.py as lists of calls, parts of the batch to threads.

A step forward is one product of [state | input | 1] with all weights and eight NumPy calls; a step
back thirteen calls and the two products that use the gradients of the gates while they are in the
cache. Gate by gate everything is one contiguous block, and everything a step touches fits an L2.
"""
from __future__ import annotations

from functools import partial

import numpy as np

from ..blas import UNPACKED, bind_stack, needs_no_packing
from ..team import in_turn, team
from .host_rnn import (_APPLY, _SLOPE, WORTH_SHARING, Arrays, Run, _Chunk, _clear, _halves, _keep,
                       _off)

MOST_PARTS = 4                                      # of a product that is cut
LEAST_ROWS = 32                                     # of a product that is added to others


def stacked(a: np.ndarray, b: np.ndarray, out: np.ndarray, accumulate: bool = False) -> Run:
    """bind_stack, in parts of the longer of rows and columns if that makes each product so small
    that it needs no packing: 102 to 108 GFLOP/s where those of twice the size reach 85 to 95."""
    (m, k), n = a.shape[1:], b.shape[-1]
    parts = -(-m * n * k // int(UNPACKED)) if needs_no_packing() else 1
    if not 1 < parts <= MOST_PARTS:
        return bind_stack(a, b, out, accumulate)
    rows = m >= n
    edges = [(m if rows else n) * i // parts for i in range(parts + 1)]
    cuts = [slice(*pair) for pair in zip(edges, edges[1:])]
    return in_turn([bind_stack(a[:, s], b, out[..., s, :], accumulate) if rows else
                    bind_stack(a, b[..., s], out[..., s], accumulate) for s in cuts])


def of_gates(x: np.ndarray, n: int = 4) -> np.ndarray:
    """x as an operand for each gate."""
    return np.broadcast_to(x, (n, *x.shape))


def by_threads(rows: int, size: int) -> list[slice]:
    """Parts of the batch, one a thread; `size`: elements of the states of the sequence."""
    crew = team()
    if crew.size == 1 or rows < 2 * crew.size or size < WORTH_SHARING:
        return [slice(rows)]
    return crew.split(rows)


def steps_together(rows: int, hx: np.ndarray) -> int:
    """Steps whose gradients of the weights are one product: several where the batch is small."""
    return max(1, LEAST_ROWS // rows) if hx.flags.c_contiguous else 1


def merged(x: np.ndarray) -> np.ndarray:
    """(.., steps, rows, n) as (.., steps * rows, n), the same memory."""
    return x.reshape(*x.shape[:-3], -1, x.shape[-1])


def is_fast(op) -> bool:
    """With tanh and sigmoid all gates are one tanh: sigmoid(x) = tanh(x / 2) / 2 + 1 / 2."""
    return (op.activation, op.recurrent_activation) == ("tanh", "sigmoid")


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
    jobs = [in_turn(_Forward(op, weights, x, more, outs, part).calls())
            for part in by_threads(x.shape[0], x.shape[0] * x.shape[1] * units)]
    return in_turn([*front, team().bind(jobs)])


class _Forward:
    """The calls for some rows of the batch."""

    def __init__(self, op, weights: np.ndarray, x: np.ndarray, more: Arrays, outs: Arrays,
                 part: slice) -> None:
        self.op, self.weights, self.x = op, weights, x[part]
        self.rows, self.steps, self.features = self.x.shape
        self.units = units = weights.shape[2]
        more = [m[part] for m in more]
        self.first = more[:2] if op.has_state else None
        self.off, self.masks = _off(more[2:] if op.has_state else more)
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

    def calls(self) -> list[Run]:
        h, c = self.hx[0, :, :self.units], self.c[0]
        if self.first is None:
            calls = [*self.masks, partial(h.fill, 0), partial(c.fill, 0)]
        else:
            calls = [*self.masks, partial(np.copyto, h, self.first[0]),
                     partial(np.copyto, c, self.first[1])]
        done = 0
        for chunk in self.chunks:
            begin = done if self.kept else 0        # of the chunk in hx
            if done and not self.kept:
                before = self.hx[self.chunks[0].count, :, :self.units]
                calls.append(partial(np.copyto, self.hx[0, :, :self.units], before))
            calls += self._inputs(chunk, begin)
            for k, t in enumerate(chunk.times):
                calls += self._step(done + k, begin + k, t)
            if self.h is not None:
                calls += self._outputs(chunk, begin, done + chunk.count == self.steps)
            done += chunk.count
        return calls

    def _inputs(self, chunk: _Chunk, begin: int) -> list[Run]:
        """x and the ones of the bias to their columns."""
        here = self.hx[begin:begin + chunk.count]
        units, end = self.units, self.units + self.features
        calls = [partial(np.copyto, here[..., units:end], chunk.seen(self.x))]
        return calls + ([partial(here[..., -1].fill, 1)] if self.op.has_bias else [])

    def _step(self, k: int, row: int, t: int) -> list[Run]:
        """Step k of the walk, which is time t, and lies in `row` of hx."""
        op, n, units = self.op, (k if self.kept else 0), self.units
        hx, z, c, a = self.hx[row], self.z[n], self.c[k if self.kept else k % 2], self.a[n]
        last = k + 1 == self.steps
        h_new = self.h_last if last else self.hx[row + 1, :, :units]
        c_new = self.c_last if last else self.c[k + 1 if self.kept else (k + 1) % 2]
        start = units if not k and self.first is None else 0            # no state, no product
        calls = [stacked(of_gates(hx[:, start:]), self.weights[:, start:], z)]
        i, f, o, g = z
        if is_fast(op):
            calls += [partial(np.tanh, z, z), partial(np.multiply, z[:3], self.half, z[:3]),
                      partial(np.add, z[:3], self.half, z[:3])]
        else:
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

    def _outputs(self, chunk: _Chunk, begin: int, last: bool) -> list[Run]:
        """The states to h (B, S, U)."""
        to, units, n = chunk.seen(self.h), self.units, chunk.count - last
        calls = [partial(np.copyto, to[:n], self.hx[begin + 1:begin + 1 + n, :, :units])]
        return calls + ([partial(np.copyto, to[n], self.h_last)] if last else [])


# ---- backward

def bind_lstm_whole_grad(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an LstmWholeGrad op on its arrays."""
    w, r, c = ins[4], ins[5], ins[2]
    steps, rows, units = c.shape
    to_h, to_x = (np.empty((4, units, len(source)), c.dtype) for source in (r, w))
    front = [partial(np.copyto, to, part) for source, place in (
        (r, to_h), *([(w, to_x)] if op.inputs else []))
        for part, to in _halves(source, place.swapaxes(1, 2))]
    outs = list(outs)
    sums = [outs.pop(0) for _ in range(2 + op.has_bias)] if op.weights else []
    backs = [_Backward(op, to_h, to_x, ins, outs, part)
             for part in by_threads(rows, steps * rows * units)]
    end, at = [], 0
    first = backs[0].sums
    end += [partial(np.add, first, b.sums, first) for b in backs[1:] if op.weights]
    for out in sums:
        out = np.atleast_2d(out)
        end += [partial(np.copyto, to, part)
                for to, part in _halves(out, first[:, at:at + len(out)])]
        at += len(out)
    return in_turn([*front, team().bind([in_turn(b.calls()) for b in backs]), *end])


class _Backward:
    """The calls for some rows of the batch; `sums` (4, K, U) are their gradients of the weights."""

    def __init__(self, op, to_h: np.ndarray, to_x: np.ndarray, ins: Arrays, outs: Arrays,
                 part: slice) -> None:
        hx, z, c, a, _, _, g, *more = ins
        self.op, self.to_h, self.to_x = op, to_h, to_x
        self.hx, self.c, self.a, self.z = hx[:, part], c[:, part], a[:, part], z[:, :, part]
        self.g, more = g[part], [m[part] for m in more]
        self.gc = more.pop(0) if op.has_gc else None
        self.off, self.masks = _off(more)
        self.gx = outs[0][part] if op.inputs else None
        self.g_first = [y[part] for y in outs[-2:]] if op.has_state else None
        self.steps, self.rows, self.units = self.c.shape
        one, dtype = (self.rows, self.units), c.dtype
        self.sums = np.empty((4, hx.shape[2], self.units), dtype)
        self.group = steps_together(self.rows, self.hx)
        self.all_dz = np.empty((4, self.group, *one), dtype)
        self.slope = np.empty((4, *one), dtype)
        self.v = np.empty((3, *one), dtype)
        self.ue, self.e_old = np.empty((2, *one), dtype), np.empty(one, dtype)
        self.e = self.ue[1]                         # what reaches the cell from later steps
        self.p, self.s, self.gh, self.now = np.empty((4, *one), dtype)
        self.chunks = _Chunk.walk(self.steps, 4 * self.c[0].nbytes, not op.reverse)
        most = max(k.count for k in self.chunks)
        self.up = np.empty((most, *one), dtype) if op.sequence else None
        self.gx_here = np.empty((most, self.rows, len(to_x[0, 0])), dtype) if op.inputs else None

    def calls(self) -> list[Run]:
        op = self.op
        calls = [*self.masks, partial(self.gh.fill, 0) if op.sequence else
                 partial(np.copyto, self.gh, self.g)]
        calls.append(partial(self.e.fill, 0) if self.gc is None else
                     partial(np.copyto, self.e, self.gc))
        k = self.steps
        for chunk in self.chunks:
            if op.sequence:
                calls.append(partial(np.copyto, self.up[:chunk.count], chunk.seen(self.g)))
            for n, t in enumerate(chunk.times):
                k -= 1
                calls += self._step(k, n, t)
            if op.inputs:
                calls.append(partial(np.copyto, chunk.seen(self.gx), self.gx_here[:chunk.count]))
        if op.has_state:
            calls += [partial(np.copyto, self.g_first[0], self.gh),
                      partial(np.copyto, self.g_first[1], self.e)]
        return calls

    def _step(self, k: int, n: int, t: int) -> list[Run]:
        """Step k of the walk forward, which is time t and the n-th of a chunk."""
        op, now, masked = self.op, self.gh, self.off is not None
        self.dz = dz = self.all_dz[:, k % self.group]
        calls: list[Run] = []
        if op.sequence:
            now = self.now
            calls.append(partial(np.add, self.up[n], self.gh, now))
        elif masked:
            now = self.now
            calls.append(partial(np.copyto, now, self.gh))
        if masked:
            calls.append(partial(np.copyto, self.e_old, self.e))
        calls += self._gates(k, now) if is_fast(op) else self._any_gates(k, now)
        calls += _clear(self.off, t, list(dz))
        if op.weights and k % self.group == 0:
            end = min(k + self.group, self.steps)
            calls.append(stacked(of_gates(merged(self.hx[k:end]).T),
                                 merged(self.all_dz[:, :end - k]), self.sums,
                                 accumulate=end < self.steps))
        if k or op.has_state:
            calls.append(stacked(dz, self.to_h, self.gh))
        if op.inputs:
            calls.append(stacked(dz, self.to_x, self.gx_here[n]))
        return calls + _keep(self.off, t, [(self.gh, now), (self.e, self.e_old)])

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
