"""The classic models on the real MNIST digits and the line y = 0.5 x + 2, to the accuracy they are
known for."""
import os
import pathlib

import numpy as np
import pytest

from gpukeras.datasets import mnist
from gpukeras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from gpukeras.models import Sequential
from gpukeras.optimizers import SGD, RMSprop
from gpukeras.utils import to_categorical

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def digits():
    """((x_train, y_train), (x_test, y_test)) scaled to [0, 1] and one-hot."""
    cache = pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    for path in [ROOT.parent / "shared/data/mnist.npz", cache / "datasets/mnist.npz"]:
        if path.exists():
            break
    else:
        pytest.skip("mnist.npz is neither in the Keras cache nor beside the checkout")
    train, test = mnist.load_data(str(path))
    return [(x.astype("float32") / 255, to_categorical(y, 10)) for x, y in (train, test)]


@pytest.mark.slow
def test_cnn_after_one_epoch(digits):
    (x, y), (x_test, y_test) = digits
    np.random.seed(0)
    model = Sequential([
        Conv2D(32, 5, activation="relu", input_shape=(28, 28, 1)), MaxPooling2D(),
        Conv2D(64, 5, activation="relu"), MaxPooling2D(), Flatten(),
        Dense(1000, activation="relu"), Dense(10, activation="softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[..., None], y, batch_size=128, epochs=1, verbose=0)
    assert model.evaluate(x_test[..., None], y_test, verbose=0)[1] >= 0.985


@pytest.mark.slow
def test_mlp_after_four_epochs(digits):
    (x, y), (x_test, y_test) = digits
    np.random.seed(0)
    model = Sequential([Dense(400, activation="relu", input_dim=784),
                        Dense(10, activation="softmax")])
    model.compile(RMSprop(), "categorical_crossentropy", metrics=["accuracy"])
    model.fit(x.reshape(-1, 784), y, batch_size=32, epochs=4, verbose=0)
    assert model.evaluate(x_test.reshape(-1, 784), y_test, verbose=0)[1] >= 0.97


def test_regression_finds_slope_and_intercept():
    rng = np.random.RandomState(1337)
    x = np.linspace(-1, 1, 200)
    rng.shuffle(x)
    y = 0.5 * x + 2 + rng.normal(0, 0.05, 200)
    model = Sequential([Dense(1, input_dim=1)])
    model.compile(SGD(0.05), "mse")
    for _ in range(301):
        model.train_on_batch(x[:160], y[:160])
    slope, intercept = (w.item() for w in model.get_weights())
    assert abs(slope - 0.5) < 0.05 and abs(intercept - 2) < 0.05
