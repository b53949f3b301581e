"""Recurrent sequences on the host: bound calls for every time step, halves of the batch to threads.

A step is a matrix product and a few NumPy calls over arrays that stay in the cache. With tanh and
sigmoid all gates of a step are ONE tanh, since sigmoid(x) = tanh(x / 2) / 2 + 1 / 2.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..blas import bind_gemm, bind_stack
from ..team import in_turn, team

Run = Callable[[], object]
Arrays = Sequence[np.ndarray]
WORTH_SHARING = 1 << 16                            # elements of the gates of a sequence


def by_rows(bind: Callable[[Arrays, Arrays], Run], ins: Arrays, outs: Arrays,
            shared: frozenset[int] = frozenset()) -> Run:
    """bind(ins, outs) for parts of the batch, one a thread; `shared`: inputs without rows."""
    rows, crew = outs[0].shape[0], team()
    if crew.size == 1 or rows < 2 * crew.size or outs[0].size < WORTH_SHARING:
        return bind(ins, outs)
    jobs = [bind([x if i in shared else x[part] for i, x in enumerate(ins)],
                 [y[part] for y in outs]) for part in crew.split(rows)]
    return crew.bind(jobs)


# ---- activations, in place

def _half_tanh(x: np.ndarray) -> None:
    np.multiply(x, 0.5, out=x)
    np.tanh(x, out=x)
    np.multiply(x, 0.5, out=x)
    np.add(x, 0.5, out=x)


def _hard_sigmoid(x: np.ndarray) -> None:
    np.multiply(x, 0.2, out=x)
    np.add(x, 0.5, out=x)
    np.maximum(x, 0, out=x)
    np.minimum(x, 1, out=x)


_APPLY = {"tanh": lambda x: np.tanh(x, out=x), "sigmoid": _half_tanh,
          "hard_sigmoid": _hard_sigmoid, "relu": lambda x: np.maximum(x, 0, out=x),
          "linear": lambda x: None}


def _slope_tanh(y: np.ndarray, d: np.ndarray) -> None:
    np.multiply(y, y, out=d)
    np.subtract(1, d, out=d)


def _slope_sigmoid(y: np.ndarray, d: np.ndarray) -> None:
    np.subtract(1, y, out=d)
    np.multiply(d, y, out=d)


def _slope_hard(y: np.ndarray, d: np.ndarray) -> None:
    np.multiply(y > 0, y < 1, out=d, casting="unsafe")
    np.multiply(d, 0.2, out=d)


# derivative by the value y of the function, into d
_SLOPE = {"tanh": _slope_tanh, "sigmoid": _slope_sigmoid, "hard_sigmoid": _slope_hard,
          "relu": lambda y, d: np.greater(y, 0, out=d, casting="unsafe"),
          "linear": lambda y, d: d.fill(1)}


def _walk(steps: int, backwards: bool) -> range:
    return range(steps)[::-1] if backwards else range(steps)


def _blocks(x: np.ndarray, n: int) -> list[np.ndarray]:
    u = x.shape[-1] // n
    return [x[..., i * u:(i + 1) * u] for i in range(n)]


def _keep(off: np.ndarray | None, t: int, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[Run]:
    """Calls that put the old value back where the mask is off: pairs (new, old)."""
    if off is None:
        return []
    where = off[:, t, None]
    return [lambda n=n, o=o: np.copyto(n, o, where=where) for n, o in pairs]


def _clear(off: np.ndarray | None, t: int, arrays: list[np.ndarray]) -> list[Run]:
    """Calls that write zeros where the mask is off."""
    if off is None:
        return []
    where = off[:, t, None]
    return [lambda a=a: np.copyto(a, 0, where=where) for a in arrays]


def _off(mask: Arrays) -> tuple[np.ndarray | None, list[Run]]:
    """Where the mask is off, and the call that finds out."""
    if not mask:
        return None, []
    off = np.empty(mask[0].shape, bool)
    return off, [lambda: np.logical_not(mask[0], out=off)]


# ---- long short-term memory

class _Chunk:
    """A few steps of a walk over time.  Arrays (B, S, ..) are read and written for all of them at
    once: row after row of one step alone is a cache and page miss each.

    Inside, arrays are (steps, .., B, U) in the order of the walk, and gates lie in the order
    i f o g, the three sigmoids side by side; in the results it is i f c o.
    """

    BYTES = 5 << 17                                 # of the gates: they stay in a common L2

    def __init__(self, times: range) -> None:
        self.times, self.count = times, len(times)
        self.part = slice(min(times), max(times) + 1)

    @classmethod
    def walk(cls, steps: int, step_bytes: int, backwards: bool) -> list[_Chunk]:
        """Chunks of the steps in order."""
        order = _walk(steps, backwards)
        size = max(1, cls.BYTES // max(1, step_bytes))
        return [cls(order[i:i + size]) for i in range(0, steps, size)]

    def seen(self, x: np.ndarray) -> np.ndarray:
        """x (B, S, ..) as (steps, B, ..)."""
        here = x[:, self.part].swapaxes(0, 1)
        return here if self.times.step > 0 else here[::-1]

    def gates(self, x: np.ndarray, z: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """The halves of x (B, S, 4U) and of z (steps, 4, B, U) that hold the same gates."""
        return _halves(self.seen(x), z[:self.count])


def _halves(x: np.ndarray, z: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """x (.., B, 4U) in the order i f c o and z (.., 4, B, U) in the order i f o g, half by half."""
    x = np.moveaxis(x.reshape(*x.shape[:-1], 4, -1), -2, -3)
    return [(x[..., :2, :, :], z[..., :2, :, :]), (x[..., 3:1:-1, :, :], z[..., 2:, :, :])]


def bind_lstm(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an Lstm op on its arrays: some ten calls a step."""
    xw, r, h0, c0, *mask = ins
    rows, steps, units = outs[0].shape
    fast = (op.activation, op.recurrent_activation) == ("tanh", "sigmoid")
    chunks = _Chunk.walk(steps, 4 * rows * units * r.itemsize, op.reverse)
    most = max(k.count for k in chunks)
    all_z = np.empty((most, 4, rows, units), r.dtype)
    h, c = np.empty((2, most + 1, rows, units), r.dtype)            # [0] is the state before
    a, weights = np.empty((rows, units), r.dtype), np.empty((4, *r.shape[:1], units), r.dtype)
    # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2: the inner half goes into weights and inputs
    scales = np.array([0.5, 0.5, 0.5, 1] if fast else [1] * 4, r.dtype)[:, None, None]
    half = np.array(0.5, r.dtype)
    act, ract = _APPLY[op.activation], _APPLY[op.recurrent_activation]
    off, calls = _off(mask)
    calls += [partial(np.multiply, x, s, to) for (x, to), s in zip(
        _halves(r, weights), (scales[:2], scales[2:]))]
    calls += [partial(np.copyto, h[0], h0), partial(np.copyto, c[0], c0)]
    for chunk in chunks:
        calls += [partial(np.multiply, x, s, to) for (x, to), s in zip(
            chunk.gates(xw, all_z), (scales[:2], scales[2:]))]
        for k, t in enumerate(chunk.times):
            z = all_z[k]
            i, f, o, g = z
            calls.append(bind_stack(np.broadcast_to(h[k], z.shape), weights, z, True))
            if fast:
                calls += [partial(np.tanh, z, out=z), partial(np.multiply, z[:3], half, z[:3]),
                          partial(np.add, z[:3], half, z[:3])]
            else:
                calls += [partial(ract, z[:3]), partial(act, g)]
            calls += [partial(np.multiply, i, g, a), partial(np.multiply, c[k], f, c[k + 1]),
                      partial(np.add, c[k + 1], a, c[k + 1]),
                      *([partial(np.tanh, c[k + 1], out=a)] if op.activation == "tanh" else
                        [partial(np.copyto, a, c[k + 1]), partial(act, a)]),
                      partial(np.multiply, o, a, h[k + 1]),
                      *_keep(off, t, [(h[k + 1], h[k]), (c[k + 1], c[k])])]
        for out, state in ((outs[0], h), (outs[1], c)):
            calls += [partial(np.copyto, chunk.seen(out), state[1:chunk.count + 1]),
                      partial(np.copyto, state[0], state[chunk.count])]
        calls += [partial(np.copyto, to, part) for to, part in chunk.gates(outs[2], all_z)]
    return in_turn(calls)


