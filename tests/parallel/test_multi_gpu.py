"""multi_gpu_model: the signature and errors of Keras, the weights of the template."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers, models, optimizers, utils
from gpukeras.callbacks import ModelCheckpoint
from gpukeras.layers import Input
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
