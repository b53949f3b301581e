"""Every form of the arguments of compile; expectations from NumPy."""
import pickle
import warnings

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers as L
from gpukeras import losses, metrics, optimizers
from gpukeras.models import Model, Sequential, clone_model

RNG = np.random.RandomState(1)
X = RNG.uniform(-1, 1, (12, 3)).astype("float32")
Y = RNG.uniform(-1, 1, (12, 2)).astype("float32")
Z = RNG.uniform(-1, 1, (12, 1)).astype("float32")


def single(**arguments):
    K.clear_session()
    model = Sequential([L.Dense(2, input_shape=(3,), name="out")])
    model.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return model


def double(**arguments):
    K.clear_session()
    x = L.Input((3,))
    model = Model(x, [L.Dense(2, name="a")(x), L.Dense(1, name="b")(x)])
    model.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return model


def mse(y, p):
    return np.mean((y - p) ** 2)


def mae(y, p):
    return np.mean(np.abs(y - p))


def fourth(y_true, y_pred):
    """A loss or metric of one's own."""
    return K.mean(K.pow(y_pred - y_true, 4), axis=-1)


# ---------------------------------------------------------------- losses

@pytest.mark.parametrize("loss", ["mse", losses.mean_squared_error, losses.MeanSquaredError(),
                                  ["mse"], {"out": "mse"}, ("mse",),
                                  {"class_name": "MeanSquaredError", "config": {}}])
def test_forms_of_a_loss(loss):
    model = single(loss=loss)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(mse(Y, model.predict(X)), rel=1e-5)


def test_a_loss_of_ones_own():
    model = single(loss=fourth, metrics=[fourth])
    expected = np.mean((Y - model.predict(X)) ** 4)
    assert model.metrics_names == ["loss", "fourth"]
    assert model.evaluate(X, Y, verbose=0) == pytest.approx([expected] * 2, rel=1e-5)
    before = model.train_on_batch(X, Y)[0]
    assert model.train_on_batch(X, Y)[0] < before


def test_a_loss_of_ones_own_may_take_targets_of_any_size():
    K.clear_session()
    model = Sequential([L.Dense(2, input_shape=(3,))])
    model.compile("sgd", lambda y, p: K.mean(K.square(p - y[:, 1:3]), axis=-1))
    wide = np.concatenate([Z, Y, Z], axis=1)
    assert model.evaluate(X, wide, verbose=0) == pytest.approx(mse(Y, model.predict(X)), rel=1e-5)


@pytest.mark.parametrize("loss, weights", [
    (["mse", "mae"], [0.5, 2]), ({"a": "mse", "b": "mae"}, {"a": 0.5, "b": 2.0}),
    ({"b": losses.mean_absolute_error, "a": losses.MeanSquaredError()}, (0.5, 2.0))])
