"""multi_gpu_model: the signature and errors of Keras, the weights of the template."""
import os
import sys
import types

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers, models, optimizers, utils
from gpukeras.callbacks import ModelCheckpoint
from gpukeras.layers import Input
from gpukeras.parallel.multi_gpu import devices_there
from gpukeras.utils import multi_gpu_model


@pytest.fixture(autouse=True)
def three(monkeypatch):
    monkeypatch.setenv("GPUKERAS_VIRTUAL_DEVICES", "3")


def unet():
    """A small U-Net: down, up, a skip connection, batch norm and dropout."""
    x = Input((8, 8, 1))
    down = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    deep = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(
        layers.MaxPooling2D(2)(down)))
    up = layers.concatenate([layers.UpSampling2D(2)(layers.Dropout(0.2)(deep)), down])
    return models.Model(x, layers.Conv2D(1, 1, activation="sigmoid")(up))


def data(rows=26):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 8, 8, 1)).astype("f4")
    return x, (x > 0.3).astype("f4")


@pytest.mark.parametrize("gpus", [None, 2, 3, [0, 2]])
def test_training_gives_the_weights_of_the_plain_model(gpus):
    results = []
    for parallel in (False, True):
        K.clear_session()
        np.random.seed(1)
        template = unet()
        model = multi_gpu_model(template, gpus) if parallel else template
        model.compile(optimizers.Adam(0.01), "binary_crossentropy")
        history = model.fit(*data(), batch_size=4 * 3, epochs=2, shuffle=False, verbose=0)
        results.append([*template.get_weights(), history.history["loss"], model.predict(data()[0])])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_files_summary_and_weights_are_the_templates(tmp_path, capsys):
    template = unet()
    model = multi_gpu_model(template, gpus=3)
    model.compile("adam", "mse")
    checkpoint = ModelCheckpoint(str(tmp_path / "checkpoint.h5"))
    model.fit(*data(9), batch_size=9, verbose=0, callbacks=[checkpoint])
    model.save_weights(str(tmp_path / "weights.h5"))
    model.save(str(tmp_path / "model.h5"))
    plain = unet()
    plain.load_weights(str(tmp_path / "weights.h5"))
    for loaded in (plain, models.load_model(str(tmp_path / "model.h5")),
                   models.load_model(str(tmp_path / "checkpoint.h5"))):
        assert type(loaded) is models.Model
        for a, b in zip(loaded.get_weights(), template.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(loaded.optimizer.get_weights()) == len(model.optimizer.get_weights()) > 1
    model.summary()
    words = capsys.readouterr().out
    template.summary()
    assert capsys.readouterr().out == words


def test_several_inputs_and_outputs_keep_their_names():
    a, b = Input((3,), name="left"), Input((2,), name="right")
    both = layers.concatenate([a, b])
    template = models.Model([a, b], [layers.Dense(1, name="sum")(both),
                                     layers.Dense(2, name="pair")(both)])
    model = multi_gpu_model(template, 2)
    assert model.output_names == ["sum", "pair"]
    model.compile("sgd", {"sum": "mse", "pair": "mae"})
    x = {"left": np.ones((5, 3)), "right": np.ones((5, 2))}
    history = model.fit(x, {"sum": np.ones((5, 1)), "pair": np.ones((5, 2))}, verbose=0)
    assert {"sum_loss", "pair_loss"} <= set(history.history)
    assert [y.shape for y in model.predict(x)] == [(5, 1), (5, 2)]


def test_it_is_found_under_all_its_names():
    from gpukeras.utils.training_utils import multi_gpu_model as old

    assert utils.multi_gpu_utils.multi_gpu_model is old is multi_gpu_model


@pytest.mark.parametrize("gpus, words", [
    (1, "`gpus >= 2`. Received: `gpus=1`"), ([0], r"`len\(gpus\) >= 2`. Received: `gpus=\[0\]`"),
    (4, "available: .*/gpu:3.* only has: .*/gpu:2.*Try reducing `gpus`"),
    ([0, 7], "GPUKERAS_VIRTUAL_DEVICES=8")])
def test_too_few_devices_are_kerass_errors(gpus, words):
    with pytest.raises(ValueError, match=words):
        multi_gpu_model(models.Sequential([layers.Dense(1, input_shape=(1,))]), gpus)


def test_without_gpus_and_virtual_devices_it_says_what_is_there(monkeypatch):
    monkeypatch.delenv("GPUKERAS_VIRTUAL_DEVICES")
    monkeypatch.setenv("GPUKERAS_DEVICE", "cpu")
    with pytest.raises(ValueError, match=r"only has: \['/cpu:0'\]"):
        multi_gpu_model(models.Sequential([layers.Dense(1, input_shape=(1,))]), 2)
    with pytest.raises(ValueError, match="`gpus=0`"):
        multi_gpu_model(models.Sequential([layers.Dense(1, input_shape=(1,))]))


def test_the_devices_are_those_of_cuda_visible_devices(monkeypatch):
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: len(os.environ["CUDA_VISIBLE_DEVICES"].split(",")))
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(
        cuda=types.SimpleNamespace(runtime=runtime)))
    monkeypatch.delenv("GPUKERAS_VIRTUAL_DEVICES")
    monkeypatch.setenv("GPUKERAS_DEVICE", "gpu")
    for text, count in (("3", 1), ("/gpu:2,/gpu:0", 2), ("0,1,-1,2", 2), ("", 0)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
        assert devices_there() == [f"/gpu:{i}" for i in range(count)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    model = multi_gpu_model(models.Sequential([layers.Dense(1, input_shape=(1,))]))
    assert list(model._compile_step.keywords["numbers"]) == [0, 1]


# ------------------------------------------------------------------ every way to feed a model

class Batches(utils.Sequence):
    """Batches of 7, 8, 9 and 10 rows."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        x = np.random.default_rng(i).normal(size=(7 + i, 5))
        return x, (x[:, :1] > 0).astype("f4")


def parallel(template, count):
    return multi_gpu_model(template, count) if count > 1 else template


def generators(count):
    template = models.Sequential([layers.Dense(4, activation="relu", input_shape=(5,)),
                                  layers.BatchNormalization(),
                                  layers.Dense(1, activation="sigmoid")])
    model = parallel(template, count)
    model.compile(optimizers.SGD(0.1), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit_generator(Batches(), epochs=2, verbose=0, shuffle=False,
                                  validation_data=Batches(), validation_steps=4)
    return [*template.get_weights(), *history.history.values(),
            model.evaluate_generator(Batches()), model.predict_generator(Batches()),
            model.train_on_batch(*Batches()[0]), model.test_on_batch(*Batches()[1]),
            model.predict_on_batch(Batches()[2][0])]


def several_inputs_and_outputs(count):
    a, b = Input((3,)), Input((2,))
    inner = models.Sequential([layers.Dense(4, activation="tanh", input_shape=(5,)),
                               layers.Dropout(0.2)])
    h = inner(layers.concatenate([a, b]))
    template = models.Model([a, b], [layers.Dense(1, name="p")(h),
                                     layers.Dense(3, activation="softmax", name="q")(h)])
    model = parallel(template, count)
    model.compile(optimizers.SGD(0.1, clipnorm=0.5), ["mse", "categorical_crossentropy"],
                  metrics={"q": ["accuracy"]}, loss_weights=[1.0, 0.5])
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(11, 3)), rng.normal(size=(11, 2))]
    y = [rng.normal(size=(11, 1)), np.eye(3)[rng.integers(0, 3, 11)]]
    history = model.fit(x, y, epochs=3, batch_size=4, verbose=0)
    return [*template.get_weights(), *history.history.values(), *model.predict(x),
            model.evaluate(x, y, verbose=0)]


def steps_with_weights(count):
    template = models.Sequential([
        layers.Masking(input_shape=(6, 3)), layers.GRU(4, return_sequences=True),
        layers.TimeDistributed(layers.Dense(2, activation="softmax"))])
    model = parallel(template, count)
    model.compile(optimizers.SGD(0.2), "categorical_crossentropy", metrics=["accuracy"],
                  weighted_metrics=["mse"], sample_weight_mode="temporal")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 6, 3)), np.eye(2)[rng.integers(0, 2, (10, 6))]
    x[3:, 4:] = 0
    history = model.fit(x, y, sample_weight=rng.random((10, 6)), epochs=3, batch_size=4, verbose=0)
    return [*template.get_weights(), *history.history.values()]


def states_that_stay(count):
    template = models.Sequential([layers.LSTM(4, stateful=True, batch_input_shape=(6, 5, 3)),
                                  layers.Dense(2)])
    model = parallel(template, count)
    model.compile(optimizers.SGD(0.1), "mse")
    x = np.random.default_rng(0).normal(size=(12, 5, 3))
    model.fit(x, np.ones((12, 2)), batch_size=6, epochs=2, verbose=0, shuffle=False)
    template.reset_states()
    return [*template.get_weights(), model.predict(x, batch_size=6)]


def losses_of_the_template_itself(count):
    """A variational autoencoder, and a penalty on the gradient by the input."""
    x = Input((6,))
    mean, log_var = layers.Dense(2)(x), layers.Dense(2)(x)
    z = layers.Lambda(lambda t: t[0] + K.exp(t[1] / 2) * K.random_normal(K.shape(t[0])))(
        [mean, log_var])
    out = layers.Dense(6, activation="tanh")(z)
    template = models.Model(x, out)
    template.add_loss(K.mean(K.exp(log_var) + K.square(mean) - log_var - 1) / 2)
    by_x, = K.gradients(K.sum(out), [x])
    template.add_loss(K.mean(K.square(by_x)))
    template.add_metric(K.mean(K.abs(mean)), name="size")
    model = parallel(template, count)
    model.compile(optimizers.SGD(0.1), "mse", metrics=["mae"])
    data = np.random.default_rng(0).normal(size=(22, 6))
    history = model.fit(data, data, batch_size=8, epochs=2, verbose=0, shuffle=False).history
    assert set(history) == {"loss", "mae", "size"}
    return [*template.get_weights(), *history.values()]


@pytest.mark.parametrize("program", [losses_of_the_template_itself, generators,
                                     several_inputs_and_outputs, steps_with_weights,
                                     states_that_stay])
def test_what_three_devices_do_is_what_one_does(program):
    results = []
    for count in (1, 3):
        K.clear_session()
        np.random.seed(1)
        results.append(program(count))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
