"""Loops over time compiled by numba: values of the ops, whole trainings, and their functions."""
import ctypes
import importlib

import check
import numpy as np
import pytest
from cases_index import CASES as INDEX_ROWS
from cases_rnn import CASES as ROWS

import gpukeras as keras
from gpukeras import native
from gpukeras.ops import host_gru, host_loops, host_lstm, host_whole
from gpukeras.ops.gru import GruWhole, GruWholeGrad
from gpukeras.ops.index import GatherGrad
from gpukeras.ops.lstm import LstmWhole, LstmWholeGrad
from gpukeras.team import Team

CASES = [case for case in ROWS
         if isinstance(case.op, (LstmWhole, LstmWholeGrad, GruWhole, GruWholeGrad))
         and (case.op.activation, case.op.recurrent_activation) == ("tanh", "sigmoid")]


def test_without_numba_the_calls_are_made_one_by_one(monkeypatch):
    monkeypatch.setattr(host_loops, "LEAST", 0)
    monkeypatch.setattr(native, "available", lambda: True)
    tried = []
    monkeypatch.setattr(importlib, "import_module", lambda *a: (tried.append(a), 1 / 0))
    host_loops._entry.cache_clear()
    try:
        check.check_host(CASES[0])
    finally:
        host_loops._entry.cache_clear()
    assert bool(tried) == (importlib.util.find_spec("numba") is not None)


@pytest.fixture
def made(monkeypatch, compiled):
    """The compiled loops that were bound; all sizes are compiled."""
    if host_loops.library() is None:
        pytest.skip("needs an OpenBLAS")
    found, keep = [], host_loops._Loop.__init__
    monkeypatch.setattr(host_loops._Loop, "__init__",
                        lambda self, *a: (keep(self, *a), found.append(self))[0])
    monkeypatch.setattr(host_loops, "LEAST", 0)
    return found


