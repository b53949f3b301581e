"""Training in 16 bits: the loss scale, accuracy, files; on the host and the emulated device."""
import json

import h5py
import numpy as np
import pytest
from counting import counting, kinds, training_step

from gpukeras import backend as K
from gpukeras import config, devices, layers, mixed_precision, optimizers
from gpukeras.datasets import digits
from gpukeras.devices.choose import Choice
from gpukeras.mixed_precision import LossScaleOptimizer, experimental
from gpukeras.models import Model, Sequential, clone_model, load_model, model_from_json
from gpukeras.utils import multi_gpu_model

POLICIES = ["mixed_float16", "mixed_bfloat16"]
ERROR = {"mixed_float16": 2.0 ** -11, "mixed_bfloat16": 2.0 ** -8}


@pytest.fixture(autouse=True)
def no_policy_afterwards():
    yield
    mixed_precision.set_global_policy(None)


def line(optimizer, first=1.0):
    """y = w * x in float16, and nothing else."""
    mixed_precision.set_global_policy("mixed_float16")
    model = Sequential([layers.Dense(1, use_bias=False, input_shape=(1,))])
    model.compile(optimizer, "mse")
    model.set_weights([np.array([[first]])])
    return model


def state(model):
    """Weights, and the state of the optimizer without that of the scale."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return model.get_weights() + optimizer.get_weights()


def step(model, x=0.5, y=0.0):
    return model.train_on_batch(np.full((4, 1), x, "f4"), np.full((4, 1), y, "f4"))


def test_an_overflow_skips_the_step_and_halves_the_scale(device):
    model = line(optimizers.Adam(0.1))
    assert isinstance(model.optimizer, LossScaleOptimizer)
    step(model)
    before, scale = state(model), model.optimizer.loss_scale
    assert scale == 2.0 ** 15 and model.optimizer.dynamic_counter == 1
    for i in range(1, 4):
        step(model, x=300.0)                       # 2 * 300 * 300 * 2^12 is beyond 65504
        assert model.optimizer.loss_scale == scale / 2 ** i
        assert model.optimizer.dynamic_counter == 0
        for a, b in zip(state(model), before, strict=True):
            np.testing.assert_array_equal(a, b)
    step(model)
    assert not np.array_equal(state(model)[0], before[0])
    assert int(K.get_value(model.optimizer.iterations)) == 2


def test_an_overflow_leaves_moving_averages_too(device):
    mixed_precision.set_global_policy("mixed_float16")
    model = Sequential([layers.Dense(2, input_shape=(1,)), layers.BatchNormalization()])
    model.compile("sgd", "mse")
    x = np.float32([[1], [2], [4], [8]])
    model.train_on_batch(x, x[:, [0, 0]])
    before = state(model)
    model.train_on_batch(x * 1e6, x[:, [0, 0]])    # infinite in float16
    assert model.optimizer.loss_scale < 2.0 ** 15
    for a, b in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_scale_falls_until_a_step_fits(device):
    model = line(optimizers.SGD(1e-6))
    for _ in range(40):
        step(model, x=30.0)                        # 2 * 30 * 30 * 32 is not
    scale, weight = model.optimizer.loss_scale, model.get_weights()[0]
    assert scale == 32 and model.optimizer.dynamic_counter == 30
    assert weight < 1 and np.isfinite(weight)


def test_not_a_number_is_an_overflow_too(device):
    model = line(optimizers.SGD(0.1, momentum=0.9))
    step(model)
    before = state(model)
    step(model, y=np.nan)
    assert model.optimizer.loss_scale == 2.0 ** 14
    for a, b in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_scale_doubles_after_good_steps(device):
    model = line(LossScaleOptimizer(optimizers.SGD(0.01), initial_scale=8,
                                    dynamic_growth_steps=3))
    scales = []
    for _ in range(7):
        step(model)
        scales.append((model.optimizer.loss_scale, model.optimizer.dynamic_counter))
    assert scales == [(8, 1), (8, 2), (16, 0), (16, 1), (16, 2), (32, 0), (32, 1)]


def test_the_state_of_the_optimizer_ends_with_that_of_the_scale():
    model = line(optimizers.SGD(0.01, momentum=0.9))
    assert model.optimizer.weights == []
    step(model, x=300.0)
    step(model)
    *inner, scale, good_steps = model.optimizer.get_weights()
    assert (scale, good_steps) == (2.0 ** 14, 1) and len(inner) == 2
    other = line(optimizers.SGD(0.01, momentum=0.9))
    step(other)
    other.optimizer.set_weights([*inner, np.float32(512), 7])
    assert (other.optimizer.loss_scale, other.optimizer.dynamic_counter) == (512, 7)
    np.testing.assert_array_equal(state(other)[2], inner[1])


def test_a_fixed_scale_stays(device):
    model = line(LossScaleOptimizer(optimizers.SGD(0.01), dynamic=False, initial_scale=1024))
    step(model)
    before = state(model)
    step(model, x=300.0)
    assert model.optimizer.loss_scale == 1024
    np.testing.assert_array_equal(state(model)[0], before[0])


def test_the_scale_saves_gradients_that_float16_cannot_hold(device):
    """d/dw of (w x)^2 * 1e-5 with x = 1e-3 passes 1e-8 on its way, which is 0 in float16."""
    weights = {}
    for scale in (1.0, 2.0 ** 15):
        model = line(LossScaleOptimizer(optimizers.SGD(1e8), dynamic=False, initial_scale=scale))
        model.compile(model.optimizer, lambda t, p: K.mean(K.square(p - t)) * 1e-5)
        step(model, x=1e-3)
        weights[scale] = float(model.get_weights()[0].sum())
    assert weights[1.0] == 1
    np.testing.assert_allclose(weights[2.0 ** 15], 1 - 1e8 * 2e-11, rtol=1e-5)


def test_gradients_are_clipped_after_they_are_unscaled(device):
    model = line(LossScaleOptimizer(optimizers.SGD(1.0, clipvalue=0.125)))
    step(model, x=0.5)                             # gradient 0.5
    np.testing.assert_allclose(model.get_weights()[0], 0.875)


def test_the_optimizer_reads_as_the_one_inside():
    optimizer = LossScaleOptimizer(optimizers.Adam(0.25))
    assert float(K.get_value(optimizer.lr)) == 0.25
    optimizer.lr = 0.5
    K.set_value(optimizer.inner_optimizer.beta_1, 0.5)
    assert float(K.get_value(optimizer.inner_optimizer.learning_rate)) == 0.5
    assert float(K.get_value(optimizer.beta_1)) == 0.5
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert again.get_config() == optimizer.get_config()
    assert isinstance(again.inner_optimizer, optimizers.Adam) and again.dynamic
    with pytest.raises(TypeError, match="cannot itself be"):
        LossScaleOptimizer(optimizer)
    with pytest.raises(ValueError, match="initial_scale"):
        LossScaleOptimizer("sgd", dynamic=False)


def test_the_older_names():
    fixed = experimental.LossScaleOptimizer("sgd", 128)
    assert (fixed.dynamic, fixed.loss_scale) == (False, 128)
    assert experimental.LossScaleOptimizer(optimizers.SGD(), "dynamic").loss_scale == 2.0 ** 15
    experimental.set_policy("mixed_bfloat16")
    assert experimental.global_policy() == mixed_precision.Policy("mixed_bfloat16")


# ---------------------------------------------------------------- training

(X, Y), (X_TEST, Y_TEST) = [(x.astype("f4") / 16, y) for x, y in digits.load_data()]


def mlp():
    return [layers.Reshape((64,), input_shape=(8, 8)), layers.Dense(48, activation="relu"),
            layers.Dropout(0.1), layers.Dense(10, activation="softmax")]


def wide_mlp():
    return [layers.Dense(400, activation="relu", input_shape=(784,)),
            layers.Dense(10, activation="softmax")]


def cnn():
    return [layers.Reshape((8, 8, 1), input_shape=(8, 8)),
            layers.Conv2D(8, 3, padding="same", use_bias=False), layers.BatchNormalization(),
            layers.Activation("relu"), layers.MaxPooling2D(),
            layers.Conv2D(16, 3, activation="tanh"),
            layers.Flatten(), layers.Dense(10, activation="softmax")]


def lstm():
    return [layers.LSTM(24, input_shape=(8, 8)), layers.Dense(10, activation="softmax")]


def trained(make, policy, epochs, x=X, y=Y, **options):
    mixed_precision.set_global_policy(policy)
    K.clear_session()
    np.random.seed(5)
    model = Sequential(make())
    model.compile(optimizers.Adam(0.004), "sparse_categorical_crossentropy", metrics=["acc"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0, **options)
    return model


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", [mlp, cnn, lstm])
def test_training_reaches_the_accuracy_of_float32(make, policy):
    _, expected = trained(make, None, 6).evaluate(X_TEST, Y_TEST, verbose=0)
    model = trained(make, policy, 6)
    _, accuracy = model.evaluate(X_TEST, Y_TEST, verbose=0)
    assert expected > 0.8 and abs(accuracy - expected) < 0.03
    assert {w.dtype for w in model.weights} == {"float32"}
    if policy == "mixed_float16":
        assert model.optimizer.loss_scale == 2.0 ** 15
    else:
        assert isinstance(model.optimizer, optimizers.Adam)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", [mlp, cnn, lstm])
def test_the_emulated_device_trains_as_the_host(make, policy):
    found = {}
    for name in ("cpu", "emu"):
        before = devices.use(devices.make(Choice(name, "in a test")))
        try:
            model = trained(make, policy, 3, X[:80], Y[:80])
            found[name] = model.get_weights()
        finally:
            devices.use(before)
    for a, b in zip(found["cpu"], found["emu"], strict=True):
        # Adam divides small gradients by their own size: their rounding errors do not shrink
        error = np.linalg.norm(a - b) / np.linalg.norm(a)
        assert error < 20 * ERROR[policy], error


@pytest.mark.parametrize("policy", POLICIES)
def test_training_on_the_device_sends_nothing_back(policy):
    before = devices.use(devices.make(Choice("emu", "in a test")))
    try:
        model = trained(mlp, policy, 1, X[:96], Y[:96])
        counters = devices.current().driver.counters
        counters.reset()
        model.fit(X[:96], Y[:96], batch_size=32, epochs=2, verbose=0)
        assert counters.graph_launches == 6 and counters.launches > 0
        # what a training epoch reads is its logs: nothing a step reads
        assert counters.downloads <= 4
    finally:
        devices.use(before)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_step_is_what_numpy_says(policy, device, monkeypatch):
    monkeypatch.setenv("GPUKERAS_CHECK", "1")
    model = trained(cnn, policy, 1, X[:32], Y[:32])
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_bits_on_any_number_of_devices(policy, monkeypatch):
    monkeypatch.setenv("GPUKERAS_VIRTUAL_DEVICES", "2")
    monkeypatch.setattr(config, "deterministic", "across devices")
    found = []
    for n in (1, 2):
        mixed_precision.set_global_policy(policy)
        K.clear_session()
        np.random.seed(5)
        model = Sequential(cnn())
        model = multi_gpu_model(model, n) if n > 1 else model
        model.compile("adam", "sparse_categorical_crossentropy")
        losses = model.fit(X[:96], Y[:96], batch_size=32, epochs=2, verbose=0,
                           shuffle=False).history["loss"]
        found.append((losses, model.get_weights()))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_inputs_may_be_bfloat16(device):
    x = layers.Input((64,), dtype="bfloat16")
    model = Model(x, layers.Dense(10, dtype="mixed_bfloat16")(x))
    model.compile("sgd", "mse")
    rows = X[:20].reshape(20, 64)
    model.fit(rows, np.eye(10)[Y[:20]], batch_size=8, epochs=2, verbose=0)
    kernel, bias = model.get_weights()
    want = rows.astype("f8") @ kernel + bias
    np.testing.assert_allclose(model.predict(rows), want, atol=0.05 * np.abs(want).max())


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_are_near_those_of_float64(policy, device):
    rng = np.random.default_rng(8)
    found = {}
    for name in ("float64", policy):
        mixed_precision.set_global_policy(None if name == "float64" else name)
        K.set_floatx("float64" if name == "float64" else "float32")
        try:
            K.clear_session()
            x = layers.Input((8, 8, 1))
            y = layers.Conv2D(4, 3, activation="relu")(x)
            y = layers.BatchNormalization()(y)
            y = layers.Dense(5, activation="softmax")(layers.Flatten()(y))
            model = Model(x, y)
            model.compile("sgd", "categorical_crossentropy")
            if not found:
                weights = [rng.normal(size=w.shape) * 0.3 for w in model.get_weights()]
                weights[5] = np.abs(weights[5])
            model.set_weights(weights)
            loss = model.total_loss
            grads = K.gradients(loss, model.trainable_weights)
            run = K.function([x, model.targets[0], model.sample_weights[0], K.learning_phase()],
                             [loss, *grads])
            found[name] = run([X[:16, ..., None], np.eye(5)[Y[:16] % 5], np.ones(16), 1])
        finally:
            K.set_floatx("float32")
    for got, want in zip(found[policy], found["float64"], strict=True):
        if want.shape == (4,) and np.abs(want).max() < 1e-12:
            continue                               # of a bias in front of a normalisation: nothing
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        assert error < 12 * ERROR[policy], (want.shape, error)


# layers, policy: most nodes of a training step
NODES = {("mlp", None): 10, ("mlp", "mixed_bfloat16"): 12, ("mlp", "mixed_float16"): 14,
         ("cnn", "mixed_bfloat16"): 21, ("cnn", "mixed_float16"): 21}


@pytest.mark.parametrize("name, policy", NODES)
def test_a_step_has_few_launches(name, policy):
    """All weights are cast in one launch; the optimizer reads 16-bit gradients as they are."""
    with counting():
        mixed_precision.set_global_policy(policy)
        build = {"mlp": wide_mlp, "cnn": cnn}[name]
        x = np.zeros((32, 784) if name == "mlp" else (32, 8, 8), "f4")
        model = Sequential(build())
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        nodes = kinds(training_step(model, x, np.zeros((32, 10), "f4")))
    assert 0.9 * NODES[name, policy] <= sum(nodes.values()) <= NODES[name, policy], nodes


# ---------------------------------------------------------------- files

def dtypes(config):
    """Every `dtype` in a config."""
    if isinstance(config, dict):
        own = [config["dtype"]] if "dtype" in config else []
        return own + [d for value in config.values() for d in dtypes(value)]
    return [d for item in config for d in dtypes(item)] if isinstance(config, list) else []


@pytest.mark.parametrize("policy", POLICIES)
def test_files_hold_float32_and_words_of_keras(policy, tmp_path):
    model = trained(cnn, policy, 1)
    path = str(tmp_path / "model.h5")
    model.save(path)
    with h5py.File(path, "r") as file:
        kinds = []
        file.visititems(lambda name, item: kinds.append(str(item.dtype))
                        if isinstance(item, h5py.Dataset) else None)
        config = json.loads(file.attrs["model_config"])
        training = json.loads(file.attrs["training_config"])
    assert set(kinds) <= {"float32", "int64"}
    assert set(dtypes(config)) == {"float32"}
    assert training["optimizer_config"]["class_name"] == "Adam"

    mixed_precision.set_global_policy(None)
    again = load_model(path)
    assert [layer.dtype_policy.name for layer in again.layers] == [policy] * len(model.layers)
    assert type(again.optimizer) is type(model.optimizer)
    if policy == "mixed_float16":
        assert again.optimizer.loss_scale == model.optimizer.loss_scale
        assert again.optimizer.dynamic_counter == model.optimizer.dynamic_counter > 0
    for m in (model, again):
        np.random.seed(1)
        m.fit(X[:64], Y[:64], batch_size=32, verbose=0, shuffle=False)
    for a, b in zip(state(model), state(again), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("policy", POLICIES)
def test_copies_keep_the_policy(policy):
    mixed_precision.set_global_policy(policy)
    model = Sequential(mlp())
    mixed_precision.set_global_policy(None)
    text = model.to_json()
    assert set(dtypes(json.loads(text))) == {"float32"}
    for copy in (clone_model(model), model_from_json(text), Sequential.from_config(
            model.get_config())):
        assert [layer.dtype_policy.name for layer in copy.layers] == [policy] * 4


def test_a_file_of_tf_keras_with_a_loss_scale(tmp_path):
    """As tf.keras 2.4 to 2.10 writes it: policies as dtype, the optimizer inside another."""
    model = trained(mlp, "mixed_float16", 1)
    path = str(tmp_path / "tf.h5")
    model.save(path)
    with h5py.File(path, "a") as file:
        config = {"class_name": "Sequential", "config": model.get_config()}
        training = json.loads(file.attrs["training_config"])
        inner = training["optimizer_config"]
        inner["config"]["name"] = "Adam"
        training["optimizer_config"] = {"class_name": "LossScaleOptimizer", "config": {
            "inner_optimizer": inner, "dynamic": True, "initial_scale": 64.0,
            "dynamic_growth_steps": 2000}}
        del training["loss_scale"]
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["training_config"] = json.dumps(training)
    mixed_precision.set_global_policy(None)
    again = load_model(path)
    assert again.layers[1].dtype_policy.name == "mixed_float16"
    assert again.optimizer.loss_scale == 64
    for a, b in zip(state(model), state(again), strict=True):
        np.testing.assert_array_equal(a, b)
