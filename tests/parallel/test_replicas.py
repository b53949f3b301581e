"""Replicas: with any number of devices the results of one, in deterministic mode to the bit."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import config, layers, models, optimizers
from gpukeras.utils import multi_gpu_model

STEPS = 50


@pytest.fixture(autouse=True)
def four(monkeypatch):
    monkeypatch.setenv("GPUKERAS_VIRTUAL_DEVICES", "4")
    monkeypatch.setenv("GPUKERAS_DEVICE", "cpu")
    monkeypatch.setattr(config, "deterministic", True)


def mlp():
    return models.Sequential([
        layers.Dense(32, activation="relu", input_shape=(20,)), layers.Dropout(0.3),
        layers.Dense(5, activation="softmax")])


def cnn():
    return models.Sequential([
        layers.Conv2D(8, 3, activation="relu", input_shape=(12, 12, 2)),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.25),
        layers.Flatten(), layers.Dense(5, activation="softmax")])


def lstm():
    return models.Sequential([layers.LSTM(9, input_shape=(7, 6)),
                              layers.Dense(5, activation="softmax")])


def trained(make, devices, optimizer="adam", steps=STEPS, rows=58, batch=20):
    """Weights, losses, accuracies, predictions after `steps`; the last batch has 58 % 20 rows."""
    K.clear_session()
    np.random.seed(3)
    template = make()
    model = multi_gpu_model(template, devices) if devices > 1 else template
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, *template.input_shape[1:])).astype("f4")
    y = np.eye(5, dtype="f4")[rng.integers(0, 5, rows)]
    history = model.fit(x, y, batch_size=batch, epochs=-(-steps * batch // rows), verbose=0,
                        validation_data=(x[:7], y[:7])).history
    return [*template.get_weights(), *map(np.array, history.values()), model.predict(x),
            np.array(model.evaluate(x, y, verbose=0))]


@pytest.mark.parametrize("make", [mlp, cnn, lstm])
def test_any_number_of_devices_gives_the_same_bits(make):
    config.deterministic = "across devices"
    alone = trained(make, 1)
    for devices in (2, 3, 4):
        for a, b in zip(alone, trained(make, devices), strict=True):
            np.testing.assert_array_equal(a, b)
    config.deterministic = True
    for a, b in zip(alone, trained(make, 1), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


@pytest.mark.parametrize("make", [mlp, cnn, lstm])
def test_without_it_they_agree_as_far_as_rounding_lets_them(make):
    # Adam divides by roots of squared gradients, which enlarges rounding errors
    alone = trained(make, 1, optimizers.SGD(0.1))
    for devices in (2, 3, 4):
        for a, b in zip(alone, trained(make, devices, optimizers.SGD(0.1)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
