"""Activations, losses, metrics, initializers, regularizers, constraints against Keras 2.3.1."""
import inspect

import numpy as np
import pytest

from gpukeras import (activations, backend as K, constraints, initializers, losses, metrics,
                      optimizers, regularizers)

from tests.golden import reader

PIECES = reader.cases("pieces")
MODULES = {"activations": activations, "constraints": constraints, "initializers": initializers,
           "losses": losses, "metrics": metrics, "optimizers": optimizers,
           "regularizers": regularizers}


def of(kind):
    cases = [c for name, c in PIECES.items() if name.startswith(kind + "/")]
    return pytest.mark.parametrize("case", cases, ids=lambda c: c.name.split("/")[1])


def close(got, wanted, rtol=2e-6, atol=1e-6):
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol)


@of("activation")
def test_activation_and_gradient(case):
    function = getattr(activations, case.facts["function"])
    x = K.placeholder(shape=(None,) + case["x"].shape[1:])
    y = function(x * 1.0, **case.facts["arguments"])
    close(K.function([x], [y])([case["x"]])[0], case["y"])
    if "gx" in case:
        gradient, = K.gradients(K.sum(y * K.sin(x * 3.0)), [x])
        close(K.function([x], [gradient])([case["x"]])[0], case["gx"], rtol=1e-5, atol=2e-5)


@of("loss")
def test_loss_and_gradient(case):
    function = getattr(losses, case.facts["function"])
    t, p = K.placeholder(shape=case["y_true"].shape), K.placeholder(shape=case["y_pred"].shape)
    value = function(t, p, **case.facts["arguments"])
    gradient, = K.gradients(K.sum(value), [p])
    got = K.function([t, p], [value, gradient])([case["y_true"], case["y_pred"]])
    # Where p is 1, TensorFlow's graph optimiser turns 1 - p + epsilon into (1 + epsilon) - p, which
    # rounds in another way.
    rounding = 6e-3 if "binary" in case.name and case["y_pred"].max() == 1 else 2e-5
    close(got[0], case["value"], rtol=rounding)
    close(got[1], case["gp"], rtol=rounding * 20, atol=1e-5)


@of("loss_behind")
def test_crossentropy_behind_its_activation_is_stable(case):
    x = K.placeholder(shape=(None, 3))
    t = K.placeholder(shape=(None, case["y_true"].shape[1]))
    y = getattr(activations, case.facts["activation"])(x)
    value = getattr(losses, case.facts["function"])(t, y)
    gradient, = K.gradients(K.sum(value), [x])
    got = K.function([x, t], [value, gradient])([case["x"], case["y_true"]])
    close(got[0], case["value"], rtol=1e-5)
    close(got[1], case["gx"], rtol=1e-5)


@of("loss_class")
def test_loss_class_reduces_and_weighs(case):
    loss = losses.deserialize({name: case.facts[name] for name in ("class_name", "config")})
    assert loss.get_config() == case.facts["config"]
    t, p = K.variable(case["y_true"]), K.variable(case["y_pred"])
    close(K.eval(loss(t, p)), case["value"])
    close(K.eval(loss(t, p, sample_weight=K.variable(case["weight"]))), case["weighted"])


@of("metric")
def test_metric_runs_over_batches(case):
    metric = getattr(metrics, case.facts["class_name"])()
    assert metric.get_config() == case.facts["config"]
    function = getattr(metrics, case.facts["function"])
    for y_true, y_pred, value, running in zip(
            case.list("y_true"), case.list("y_pred"), case.list("value") or [None] * 9,
            case.facts["running"]):
        t, p = K.variable(y_true), K.variable(y_pred)
        if value is not None:
            close(K.eval(function(t, p)), value)
        del metric.updates[:]
        result = metric(t, p)
        close(K.function([], [result], metric.updates)([])[0], running)
        close(K.eval(metric.result()), running)
    metric.reset_states()
    assert [w.tolist() for w in metric.get_weights()] == [0.0, 0.0]


