"""Training on the host and the emulated CUDA path: same results; data stay on the device."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices, optimizers
from gpukeras.callbacks import LambdaCallback
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.host import HostDevice
from gpukeras.devices.launcher import KernelDevice
from gpukeras.layers import (Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten,
                             MaxPooling2D)
from gpukeras.models import Sequential

RNG = np.random.RandomState(3)
IMAGES = RNG.uniform(-1, 1, (22, 8, 8, 1)).astype("float32")
KINDS = np.eye(3, dtype="float32")[RNG.randint(0, 3, 22)]


def emulated(**arguments):
    return KernelDevice(EmuDriver(**arguments))


def network(optimizer, dropout=0.0, metrics=("accuracy",)):
    K.clear_session()
    np.random.seed(4)
    model = Sequential([
        Conv2D(4, 3, padding="same", use_bias=False, input_shape=(8, 8, 1)),
        BatchNormalization(momentum=0.9), Activation("tanh"), MaxPooling2D(2), Flatten(),
        Dropout(dropout), Dense(3, activation="softmax")])
    model.compile(optimizer(), "categorical_crossentropy", metrics=list(metrics))
    return model


def trained(device, on, optimizer, dropout=0.0, x=IMAGES, epochs=6, **fit_arguments):
    on(device)
    model = network(optimizer, dropout)
    history = model.fit(x, KINDS, batch_size=8, epochs=epochs, verbose=0, **fit_arguments)
    return model, history.history, model.get_weights()


def close(got, expected, tolerance=1e-5):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


@pytest.mark.parametrize("optimizer", [
    lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True), lambda: optimizers.RMSprop(0.002),
    lambda: optimizers.Adam(0.003), lambda: optimizers.Adam(0.003, amsgrad=True, clipnorm=1.0)])
def test_the_emulated_device_trains_as_the_host(optimizer, on):
    arguments = {"validation_split": 0.2}
    _, host, expected = trained(HostDevice(), on, optimizer, **arguments)
    _, emu, got = trained(emulated(), on, optimizer, **arguments)
    close(got, expected)
    for name in host:
        np.testing.assert_allclose(emu[name], host[name], rtol=1e-5, atol=1e-6)


def test_dropout_masks_are_the_same_on_both(on):
    _, host, expected = trained(HostDevice(), on, optimizers.SGD, dropout=0.5)
    _, emu, got = trained(emulated(), on, optimizers.SGD, dropout=0.5)
    close(got, expected)
    np.testing.assert_allclose(emu["loss"], host["loss"], rtol=1e-5)


def test_an_epoch_is_one_graph_launch_per_step_and_nothing_else(on):
    on(emulated())
    model = network(optimizers.Adam)
    model.fit(IMAGES, KINDS, batch_size=8, epochs=2, verbose=0)
    counters, seen = devices.current().driver.counters, {}

    def begin(epoch, logs):
        counters.reset()

    def end(epoch, logs):
        seen.update(vars(counters))

    def batch(index, logs):
        assert counters.downloads == 0

    # on_epoch_begin comes before the new order goes up, on_epoch_end after one read of the logs
    model.fit(IMAGES, KINDS, batch_size=8, verbose=0,
              callbacks=[
        LambdaCallback(on_epoch_begin=begin, on_epoch_end=end, on_batch_end=batch)])
    assert seen["allocations"] == 0
    assert seen["graph_launches"] == 3
    assert (seen["uploads"], seen["downloads"]) == (2, 1)


def test_replayed_and_eager_training_give_the_same_bits(on, monkeypatch):
    _, _, replayed = trained(emulated(), on, optimizers.Adam, dropout=0.3, epochs=2)
    monkeypatch.setenv("GPUKERAS_REPLAY", "0")
    _, _, eager = trained(emulated(schedule="random"), on, optimizers.Adam, dropout=0.3, epochs=2)
    assert [a.tobytes() for a in replayed] == [b.tobytes() for b in eager]


@pytest.mark.parametrize("dtype", ["uint8", "float64", "int64"])
def test_data_of_other_types_train_alike(dtype, on):
    x = np.round(IMAGES * 100 + 100).astype(dtype)
    _, host, expected = trained(HostDevice(), on, optimizers.SGD, x=x.astype("float32"), epochs=1)
    for device in (HostDevice(), emulated()):
        _, found, got = trained(device, on, optimizers.SGD, x=x, epochs=1)
        close(got, expected)


def test_data_of_the_next_fit_take_the_place_of_the_last(on):
    on(emulated())
    model = network(optimizers.SGD)
    model.fit(IMAGES, KINDS, batch_size=8, verbose=0, shuffle=False)
    first = model._step("train", (False,)).resident
    model.fit(IMAGES * 2, KINDS, batch_size=8, verbose=0, shuffle=False)
    assert model._step("train", (False,)).resident is first
    got = model.get_weights()
    on(HostDevice())
    other = network(optimizers.SGD)
    for x in (IMAGES, IMAGES * 2):
        other.fit(x, KINDS, batch_size=8, verbose=0, shuffle=False)
    close(got, other.get_weights())


def test_data_too_large_for_the_device_come_batch_by_batch(on, monkeypatch):
    device = emulated()
    on(device)
    monkeypatch.setattr(device.driver, "memory_info", lambda: (0, 4 * IMAGES.nbytes))
    model = network(optimizers.SGD)
    model.fit(IMAGES, KINDS, batch_size=8, verbose=0)
    assert model._step("train", (False,)).resident is None


@pytest.mark.parametrize("arguments", [{}, {"shuffle": False}, {"shuffle": "batch"}])
@pytest.mark.parametrize("together", [1, 2])
def test_data_too_large_are_sent_while_the_device_computes(on, monkeypatch, arguments, together):
    found = {}
    for device in (HostDevice(), emulated()):
        on(device)
        if device.name == "emu":
            monkeypatch.setattr(device.driver, "memory_info", lambda: (0, 4 * IMAGES.nbytes))
        model = network(lambda: optimizers.SGD(0.05))
        model._steps_per_execution = together
        history = model.fit(IMAGES, KINDS, batch_size=8, epochs=3, verbose=0,
                            validation_data=(IMAGES[::-1], KINDS), **arguments)
        found[device.name] = [*model.get_weights(), *history.history.values(),
                              model.predict(IMAGES, batch_size=8)]
    close(found["emu"], found["cpu"])
    counters = devices.current().driver.counters
    counters.reset()
    model.fit(IMAGES, KINDS, batch_size=8, epochs=2, verbose=0)
    assert counters.graph_launches == 6 and counters.uploads >= 12


def test_pictures_of_bytes_are_sent_as_bytes(on, monkeypatch):
    device = emulated()
    on(device)
    monkeypatch.setattr(device.driver, "memory_info", lambda: (0, 4))
    pictures = RNG.randint(0, 255, IMAGES.shape).astype("uint8")
    sent = []
    send = device.driver.send
    monkeypatch.setattr(device.driver, "send", lambda to, x: (sent.append(x.dtype.name),
                                                              send(to, x)))
    model = network(lambda: optimizers.SGD(0.001))
    model.fit(pictures, KINDS, batch_size=8, epochs=2, verbose=0)
    assert sent[:2] == ["uint8", "float32"]
    on(HostDevice())
    other = network(lambda: optimizers.SGD(0.001))
    other.fit(pictures, KINDS, batch_size=8, epochs=2, verbose=0)
    close(model.get_weights(), other.get_weights())


def test_training_goes_on_when_a_stream_was_left_in_the_middle(on, monkeypatch):
    device = emulated()
    on(device)
    monkeypatch.setattr(device.driver, "memory_info", lambda: (0, 4 * IMAGES.nbytes))
    model = network(lambda: optimizers.SGD(0.05))

    def stop(batch, logs):
        model.stop_training = True

    model.fit(IMAGES, KINDS, batch_size=8, shuffle=False, verbose=0,
              callbacks=[LambdaCallback(on_batch_end=stop)])
    model.fit(IMAGES, KINDS, batch_size=8, shuffle=False, verbose=0)
    got = model.get_weights()
    on(HostDevice())
    other = network(lambda: optimizers.SGD(0.05))
    other.fit(IMAGES[:8], KINDS[:8], batch_size=8, shuffle=False, verbose=0)
    other.fit(IMAGES, KINDS, batch_size=8, shuffle=False, verbose=0)
    close(got, other.get_weights())
