"""Files of older Keras versions: layouts of Keras 1, and real files where they are at hand."""
import json
import pathlib

import h5py
import numpy as np
import pytest

from gpukeras.layers import GRU, LSTM, Conv1D, Conv2D, Conv2DTranspose, Conv3D, Dense, Flatten
from gpukeras.models import Sequential, load_model

OLD = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data" / "legacy_models"
FILES = (json.loads((OLD / "manifest.json").read_text())["files"]
         if (OLD / "manifest.json").exists() else [])


@pytest.mark.parametrize("facts", FILES or [pytest.param(None, marks=pytest.mark.skip(
    reason="the files are not part of the project"))], ids=lambda f: f and f["file"])
@pytest.mark.filterwarnings("ignore:Error in loading the saved optimizer", "ignore:Update your")
def test_real_files_predict_what_they_did(facts):
    model = load_model(OLD / facts["file"])
    rng = np.random.RandomState(0)
    x = [rng.uniform(0, 1, i["shape"]).astype("float32") for i in facts["inputs"]]
    with np.load(OLD / facts["expected_file"]) as expected:
        np.testing.assert_allclose(model.predict(x), expected["out0"],
                                   atol=facts["outputs"][0]["suggested_atol"])


def keras1_file(path, model, arrays):
    """A weight file of Keras 1 with these arrays for the only layer with weights."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"layer"]
        group = file.create_group("layer")
        group.attrs["weight_names"] = [f"w{i}".encode() for i in range(len(arrays))]
        for i, array in enumerate(arrays):
            group[f"w{i}"] = array
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
