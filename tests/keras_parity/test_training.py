"""Fifty steps of training against Keras 2.3.1: same weights, same batches, same results."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import models, optimizers
from tests.golden import reader

CASES = reader.cases("training")
RUNS = [name for name in CASES if not name.startswith("weighted/")]
WEIGHTED = [name for name in CASES if name.startswith("weighted/")]


def close(got, expected, tolerance=1e-4):
    """Each array within `tolerance` of its largest value."""
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * (np.abs(b).max() + 1e-12))


def restored(case, optimizer):
    facts = case.facts
    model = getattr(models, facts["class_name"]).from_config(facts["model"])
    model.set_weights(case.list("before"))
    model.compile(optimizer=optimizer, **facts["compile"])
    return model


@pytest.mark.parametrize("name", RUNS)
def test_fifty_steps_end_at_the_weights_of_keras(name):
    K.clear_session()
    case = CASES[name]
    model = restored(case, optimizers.deserialize(case.facts["optimizer"]))
    assert model.metrics_names == case.facts["metrics_names"]
    x, ys = case["x"], case.list("y")
    logs = []
    for step in range(case.facts["steps"]):
        rows = np.arange(step * case.facts["batch"], (step + 1) * case.facts["batch"]) % len(x)
        logs.append(np.atleast_1d(model.train_on_batch(x[rows], [y[rows] for y in ys])))
    np.testing.assert_allclose(np.array(logs)[:, 0], case["logs"][:, 0], rtol=1e-4)
    np.testing.assert_allclose(logs, case["logs"], rtol=1e-4, atol=1e-4)
    close(model.get_weights(), case.list("after"))
    close(model.optimizer.get_weights(), case.list("state"), 3e-4)


@pytest.mark.parametrize("name", WEIGHTED)
def test_sample_and_class_weights_train_as_in_keras(name):
    K.clear_session()
    case = CASES[name]
    model = models.Sequential.from_config(case.facts["model"])
    model.set_weights(case.list("before"))
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"],
                  weighted_metrics=["accuracy", "mse"])
    weights = {"sample_weight": case["weight"] if "weight" in case else None}
    if case.facts["class_weight"]:
        weights["class_weight"] = {int(c): w for c, w in case.facts["class_weight"].items()}
    logs = model.train_on_batch(case["x"], case["y0"], **weights)
    assert model.metrics_names == case.facts["metrics_names"]
    np.testing.assert_allclose(logs, case["logs"], rtol=1e-5)
    close(model.get_weights(), case.list("after"), 1e-6)


def test_weighted_and_plain_steps_share_the_state_of_the_optimizer():
    K.clear_session()
    case = CASES["mlp_sgd_momentum"]
    x, y = case["x"], case["y0"]
    results = []
    for weight in (None, np.ones(len(x))):
        model = restored(case, optimizers.deserialize(case.facts["optimizer"]))
        model.train_on_batch(x, y)
        model.train_on_batch(x, y, sample_weight=weight)
        model.train_on_batch(x, y)
        results.append(model.get_weights())
        state = model.optimizer.get_weights()
        assert state[0] == 3
    close(*results, 1e-6)