def test_losses_and_weights_of_two_outputs(loss, weights):
    model = double(loss=loss, loss_weights=weights)
    a, b = model.predict(X)
    expected = [0.5 * mse(Y, a) + 2 * mae(Z, b), mse(Y, a), mae(Z, b)]
    assert model.metrics_names == ["loss", "a_loss", "b_loss"]
    assert model.evaluate(X, [Y, Z], verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(X, {"b": Z, "a": Y}, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_an_output_without_loss_needs_no_target():
    with pytest.warns(UserWarning, match='Output b missing from loss dictionary'):
        model = double(loss={"a": "mse"}, metrics={"a": "mae"})
    assert model.metrics_names == ["loss", "a_loss", "a_mae"]
    fixed = model.get_layer("b").get_weights()
    model.fit(X, Y, verbose=0)
    for before, after in zip(fixed, model.get_layer("b").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("reduction, factor", [("sum_over_batch_size", 1 / 12), ("sum", 1.0),
                                               ("none", 1 / 12)])
def test_reductions_of_a_loss(reduction, factor):
    model = single(loss=losses.MeanAbsoluteError(reduction=reduction))
    expected = np.abs(Y - model.predict(X)).mean(axis=-1).sum() * factor
    assert model.train_on_batch(X, Y) == pytest.approx(expected, rel=1e-5)


def test_a_model_without_loss_cannot_be_compiled():
    with pytest.raises(ValueError, match="no loss to optimize"):
        single(loss=None)


def test_added_losses_are_enough():
    K.clear_session()
    x = L.Input((3,))
    layer = L.Dense(2, activity_regularizer=lambda y: 0.5 * K.sum(K.square(y)))
    model = Model(x, layer(x))
    model.compile("sgd", loss=None)
    expected = 0.5 * np.sum(model.predict(X) ** 2)
    assert model.train_on_batch(X, None) == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------- metrics

@pytest.mark.parametrize("given, names", [
    (["mae"], ["a_mae", "b_mae"]), ({"b": "mae"}, ["b_mae"]), ({"b": ["mae", "mse"]},
                                                              ["b_mae", "b_mse"]),
    ([["mae"], ["mse"]], ["a_mae", "b_mse"]), ([["mae", "mae"], []], ["a_mae"]),
    ([fourth, metrics.MeanAbsoluteError(name="gap")],
     ["a_fourth", "a_gap", "b_fourth", "b_gap"])])
def test_forms_of_metrics(given, names):
    model = double(metrics=given)
    assert model.metrics_names == ["loss", "a_loss", "b_loss", *names]
    a, b = model.predict(X)
    values = {"a_mae": mae(Y, a), "b_mae": mae(Z, b), "b_mse": mse(Z, b), "a_gap": mae(Y, a),
              "b_gap": mae(Z, b), "a_fourth": np.mean((Y - a) ** 4),
              "b_fourth": np.mean((Z - b) ** 4)}
    found = model.evaluate(X, [Y, Z], batch_size=5, verbose=0)[3:]
    assert found == pytest.approx([values[name] for name in names], rel=1e-5)


def test_a_metric_class_of_ones_own():
    class Largest(metrics.Metric):
        def __init__(self, name="largest", **kwargs):
            super().__init__(name=name, **kwargs)
            self.value = self.add_weight("value")

        def update_state(self, y_true, y_pred, sample_weight=None):
            return [K.update(self.value, K.maximum(self.value, K.max(K.abs(y_true - y_pred))))]

        def result(self):
            return self.value

    model = single(metrics=[Largest()])
    expected = np.abs(Y - model.predict(X)).max()
    assert model.evaluate(X, Y, batch_size=5, verbose=0)[1] == pytest.approx(expected, rel=1e-5)
    model.evaluate(X * 0, Y * 0, verbose=0)
    assert model.evaluate(X, Y, batch_size=5, verbose=0)[1] == pytest.approx(expected, rel=1e-5)


def test_classes_instead_of_objects_are_explained():
    with pytest.raises(ValueError, match=r"Try: Precision\(\)"):
        single(metrics=[metrics.Precision])
    with pytest.raises(ValueError, match=r"Try: MeanSquaredError\(\)"):
        single(loss=losses.MeanSquaredError)


def test_metrics_go_on_without_reset():
    model = single(metrics=["mae"], optimizer=optimizers.SGD(0.0))
    predictions = model.predict(X)
    model.train_on_batch(X[:4], Y[:4])
    model.train_on_batch(X[:4], Y[:4], reset_metrics=False)
    found = model.train_on_batch(X[4:], Y[4:], reset_metrics=False)
    assert found[1] == pytest.approx(mae(Y, predictions), rel=1e-5)
    assert found[0] == pytest.approx(mse(Y[4:], predictions[4:]), rel=1e-5)
    model.reset_metrics()
    assert model.test_on_batch(X[:4], Y[:4])[1] == pytest.approx(mae(Y[:4], predictions[:4]),
                                                                 rel=1e-5)


def test_metrics_that_layers_add():
    class Watched(L.Dense):
        def call(self, x):
            y = super().call(x)
            self.add_metric(K.mean(K.square(y)), name="size")
            return y

    K.clear_session()
    model = Sequential([Watched(2, input_shape=(3,))])
    model.compile("sgd", "mse", metrics=["mae"])
    assert model.metrics_names == ["loss", "mae", "size"]
    found = model.evaluate(X, Y, verbose=0)
    assert found[2] == pytest.approx(np.mean(model.predict(X) ** 2), rel=1e-5)


def test_updates_that_layers_add_are_made_in_training_only():
    class Counting(L.Layer):
        def build(self, input_shape):
            self.count = self.add_weight("count", (), initializer="zeros", trainable=False)

        def call(self, x):
            self.add_update(K.update_add(self.count, K.cast(K.shape(x)[0], "float32")), inputs=x)
            return x

    K.clear_session()
    model = Sequential([Counting(input_shape=(3,)), L.Dense(2)])
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=5, epochs=2, verbose=0)
    model.evaluate(X, Y, verbose=0)
    model.predict(X)
    assert K.get_value(model.layers[0].count) == 24


# ---------------------------------------------------------------- weights of samples

def test_temporal_weights_and_their_mistakes():
    K.clear_session()
    model = Sequential([L.Dense(2, input_shape=(4, 3))])
    model.compile("sgd", "mse", sample_weight_mode="temporal")
    x, y = RNG.uniform(size=(5, 4, 3)), RNG.uniform(size=(5, 4, 2))
    weight = RNG.uniform(size=(5, 4))
    expected = np.mean(weight * np.mean((y - model.predict(x)) ** 2, axis=-1))
    assert model.test_on_batch(x, y, sample_weight=weight) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="2D sample_weight"):
        model.test_on_batch(x, y, sample_weight=weight[:, 0])


def test_class_weight_by_class_number_or_one_hot():
    K.clear_session()
    labels = np.arange(12) % 2
    found = []
    for loss, y in (("sparse_categorical_crossentropy", labels),
                    ("categorical_crossentropy", np.eye(2)[labels])):
        np.random.seed(0)
        model = Sequential([L.Dense(2, activation="softmax", input_shape=(3,))])
        model.compile("sgd", loss)
        p = model.predict(X)[np.arange(12), labels]
        expected = np.mean(np.where(labels == 1, 4.0, 0.5) * -np.log(p))
        for weights in ({0: 0.5, 1: 4.0}, [0.5, 4.0]):
            found.append(model.test_on_batch(X, y))
            model.set_weights(model.get_weights())
        assert model.train_on_batch(X, y, class_weight={0: .5, 1: 4.}) == pytest.approx(expected,
                                                                                    rel=1e-4)


# ---------------------------------------------------------------- trainable, recompile, copies

def test_frozen_layers_stay_and_a_recompile_frees_them():
    model = Sequential([L.Dense(3, input_shape=(3,), name="first"), L.Dense(2)])
    model.get_layer("first").trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert np.any(model.get_weights()[2] != before[2])
    model.get_layer("first").trainable = True
    with pytest.warns(UserWarning, match="Discrepancy"):
        model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    model.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y, verbose=0)
    assert np.any(model.get_weights()[0] != before[0])


