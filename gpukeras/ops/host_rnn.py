"""Recurrent sequences on the host: bound calls for every time step, halves of the batch to threads.

A step is one matrix product written straight into its place in the result, and a few NumPy calls
over arrays that stay in the cache. With tanh and sigmoid all gates of a step are ONE tanh, since
sigmoid(x) = tanh(x / 2) / 2 + 1 / 2.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..blas import bind_gemm
from ..team import in_turn, team

Run = Callable[[], object]
Arrays = Sequence[np.ndarray]
WORTH_SHARING = 1 << 16                            # elements of the gates of a sequence


def by_rows(bind: Callable[[Arrays, Arrays], Run], ins: Arrays, outs: Arrays,
            shared: frozenset[int] = frozenset()) -> Run:
    """bind(ins, outs) for parts of the batch, one for each thread; `shared`: inputs without rows."""
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

def bind_lstm(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an Lstm op on its arrays."""
    xw, r, h0, c0, *mask = ins
    h, c, gates = outs
    rows, steps, units = h.shape
    fast = (op.activation, op.recurrent_activation) == ("tanh", "sigmoid")
    factor = np.full(4 * units, 0.5 if fast else 1.0, xw.dtype)
    shift = np.full(4 * units, 0.5, xw.dtype)
    factor[2 * units:3 * units], shift[2 * units:3 * units] = 1, 0
    weights = np.empty_like(r) if fast else r
    off, calls = _off(mask)
    if fast:
        calls.append(lambda: np.multiply(r, factor, out=weights))
    aside = np.empty((rows, units), xw.dtype)
    act, ract = _APPLY[op.activation], _APPLY[op.recurrent_activation]
    h_old, c_old = h0, c0
    for t in _walk(steps, op.reverse):
        z, x, ht, ct = gates[:, t], xw[:, t], h[:, t], c[:, t]
        product = bind_gemm(h_old, weights, z, accumulate=True, split=False)
        i, f, g, o = _blocks(z, 4)

        def step(z=z, x=x, ht=ht, ct=ct, i=i, f=f, g=g, o=o, product=product, c_old=c_old) -> None:
            if fast:
                np.multiply(x, factor, out=z)
                product()
                np.tanh(z, out=z)
                np.multiply(z, factor, out=z)
                np.add(z, shift, out=z)
            else:
                np.copyto(z, x)
                product()
                ract(z[:, :2 * units])
                act(g)
                ract(o)
            np.multiply(i, g, out=aside)
            np.multiply(f, c_old, out=ct)
            np.add(ct, aside, out=ct)
            np.copyto(aside, ct)
            act(aside)
            np.multiply(o, aside, out=ht)

        calls += [step, *_keep(off, t, [(ht, h_old), (ct, c_old)])]
        h_old, c_old = ht, ct
    return in_turn(calls)


def bind_lstm_grad(op, ins: Arrays, outs: Arrays) -> Run:
    """run() of an LstmGrad op on its arrays."""
    gates, c, c0, r, gh, *more = ins
    gz, gh0, gc0 = outs
    gc = more.pop(0) if op.has_gc else None
    rows, steps, units = c.shape
    off, calls = _off(more)
    slope = np.empty((rows, 4 * units), gz.dtype)
    a, d, total = (np.empty((rows, units), gz.dtype) for _ in range(3))
    act, d_act, d_ract = _APPLY[op.activation], _SLOPE[op.activation], _SLOPE[op.recurrent_activation]
    calls += [lambda: gh0.fill(0), lambda: gc0.fill(0)]
    order = list(_walk(steps, not op.reverse))
    before = {t: c[:, t + 1 if op.reverse else t - 1] for t in order[:-1]} | {order[-1]: c0}
    for t in order:
        z, y = gz[:, t], gates[:, t]
        product = bind_gemm(z, r.T, gh0, split=False)

        def step(t=t, z=z, y=y, ct=c[:, t], c_old=before[t], product=product) -> None:
            i, f, g, o = _blocks(y, 4)
            gi, gf, gg, go = _blocks(z, 4)
            np.copyto(a, ct)
            act(a)
            np.add(gh[:, t], gh0, out=total)
            if gc is not None:
                np.add(gc0, gc[:, t], out=gc0)
            if off is not None:
                kept_h, kept_c = np.array(total), np.array(gc0)
            np.multiply(total, a, out=go)
            d_act(a, d)
            np.multiply(d, o, out=d)
            np.multiply(d, total, out=d)
            np.add(gc0, d, out=gc0)
            np.multiply(gc0, g, out=gi)
            np.multiply(gc0, c_old, out=gf)
            np.multiply(gc0, i, out=gg)
            d_ract(y[:, :2 * units], slope[:, :2 * units])
            d_act(g, slope[:, 2 * units:3 * units])
            d_ract(o, slope[:, 3 * units:])
            np.multiply(z, slope, out=z)
            np.multiply(gc0, f, out=gc0)
            if off is not None:
                where = off[:, t, None]
                np.copyto(z, 0, where=where)
                np.copyto(gc0, kept_c, where=where)
            product()
            if off is not None:
                np.copyto(gh0, kept_h, where=where)

        calls.append(step)
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