def bind_lstm_grad(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an LstmGrad op on its arrays."""
    gates, c, c0, r, all_gh, *more = ins
    gz, gh, gc0 = outs
    all_gc = more.pop(0) if op.has_gc else None
    rows, steps, units = c.shape
    chunks = _Chunk.walk(steps, 4 * rows * units * gz.itemsize, not op.reverse)
    most = max(k.count for k in chunks)
    all_y = np.empty((most, 4, rows, units), gz.dtype)
    z, slope, weights = (np.empty((4, n, units), gz.dtype) for n in (rows, rows, r.shape[0]))
    all_c, all_a, up = np.empty((3, most, rows, units), gz.dtype)
    now, d, other = np.empty((3, rows, units), gz.dtype)
    gc = (gc0, other)                               # old and new in turns
    act, d_act = _APPLY[op.activation], _SLOPE[op.activation]
    d_ract = _SLOPE[op.recurrent_activation]
    off, calls = _off(more)
    calls += [partial(gh.fill, 0), partial(gc0.fill, 0)]
    calls += [partial(np.copyto, to, x) for x, to in _halves(r, weights)]
    last, number = (steps - 1 if op.reverse else 0), 0
    for chunk in chunks:
        n = chunk.count
        calls += [partial(np.copyto, to, x) for x, to in chunk.gates(gates, all_y)]
        calls += [partial(np.copyto, all_a[:n], chunk.seen(c)), partial(act, all_a[:n]),
                  partial(np.copyto, up[:n], chunk.seen(all_gh))]
        # the cell before each step: the next one of the walk
        before = [c0 if t == last else c[:, t + 1 if op.reverse else t - 1] for t in chunk.times]
        calls += [partial(np.copyto, all_c[k], b) for k, b in enumerate(before)]
        for k, t in enumerate(chunk.times):
            y, a, old, new = all_y[k], all_a[k], gc[number % 2], gc[1 - number % 2]
            i, f, o, g = y
            number += 1
            calls.append(partial(np.add, up[k], gh, now))
            if all_gc is not None:
                calls.append(partial(np.add, old, all_gc[:, t], old))
            calls += [partial(np.multiply, now, a, z[2]), partial(d_act, a, d),
                      partial(np.multiply, d, o, d), partial(np.multiply, d, now, d),
                      partial(np.add, old, d, d),                   # d: all that reaches c
                      partial(np.multiply, d, g, z[0]), partial(np.multiply, d, all_c[k], z[1]),
                      partial(np.multiply, d, i, z[3]), partial(np.multiply, d, f, new),
                      partial(d_ract, y[:3], slope[:3]), partial(d_act, g, slope[3]),
                      partial(np.multiply, z, slope, y),
                      bind_stack(y, weights.swapaxes(1, 2), gh),
                      *_keep(off, t, [(gh, now), (new, old)]), *_clear(off, t, list(y))]
        calls += [partial(np.copyto, to, x) for to, x in chunk.gates(gz, all_y)]
    if steps % 2:
        calls.append(partial(np.copyto, gc0, other))
    return in_turn(calls)


# ---- gated recurrent unit

def bind_gru(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of a Gru op on its arrays."""
    xw, r, h0, *more = ins
    bias = more.pop(0) if op.has_bias else None
    h, gates, inner = outs
    rows, steps, units = h.shape
    off, calls = _off(more)
    act, ract = _APPLY[op.activation], _APPLY[op.recurrent_activation]
    r_gates, r_y = r[:, :2 * units], r[:, 2 * units:]
    h_old = h0
    for t in _walk(steps, op.reverse):
        zr, y, it, ht = gates[:, t, :2 * units], gates[:, t, 2 * units:], inner[:, t], h[:, t]
        first = bind_gemm(h_old, r_gates, zr, accumulate=True, split=False)
        second = (bind_gemm(h_old, r_y, it, split=False) if op.reset_after
                  else bind_gemm(it, r_y, y, accumulate=True, split=False))

        def step(t=t, zr=zr, y=y, it=it, ht=ht, first=first, second=second, h_old=h_old) -> None:
            np.copyto(zr, xw[:, t, :2 * units])
            first()
            if bias is not None:
                np.add(zr, bias[:2 * units], out=zr)
            ract(zr)
            z, reset = _blocks(zr, 2)
            if op.reset_after:
                second()
                if bias is not None:
                    np.add(it, bias[2 * units:], out=it)
                np.multiply(reset, it, out=y)
                np.add(y, xw[:, t, 2 * units:], out=y)
            else:
                np.multiply(reset, h_old, out=it)
                np.copyto(y, xw[:, t, 2 * units:])
                second()
                if bias is not None:
                    np.add(y, bias[2 * units:], out=y)
            act(y)
            np.subtract(h_old, y, out=ht)
            np.multiply(ht, z, out=ht)
            np.add(ht, y, out=ht)

        calls += [step, *_keep(off, t, [(ht, h_old)])]
        h_old = ht
    return in_turn(calls)


def bind_gru_grad(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of a GruGrad op on its arrays."""
    gates, inner, h, h0, r, gh, *mask = ins
    gz, gi, gh0 = outs
    rows, steps, units = h.shape
    off, calls = _off(mask)
    d_act, d_ract = _SLOPE[op.activation], _SLOPE[op.recurrent_activation]
    total, d, through = (np.empty((rows, units), gz.dtype) for _ in range(3))
    slope = np.empty((rows, 2 * units), gz.dtype)
    order = list(_walk(steps, not op.reverse))
    before = {t: h[:, t + 1 if op.reverse else t - 1] for t in order[:-1]} | {order[-1]: h0}
    calls.append(lambda: gh0.fill(0))
    for t in order:
        g_zr, gy, git = gz[:, t, :2 * units], gz[:, t, 2 * units:], gi[:, t]
        through_y = bind_gemm(git if op.reset_after else gy, r[:, 2 * units:].T, through,
                              split=False)
        through_gates = bind_gemm(g_zr, r[:, :2 * units].T, gh0, accumulate=True, split=False)

        def step(t=t, g_zr=g_zr, gy=gy, git=git, h_old=before[t], through_y=through_y,
                 through_gates=through_gates) -> None:
            z, reset, y = _blocks(gates[:, t], 3)
            g_z, g_r = _blocks(g_zr, 2)
            np.add(gh[:, t], gh0, out=total)
            np.subtract(1, z, out=gy)
            np.multiply(gy, total, out=gy)
            d_act(y, d)
            np.multiply(gy, d, out=gy)
            np.multiply(gy, reset, out=git)
            np.subtract(h_old, y, out=g_z)
            np.multiply(g_z, total, out=g_z)
            through_y()
            np.multiply(gy if op.reset_after else through,
                        inner[:, t] if op.reset_after else h_old, out=g_r)
            d_ract(gates[:, t, :2 * units], slope)
            np.multiply(g_zr, slope, out=g_zr)
            if not op.reset_after:
                np.multiply(through, reset, out=through)
            np.multiply(total, z, out=gh0)
            np.add(gh0, through, out=gh0)
            through_gates()

        calls += [step, *_keep(off, t, [(gh0, total)]),
                  *_clear(off, t, [gz[:, t], git])]
    return in_turn(calls)


# ---- simple recurrence

def bind_simple_rnn(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of a SimpleRnn op on its arrays."""
    xw, r, h0, *mask = ins
    h, y = outs
    off, calls = _off(mask)
    act, h_old = _APPLY[op.activation], h0
    for t in _walk(h.shape[1], op.reverse):
        yt, ht = y[:, t], h[:, t]
        product = bind_gemm(h_old, r, yt, accumulate=True, split=False)

        def step(t=t, yt=yt, ht=ht, product=product) -> None:
            np.copyto(yt, xw[:, t])
            product()
            act(yt)
            np.copyto(ht, yt)

        calls += [step, *_keep(off, t, [(ht, h_old)])]
        h_old = ht
    return in_turn(calls)


def bind_simple_rnn_grad(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of a SimpleRnnGrad op on its arrays."""
    y, r, gh, *mask = ins
    gz, gh0 = outs
    off, calls = _off(mask)
    d_act = _SLOPE[op.activation]
    total = np.empty(gh0.shape, gz.dtype)
    calls.append(lambda: gh0.fill(0))
    for t in _walk(y.shape[1], not op.reverse):
        product = bind_gemm(gz[:, t], r.T, gh0, split=False)

        def step(t=t, z=gz[:, t]) -> None:
            np.add(gh[:, t], gh0, out=total)
            d_act(y[:, t], z)
            np.multiply(z, total, out=z)

        calls += [step, *_clear(off, t, [gz[:, t]]), product, *_keep(off, t, [(gh0, total)])]
    return in_turn(calls)
