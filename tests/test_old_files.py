"""Files of other versions: tf.keras, Keras 1, and real old files where they are at hand."""
import json
import pathlib
import sys

import h5py
import numpy as np
import pytest

from gpukeras.layers import GRU, LSTM, Conv1D, Conv2D, Conv2DTranspose, Conv3D, Dense, Flatten
from gpukeras.models import Sequential, load_model
from gpukeras.models.h5_layout import read_names
from gpukeras.models.tf_config import translate
from gpukeras.utils.generic_utils import to_list

sys.path.insert(0, str(pathlib.Path(__file__).parent / "golden"))
import reader  # noqa: E402

OLD = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data" / "legacy_models"
FILES = (json.loads((OLD / "manifest.json").read_text())["files"]
         if (OLD / "manifest.json").exists() else [])


@pytest.mark.parametrize("facts", FILES or [pytest.param(None, marks=pytest.mark.skip(
    reason="the files are not part of the project"))], ids=lambda f: f and f["file"])
@pytest.mark.filterwarnings("error:Error in loading the saved optimizer", "ignore:Update your")
def test_real_files_predict_what_they_did(facts):
    model = load_model(OLD / facts["file"])
    rng = np.random.RandomState(0)
    x = [rng.uniform(0, 1, i["shape"]).astype("float32") for i in facts["inputs"]]
    with np.load(OLD / facts["expected_file"]) as expected:
        np.testing.assert_allclose(model.predict(x), expected["out0"],
                                   atol=facts["outputs"][0]["suggested_atol"])


# ---------------------------------------------------------------- tf.keras

GOLDEN = pathlib.Path(__file__).parent / "golden" / "tf_keras"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.h5")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("error")
def test_files_of_tf_keras_predict_and_train(path):
    model = load_model(path)
    with np.load(path.with_suffix(".npz")) as file:
        x, expected = ([file[key] for key in file.files if key[0] == kind] for kind in "xp")
    found = to_list(model.predict(x))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert int(model.optimizer.get_weights()[0]) == 1                  # the step it was saved after
    model.train_on_batch(x, expected)


def test_slots_of_tf_keras_find_their_weights():
    model = load_model(GOLDEN / "tf2_cnn.h5")
    with h5py.File(GOLDEN / "tf2_cnn.h5") as file:
        stored = file["optimizer_weights"]
        m = [np.asarray(stored[n]) for n in read_names(stored, "weight_names") if "/m/" in n]
        v = [np.asarray(stored[n]) for n in read_names(stored, "weight_names") if "/v/" in n]
    for ours, theirs in zip(model.optimizer.get_weights()[1:], m + v):
        np.testing.assert_array_equal(ours, theirs)


def dense(**config):
    return {"class_name": "Dense", "config": {"name": "d", "units": 2, **config}}


@pytest.mark.parametrize("given, expected", [
    (dense(dtype={"class_name": "Policy", "config": {"name": "float32"}}), dense(dtype="float32")),
    (dense(dtype={"module": "keras", "class_name": "DTypePolicy", "registered_name": None,
                  "config": {"name": "float16"}}), dense(dtype="float16")),
    (dense(kernel_initializer={"class_name": "OrthogonalInitializer", "config": {"gain": 2.}}),
     dense(kernel_initializer={"class_name": "Orthogonal", "config": {"gain": 2.}})),
    (dense(kernel_regularizer={"class_name": "L2", "config": {"l2": .5}}),
     dense(kernel_regularizer={"class_name": "L1L2", "config": {"l1": 0., "l2": .5}})),
    ({"class_name": "InputLayer", "config": {"batch_shape": [None, 3], "name": "i", "ragged":
                                             False, "dtype": "float32", "sparse": False}},
     {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "name": "i",
                                             "dtype": "float32", "sparse": False}}),
    ({"class_name": "Functional", "config": {"layers": []}},
     {"class_name": "Model", "config": {"layers": []}}),
    ({"class_name": "LSTM", "config": {"units": 1, "time_major": False}},
     {"class_name": "LSTM", "config": {"units": 1}}),
    ({"class_name": "BatchNormalizationV1", "config": {"axis": [3], "fused": None}},
     {"class_name": "BatchNormalization", "config": {"axis": 3}})])
def test_words_of_tf_keras_are_translated(given, expected):
    assert translate(given) == expected


def test_settings_that_keras_does_not_know_are_refused():
    conv = {"class_name": "Conv2D", "config": {"name": "c", "groups": 2, "filters": 4}}
    with pytest.raises(ValueError, match=r"layer c \(Conv2D\) has groups=2"):
        translate(conv)
    mine = {"class_name": "Mine", "config": {"groups": 2}}
    assert translate(mine) == mine


def test_configs_of_keras_stay_as_they_are():
    for case in reader.cases("files").values():
        config = {"class_name": case.facts["class_name"], "config": case.facts["config"]}
        assert translate(config) == config


# ---------------------------------------------------------------- Keras 1.2, 2.0, 2.1, 2.2

