"""Whole trainings with what numba compiles: the bits of those without, whatever comes between."""
import hashlib
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import gpukeras as k
from gpukeras import native

MODELS = {
    "dense": ("k.layers.Dense(700, activation='relu', input_shape=(300,)), k.layers.Dense(5)",
              (32, 300), "rmsprop"),
    "convolutions": ("k.layers.Conv2D(16, 3, input_shape=(24, 24, 16)),"
                     "k.layers.BatchNormalization(), k.layers.Activation('relu'),"
                     "k.layers.Conv2D(32, 3, activation='relu'), k.layers.MaxPooling2D(),"
                     "k.layers.Dropout(0.25), k.layers.Flatten(), k.layers.Dense(5)",
                     (32, 24, 24, 16), "adam"),
}
CODE = """
import hashlib, os, sys
import numpy as np
import gpukeras as k
from gpukeras import native, team

if {plain}:
    native.soon = lambda work: None
shared = [0]
keep = team._Bound.rewrite
team._Bound.rewrite = lambda self: shared.__setitem__(0, shared[0] + keep(self))

def train(seed):
    np.random.seed(seed)
    k.backend.clear_session()
    model = k.models.Sequential([{layers}])
    model.compile({optimizer!r}, 'mse')
    rng = np.random.default_rng(seed)
    x, y = rng.random({shape}, dtype='float32'), rng.random(({shape}[0], 5), dtype='float32')
    for _ in range(3):
        for _ in range(8):
            model.train_on_batch(x, y)
        native.settle()
    return hashlib.sha256(b''.join(w.tobytes() for w in model.get_weights())).hexdigest()

print(train(1))
if {fork}:
    child = os.fork()
    again = train(1)
    if child:
        assert os.waitpid(child, 0)[1] == 0
    else:
        print(again, flush=True)
        os._exit(0)
    print(again)
if team.team().size > 1 and not {plain}:
    assert shared[0] > 0
"""


def printed(name, threads, fork=False, plain=False):
    """The lines of a program; plain: nothing is ever compiled, the same calls are made by NumPy."""
    layers, shape, optimizer = MODELS[name]
    code = CODE.format(layers=layers, shape=shape, optimizer=optimizer, fork=fork, plain=plain)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path),
             "GPUKERAS_THREADS": str(threads), "GPUKERAS_DEVICE": "cpu"})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name, threads", [("dense", 1), ("dense", 3), ("convolutions", 2)])
def test_weights_are_those_of_numpys_calls(name, threads, compiled):
    assert printed(name, threads) == printed(name, threads, plain=True)


def test_a_forked_child_trains_on(compiled):
    values = printed("dense", 2, fork=True)
    assert len(values) == 3 and len(set(values)) == 1


@pytest.fixture
def two_threads(compiled, monkeypatch):
    from gpukeras import team
    monkeypatch.setattr(team, "_team", team.Team(2))
    k.backend.clear_session()


def made(seed=0):
    model = k.models.Sequential([k.layers.Dense(600, activation="relu", input_shape=(300,)),
                                 k.layers.Dense(4)])
    model.compile("adam", "mse")
    rng = np.random.default_rng(seed)
    model.set_weights([rng.standard_normal(w.shape).astype("float32") * 0.1
                       for w in model.get_weights()])
    return model


def data():
    rng = np.random.default_rng(1)
    return rng.random((256, 300), dtype="float32"), rng.random((256, 4), dtype="float32")


def digest(model):
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def test_models_trained_by_several_threads_at_once(two_threads):
    x, y = data()
    found = {}

    def work(i):
        model = made(i)
        model.fit(x, y, batch_size=32, epochs=6, shuffle=False, verbose=0)
        found[i] = digest(model)

    work(0)
    native.settle()
    alone = found.pop(0)
    threads = [threading.Thread(target=work, args=(0,))] + [
        threading.Thread(target=work, args=(i,)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and found[0] == alone


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_training_goes_on_after_an_exception(kind, two_threads):
    x, y = data()

    class Stop(k.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            if batch == 20:
                if kind is KeyboardInterrupt:
                    signal.raise_signal(signal.SIGINT)
                raise kind

    def fit(model, *callbacks):
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)

    first, second = made(), made()
    for model in (first, second):
        with pytest.raises(kind):
            fit(model, Stop())
        native.settle()
        fit(model)
    assert digest(first) == digest(second)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an interval timer")
def test_interrupts_at_any_moment_leave_the_team_usable(two_threads):
    from gpukeras.team import team
    x, y = data()
    model = made()
    model.fit(x, y, batch_size=32, epochs=4, verbose=0)
    native.settle()
    for i in range(20):
        signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.0007 * i)
        before = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                model.fit(x, y, batch_size=32, epochs=10000, verbose=0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert team()._busy.acquire(timeout=1)
    team()._busy.release()
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
