"""Small things in which models should do as Keras 2.3.1 does; the numbers are its own."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers as L
from gpukeras import metrics, optimizers
from gpukeras.callbacks import Callback
from gpukeras.models import Model, Sequential

RNG = np.random.RandomState(0)
X = RNG.randn(20, 3).astype("float32")
Y = RNG.randn(20, 2).astype("float32")


def seeded(model):
    """The model with weights that any Keras can be given."""
    rng = np.random.RandomState(7)
    model.set_weights([rng.uniform(-0.5, 0.5, w.shape) for w in model.get_weights()])
    return model


def dense():
    model = Sequential([L.Dense(2, input_shape=(3,))])
    return seeded(model)


def history(model, *data, **arguments):
    return model.fit(*data, **{"batch_size": 10, "verbose": 0, "shuffle": False,
                               **arguments}).history


def close(got, expected):
    assert list(got) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, atol=1e-4)


def test_sample_weights_and_masks_multiply():
    model = Sequential([L.Embedding(5, 4, mask_zero=True, input_length=3),
                        L.LSTM(3, return_sequences=True), L.TimeDistributed(L.Dense(2))])
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mae"])
    seeded(model)
    x, y = np.random.RandomState(1).randint(0, 5, (20, 3)), np.random.RandomState(1).randn(20, 3, 2)
    close(history(model, x, y, epochs=2),
          {"loss": [0.6992, 0.6951], "mae": [0.7464, 0.7445], "mae_1": [0.7464, 0.7445]})
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), [0.6920, 0.7431, 0.7431], atol=1e-4)
    close(history(model, x, y, sample_weight=np.arange(20.0)),
          {"loss": [6.0302], "mae": [0.7420], "mae_1": [0.7038]})


def test_a_metric_object_keeps_its_name():
    x = L.Input((3,))
    y = L.Dense(2)(x)
    model = Model(x, y)
    model.add_metric(metrics.Mean(name="size")(y))
    model.compile("sgd", "mse")
    seeded(model)
    close(history(model, X, Y), {"loss": [1.4417], "size": [-0.2787]})
    assert model.evaluate(X, Y, verbose=0)[1] == pytest.approx(model.predict(X).mean(), abs=1e-5)


def test_losses_added_after_compile_wait_for_the_next():
    x = L.Input((3,))
    y = L.Dense(2)(x)
    model = Model(x, y)
    model.compile("sgd", "mse")
    seeded(model)
    model.add_loss(K.mean(y))
    plain = model.evaluate(X, Y, verbose=0)
    assert plain == pytest.approx(np.mean((model.predict(X) - Y) ** 2), rel=1e-5)
    model.compile("sgd", "mse")
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(plain + model.predict(X).mean(),
                                                            rel=1e-5)


def test_outputs_without_loss_are_named():
    with pytest.warns(UserWarning, match="Output dense_.* missing from loss dictionary"):
        with pytest.raises(ValueError, match="no loss to optimize"):
            dense().compile("sgd", loss=None)


def test_a_class_is_no_optimizer():
    with pytest.raises(ValueError, match="Could not interpret optimizer identifier"):
        dense().compile(optimizers.SGD, "mse")


def test_callbacks_of_evaluate_know_the_metrics():
    seen = {}

    class Look(Callback):
        def on_test_begin(self, logs=None):
            seen.update(self.params)

    model = dense()
    model.compile("sgd", "mse", metrics=["mae"])
    model.evaluate(X, Y, verbose=0, callbacks=[Look()])
    assert seen == {"batch_size": 32, "metrics": ["loss", "mae"], "samples": 20, "steps": None,
                    "verbose": 0}


def test_the_functions_of_a_model_take_sample_weights():
    model = dense()
    model.compile("sgd", "mse")
    model._make_train_function()
    model._make_test_function()
    ones, twos = np.ones(20), np.full(20, 2.0)
    error = np.mean((model.predict(X) - Y) ** 2)
    assert model.test_function([X, Y, twos]) == pytest.approx([2 * error], rel=1e-5)
    assert model.test_function([X, Y]) == pytest.approx([error], rel=1e-5)
    assert model.train_function([X, Y, ones, 1]) == pytest.approx([error], rel=1e-5)
    assert model.test_function([X, Y, ones, 0])[0] < error
    loss = K.function(model.inputs + model.targets + model.sample_weights, [model.total_loss])
    assert loss([X, Y, twos])[0] == pytest.approx(2 * model.test_function([X, Y])[0], rel=1e-5)


def test_old_names_of_the_ends_of_a_model_are_warned_of():
    x = L.Input((3,))
    with pytest.warns(UserWarning, match=r"Model\(inputs=..., outputs=...\)"):
        assert Model(input=x, output=L.Dense(2)(x)).output_shape == (None, 2)


def test_a_subclass_that_forgot_super_is_told():
    class Forgot(Model):
        def __init__(self):
            self.layer = L.Dense(2)

    with pytest.raises(RuntimeError, match="forgot to call"):
        Forgot()


@pytest.mark.filterwarnings("error")
def test_a_training_that_diverges_does_so_quietly():
    model = dense()
    model.compile("sgd", "mse")
    assert history(model, X, np.full((20, 2), 1e30))["loss"] == [np.inf]


def test_losses_and_metrics_of_a_whole_batch_take_sample_weights():
    def loss(y_true, y_pred):
        return K.mean(K.square(y_true - y_pred))

    def largest(y_true, y_pred):
        return K.max(y_pred)

    model = dense()
    model.compile("sgd", loss, weighted_metrics=[largest])
    weights = np.linspace(0, 2, 20)
    y = model.predict(X)
    found = model.test_on_batch(X, Y, sample_weight=weights)
    np.testing.assert_allclose(found, [np.mean((Y - y) ** 2) * weights.mean(), y.max()], rtol=1e-5)


def test_metrics_names_grow_with_what_is_known():
    model = Sequential([L.Dense(2)])
    assert model.metrics_names == ["loss"]
    model.compile("sgd", "mse", metrics=["mae"])
    assert model.metrics_names == ["loss"]
    model.build((None, 3))
    assert model.metrics_names == ["loss", "mae"]


def test_targets_are_left_alone_where_no_output_has_a_loss():
    x = L.Input((3,))
    model = Model(x, L.Dense(3)(x))
    model.add_loss(K.mean(K.square(model.output - x)))
    model.compile("sgd", loss=None)
    before = np.mean((model.predict(X) - X) ** 2)
    with pytest.warns(UserWarning, match="No output of this model has a loss"):
        found = history(model, X, batch_size=20, validation_data=(X, X))
    np.testing.assert_allclose(found["loss"], [before], rtol=1e-5)
    np.testing.assert_allclose(found["val_loss"], np.mean((model.predict(X) - X) ** 2), rtol=1e-5)


def test_predict_takes_as_many_samples_as_the_first_input_has():
    a, b = L.Input((3,)), L.Input((3,))
    model = Model([a, b], L.add([a, b]))
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="takes the first 5 of each"):
        found = model.predict([X[:5], X], batch_size=2)
    np.testing.assert_array_equal(found, 2 * X[:5])
    with pytest.raises(ValueError, match="same number of samples"):
        model.predict([X, X[:5]])
    with pytest.raises(ValueError, match="same number of samples"):
        model.evaluate([X[:5], X], X[:5])
