"""Models as scikit-learn estimators."""
import gc
import pickle

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras.layers import Dense
from gpukeras.models import Sequential
from gpukeras.wrappers.scikit_learn import KerasClassifier, KerasRegressor

RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 1, (90, 4)).astype("float32")
LABELS = np.array(["no", "yes"])[(X[:, 0] + X[:, 1] > 0).astype(int)]
VALUES = X @ [1.0, -2.0, 0.5, 0.0]


def classifier(units=8, outputs=1, rate="adam"):
    loss = "binary_crossentropy" if outputs == 1 else "categorical_crossentropy"
    last = "sigmoid" if outputs == 1 else "softmax"
    model = Sequential([Dense(units, activation="tanh", input_shape=(4,)),
                        Dense(outputs, activation=last)])
    model.compile(rate, loss, metrics=["accuracy"])
    return model


def regressor(units=8):
    model = Sequential([Dense(units, activation="tanh", input_shape=(4,)), Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_classifier_learns_labels(outputs):
    np.random.seed(1)
    found = KerasClassifier(classifier, outputs=outputs, epochs=60, batch_size=10, verbose=0)
    history = found.fit(X, LABELS)
    assert len(history.epoch) == 60
    assert list(found.classes_) == ["no", "yes"]
    predicted = found.predict(X)
    assert predicted.shape == (90,) and np.mean(predicted == LABELS) > 0.9
    accuracy = np.mean(predicted == LABELS)
    assert found.score(X, LABELS, verbose=0) == pytest.approx(accuracy, abs=1e-6)
    p = found.predict_proba(X)
    assert p.shape == (90, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(p.argmax(axis=1), (predicted == "yes").astype(int))


def test_one_hot_targets_and_weights():
    found = KerasClassifier(classifier, outputs=3, verbose=0)
    y = np.eye(3)[RNG.randint(0, 3, 90)]
    found.fit(X, y, sample_weight=np.ones(90))
    assert found.predict(X).max() <= 2
    assert 0 <= found.score(X, y) <= 1


def test_a_regressor_scores_minus_the_loss():
    found = KerasRegressor(regressor, epochs=5, verbose=0)
    found.fit(X, VALUES)
    predicted = found.predict(X)
    assert predicted.shape == (90,)
    assert found.score(X, VALUES) == pytest.approx(-np.mean((predicted - VALUES) ** 2), rel=1e-4)


def test_a_subclass_builds_itself():
    class Own(KerasRegressor):
        def __call__(self, units=3):
            return regressor(units)

    found = Own(units=5, verbose=0)
    found.fit(X, VALUES)
    assert found.model.layers[0].units == 5


def test_unknown_parameters_are_errors():
    with pytest.raises(ValueError, match="unit is not a legal parameter. Did you mean 'units'"):
        KerasClassifier(classifier, unit=3)
    with pytest.raises(ValueError, match="accuracy"):
        found = KerasClassifier(regressor, verbose=0)
        found.fit(X, (VALUES > 0).astype(int))
        found.score(X, (VALUES > 0).astype(int))


def test_a_fitted_estimator_can_be_pickled():
    found = KerasRegressor(regressor, verbose=0)
    found.fit(X, VALUES)
    copy = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(copy.predict(X), found.predict(X))


def test_grid_search_finds_the_better_parameters_and_keeps_memory():
    selection = pytest.importorskip("sklearn.model_selection")
    K.clear_session()
    np.random.seed(2)
    search = selection.GridSearchCV(
        KerasClassifier(classifier, batch_size=10, verbose=0),
        {"epochs": [1, 40], "units": [8, 12]}, cv=2, error_score="raise")
    search.fit(X, LABELS)
    assert search.best_params_["epochs"] == 40
    assert search.best_score_ > 0.8
    assert search.predict(X).shape == (90,)
    del search
    gc.collect()
    models = [o for o in gc.get_objects() if isinstance(o, Sequential)]
    assert not models


def test_cross_validation_and_pipeline():
    selection = pytest.importorskip("sklearn.model_selection")
    from sklearn.base import clone, is_classifier, is_regressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    found = KerasRegressor(regressor, epochs=3, verbose=0)
    assert is_regressor(found) and is_classifier(KerasClassifier(classifier))
    assert clone(found).get_params() == found.get_params()
    scores = selection.cross_val_score(make_pipeline(StandardScaler(), found), X, VALUES, cv=3,
                                       error_score="raise")
    assert scores.shape == (3,) and np.all(scores < 0)
