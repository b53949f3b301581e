"""Every layer: the checks of check_layer.py, and outputs and gradients of Keras 2.3.1."""
import json

import numpy as np
import pytest
from cases import CASES, ELSEWHERE
from check_layer import check_layer

from golden import reader
from gpukeras import backend as K
from gpukeras import layers as L

GOLDEN = reader.cases("layers")
MORE = reader.cases("more_layers")


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_layer(case):
    check_layer(case)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_layer_in_half_precision(case):
    K.set_floatx("float16")
    try:
        layer = case.new()
        given, y = case.apply(layer)
        weights = layer.trainable_weights
        run = K.function([*given, K.learning_phase()], [y, *K.gradients(K.sum(y), weights)])
        for phase in (0, 1):
            for value in run([*case.inputs(), phase]):
                assert value.dtype == "float16" and np.isfinite(value).all()
    finally:
        K.set_floatx("float32")


def test_every_layer_has_a_row():
    known = {value for value in vars(L).values()
             if isinstance(value, type) and issubclass(value, L.Layer)}
    assert not {cls.__name__ for cls in known - {case.make for case in CASES}} - ELSEWHERE


def built(case):
    """The case's layer with its weights, its input and its output, in a fresh session."""
    K.clear_session()
    layer = L.deserialize({"class_name": case.facts["class_name"], "config": case.facts["config"]})
    x = L.Input(tuple(case.facts["input_shape"]))
    y = layer(x)
    layer.set_weights(case.list("w"))
    return layer, x, y


@pytest.mark.parametrize("case", GOLDEN.values(), ids=list(GOLDEN))
def test_golden_config_shape_and_weights(case):
    layer, x, y = built(case)
    assert json.loads(json.dumps(layer.get_config())) == case.facts["config"]
    assert K.int_shape(y)[1:] == tuple(case.facts["output_shape"])
    assert [[w.name.split(":")[0], list(w.shape)] for w in layer.weights] == case.facts["weights"]
    assert len(layer.trainable_weights) == case.facts["trainable"]
    for got, want in zip(layer.get_weights(), case.list("w"), strict=True):
        np.testing.assert_array_equal(got, want)


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("case", [c for c in GOLDEN.values() if c.facts["deterministic"]], ids=repr)
def test_golden_output_and_gradients(case, device):
    layer, x, y = built(case)
    gradients = K.gradients(K.sum(y * K.constant(case["r"])), [x, *layer.trainable_weights])
    run = K.function([x, K.learning_phase()], [y, *gradients])
    for got, want in zip(run([case["x"], 0]), [case["y"], case["gx"], *case.list("gw")],
                         strict=True):
        close(got, want)


@pytest.mark.parametrize("case", [c for c in GOLDEN.values() if "y_train" in c], ids=repr)
def test_golden_training_phase(case, device):
    layer, x, y = built(case)
    gradients = K.gradients(K.sum(y * K.constant(case["r"])), [x, *layer.trainable_weights])
    run = K.function([x, K.learning_phase()], [y, *gradients], updates=layer.updates)
    for got, want in zip(run([case["x"], 1]),
                         [case["y_train"], case["gx_train"], *case.list("gw_train")], strict=True):
        close(got, want)
    for got, want in zip(layer.get_weights(), case.list("after"), strict=True):
        close(got, want)


@pytest.mark.parametrize("case", MORE.values(), ids=list(MORE))
def test_golden_layers_of_any_number_of_inputs(case, device):
    K.clear_session()
    facts = case.facts
    layer = L.deserialize({"class_name": facts["class_name"], "config": facts["config"]})
    ins = [L.Input(tuple(shape)) for shape in facts["input_shapes"]]
    y = layer(ins if len(ins) > 1 else ins[0])
    layer.set_weights(case.list("w"))
    assert json.loads(json.dumps(layer.get_config())) == facts["config"]
    assert K.int_shape(y)[1:] == tuple(facts["output_shape"])
    assert [[w.name.split(":")[0], list(w.shape)] for w in layer.weights] == facts["weights"]
    gx, gw = case.list("gx"), case.list("gw")
    wrt = ins[:len(gx)] + layer.trainable_weights
    loss = K.sum(y * K.constant(case["r"]))
    found = K.function([*ins, K.learning_phase()], [y, *(K.gradients(loss, wrt) if wrt else [])])(
        [*case.list("x"), 0])
    for got, want in zip(found, [case["y"], *gx, *gw], strict=True):
        close(got, want)
    assert ("mask" in case) == (layer.output_mask is not None)
    if "mask" in case:
        mask, = K.function(ins, [layer.output_mask])(case.list("x"))
        np.testing.assert_array_equal(mask, case["mask"])


def test_alpha_dropout_keeps_mean_and_variance():
    x = L.Input((50,))
    data = np.random.default_rng(0).normal(size=(4000, 50)).astype("float32")
    y, = K.function([x, K.learning_phase()], [L.AlphaDropout(0.3)(x)])([data, 1])
    assert abs(y.mean()) < 0.02 and abs(y.std() - 1) < 0.02


def test_golden_losses_of_a_layer():
    case = GOLDEN["dense_all_arguments"]
    layer, x, _ = built(case)
    assert len(layer.losses) == 3 and len(layer.get_losses_for(x)) == 1
    weights_only = sum(float(K.eval(loss)) for loss in layer.get_losses_for(None))
    kernel, bias = case.list("w")
    config = case.facts["config"]
    l1, l2 = (config["kernel_regularizer"]["config"][name] for name in ("l1", "l2"))
    expected = (l1 * np.abs(kernel).sum() + l2 * np.square(kernel).sum()
                + config["bias_regularizer"]["config"]["l2"] * np.square(bias).sum())
    np.testing.assert_allclose(weights_only, expected, rtol=1e-5)
    output_loss, = K.function([x], layer.get_losses_for(x))([case["x"]])
    l1 = config["activity_regularizer"]["config"]["l1"]
    np.testing.assert_allclose(output_loss, l1 * np.abs(case["y"]).sum(), rtol=1e-5)


@pytest.mark.parametrize("case", [c for c in CASES if c.random], ids=repr)
def test_random_layers_keep_the_mean_and_act_in_training_only(case):
    layer = case.new()
    given, y = case.apply(layer)
    run = K.function([*given, K.learning_phase()], [y])
    ones = [np.ones((400, *shape[1:]), "float32") for shape in case.shapes]
    np.testing.assert_array_equal(run([*ones, 0])[0], ones[0])
    trained, = run([*ones, 1])
    assert trained.std() > 0.1
    np.testing.assert_allclose(trained.mean(), 1, atol=0.1)


def test_spatial_dropout_drops_whole_channels():
    x = L.Input((5, 6, 7))
    y = L.SpatialDropout2D(0.5)(x)
    value, = K.function([x, K.learning_phase()], [y])([np.ones((20, 5, 6, 7)), 1])
    per_channel = value.reshape(20, 30, 7)
    assert (per_channel == per_channel[:, :1]).all() and set(np.unique(value)) == {0.0, 2.0}
