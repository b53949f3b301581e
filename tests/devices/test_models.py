"""Whole networks trained on the emulated CUDA device, and on a GPU, against the host device."""

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices, layers, losses, optimizers
from gpukeras.devices.choose import no_gpu
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.host import HostDevice
from gpukeras.devices.launcher import KernelDevice
from gpukeras.models import Sequential
from gpukeras.ops import random


@pytest.fixture(autouse=True)
def restore():
    first = devices.use(None)
    yield
    devices.use(first)
    K.clear_session()


def train(device, build, loss, x, t, steps=4):
    """(losses, executable) of some steps of Adam, from the same weights and random numbers."""
    devices.use(device)
    K.clear_session()
    device.write(random.step(), 0)
    np.random.seed(1)
    model = Sequential(build())
    target = K.placeholder(shape=(None, *t.shape[1:]))
    value = K.mean(getattr(losses, loss)(target, model.output))
    updates = optimizers.Adam(lr=0.01).get_updates(value, model.trainable_weights)
    K.set_learning_phase(1)
    step = K.function([model.input, target], [value], updates + model.updates)
    values = [float(step([x, t])[0]) for _ in range(steps)]
    return values, next(iter(step._plans.values()))[1]


def cnn():
    return [layers.Conv2D(8, 3, activation="relu", input_shape=(12, 12, 2)),
            layers.BatchNormalization(), layers.MaxPooling2D(2), layers.Dropout(0.25),
            layers.Flatten(), layers.Dense(16, activation="relu"),
            layers.Dense(4, activation="softmax")]


def mlp():
    return [layers.Dense(20, activation="tanh", input_shape=(12, 12, 2)),
            layers.GlobalAveragePooling2D(), layers.Dropout(0.1),
            layers.Dense(4, activation="sigmoid")]


def words():
    return [layers.Embedding(20, 6, mask_zero=True, input_length=7),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True, dropout=0.2)),
            layers.GRU(6, reset_after=True, return_sequences=True, go_backwards=True),
            layers.GRU(4), layers.Dense(4, activation="softmax")]


def test_a_recurrent_network_is_one_launch_a_layer_and_direction():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, (8, 7)).astype("f4")
    t = np.eye(4, dtype="f4")[rng.integers(0, 4, 8)]
    host, _ = train(HostDevice(), words, "categorical_crossentropy", x, t)
    driver = EmuDriver(check="races", schedule="random")
    emu, executable = train(KernelDevice(driver), words, "categorical_crossentropy", x, t)
    np.testing.assert_allclose(emu, host, rtol=1e-4)
    assert host[-1] < host[0] and not executable.host_steps
    entries = [type(s.op).__name__ for s in executable.schedule.steps]
    assert [entries.count(n) for n in ("Lstm", "LstmGrad", "Gru", "GruGrad", "Scan")] == [
        2, 2, 2, 2, 0]


@pytest.mark.parametrize("build, loss", [(cnn, "categorical_crossentropy"),
                                         (mlp, "mean_squared_error")])
def test_a_captured_training_step_follows_the_host(build, loss):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 12, 12, 2)).astype("f4")
    t = np.eye(4, dtype="f4")[rng.integers(0, 4, 8)]
    host, _ = train(HostDevice(), build, loss, x, t)
    driver = EmuDriver(check="races", schedule="random")
    emu, executable = train(KernelDevice(driver), build, loss, x, t)
    np.testing.assert_allclose(emu, host, rtol=1e-4)
    assert host[-1] < host[0]
    assert not executable.host_steps and driver.counters.graph_launches == 3


@pytest.fixture(scope="module")
def gpu():
    reason = no_gpu()
    if reason:
        pytest.skip(reason)
    from gpukeras.devices.cuda import CudaDriver

    return CudaDriver()


@pytest.mark.gpu
@pytest.mark.parametrize("build", [cnn, mlp, words], ids=lambda f: f.__name__)
def test_a_gpu_follows_the_host_and_replays_to_the_bit(gpu, build, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 12, 12, 2)) if build is not words else rng.integers(0, 20, (8, 7))
    t = np.eye(4, dtype="f4")[rng.integers(0, 4, 8)]
    host, _ = train(HostDevice(), build, "mean_squared_error", x.astype("f4"), t)
    replayed, executable = train(KernelDevice(gpu), build, "mean_squared_error", x.astype("f4"), t)
    assert executable._graph is not None and not executable.host_steps
    monkeypatch.setenv("GPUKERAS_REPLAY", "0")
    eager, executable = train(KernelDevice(gpu), build, "mean_squared_error", x.astype("f4"), t)
    assert executable._graph is None and eager == replayed
    np.testing.assert_allclose(replayed, host, rtol=2e-3)
