"""Sequences of many lengths: a new one is specialised quickly, and the cache of them is bounded."""
import time

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices, layers
from gpukeras.devices.host import HostDevice
from gpukeras.function import SPECIALISATIONS, Function
from gpukeras.models import Sequential

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def on_the_host():
    first = devices.use(HostDevice())
    yield
    devices.use(first)


def forecaster(units=100):
    """The model of the study notes, for any length, and a batch of 100 for it."""
    K.clear_session()
    model = Sequential([layers.LSTM(units, input_shape=(None, 1)), layers.Dropout(0.2),
                        layers.Dense(1)])
    model.compile("adam", "mse")
    return model, lambda steps: (rng.random((100, steps, 1), "float32"),
                                 rng.random((100, 1), "float32"))


def reader():
    """Embedding and LSTM(128) over words, and a batch of 32."""
    K.clear_session()
    model = Sequential([layers.Embedding(20000, 128), layers.LSTM(128),
                        layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model, lambda steps: (rng.integers(0, 20000, (32, steps)),
                                 rng.integers(0, 2, (32, 1)).astype("float32"))


@pytest.mark.parametrize("make", [forecaster, reader])
def test_a_new_length_is_specialised_in_50_ms(make, monkeypatch):
    taken = []
    specialise = Function.specialise

    def timed(*args):
        begin = time.process_time()
        executable = specialise(*args)
        taken.append(time.process_time() - begin)
        return executable

    model, data = make()
    model.train_on_batch(*data(20))                # makes the function
    monkeypatch.setattr(Function, "specialise", timed)
    for steps in range(60, 82, 4):
        model.train_on_batch(*data(steps))
    assert sorted(taken)[1] < 0.05, taken          # others may have disturbed the machine's caches


def test_the_cache_of_lengths_is_bounded_and_a_length_can_come_back():
    model, data = forecaster(units=3)
    model.train_on_batch(*data(2))
    lengths = range(3, 3 + SPECIALISATIONS + 8)
    batches = {steps: data(steps)[0] for steps in lengths}
    first = {steps: model.predict_on_batch(x) for steps, x in batches.items()}
    kept = _predict_plans(model)
    assert len(kept) == SPECIALISATIONS
    lengths_kept = [shapes[0][1] for shapes, _ in kept]
    assert lengths_kept == list(lengths)[-SPECIALISATIONS:]
    for steps, x in batches.items():
        np.testing.assert_array_equal(model.predict_on_batch(x), first[steps])
    assert len(_predict_plans(model)) == SPECIALISATIONS


def _predict_plans(model):
    return list(model._step("predict").function._plans)
