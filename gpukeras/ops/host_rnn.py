"""Recurrent sequences on the host: bound calls for every time step, halves of the batch to threads.

A step is a matrix product and a few NumPy calls over arrays that stay in the cache. With tanh and
sigmoid all gates of a step are ONE tanh, since sigmoid(x) = tanh(x / 2) / 2 + 1 / 2.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..blas import bind_gemm
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

_ORDER = (0, 1, 3, 2)                              # i f o g: the three sigmoids side by side


class _LstmBlocks:
    """Scratch of one LSTM step: a contiguous (B, U) block for each gate, in the order i f o g.

    NumPy is two to four times faster on them than on columns of the (B, S, 4U) results.
    """

    def __init__(self, rows: int, units: int, r: np.ndarray) -> None:
        self.z = np.empty((4, rows, units), r.dtype)
        self.i, self.f, self.o, self.g = self.z
        self.weights = np.empty((4, *r.shape[:1], units), r.dtype)
        self.columns = [slice(k * units, (k + 1) * units) for k in _ORDER]

    def of(self, x: np.ndarray) -> list[np.ndarray]:
        """The columns of the gates of x (..., 4U), in our order."""
        return [x[..., c] for c in self.columns]


def bind_lstm(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an Lstm op on its arrays."""
    xw, r, h0, c0, *mask = ins
    rows, steps, units = outs[0].shape
    s = _LstmBlocks(rows, units, r)
    fast = (op.activation, op.recurrent_activation) == ("tanh", "sigmoid")
    half = 0.5 if fast else 1.0                    # the inner half of tanh(x / 2) / 2 + 1 / 2
    off, calls = _off(mask)
    h, c, a = (np.empty((rows, units), r.dtype) for _ in range(3))
    products = [bind_gemm(h, w, z, accumulate=True, split=False) for w, z in zip(s.weights, s.z)]
    act, ract = _APPLY[op.activation], _APPLY[op.recurrent_activation]
    sigmoids = s.z[:3]

    def start() -> None:
        np.copyto(h, h0)
        np.copyto(c, c0)
        for to, w in zip(s.weights[:3], s.of(r)):
            np.multiply(w, half, out=to)
        np.copyto(s.weights[3], s.of(r)[3])

    def step(t, x, y, ht, ct) -> None:
        for to, part in zip(sigmoids, x):
            np.multiply(part, half, out=to)
        np.copyto(s.g, x[3])
        for product in products:
            product()
        if fast:
            np.tanh(s.z, out=s.z)
            np.multiply(sigmoids, 0.5, out=sigmoids)
            np.add(sigmoids, 0.5, out=sigmoids)
        else:
            ract(sigmoids)
            act(s.g)
        kept = None if off is None else (np.array(h), np.array(c))
        np.multiply(s.i, s.g, out=a)
        np.multiply(c, s.f, out=c)
        np.add(c, a, out=c)
        np.copyto(a, c)
        act(a)
        np.multiply(s.o, a, out=h)
        if kept is not None:
            np.copyto(h, kept[0], where=off[:, t, None])
            np.copyto(c, kept[1], where=off[:, t, None])
        np.copyto(ht, h)
        np.copyto(ct, c)
        for to, part in zip(y, s.z):
            np.copyto(to, part)

    calls.append(start)
    for t in _walk(steps, op.reverse):
        calls.append(partial(step, t, s.of(xw[:, t]), s.of(outs[2][:, t]), outs[0][:, t],
                             outs[1][:, t]))
    return in_turn(calls)


def bind_lstm_grad(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an LstmGrad op on its arrays."""
    gates, c, c0, r, gh_all, *more = ins
    gz, gh, gc = outs
    gc_all = more.pop(0) if op.has_gc else None
    rows, steps, units = c.shape
    off, calls = _off(more)
    y, z = _LstmBlocks(rows, units, r), _LstmBlocks(rows, units, r)
    slope = np.empty_like(y.z)
    now, before, a, d = (np.empty((rows, units), gz.dtype) for _ in range(4))
    products = [bind_gemm(block, w.T, gh, accumulate=bool(k), split=False)
                for k, (block, w) in enumerate(zip(z.z, y.weights))]
    act, d_act = _APPLY[op.activation], _SLOPE[op.activation]
    d_ract = _SLOPE[op.recurrent_activation]

    def start() -> None:
        gh.fill(0)
        gc.fill(0)
        for to, w in zip(y.weights, y.of(r)):
            np.copyto(to, w)

    def step(t, gates_t, gz_t, c_t, c_before) -> None:
        for to, part in zip(y.z, gates_t):
            np.copyto(to, part)
        np.copyto(a, c_t)
        act(a)
        np.copyto(before, c_before)
        np.add(gh_all[:, t], gh, out=now)
        if gc_all is not None:
            np.add(gc, gc_all[:, t], out=gc)
        kept = None if off is None else (np.array(now), np.array(gc))
        np.multiply(now, a, out=z.o)
        d_act(a, d)
        np.multiply(d, y.o, out=d)
        np.multiply(d, now, out=d)
        np.add(gc, d, out=gc)
        np.multiply(gc, y.g, out=z.i)
        np.multiply(gc, before, out=z.f)
        np.multiply(gc, y.i, out=z.g)
        d_ract(y.z[:3], slope[:3])
        d_act(y.g, slope[3])
        np.multiply(z.z, slope, out=z.z)
        np.multiply(gc, y.f, out=gc)
        for product in products:
            product()
        if kept is not None:
            where = off[:, t, None]
            np.copyto(z.z, 0, where=where)
            np.copyto(gh, kept[0], where=where)
            np.copyto(gc, kept[1], where=where)
        for to, part in zip(gz_t, z.z):
            np.copyto(to, part)

    calls.append(start)
    order = list(_walk(steps, not op.reverse))
    previous = {t: c[:, t + 1 if op.reverse else t - 1] for t in order[:-1]} | {order[-1]: c0}
    for t in order:
        calls.append(partial(step, t, y.of(gates[:, t]), z.of(gz[:, t]), c[:, t], previous[t]))
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
