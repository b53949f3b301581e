"""The losses that the golden files leave out, against closed formulas; weights and reductions."""
import numpy as np
import pytest

from gpukeras import backend as K, losses
from gpukeras.weighting import Reduction, compute_weighted_loss

RNG = np.random.RandomState(8)
Y, P = RNG.uniform(-2, 2, (6, 5)), RNG.uniform(-2, 2, (6, 5))
ONE_HOT = np.eye(5)[RNG.randint(0, 5, 6)]
POSITIVE, RATES = RNG.uniform(0.01, 1.2, (6, 5)), RNG.uniform(0.1, 3, (6, 5))


def unit(x, axis=-1):
    return x / np.sqrt((x * x).sum(axis, keepdims=True))


def hinge_mean(y, p, power):
    return (np.maximum(1 - y * p, 0) ** power).mean(-1)


TABLE = {
    "mean_absolute_percentage_error": (Y, P, 100 * (abs(Y - P) / abs(Y)).mean(-1)),
    "mean_squared_logarithmic_error": (
        Y, P, ((np.log1p(np.maximum(P, 1e-7)) - np.log1p(np.maximum(Y, 1e-7))) ** 2).mean(-1)),
    "hinge": (np.sign(Y), P, hinge_mean(np.sign(Y), P, 1)),
    "squared_hinge": (Y, P, hinge_mean(Y, P, 2)),
    "categorical_hinge": (ONE_HOT, P, np.maximum(
        0, 1 + ((1 - ONE_HOT) * P).max(-1) - (ONE_HOT * P).sum(-1))),
    "logcosh": (Y, P, np.log(np.cosh(P - Y)).mean(-1)),
    "huber_loss": (Y, P, np.where(abs(P - Y) <= 1, (P - Y) ** 2 / 2, abs(P - Y) - 0.5)),
    "kullback_leibler_divergence": (POSITIVE, RATES, (
        POSITIVE.clip(1e-7, 1) * np.log(POSITIVE.clip(1e-7, 1) / RATES.clip(1e-7, 1))).sum(-1)),
    "poisson": (POSITIVE, RATES, (RATES - POSITIVE * np.log(RATES + 1e-7)).mean(-1)),
    "cosine_proximity": (Y, P, -(unit(Y) * unit(P)).sum(-1))}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_formula(name):
    y, p, wanted = TABLE[name]
    got = K.eval(getattr(losses, name)(K.constant(y), K.constant(p)))
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name, power", [("hinge", 1), ("squared_hinge", 2)])
def test_hinge_takes_zeros_and_ones_for_minus_one_and_one(name, power):
    bits = (Y > 0).astype(float)
    got = K.eval(getattr(losses, name)(K.constant(bits), K.constant(P)))
    np.testing.assert_allclose(got, hinge_mean(2 * bits - 1, P, power), rtol=1e-5, atol=1e-6)
    bits[0, 0] = 0.5                                         # one other value, and all stay
    got = K.eval(getattr(losses, name)(K.constant(bits), K.constant(P)))
    np.testing.assert_allclose(got, hinge_mean(bits, P, power), rtol=1e-5, atol=1e-6)


def test_logcosh_is_finite_far_out():
    got = K.eval(losses.logcosh(K.constant([[0.0]]), K.constant([[300.0]])))
    np.testing.assert_allclose(got, 300 - np.log(2), rtol=1e-6)


def test_arguments():
    huber = K.eval(losses.Huber(delta=0.5, reduction="none")(K.constant(Y), K.constant(P)))
    e = abs(P - Y)
    np.testing.assert_allclose(huber, np.where(e <= 0.5, e * e / 2, 0.5 * (e - 0.25)), rtol=1e-5,
                               atol=1e-7)
    cosine = K.eval(losses.cosine_similarity(K.constant(Y), K.constant(P), axis=0))
    np.testing.assert_allclose(cosine, -(unit(Y, 0) * unit(P, 0)).sum(0), rtol=1e-5, atol=1e-6)


def test_integer_targets_take_the_type_of_the_prediction():
    got = K.eval(losses.mean_squared_error(K.constant([[1, 2]], "int32"), K.constant([[1.5, 2.5]])))
    assert got.tolist() == [0.25]


def test_sparse_targets_need_no_last_axis():
    scores, labels = RNG.normal(size=(2, 3, 4)), RNG.randint(0, 4, (2, 3))
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    wanted = -np.log(np.take_along_axis(p, labels[..., None], -1)[..., 0])
    for target in (labels, labels[..., None]):
        got = K.eval(losses.sparse_categorical_crossentropy(K.constant(target), K.constant(p)))
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    moved = K.eval(losses.sparse_categorical_crossentropy(
        K.constant(labels), K.constant(np.moveaxis(p, -1, 1)), axis=1))
    np.testing.assert_allclose(moved, wanted, rtol=1e-5)


@pytest.mark.parametrize("weight", [
    np.array(0.5), np.arange(6.0), np.arange(6.0)[:, None], RNG.uniform(size=(6, 3)),
    RNG.uniform(size=(6, 3, 1))], ids=lambda w: str(w.shape))
def test_weights_of_every_shape(weight):
    values = RNG.normal(size=(6, 3)) if weight.ndim > 1 else RNG.normal(size=6)
    wide = values * (weight[..., 0] if weight.ndim > values.ndim else weight)
    args = K.constant(values), K.constant(weight)
    for reduction, wanted in (("sum_over_batch_size", wide.mean()), ("sum", wide.sum()),
                              ("none", wide)):
        got = K.eval(compute_weighted_loss(*args, reduction=reduction))
        np.testing.assert_allclose(got, wanted, 1e-5)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(4,\).*\(6,\)"):
        compute_weighted_loss(K.constant(np.ones(6)), K.constant(np.ones(4)))
    with pytest.raises(ValueError, match="Invalid Reduction Key 'mean'"):
        losses.MeanSquaredError(reduction="mean")
    assert Reduction.all() == ("none", "sum", "sum_over_batch_size")


def test_configs_rebuild_the_loss():
    for loss in (losses.Huber(delta=2.0), losses.BinaryCrossentropy(label_smoothing=0.1),
                 losses.KLDivergence(reduction="sum", name="kl"), losses.LogCosh()):
        again = losses.deserialize(losses.serialize(loss))
        assert type(again) is type(loss) and again.get_config() == loss.get_config()
    assert losses.serialize(losses.hinge) == "hinge"


def test_which_losses_are_categorical_crossentropy():
    for yes in (losses.categorical_crossentropy, losses.CategoricalCrossentropy(),
                "categorical_crossentropy"):
        assert losses.is_categorical_crossentropy(yes)
    for no in (losses.binary_crossentropy, losses.MeanSquaredError(), "mse", lambda y, p: p):
        assert not losses.is_categorical_crossentropy(no)