@of("regularizer")
def test_regularizer(case):
    regularizer = regularizers.get({"class_name": case.facts["class_name"],
                                    "config": case.facts["config"]})
    assert regularizer.get_config() == case.facts["config"]
    close(K.eval(regularizer(K.variable(case["w"]))), case.facts["value"])


@of("constraint")
def test_constraint(case):
    constraint = constraints.get({"class_name": case.facts["class_name"],
                                  "config": case.facts["config"]})
    assert constraint.get_config() == case.facts["config"]
    close(K.eval(constraint(K.variable(case["w"]))), case["after"])


@of("initializer")
def test_initializer_without_chance(case):
    initializer = initializers.get({"class_name": case.facts["class_name"],
                                    "config": dict(case.facts["config"])})
    value, wanted = K.get_value(K.variable(initializer(tuple(case.facts["shape"])))), case["value"]
    if case.facts["class_name"] == "Orthogonal":             # LAPACK leaves the signs open
        rows = value.reshape(-1, value.shape[-1])
        inner = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
        close(inner, case.facts["config"]["gain"] ** 2 * np.eye(len(inner)))
        value, wanted = abs(value), abs(wanted)
    close(value, wanted)


@of("statistics")
def test_initializer_statistics(case):
    """Mean, deviation and range of one sample each of ours and of Keras, within sampling error."""
    np.random.seed(12)
    facts = case.facts
    initializer = initializers.get({"class_name": facts["class_name"], "config": facts["config"]})
    assert initializer.get_config() == facts["config"]
    value = K.get_value(K.variable(initializer(tuple(facts["shape"]))))
    assert value.shape == tuple(facts["shape"]) and value.dtype == np.float32
    error = facts["std"] / np.sqrt(value.size)
    assert abs(value.mean() - facts["mean"]) < 6 * error
    assert abs(value.std() - facts["std"]) < 6 * error
    if facts["class_name"] != "RandomNormal":                # the others have sharp ends
        assert abs(value.min() - facts["min"]) < 0.1 * facts["std"]
        assert abs(value.max() - facts["max"]) < 0.1 * facts["std"]


def test_seeds_make_weights_repeatable():
    def weights(initializer):
        return K.get_value(K.variable(initializer((5, 6))))

    np.random.seed(3)
    first, second = weights(initializers.glorot_uniform()), weights(initializers.glorot_uniform())
    assert not np.array_equal(first, second)
    np.random.seed(3)
    assert np.array_equal(first, weights(initializers.glorot_uniform()))
    seeded = initializers.he_normal(seed=5)
    a, b = weights(seeded), weights(seeded)
    assert not np.array_equal(a, b)
    assert np.array_equal(b, weights(initializers.he_normal(seed=6)))


@of("identifiers")
def test_identifiers(case):
    module = MODULES[case.name.split("/")[1]]
    for name, wanted in case.facts.items():
        found = module.get(name)
        if inspect.isfunction(found):
            assert found.__name__ == wanted, name
        else:
            assert [type(found).__name__, found.get_config()] == wanted, name
            again = module.deserialize(module.serialize(found))
            assert again.get_config() == found.get_config()


@pytest.mark.parametrize("module, wrong, near", [
    ("activations", "relU", "relu"), ("losses", "mean_sqared_error", "mean_squared_error"),
    ("metrics", "acuracy", "accuracy"), ("optimizers", "adamm", "adam"),
    ("initializers", "glorot_unifrom", "glorot_uniform"), ("regularizers", "l1l3", "l1_l2"),
    ("constraints", "maxnrm", "maxnorm")])
def test_unknown_names_name_the_nearest(module, wrong, near):
    with pytest.raises(ValueError, match=wrong) as error:
        MODULES[module].get(wrong)
    assert near in str(error.value)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_is_no_identifier_is_refused(module):
    with pytest.raises(ValueError, match="Could not interpret"):
        MODULES[module].get(3.5)
