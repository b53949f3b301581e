"""Scratch shared by the steps of an executable: no step may count on what it left there."""
import numpy as np
import pytest

import gpukeras as keras
from gpukeras.devices import host
from gpukeras.ops import host_block, host_norm, host_scratch
from gpukeras.team import Team

L = keras.layers


def network():
    """Every kind of convolution with scratch: Winograd's, scattered, strided, thin, pooled."""
    x = inputs = keras.Input((24, 24, 16))
    x = L.Activation("relu")(L.BatchNormalization()(L.Conv2D(16, 3, padding="same")(x)))
    x = L.Conv2D(16, 3, strides=2, padding="same")(x)
    x = L.MaxPooling2D()(L.Conv2D(32, 5)(x))
    x = L.Conv2D(24, (1, 3), padding="same")(x)
    x = L.Dense(5, activation="softmax")(L.Flatten()(x))
    return keras.Model(inputs, x)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_lies_in_the_scratch_does_not_matter(threads, monkeypatch):
    crew = Team(threads)
    for module in (host_block, host_norm):
        monkeypatch.setattr(module, "workers" if module is host_block else "team", lambda: crew)
    monkeypatch.setattr(host_block, "WORTH_SPLITTING", 0)
    monkeypatch.setattr(host_norm, "WORTH_SHARING", 0)
    made = []
    keep = host.HostExecutable.__init__
    monkeypatch.setattr(host.HostExecutable, "__init__",
                        lambda self, *a: (keep(self, *a), made.append(self))[0])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 24, 24, 16)).astype("float32")
    y = np.eye(5, dtype="float32")[rng.integers(0, 5, 40)]
    model = network()
    model.compile("sgd", "categorical_crossentropy")
    start = model.get_weights()
    results = []
    for spoiled in (False, True):
        model.set_weights(start)
        model.train_on_batch(x, y)
        step = max(made, key=lambda e: len(e.calls))
        assert step.scratch
        if spoiled:
            calls = [call for plain in step.calls for call in (lambda: spoil(step.scratch), plain)]
            monkeypatch.setattr(step, "calls", calls)
        model.set_weights(start)
        model.train_on_batch(x, y)
        results.append(model.get_weights())
    assert all(np.isfinite(w).all() for w in results[0])
    for plain, other in zip(*results):
        np.testing.assert_array_equal(plain, other)


def spoil(pool):
    for array in pool.values():
        array.fill(255)                             # NaN


def test_scratch_is_shared_by_name_and_member():
    with host_scratch.shared() as pool:
        a, b = (host_scratch.take("x", (10, 3), "float32") for _ in range(2))
        with host_scratch.member(1):
            c = host_scratch.take("x", (10, 3), "float32")
        d = host_scratch.take("y", (5,), "float64")
    assert np.may_share_memory(a, b) and len(pool) == 3 and a.ctypes.data % 64 == 0
    assert not any(np.may_share_memory(a, other) for other in (c, d))
    alone = host_scratch.take("x", (10, 3), "float32")
    assert not np.may_share_memory(alone, a)
