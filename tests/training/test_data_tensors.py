"""Data that are tensors of the graph: as data, as inputs, as targets. The numbers are those that
Keras 2.3.1 gives for the same calls."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras.layers import Dense, Input, add
from gpukeras.models import Model, Sequential

RNG = np.random.RandomState(0)
X = RNG.randn(10, 3).astype("float32")
Y = RNG.randn(10, 4).astype("float32")
KERNEL = RNG.randn(3, 4).astype("float32")


def dense():
    return Dense(4, weights=[KERNEL, np.zeros(4, "float32")], name="d")


def model(**arguments):
    x = Input((3,))
    m = Model(x, dense()(x))
    m.compile("sgd", "mse", **arguments)
    return m


def near(got, expected):
    assert list(got) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, atol=2e-5)


def test_tensors_train_as_in_keras():
    m, x, y = model(metrics=["mae"]), K.variable(X), K.variable(Y)
    near(m.fit(x, y, epochs=2, steps_per_epoch=2, verbose=0).history,
         {"loss": [3.64719, 3.53269], "mae": [1.51067, 1.48546]})
    np.testing.assert_allclose(m.evaluate(x, y, steps=1, verbose=0), [3.44967, 1.46687], atol=2e-5)
    assert m.predict(x, steps=2).shape == (20, 4)
    np.testing.assert_array_equal(m.predict(x, steps=1), m.predict(X))
    np.testing.assert_allclose(m.train_on_batch(x, y), [3.44967, 1.46687], atol=2e-5)
    np.testing.assert_allclose(m.test_on_batch(x, y), [3.39580, 1.45464], atol=2e-5)
    near(m.fit(x, y, steps_per_epoch=2, verbose=0, validation_data=(x, y),
               validation_steps=1).history,
         {"val_loss": [3.29126], "val_mae": [1.43087], "loss": [3.36940], "mae": [1.44859]})


def test_a_number_of_steps_takes_the_whole_arrays_each_time():
    m, twin = model(), model()
    found = m.fit(X, Y, epochs=2, steps_per_epoch=3, verbose=0, validation_data=(X, Y),
                  validation_steps=2).history
    values = [twin.train_on_batch(X, Y) for _ in range(3)]
    expected = twin.test_on_batch(X, Y)
    np.testing.assert_allclose(found["loss"][0], np.mean(values), rtol=1e-6)
    np.testing.assert_allclose(found["val_loss"][0], expected, rtol=1e-6)
    assert m.predict(X, steps=3).shape == (30, 4)


def test_the_first_line_tells_the_samples_of_a_step(capsys):
    model().fit(K.variable(X), Y, steps_per_epoch=2, validation_data=(X[:4], Y[:4]),
                validation_steps=1)
    assert capsys.readouterr().out.startswith("Train on 10 samples, validate on 4 samples\nEpoch")


def test_weighted_tensors_count_as_weighted_arrays():
    m, twin, weights = model(), model(), np.arange(10.0)
    np.testing.assert_allclose(m.train_on_batch(K.variable(X), Y, sample_weight=weights),
                               twin.train_on_batch(X, Y, sample_weight=weights), rtol=1e-6)
    for got, expected in zip(m.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_random_tensor_makes_a_new_batch_each_step():
    m = model()
    x = K.random_normal((10, 3))
    first, second = m.predict(x, steps=2).reshape(2, 10, 4)
    assert abs(first - second).min(axis=1).max() > 0.01


def test_inputs_and_targets_that_are_tensors_need_no_data():
    x, d = Input(tensor=K.variable(X)), dense()
    m = Model(x, d(x))
    m.compile("sgd", "mse", target_tensors=K.variable(Y))
    near(m.fit(epochs=2, steps_per_epoch=2, verbose=0).history, {"loss": [3.64719, 3.53269]})
    np.testing.assert_allclose(m.evaluate(steps=2, verbose=0), 3.44967, atol=2e-5)
    assert m.predict(None, steps=2).shape == (20, 4)
    assert m.predict_on_batch(None).shape == (10, 4)
    before = m.test_on_batch(None, None)
    assert m.train_on_batch(None, None) == pytest.approx(before, rel=1e-6)
    assert m.test_on_batch(None, None) < before
    found = m.fit(steps_per_epoch=1, validation_steps=2, verbose=0).history
    assert found["val_loss"] < found["loss"]
    for call in (lambda: m.fit(verbose=0), lambda: m.evaluate(), lambda: m.predict(None)):
        with pytest.raises(ValueError, match="steps"):
            call()
    with pytest.raises(ValueError, match="expected no data"):
        m.fit(X, Y)


def test_one_input_is_a_tensor_and_the_other_is_fed():
    a, b, d = Input(tensor=K.variable(X)), Input((3,), name="b"), dense()
    m = Model([a, b], add([d(a), d(b)]))
    m.compile("sgd", "mse")
    near(m.fit({"b": X}, Y, batch_size=10, shuffle=False, verbose=0).history,
         {"loss": [np.mean((2 * X @ KERNEL - Y) ** 2)]})
    np.testing.assert_allclose(m.predict_on_batch(X), 2 * m.predict(X, steps=1) / 2)


def test_one_target_is_a_tensor_and_the_other_is_fed():
    x = Input((3,))
    h = dense()(x)
    m = Model(x, [h, Dense(2, name="e", kernel_initializer="ones")(h)])
    m.compile("sgd", "mse", target_tensors={"d": K.variable(Y)}, metrics=["mae"])
    y = Y[:, :2]
    near(m.fit(X, y, batch_size=10, shuffle=False, verbose=0).history,
         {"loss": [3.6763988 + 6.0897217], "d_loss": [np.mean((X @ KERNEL - Y) ** 2)],
          "e_loss": [np.mean(((X @ KERNEL).sum(1, keepdims=True) - y) ** 2)],
          "d_mae": [np.mean(abs(X @ KERNEL - Y))],
          "e_mae": [np.mean(abs((X @ KERNEL).sum(1, keepdims=True) - y))]})
    weights = np.arange(10.0)
    np.testing.assert_array_equal(
        m.test_on_batch(X, y, sample_weight=weights),
        m.test_on_batch(X, {"e": y}, sample_weight={"e": weights}))
    with pytest.raises(ValueError, match="Expected to see 1 array"):
        m.fit(X, [Y, y])


def test_a_placeholder_as_target_or_input_is_fed():
    target = K.placeholder((None, 4))
    m = model(target_tensors=target)
    assert m.targets[0] is target
    near(m.fit(X, Y, batch_size=10, verbose=0).history, {"loss": [np.mean((X @ KERNEL - Y) ** 2)]})
    x = Input(tensor=K.placeholder((None, 3)))
    np.testing.assert_allclose(Model(x, dense()(x)).predict(X), X @ KERNEL, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: Sequential([dense()]), lambda: Subclass()])
def test_models_without_input_shape_build_on_tensors(make):
    m = make()
    m.compile("sgd", "mse")
    near(m.fit(K.variable(X), K.variable(Y), steps_per_epoch=2, verbose=0).history,
         {"loss": [3.64719]})


class Subclass(Model):
    def __init__(self):
        super().__init__()
        self.layer = dense()

    def call(self, x):
        return self.layer(x)


@pytest.mark.parametrize("arguments, words", [
    ({"epochs": 1}, "specify the `steps_per_epoch`"),
    ({"steps_per_epoch": 2, "batch_size": 2}, "`batch_size` must be None"),
    ({"steps_per_epoch": 2, "validation_split": 0.5}, "cannot use `validation_split`"),
    ({"steps_per_epoch": 2, "validation_data": (X, Y)}, "Must specify `validation_steps`")])
def test_arguments_that_do_not_go_with_tensors(arguments, words):
    with pytest.raises(ValueError, match=words):
        model().fit(K.variable(X), K.variable(Y), verbose=0, **arguments)


def test_validation_steps_want_steps_per_epoch():
    with pytest.raises(ValueError, match="`steps_per_epoch` must be set"):
        model().fit(X, Y, verbose=0, validation_data=(X, Y), validation_steps=1)


def test_target_tensors_that_do_not_fit():
    target = K.placeholder((None, 4))
    for given, error, words in (([target, target], ValueError, "one entry per model output"),
                                ({"zz": target}, ValueError, "zz"), (3, TypeError, "tensor")):
        with pytest.raises(error, match=words):
            model(target_tensors=given)
