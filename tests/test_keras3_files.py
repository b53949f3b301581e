"""Files of Keras 3 and .keras files of tf.keras: golden/keras3 has them with their predictions."""
import io
import json
import pathlib
import zipfile

import h5py
import numpy as np
import pytest

from gpukeras.compat.doctor import doctor
from gpukeras.layers import Dense
from gpukeras.models import Model, Sequential, load_model
from gpukeras.utils.generic_utils import to_list

GOLDEN = pathlib.Path(__file__).parent / "golden" / "keras3"
FILES = sorted([*GOLDEN.glob("*.keras"), *(p for p in GOLDEN.glob("*.h5")
                                           if not p.name.endswith(".weights.h5"))])


def stored(path):
    """(inputs, predictions) for a file."""
    with np.load(GOLDEN / f"{path.name.split('.')[0]}.npz") as file:
        return [[file[f"{kind}{i}"] for i in range(sum(key[0] == kind for key in file.files))]
                for kind in "xp"]


def loaded(path, **kwargs):
    if "lambdas" in path.name:
        pytest.importorskip("xdis", reason="reads bytecode: pip install '.[lambda]'")
    return load_model(path, **kwargs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore:No training configuration", "error:Error in loading")
def test_files_predict_as_where_they_were_saved(path, tmp_path):
    x, expected = stored(path)
    model = loaded(path)
    for a, b, name in zip(to_list(model.predict(x)), expected, model.output_names, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)
    model.save(tmp_path / "again.h5")              # as Keras 2.3.1 writes it, and from there
    for a, b in zip(to_list(load_model(tmp_path / "again.h5").predict(x)),
                    to_list(model.predict(x)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["k3_stack.keras", "k3_stack.h5", "tf2_stack.keras",
                                  "k3_nested.keras", "k3_nested.h5", "tf2_nested.keras"])
@pytest.mark.filterwarnings("error:Error in loading")
def test_training_goes_on(name):
    x, expected = stored(GOLDEN / name)
    model = load_model(GOLDEN / name)
    assert model.metrics_names[-1].endswith("mae") and type(model.optimizer).__name__ == "Adam"
    state = model.optimizer.get_weights()
    assert int(state[0]) == 1                      # saved after one step, whose slots these are
    count = len(model._collected_trainable_weights)
    for weight, m, v in zip(model._collected_trainable_weights, state[1:1 + count],
                            state[1 + count:1 + 2 * count], strict=True):
        assert m.shape == v.shape == tuple(weight.shape)
        np.testing.assert_allclose(v, 0.1 * m * m, rtol=1e-4, atol=1e-12)   # (.001 / .01) m^2
    if "nested" in name:
        assert not model.get_layer("frozen").trainable
    before = model.get_weights()
    model.train_on_batch(x, [2 * p for p in expected])
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights()))


def test_weights_alone_are_read(tmp_path):
    x, expected = stored(GOLDEN / "k3_stack.keras")
    for source in ("k3_stack.weights.h5", "k3_stack.keras", "k3_stack.h5"):
        model = load_model(GOLDEN / "k3_stack.keras")
        model.set_weights([0 * w for w in model.get_weights()])
        model.load_weights(GOLDEN / source)
        np.testing.assert_allclose(model.predict(x), expected[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="no weights for the layer dense_.* [(]dense_1[)]"):
        Sequential([Dense(2, input_shape=(3,)), Dense(2)]).load_weights(
            GOLDEN / "k3_stack.weights.h5")


def test_an_opened_file_will_do():
    x, expected = stored(GOLDEN / "k3_stack.keras")
    with open(GOLDEN / "k3_stack.keras", "rb") as file:
        np.testing.assert_allclose(load_model(file).predict(x), expected[0], rtol=1e-5, atol=1e-6)


def test_hard_sigmoid_of_keras_3_is_another_function():
    model = load_model(GOLDEN / "k3_zoo.keras")
    assert model.get_layer("conv2d").get_config()["activation"] == "hard_sigmoid3"
    with zipfile.ZipFile(GOLDEN / "tf2_zoo.keras") as file:
        assert '"activation": "hard_sigmoid"' in file.read("config.json").decode()
    model = load_model(GOLDEN / "tf2_zoo.keras")
    assert model.get_layer("conv2d").get_config()["activation"] == "hard_sigmoid"


@pytest.mark.parametrize("name, words", [
    ("k3_stack.keras", ["saved by       Keras 3", "optimizer      Adam", "is there",
                        "predicts:      yes"]),
    ("tf2_stack.keras", ["saved by       tf.keras", "predicts:      yes"]),
    ("k3_stack.weights.h5", ["kind           weights", "model.load_weights(path)"])])
def test_doctor_reads_them(name, words, capsys):
    assert doctor(GOLDEN / name) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in words), out


# ---------------------------------------------------------------- what is not trusted

def changed(tmp_path, **members):
    """k3_stack.keras with other members: bytes, or None to leave one out."""
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(GOLDEN / "k3_stack.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = members.pop(name, old.read(name))
            if data is not None:
                new.writestr(name, data, zipfile.ZIP_DEFLATED)
        for name, data in members.items():
            new.writestr(name, data)
    return path


def config_of(name):
    with zipfile.ZipFile(GOLDEN / name) as file:
        return json.loads(file.read("config.json"))


@pytest.mark.parametrize("members, message", [
    ({"config.json": None}, "no .keras file of Keras 3"),
    ({"config.json": b"{"}, "broken .keras file"),
    ({"config.json": b"[" * 100_000}, "(?s)nested too deeply|broken"),
    ({"config.json": b"[]"}, "config is no model"), ({"config.json": b"\xff"}, "broken"),
    ({"model.weights.h5": None}, "no .keras file of Keras 3"),
    ({"model.weights.h5": b"nothing"}, "weights are a broken HDF5 file"),
    ({"config.json": b" " * (1 << 27)}, "claims 134,217,728 bytes"),
    ({"model.weights.h5": b"\0" * (1 << 24)}, "broken")])
def test_damage_is_named(members, message, tmp_path):
    with pytest.raises((OSError, ValueError), match=message):
        load_model(changed(tmp_path, **members))


def test_members_that_are_not_asked_for_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = changed(tmp_path, **{"../evil.py": b"import os", "/tmp/gpukeras_evil": b"x",
                                "assets/evil.py": b"raise SystemExit"})
    load_model(path)
    assert [p.name for p in tmp_path.parent.glob("evil*")] == [] == list(tmp_path.glob("*.py"))
    assert not pathlib.Path("/tmp/gpukeras_evil").exists()


def test_a_cut_file_is_named(tmp_path):
    data = (GOLDEN / "k3_stack.keras").read_bytes()
    for size in (4, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "a.keras").write_bytes(data[:size])
        with pytest.raises(OSError, match="broken .keras file"):
            load_model(tmp_path / "a.keras")


def test_unknown_layers_are_stood_in_for(tmp_path):
    x, _ = stored(GOLDEN / "k3_stack.keras")
    path, before = tmp_path / "a.keras", load_model(GOLDEN / "k3_stack.keras")
    config = config_of("k3_stack.keras")
    config["config"]["layers"][2].update(class_name="Mine", module="here")
    with zipfile.ZipFile(GOLDEN / "k3_stack.keras") as old, zipfile.ZipFile(path, "w") as new:
        image = io.BytesIO(old.read("model.weights.h5"))
        with h5py.File(image, "r+") as file:
            file.move("layers/gru/cell", "layers/mine")
        new.writestr("config.json", json.dumps(config))
        new.writestr("model.weights.h5", image.getvalue())
    with pytest.warns(UserWarning, match="the layer class Mine"):
        model = load_model(path)
    for a, b in zip(model.get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="the layer class Mine is not known"):
        model.predict(x)
    np.testing.assert_array_equal(Model(model.input, model.layers[0].output).predict(x),
                                  Model(before.input, before.layers[0].output).predict(x))


@pytest.mark.parametrize("call, message", [
    ({"args": [], "kwargs": {}}, "never made|inputs|cannot read"), ({"args": 3}, "cannot read"),
    ({"args": [{"class_name": "__keras_tensor__", "config": {}}]}, "cannot read"),
    ({"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}]},
     "does not contain")])
def test_odd_calls_are_refused(call, message, tmp_path):
    path = tmp_path / "a.keras"
    config = config_of("k3_nested.keras")
    config["config"]["layers"][-1]["inbound_nodes"] = [call]
    with zipfile.ZipFile(GOLDEN / "k3_nested.keras") as old, zipfile.ZipFile(path, "w") as new:
        new.writestr("config.json", json.dumps(config))
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    with pytest.raises(ValueError, match=message):
        load_model(path)