@pytest.mark.parametrize("group_rows", [1, 64])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_loops_agree_with_the_scan(case, threads, group_rows, made, monkeypatch):
    crew = Team(threads)
    for module in (host_lstm, host_gru, host_whole):
        monkeypatch.setattr(module, "team", lambda: crew)
    monkeypatch.setattr(host_whole, "WORTH_SHARING", 0)
    monkeypatch.setattr(host_loops, "GROUP_ROWS", group_rows)
    check.check_host(case)
    rows = case.inputs[0]
    rows = rows[1 if isinstance(case.op, (LstmWholeGrad, GruWholeGrad)) else 0]
    assert len(made) == (threads if rows >= 2 * threads else 1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", [c for c in INDEX_ROWS if isinstance(c.op, GatherGrad)], ids=repr)
def test_gradients_of_tables(case, threads, made, monkeypatch):
    crew = Team(threads)
    monkeypatch.setattr(host_loops, "team", lambda: crew)
    monkeypatch.setattr(host_loops, "LEAST_TABLE", 0)
    check.check_host(case)
    empty = not case.arrays("float32")[0].size
    assert bool(made) != empty


@pytest.mark.parametrize("layer", [keras.layers.LSTM, keras.layers.GRU])
def test_training_with_loops_is_training_without(layer, made, monkeypatch):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((24, 9, 3)).astype("float32")
    x[4:9, 5:] = 0                                  # masked
    y = np.tanh(x.sum((1, 2)))[:, None]

    def weights(least):
        monkeypatch.setattr(host_loops, "LEAST", least)
        L = keras.layers
        model = keras.Sequential([L.Masking(0.0, input_shape=(9, 3)),
                                  layer(7, return_sequences=True), layer(5), L.Dense(1)])
        start = np.random.default_rng(3)
        model.set_weights([start.normal(0, 0.3, w.shape) for w in model.get_weights()])
        model.compile(keras.optimizers.SGD(0.2), "mse")
        losses = [model.train_on_batch(x, y) for _ in range(12)]
        return losses, model.get_weights()

    losses, expected = weights(1 << 60)
    assert not made
    again, got = weights(0)
    assert len(made) >= 4 and losses[-1] < losses[0]
    np.testing.assert_allclose(again, losses, rtol=2e-5)
    for a, b in zip(got, expected):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def test_not_a_number_stays_one(made):
    model = keras.Sequential([keras.layers.LSTM(4, input_shape=(3, 2))])
    x = np.ones((2, 3, 2), "float32")
    x[1, 1, 0] = np.nan
    y = model.predict(x)
    assert made and np.isfinite(y[0]).all() and np.isnan(y[1]).all()


@pytest.mark.parametrize("name, ulps", [("exp", 1.0), ("tanh", 2.0), ("sigmoid_of_double", 2.5)])
def test_functions_against_float64(name, ulps, made):
    from numba import njit

    from gpukeras.ops.loops import pieces
    function = getattr(pieces, name)

    @njit(error_model="numpy", fastmath={"contract"})
    def fill(source, to, n):
        p, q = pieces.at(source), pieces.at(to)
        for j in range(n):
            q[j] = function(p[j])

    most = 87 if name == "exp" else 43
    small = np.logspace(-30, np.log10(most), 100001)
    x = np.concatenate([np.linspace(-most, most, 1000001), small, -small,
                        [0.0]]).astype("float32")
    wide, y = x.astype("float64"), np.empty_like(x)
    fill(x.ctypes.data, y.ctypes.data, x.size)
    want = {"exp": np.exp, "tanh": np.tanh,
            "sigmoid_of_double": lambda v: 1 / (1 + np.exp(-2 * v))}[name](wide)
    unit = np.spacing(np.maximum(np.abs(want), np.finfo("float32").tiny).astype("float32"))
    assert np.max(np.abs(y - want) / unit) <= ulps
    if name != "exp":
        ends = np.array([np.inf, -np.inf, 1e30, -1e30, np.nan], "float32")
        out = np.empty_like(ends)
        fill(ends.ctypes.data, out.ctypes.data, ends.size)
        low = -1 if name == "tanh" else 0
        np.testing.assert_allclose(out, [1, low, 1, low, np.nan], atol=1e-37)


@pytest.mark.parametrize("wide", [False, True])
def test_products_are_asked_for_as_cblas_has_them(wide, made):
    from gpukeras.ops.loops import pieces
    flag, size, real, place = (ctypes.c_int32, ctypes.c_int64 if wide else ctypes.c_int32,
                               ctypes.c_float, ctypes.c_void_p)
    asked = []
    entry = ctypes.CFUNCTYPE(None, *[flag] * 3, *[size] * 3, real, place, size, place, size, real,
                             place, size)(lambda *a: asked.append(a))
    address = ctypes.cast(entry, ctypes.c_void_p).value
    pieces.product(address, wide, pieces.YES, 300, 100, 64, 1000, 300, 2000, 110, True, 3000, 120)
    pieces.product(address, wide, pieces.NO, 5, 6, 7, 1000, 8, 2000, 9, False, 3000, 10)
    assert asked == [                               # the first in two parts, by rows of the result
        (101, 112, 111, 150, 100, 64, 1.0, 1000, 300, 2000, 110, 1.0, 3000, 120),
        (101, 112, 111, 150, 100, 64, 1.0, 1600, 300, 2000, 110, 1.0, 3000 + 4 * 150 * 120, 120),
        (101, 111, 111, 5, 6, 7, 1.0, 1000, 8, 2000, 9, 0.0, 3000, 10)]


def test_a_loop_is_played_from_a_tape(made):
    case = next(c for c in CASES if isinstance(c.op, LstmWhole) and c.op.keep)
    ins = case.arrays("float32")
    outs = [check.spoiled(t)[0] for t in check.outputs_of(case.op.infer(*map(check.type_of, ins)))]
    run = case.op.host(ins, outs)
    run()
    expected = [y.copy() for y in outs]
    for y in outs:
        y.fill(7)
    tape = native.write(run)
    assert tape is not None and made
    native.player(tape)()
    for y, want in zip(outs, expected):
        assert np.array_equal(y, want)
