"""Pickles and copies of models with classes and functions that are not part of the package."""
import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import initializers, layers, losses, metrics
from gpukeras.models import Model, Sequential
from gpukeras.utils import CustomObjectScope

ROOT = Path(__file__).resolve().parents[2]
X = np.random.RandomState(0).randn(6, 3).astype("float32")
Y = np.random.RandomState(1).randn(6, 2).astype("float32")


class Scale(layers.Layer):
    def __init__(self, by=2.0, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def build(self, input_shape):
        self.factor = self.add_weight(name="factor", shape=(), initializer="ones")
        super().build(input_shape)

    def call(self, x):
        return x * self.factor * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


class Halves(initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return K.ones(shape) / 2


class Cubed(losses.Loss):
    def call(self, y_true, y_pred):
        return K.mean(K.abs(y_true - y_pred) ** 3, axis=-1)


class Sum(metrics.Mean):
    pass


def bent(x):
    return K.relu(x) * 2 - 0.1


def distance(y_true, y_pred):
    return K.max(K.abs(y_true - y_pred), axis=-1)


def doubled(x):
    return 2 * x


def network(*stack, loss="mse", **arguments):
    model = Sequential([*stack, layers.Dense(2)])
    model.compile("adam", loss, **arguments)
    model.fit(X, Y, epochs=2, verbose=0)
    return model


MODELS = {
    "layer": lambda: network(Scale(3.0, input_shape=(3,))),
    "wrapped": lambda: network(layers.Reshape((3, 1), input_shape=(3,)),
                               layers.TimeDistributed(Scale()), layers.Flatten()),
    "nested": lambda: network(Sequential([Scale(input_shape=(3,))])),
    "activation": lambda: network(layers.Dense(4, activation=bent, input_shape=(3,))),
    "initializer": lambda: network(layers.Dense(4, kernel_initializer=Halves(), input_shape=(3,))),
    "loss": lambda: network(layers.Dense(4, input_shape=(3,)), loss=distance),
    "loss object": lambda: network(layers.Dense(4, input_shape=(3,)), loss=Cubed()),
    "metric": lambda: network(layers.Dense(4, input_shape=(3,)), metrics=[distance]),
    "function": lambda: network(layers.Lambda(doubled, input_shape=(3,))),
    "lambda": lambda: network(layers.Lambda(lambda x, by=3.0: x * by, input_shape=(3,)))}


@pytest.mark.parametrize("make", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
@pytest.mark.parametrize("name", MODELS)
def test_own_classes_and_functions_come_along(name, make):
    model = MODELS[name]()
    twin = make(model)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))
    assert twin.metrics_names == model.metrics_names
    np.testing.assert_allclose(twin.train_on_batch(X, Y), model.train_on_batch(X, Y), rtol=1e-6)
    np.testing.assert_allclose(twin.predict(X), model.predict(X), rtol=1e-5, atol=1e-6)


def test_classes_without_a_place_need_a_scope_but_for_copies():
    class Local(Scale):
        pass

    model = network(Local(input_shape=(3,)))
    np.testing.assert_array_equal(copy.deepcopy(model).predict(X), model.predict(X))
    data = pickle.dumps(model)
    with pytest.raises(ValueError, match="Unknown layer: Local"):
        pickle.loads(data)
    with CustomObjectScope({"Local": Local}):
        np.testing.assert_array_equal(pickle.loads(data).predict(X), model.predict(X))


def test_models_without_input_shape():
    model = Sequential([layers.Dense(2, name="only")])
    model.compile("sgd", "mae")
    twin = pickle.loads(pickle.dumps(model))
    assert not twin.built and twin.layers[0].name == "only"
    assert twin.fit(X, Y, verbose=0).history["loss"][0] > 0

    class Subclass(Model):
        def call(self, x):
            return x

    with pytest.raises(NotImplementedError, match="subclassed"):
        pickle.dumps(Subclass())


def test_another_process_imports_what_it_needs(tmp_path):
    (tmp_path / "parts.py").write_text(
        "from gpukeras import layers\n"
        "class Plus(layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x + 1\n"
        "def twice(x):\n"
        "    return 2 * x\n")
    write = ("import pickle, parts, gpukeras as g\n"
             "own = [parts.Plus(input_shape=(2,)), g.layers.Lambda(parts.twice)]\n"
             "m = g.models.Sequential([*own, g.layers.Lambda(lambda x: x - 5)])\n"
             "pickle.dump(m, open('m.pickle', 'wb'))\n")
    read = ("import pickle, numpy\n"
            "m = pickle.load(open('m.pickle', 'rb'))\n"
            "print(m.predict(numpy.ones((1, 2))).tolist())\n")
    for text, expected in ((write, ""), (read, "[[-1.0, -1.0]]\n")):
        done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, text=True,
                              capture_output=True, timeout=120,
                              env={**os.environ, "PYTHONPATH": str(ROOT),
                                   "GPUKERAS_DEVICE": "cpu"})
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected
