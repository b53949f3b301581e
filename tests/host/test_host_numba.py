"""Chains compiled by numba: the very bits of NumPy's calls."""
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from gpukeras.ops import host_fused, host_numba
from gpukeras.ops import math as m
from gpukeras.ops.fused import Fused, FusedStep as Step
from gpukeras.ops.random import Dropout
from gpukeras.team import Team

pytestmark = pytest.mark.usefixtures("compiled")

SHAPE = (37, 24)
ADAM = (Step(m.Mul(), (2, 5)), Step(m.Mul(), (1, 6)), Step(m.Add(), (9, 10)),
        Step(m.Mul(), (3, 7)), Step(m.Square(), (1,)), Step(m.Add(), (12, 13)),
        Step(m.Mul(), (11, 4)), Step(m.Sqrt(), (14,)), Step(m.Add(), (16, 8)),
        Step(m.Div(), (15, 17)), Step(m.Sub(), (0, 18)))
BINARY = (m.Add, m.Sub, m.Mul, m.Div, m.ReluGrad, m.Maximum, m.Minimum)


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"], autouse=True)
def arrangement(request, monkeypatch, tmp_path):
    crew = Team(request.param)
    for module in (host_fused, host_numba):
        monkeypatch.setattr(module, "team", lambda: crew)
        monkeypatch.setattr(module, "WORTH_SHARING", 0)
    monkeypatch.setattr(host_numba, "LEAST", 0)
    monkeypatch.setenv("GPUKERAS_CACHE", str(tmp_path))


def numbers(*shapes, dtype="float32"):
    """Normal numbers, and among them what is not finite, zeros of both signs and equal values."""
    rng = np.random.default_rng(0)
    found = []
    for shape in shapes:
        x = rng.standard_normal(shape).astype(dtype)
        if x.size > 100:
            x.flat[::17] = 0.0
            x.flat[3::29] = -0.0
            x.flat[5::83] = np.nan
            x.flat[7::91] = np.inf
            x.flat[9::97] = -np.inf
        found.append(x)
    return found


def compiled(op, ins, monkeypatch, in_place=()):
    """(what NumPy gives, what the loop gives), each on arrays of its own; a compiled loop is
    demanded.  in_place: {output: input that it overwrites}."""
    chains = []
    keep = host_numba._Later.__init__
    monkeypatch.setattr(host_numba._Later, "__init__",
                        lambda self, *a: (keep(self, *a), chains.append(self))[0])
    both = []
    for fast in (False, True):
        mine = [x.copy() for x in ins]
        values = op.numpy(*mine)
        values = values if isinstance(values, tuple) else (values,)
        outs = [mine[dict(in_place)[k]] if k in dict(in_place) else np.full_like(v, 7)
                for k, v in enumerate(values)]
        run = op.host(tuple(mine), tuple(outs))
        for chain in chains if fast else ():
            chain.compile()
            assert chain.fast is not None
        with np.errstate(all="ignore"):
            run()
        both.append([o.copy() for o in outs])
    assert chains
    return both


def same(both):
    for plain, fast in zip(*both):
        np.testing.assert_array_equal(plain, fast)          # NaN equals NaN, -0 equals 0


@pytest.mark.parametrize("narrow, dtype", [(SHAPE, "float32"), ((24,), "float32"), ((), "float32"),
                                           ((24,), "float64")])
@pytest.mark.parametrize("kind", BINARY)
def test_two_inputs(kind, narrow, dtype, monkeypatch):
    op = Fused(2, (), (Step(kind(), (0, 1)), Step(m.Neg(), (2,))), (3,), SHAPE)
    same(compiled(op, numbers(SHAPE, narrow, dtype=dtype), monkeypatch))


@pytest.mark.parametrize("kind", [m.Relu, m.Square, m.Sqrt, m.Abs])
def test_one_input(kind, monkeypatch):
    op = Fused(1, (), (Step(kind(), (0,)),), (1,), SHAPE)
    same(compiled(op, numbers(SHAPE), monkeypatch))


def test_dropout_and_where(monkeypatch):
    x, y = numbers(SHAPE, SHAPE)
    mask = np.random.default_rng(1).random(SHAPE) < 0.5
    op = Fused(3, (), (Step(Dropout(1.25), (0, 1)), Step(m.Greater(), (1, 2)),
                       Step(m.Where(), (4, 3, 2))), (5,), SHAPE)
    same(compiled(op, [mask, x, y], monkeypatch))


def test_adam_in_place(monkeypatch):
    size = (5000,)
    p, g, m1, v = numbers(size, size, size, size)
    ins = [p, g, m1, np.abs(v), np.asarray(np.float32(0.01))]
    consts = tuple(("float32", c) for c in (0.9, 0.1, 0.999, 1e-7))
    op = Fused(5, consts, ADAM, (19, 11, 14), size)
    both = compiled(op, ins, monkeypatch, in_place={0: 0, 1: 2, 2: 3})
    same(both)
    assert not np.array_equal(both[1][0], p, equal_nan=True)


def test_other_operations_stay_with_numpy():
    x, = numbers((40, 50))
    op = Fused(1, (), (Step(m.Tanh(), (0,)),), (1,), x.shape)
    assert not isinstance(op.host((x,), (np.empty_like(x),)), host_numba._Later)


def test_compiling_begins_after_some_calls_and_ends_in_the_background():
    x, = numbers((40, 50))
    op = Fused(1, (), (Step(m.Square(), (0,)),), (1,), x.shape)
    out = np.empty_like(x)
    run = op.host((x,), (out,))
    for _ in range(host_numba.CALLS - 1):
        run()
    assert run.fast is None
    run()
    limit = time.monotonic() + 60
    while run.fast is None and time.monotonic() < limit:
        time.sleep(0.01)
    assert run.fast is not None
    out.fill(0)
    run()
    np.testing.assert_array_equal(out, x * x)


def test_a_second_program_finds_the_machine_code():
    code = ("import numpy as np, numba.core.event as events\n"
            "from gpukeras.ops import host_numba\n"
            "from test_host_numba import *\n"
            "host_numba.LEAST = 0\n"
            "x = np.arange(2000, dtype='float32'); out = np.empty_like(x)\n"
            "run = Fused(1, (), (Step(m.Square(), (0,)),), (1,), x.shape).host((x,), (out,))\n"
            "with events.install_recorder('numba:compile') as seen: run.compile()\n"
            "assert run.fast is not None\n"
            "run(); assert (out == x * x).all()\n"
            "print(len(seen.buffer))")
    compiled = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                              check=False, cwd=os.path.dirname(__file__),
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        assert done.returncode == 0, done.stderr
        compiled.append(int(done.stdout))
    assert compiled[0] > 0 and compiled[1] == 0


def test_a_program_may_end_while_it_compiles():
    code = ("import numpy as np, gpukeras as k\n"
            "m = k.models.Sequential([k.layers.Dense(300, input_shape=(200,))])\n"
            "m.compile('adam', 'mse')\n"
            "for _ in range(8): m.train_on_batch(np.zeros((4, 200)), np.zeros((4, 300)))\n"
            "print('done')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() == "done", done.stderr
