"""What a captured training step must survive, on the emulated device; the host is the truth."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices, layers
from gpukeras.callbacks import LambdaCallback, LearningRateScheduler, ReduceLROnPlateau
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.host import HostDevice
from gpukeras.devices.launcher import KernelDevice
from gpukeras.errors import DeviceError
from gpukeras.models import Model, Sequential

RNG = np.random.RandomState(3)
X = RNG.uniform(-1, 1, (22, 6)).astype("f4")
Y = np.eye(3, dtype="f4")[RNG.randint(0, 3, 22)]                   # batches of 8, 8 and 6


def network(seed=4, units=5):
    np.random.seed(seed)
    model = Sequential([layers.Dense(units, activation="tanh", input_shape=(6,)),
                        layers.Dropout(0.2), layers.Dense(3, activation="softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def fitted(model, callbacks=(), epochs=4, **arguments):
    return model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks),
                     **arguments).history


def state(model):
    return model.get_weights() + model.optimizer.get_weights()


def on_both(on, script):
    """Arrays of script() on the emulated device, close to those of the host; its counters."""
    found = {}
    for name in ("host", "emu"):
        device = HostDevice() if name == "host" else KernelDevice(EmuDriver())
        on(device)
        K.clear_session()
        found[name] = [np.asarray(a) for a in script()]
    for a, b in zip(found["emu"], found["host"], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * max(1, np.abs(b).max()))
    return device.driver.counters


def test_a_shape_is_captured_when_it_comes_back_and_once(on):
    on(KernelDevice(EmuDriver()))
    model = network()
    counters = devices.current().driver.counters
    captures = []
    fitted(model, [LambdaCallback(on_batch_begin=lambda b, logs: captures.append(
        counters.captures))])
    # steps 8 8 6 | 8 8 6 | ...: the second 8 is captured, and the 6 of the second epoch
    assert captures == [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert counters.captures == 2


def test_learning_rates_change_between_launches(on):
    rates = []

    def script():
        model = network()
        fitted(model, [
            LearningRateScheduler(lambda epoch: 0.01 / (1 + epoch)),
            LambdaCallback(on_batch_end=lambda b, logs: K.set_value(
                model.optimizer.lr, 0.9 * K.get_value(model.optimizer.lr))),
            LambdaCallback(on_epoch_end=lambda e, logs: rates.append(
                float(K.get_value(model.optimizer.lr)))),
            ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=9)])
        return state(model)

    assert on_both(on, script).captures == 2
    assert rates[:4] == rates[4:] and len(set(rates)) == 4


def test_weights_are_set_between_steps_and_epochs(on):
    def script():
        model = network()
        first = model.get_weights()

        def batch(b, logs):
            if b == 1:
                model.set_weights([w * 0.5 for w in model.get_weights()])

        fitted(model, [LambdaCallback(on_batch_end=batch, on_epoch_end=lambda e, logs: (
            model.set_weights(first) if e == 2 else None))])
        model.optimizer.set_weights([w * 0.5 for w in model.optimizer.get_weights()])
        fitted(model, epochs=2)
        return state(model)

    assert on_both(on, script).captures == 2


def test_several_models_take_turns(on):
    def script():
        models = [network(seed, units) for seed, units in ((1, 5), (2, 7), (3, 5))]
        losses = []
        for _ in range(4):
            for model in models:
                losses.append(model.train_on_batch(X[:8], Y[:8])[0])
                losses.append(model.test_on_batch(X[8:], Y[8:])[0])
        return [*losses, *(w for model in models for w in state(model))]

    assert on_both(on, script).captures == 6


def test_models_that_share_weights_see_each_others_steps(on):
    """The second model moves the shared weights in memory when it is first trained."""
    def script():
        np.random.seed(6)
        x = layers.Input((6,))
        shared = layers.Dense(4, activation="tanh")
        a = Model(x, layers.Dense(3, activation="softmax")(shared(x)))
        b = Model(x, layers.Dense(2)(shared(x)))
        a.compile("adam", "categorical_crossentropy")
        b.compile("sgd", "mse")
        found = [a.train_on_batch(X[:8], Y[:8]) for _ in range(3)]
        for _ in range(3):
            found.append(b.train_on_batch(X[:8], X[:8, :2]))
            found.append(a.train_on_batch(X[:8], Y[:8]))
            found.append(a.predict_on_batch(X[:4]))
        return [*found, *state(a), *state(b)]

    on_both(on, script)


def test_training_goes_on_after_an_exception(on):
    def script():
        model = network()

        def fail(batch, logs):
            if batch == 1:
                raise KeyboardInterrupt
        fitted(model, epochs=2)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                fitted(model, [LambdaCallback(on_batch_end=fail)])
        history = fitted(model, epochs=2)
        return [history["loss"], *state(model)]

    assert on_both(on, script).captures == 2


def test_a_model_lives_on_after_the_session_is_cleared(on):
    def script():
        old = network()
        fitted(old, epochs=2)
        K.clear_session()
        new = network(seed=8)
        fitted(new, epochs=2)
        fitted(old, epochs=2)
        return state(old) + state(new)

    on_both(on, script)


def test_a_failed_capture_is_told_and_the_calls_are_queued(on, monkeypatch, capsys):
    def script():
        model = network()
        fitted(model)
        return state(model)

    class Refuses(EmuDriver):
        def capture(self):
            raise DeviceError("[capture] not today")

    on(KernelDevice(EmuDriver()))
    K.clear_session()
    want = script()
    on(KernelDevice(Refuses()))
    K.clear_session()
    capsys.readouterr()
    for a, b in zip(script(), want, strict=True):
        np.testing.assert_array_equal(a, b)
    counters = devices.current().driver.counters
    lines = capsys.readouterr().err.splitlines()
    assert counters.graph_launches == 0
    assert lines and all("no CUDA graph of" in s and "not today" in s for s in lines)
    assert len(set(lines)) == len(lines)


def test_an_error_in_the_middle_of_a_capture_leaves_the_device_usable(on, monkeypatch, capsys):
    device = KernelDevice(EmuDriver())
    on(device)
    K.clear_session()
    model = network()
    x, y = X[:8], Y[:8]
    losses = [model.train_on_batch(x, y)[0]]
    executable = next(iter(model._step("train", (False,)).function._plans.values()))[1]
    calls, fail = executable.calls, [True]

    def sometimes():
        if device.driver.recording is not None and fail:
            raise RuntimeError("interrupted")
        calls[-1]()

    executable.calls = [*calls[:-1], sometimes]
    losses += [model.train_on_batch(x, y)[0] for _ in range(3)]
    assert "the capture failed: interrupted" in capsys.readouterr().err
    assert device.driver.recording is None and np.isfinite(losses).all()
    on(HostDevice())
    K.clear_session()
    model = network()
    want = [model.train_on_batch(x, y)[0] for _ in range(4)]
    np.testing.assert_allclose(losses, want, rtol=1e-5)


def test_an_op_without_a_kernel_is_named(on, capsys):
    from gpukeras.graph import Op

    class Backwards(Op):
        """x from the end; NumPy alone knows how."""

        def infer(self, x):
            return x

        def numpy(self, x):
            return x[::-1]

    on(KernelDevice(EmuDriver()))
    model = Sequential([layers.Lambda(lambda x: Backwards()(x) * 2.0, input_shape=(6,),
                                      name="odd")])
    model.compile("sgd", "mse")
    for _ in range(3):
        got = model.predict_on_batch(X)
    np.testing.assert_array_equal(got, X[::-1] * 2)
    error = capsys.readouterr().err
    assert error.count("Backwards has no CUDA kernel, NumPy computes it") == 1
    assert "odd" in error


def test_plain_launches_on_request_say_nothing(on, monkeypatch, capsys):
    monkeypatch.setenv("GPUKERAS_REPLAY", "0")
    on(KernelDevice(EmuDriver()))
    fitted(network(), epochs=2)
    assert devices.current().driver.counters.captures == 0
    assert "graph" not in capsys.readouterr().err