OLDER = sorted((pathlib.Path(__file__).parent / "golden" / "old_keras").glob("*.h5"))


@pytest.mark.parametrize("path", OLDER, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("error", "ignore:Update your")
def test_older_files_predict_and_go_on_training_as_in_their_keras(path):
    model = load_model(path)
    with np.load(path.with_suffix(".npz")) as file:
        x, y, p, after = (file[key] for key in ("x", "y", "p", "after"))
    np.testing.assert_allclose(model.predict(x), p, rtol=1e-4, atol=1e-5)
    model.train_on_batch(x, y)                     # with the state that the optimizer had
    step = np.abs(after - p).max()
    assert step > 1e-3
    if "_theano_" in path.name:
        np.testing.assert_allclose(model.predict(x), after, rtol=1e-3, atol=2e-5)
    else:                          # TensorFlow 1 leaves the order of reads and updates to chance
        assert np.abs(model.predict(x) - after).max() < step / 4


def test_there_are_files_of_many_versions():
    kinds = {tuple(path.stem.split("_")[:2]) for path in OLDER}
    assert kinds == {("122", "tensorflow"), ("122", "theano"), ("205", "tensorflow"),
                     ("205", "theano"), ("216", "tensorflow"), ("224", "tensorflow")}


# ---------------------------------------------------------------- Keras 1

def keras1_file(path, model, arrays, end=":0"):
    """A weight file of Keras 1 with these arrays for the only layer with weights.

    end: of the names of the weights; that of TensorFlow, or none as Theano had it.
    """
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"layer"]
        group = file.create_group("layer")
        group.attrs["weight_names"] = [f"w{i}{end}".encode() for i in range(len(arrays))]
        for i, array in enumerate(arrays):
            group[f"w{i}{end}"] = array
    model.load_weights(path)
    return model.get_weights()


@pytest.mark.parametrize("layer, stored, gates", [(LSTM, "icfo", "ifco"), (GRU, "zrh", "zrh")])
def test_gates_of_keras_1_are_joined(layer, stored, gates, tmp_path):
    model = Sequential([layer(3, input_shape=(None, 2))])
    part = {gate: [np.full(shape, 10. * i + k) for k, shape in enumerate(((2, 3), (3, 3), (3,)))]
            for i, gate in enumerate(stored)}
    found = keras1_file(tmp_path / "w.h5", model, [a for gate in stored for a in part[gate]])
    for k, array in enumerate(found):
        for i, gate in enumerate(gates):
            np.testing.assert_array_equal(array[..., 3 * i:3 * i + 3], part[gate][k])


@pytest.mark.parametrize("layer, shape, axes", [
    (Conv2D(5, (2, 3), data_format="channels_first", input_shape=(4, 6, 6)), (5, 4, 2, 3),
     (2, 3, 1, 0)),
    (Conv2D(5, (2, 3), input_shape=(6, 6, 4)), (2, 3, 4, 5), (0, 1, 2, 3)),
    (Conv3D(5, 2, data_format="channels_first", input_shape=(4, 6, 6, 6)), (5, 4, 2, 2, 2),
     (2, 3, 4, 1, 0)),
    (Conv2DTranspose(5, (2, 3), input_shape=(6, 6, 4)), (2, 3, 4, 5), (0, 1, 3, 2))])
def test_kernels_of_keras_1_are_turned(layer, shape, axes, tmp_path):
    kernel = np.random.RandomState(0).rand(*shape).astype("float32")
    found = keras1_file(tmp_path / "w.h5", Sequential([layer]), [kernel, np.zeros(5)])
    np.testing.assert_array_equal(found[0], kernel.transpose(axes))
    found = keras1_file(tmp_path / "w.h5", Sequential([layer]), [kernel, np.zeros(5)], end="")
    spatial = tuple(range(kernel.ndim - 2))        # Theano convolves with the kernel reversed
    np.testing.assert_array_equal(found[0], np.flip(kernel.transpose(axes), spatial))


@pytest.mark.parametrize("stored", ["(k, 1, in, filters)", "(filters, in, k, 1)"])
def test_conv1d_of_keras_1_loses_an_axis(stored, tmp_path):
    kernel = np.random.RandomState(0).rand(3, 1, 2, 4).astype("float32")
    old = kernel if stored.startswith("(k") else kernel.transpose(3, 2, 0, 1)
    model = Sequential([Conv1D(4, 3, input_shape=(6, 2))])
    found = keras1_file(tmp_path / "w.h5", model, [old, np.zeros(4)])
    np.testing.assert_array_equal(found[0], kernel[:, 0])


def test_plain_layers_of_keras_1_are_as_ours(tmp_path):
    kernel = np.random.RandomState(0).rand(6, 2).astype("float32")
    model = Sequential([Flatten(input_shape=(3, 2)), Dense(2)])
    found = keras1_file(tmp_path / "w.h5", model, [kernel, np.ones(2)])
    np.testing.assert_array_equal(found[0], kernel)