def test_a_frozen_batch_normalisation_keeps_its_statistics():
    K.clear_session()
    model = Sequential([L.BatchNormalization(input_shape=(3,)), L.Dense(2)])
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    before = model.layers[0].get_weights()
    model.fit(X, Y, verbose=0)
    for a, b in zip(before, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_learning_rate_can_be_set_between_steps():
    model = single(optimizer=optimizers.SGD(0.1))
    model.train_on_batch(X, Y)
    before = model.get_weights()
    model.optimizer.lr = 0.0
    model.train_on_batch(X, Y)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pickled_model_goes_on_as_it_was():
    model = single(optimizer=optimizers.Adam(0.01), metrics=["mae"])
    model.fit(X, Y, epochs=2, verbose=0)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    assert copy.train_on_batch(X, Y) == pytest.approx(model.train_on_batch(X, Y), rel=1e-6)
    for a, b in zip(copy.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    plain = pickle.loads(pickle.dumps(clone_model(model)))
    assert plain.optimizer is None


def test_arguments_of_old_and_mistyped_names():
    with pytest.warns(UserWarning, match="class_mode"):
        single(class_mode="categorical")
    with pytest.raises(TypeError, match="Did you mean 'metrics'"):
        single(metric=["mae"])


def test_learning_phase_can_be_fixed():
    K.clear_session()
    K.set_learning_phase(1)
    try:
        model = Sequential([L.Dropout(0.5, input_shape=(3,))])
        assert np.any(model.predict(np.ones((50, 3))) == 0)
    finally:
        K.clear_session()


# ---------------------------------------------------------------- forms of data

def test_lists_tuples_and_frames_are_data():
    model = single()
    expected = model.evaluate(X, Y, verbose=0)
    assert model.evaluate(X.tolist(), Y.tolist(), verbose=0) == pytest.approx(expected, rel=1e-6)
    assert model.evaluate([X], {"out": Y}, verbose=0) == pytest.approx(expected, rel=1e-6)

    class Frame:                                   # what counts of a pandas DataFrame
        def __init__(self, data):
            self.data, self.shape = data, data.shape

        def to_numpy(self):
            return self.data

    assert model.evaluate(Frame(X), Frame(Y), verbose=0) == pytest.approx(expected, rel=1e-6)


def test_torch_tensors_are_data():
    torch = pytest.importorskip("torch")
    model = single()
    expected = model.evaluate(X, Y, verbose=0)
    assert model.evaluate(torch.from_numpy(X), torch.from_numpy(Y),
                          verbose=0) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_array_equal(model.predict(torch.from_numpy(X)), model.predict(X))


@pytest.mark.parametrize("shuffle", ["batch", True, False])
def test_data_sets_in_a_file_train_as_arrays(tmp_path, shuffle):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = X, Y
    results = []
    with h5py.File(tmp_path / "data.h5", "r") as file:
        for x, y in ((X, Y), (file["x"], file["y"])):
            model = single()
            model.set_weights([np.ones((3, 2)), np.zeros(2)])
            np.random.seed(5)
            model.fit(x, y, batch_size=5, shuffle=shuffle, epochs=2, verbose=0)
            results.append([*model.get_weights(), model.predict(x, batch_size=5)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_numbers_in_a_list_are_samples():
    K.clear_session()
    model = Sequential([L.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    assert model.predict([1.0, 2.0, 3.0]).shape == (3, 1)
    model.fit([1, 2, 3], [2, 4, 6], verbose=0)


def test_metrics_of_layers_in_inner_models_and_shared_layers():
    class Watched(L.Dense):
        def call(self, x):
            y = super().call(x)
            self.add_metric(K.mean(y), name="level")
            return y

    K.clear_session()
    inner = Sequential([Watched(2, input_shape=(3,), name="watched")])
    a, b = L.Input((3,)), L.Input((3,))
    model = Model([a, b], L.add([inner(a), inner(b)]))
    model.compile("sgd", "mse")
    assert model.metrics_names == ["loss", "level"]
    shared = [inner.predict(X), inner.predict(-2 * X)]
    found = model.evaluate([X, -2 * X], Y, verbose=0)
    assert found[1] == pytest.approx(np.mean(shared), rel=1e-4)
    inner.compile("sgd", "mse")
    assert inner.evaluate(X, Y, verbose=0)[1] == pytest.approx(np.mean(shared[0]), rel=1e-4)


def test_a_list_of_one_row_is_a_row_where_that_fits():
    model = single()
    np.testing.assert_allclose(model.predict([[1.0, 2.0, 3.0]]),
                               model.predict(np.array([[1.0, 2.0, 3.0]])))
    K.clear_session()
    column = Sequential([L.Dense(1, input_shape=(1,))])
    assert column.predict([[1.0, 2.0, 3.0]]).shape == (3, 1)         # a list of one array


def test_labels_that_are_not_whole_and_models_without_layers():
    K.clear_session()
    model = Sequential([L.Dense(2, activation="softmax", input_shape=(3,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="whole numbers, got 0.5"):
        model.fit(X, np.full(12, 0.5))
    empty = Sequential()
    empty.compile("sgd", "mse")
    with pytest.raises(ValueError, match="has no layers"):
        empty.fit(X, Y)
