"""HDF5 files: those of Keras 2.3.1 are read, ours have their layout, none is ever half written.

golden/files.* and the .h5 files beside it come from the true Keras 2.3.1.
"""
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import losses, metrics
from gpukeras.layers import BatchNormalization, Conv1D, Conv2D, Dense
from gpukeras.models import Sequential, h5_layout, load_model, model_from_yaml, save_model
from gpukeras.utils.generic_utils import to_list

sys.path.insert(0, str(pathlib.Path(__file__).parent / "golden"))
import reader  # noqa: E402

CASES = reader.cases("files")
NAMES = sorted(CASES)


def small_model(units=3, name=None):
    return Sequential([Dense(units, input_shape=(2,), name="first"), Dense(1, name="second")], name)


def close(found, expected, tolerance=1e-5):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def predict(model, case):
    """Predictions for the input of a case, as a list."""
    return to_list(model.predict(case.list("x")))


# ---------------------------------------------------------------- files of Keras 2.3.1

@pytest.mark.parametrize("name", NAMES)
def test_model_of_keras_predicts_as_in_keras(name):
    case = CASES[name]
    model = load_model(reader.path(case.facts["file"]))
    close(model.get_weights(), case.list("weights"), 0)
    close(predict(model, case), case.list("predictions"))


@pytest.mark.parametrize("name", NAMES)
def test_model_of_keras_goes_on_training_as_in_keras(name):
    case = CASES[name]
    model = load_model(reader.path(case.facts["file"]))
    close(model.optimizer.get_weights(), case.list("state"), 0)
    if not case.list("next_weights"):
        pytest.skip("the next step is random (dropout)")
    close([model.train_on_batch(case.list("x"), case.list("y"))], [case["next_logs"]], 1e-4)
    close(model.get_weights(), case.list("next_weights"), 1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by_name", [False, True])
def test_weights_of_keras_are_read_from_either_kind_of_file(name, by_name):
    case = CASES[name]
    for key in ("file", "weights_file"):
        model = load_model(reader.path(case.facts["file"]), compile=False)
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        model.load_weights(reader.path(case.facts[key]), by_name=by_name)
        close(model.get_weights(), case.list("weights"), 0)


# ---------------------------------------------------------------- our files

def attributes(path):
    """{(object, attribute): comparable value} and {dataset: (shape, dtype)} of a file."""
    found = {}

    def note(name, item):
        for key, value in item.attrs.items():
            found[name, key] = (np.asarray(value).dtype.kind, np.shape(value))
        if isinstance(item, h5py.Dataset):
            found[name] = (item.shape, item.dtype, item.chunks, item.compression)

    with h5py.File(path, "r") as file:
        note("/", file)
        file.visititems(note)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_saved_again_a_file_of_keras_has_the_same_layout(name, tmp_path):
    original = reader.path(CASES[name].facts["file"])
    K.clear_session()                             # else weights are numbered on: kernel_1:0
    load_model(original).save(tmp_path / "a.h5")

    def ours(found):                              # names of optimizer variables are free
        return {key: value for key, value in found.items() if "optimizer_weights/" not in str(key)}

    before, after = attributes(original), attributes(tmp_path / "a.h5")
    assert ours(after) == ours(before)
    with h5py.File(original, "r") as a, h5py.File(tmp_path / "a.h5", "r") as b:
        for key in ("model_config", "keras_version", "backend"):
            assert h5_layout.read_text(a, key) == h5_layout.read_text(b, key), key
        known, written = (json.loads(h5_layout.read_text(f, "training_config")) for f in (a, b))
        assert known == written


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_a_model_is_the_same(name, tmp_path):
    case = CASES[name]
    model = load_model(reader.path(case.facts["file"]))
    model.save(str(tmp_path / "a.h5"))
    again = load_model(tmp_path / "a.h5")
    close(again.get_weights(), model.get_weights(), 0)
    close(again.optimizer.get_weights(), model.optimizer.get_weights(), 0)
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    close(predict(again, case), predict(model, case), 0)


def test_file_objects_and_groups_hold_models(tmp_path):
    model, x = small_model(), np.ones((2, 2), "float32")
    image = io.BytesIO()
    save_model(model, image)
    image.seek(0)
    close(load_model(image, compile=False).predict(x), model.predict(x), 0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        model.save(file.create_group("inner"))
        close(load_model(file["inner"], compile=False).predict(x), model.predict(x), 0)


def test_without_optimizer_a_loaded_model_is_not_compiled(tmp_path):
    model = small_model()
    model.compile("adam", "mse")
    model.save(tmp_path / "a.h5", include_optimizer=False)
    with pytest.warns(UserWarning, match="No training configuration found"):
        again = load_model(tmp_path / "a.h5")
    assert not getattr(again, "optimizer", None)


def shifted_loss(y_true, y_pred):
    return K.mean(K.square(y_true - y_pred - 1.), axis=-1)


def test_custom_loss_comes_back_by_its_name(tmp_path):
    model, x, y = small_model(), np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    model.compile("sgd", shifted_loss)
    model.save(tmp_path / "a.h5")
    again = load_model(tmp_path / "a.h5", custom_objects={"shifted_loss": shifted_loss})
    assert again.loss is shifted_loss
    close([again.evaluate(x, y, verbose=0)], [model.evaluate(x, y, verbose=0)])
    with pytest.warns(UserWarning, match="not.* compiled: Unknown loss.*shifted_loss"):
        bare = load_model(tmp_path / "a.h5")
    close(bare.predict(x), model.predict(x), 0)


def test_loss_and_metric_objects_survive(tmp_path):
    model, x = small_model(), np.ones((4, 2), "float32")
    model.compile("sgd", losses.MeanSquaredError(), metrics=[metrics.MeanAbsoluteError(name="off")])
    model.save(tmp_path / "a.h5")
    again = load_model(tmp_path / "a.h5")
    assert again.metrics_names == model.metrics_names == ["loss", "off"]
    close(again.evaluate(x, x[:, :1], verbose=0), model.evaluate(x, x[:, :1], verbose=0))


# ---------------------------------------------------------------- names and attributes

def test_long_lists_of_names_are_cut_as_keras_cuts_them():
    names = [f"{i:03d}" + "x" * 297 for i in range(401)]
    with h5py.File(io.BytesIO(), "w") as file:
        h5_layout.write_names(file, "layer_names", names)
        # measured with Keras 2.3.1: 401 names of 300 bytes go into 201 + 200
        sizes = {key: len(value) for key, value in file.attrs.items()}
        assert sizes == {"layer_names0": 201, "layer_names1": 200}
        assert h5_layout.read_names(file, "layer_names") == names


def test_names_and_texts_are_read_from_bytes_and_str():
    with h5py.File(io.BytesIO(), "w") as file:
        file.attrs["b"] = [b"one", b"two"]
        file.attrs["s"] = ["one", "zwei \u00e4"]
        file.attrs["text"] = "caf\u00e9"
        h5_layout.write_text(file, "ours", "caf\u00e9")
        h5_layout.write_names(file, "none", [])
        assert h5_layout.read_names(file, "b") == ["one", "two"]
        assert h5_layout.read_names(file, "s") == ["one", "zwei \u00e4"]
        assert h5_layout.read_text(file, "text") == h5_layout.read_text(file, "ours") == "caf\u00e9"
        assert file.attrs["none"].shape == (0,) and file.attrs["none"].dtype == "float64"


def test_equal_weight_names_get_numbers():
    with h5py.File(io.BytesIO(), "w") as file:
        h5_layout.write_arrays(file, ["w:0", "w:0", None, "w:0"], [np.full(2, i) for i in range(4)])
        assert h5_layout.read_names(file, "weight_names") == ["w:0", "w:0_1", "param_2", "w:0_2"]
        assert [a[0] for a in h5_layout.read_arrays(file)] == [0, 1, 2, 3]


# ---------------------------------------------------------------- weights that do not fit

def saved_weights(model, tmp_path):
    model.save_weights(tmp_path / "w.h5")
    return tmp_path / "w.h5"


def test_by_name_leaves_other_layers_alone(tmp_path):
    path = saved_weights(small_model(), tmp_path)
    model = Sequential([Dense(3, input_shape=(2,), name="first"), Dense(4, name="other")])
    before = model.get_weights()
    model.load_weights(path, by_name=True)
    with h5py.File(path) as file:
        first = h5_layout.read_arrays(file["first"])
    close(model.get_weights(), first + before[2:], 0)


def test_wrong_shape_is_an_error_and_changes_nothing(tmp_path):
    path = saved_weights(small_model(), tmp_path)
    model = Sequential([Dense(3, input_shape=(2,), name="first"), Dense(4, name="second")])
    before = model.get_weights()
    for by_name in (False, True):
        with pytest.raises(ValueError, match=r'named "second"\).*\(3, 4\).*\(3, 1\)'):
            model.load_weights(path, by_name=by_name)
        close(model.get_weights(), before, 0)


def test_skip_mismatch_skips_single_arrays_and_whole_layers(tmp_path):
    source = Sequential([Dense(3, input_shape=(2,), name="a"), Dense(4, name="b")])
    path = saved_weights(source, tmp_path)
    source.layers[1].set_weights([np.ones((3, 4)), np.ones(4)])
    target = Sequential([Dense(3, input_shape=(5,), name="a"),
                         Dense(4, use_bias=False, name="b")])
    before = target.get_weights()
    with pytest.warns(UserWarning, match="Skipping loading of weights"):
        target.load_weights(path, by_name=True, skip_mismatch=True)
    close(target.get_weights(), [before[0], source.get_weights()[1], before[2]], 0)


def test_number_of_layers_is_compared(tmp_path):
    path = saved_weights(small_model(), tmp_path)
    with pytest.raises(ValueError, match="containing 2 layers into a model with 1 layers. First "
                                         "difference: layer #0 is first in the file and only"):
        Sequential([Dense(1, input_shape=(2,), name="only")]).load_weights(path)
    with pytest.raises(ValueError, match="The model has no weights yet"):
        Sequential([Dense(1)]).load_weights(path)


def test_kernels_of_theano_are_reversed_and_reshaped(tmp_path):
    model = Sequential([Conv2D(2, (3, 2), input_shape=(5, 5, 1))])
    path = saved_weights(model, tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["backend"] = b"theano"
    kernel, bias = model.get_weights()
    model.load_weights(path)
    close(model.get_weights(), [kernel[::-1, ::-1], bias], 0)
    other = Sequential([Conv1D(2, 6, input_shape=(9, 1))])
    other.load_weights(saved_weights(Sequential([Conv1D(2, 3, input_shape=(9, 2))]), tmp_path),
                       reshape=True)
    assert other.get_weights()[0].shape == (6, 1, 2)


def test_frozen_layers_keep_their_place(tmp_path):
    def model():
        inner = Sequential([Dense(3, input_shape=(2,)), BatchNormalization(), Dense(2)], "inner")
        return Sequential([inner, Dense(1)])

    source, target = model(), model()
    target.load_weights(saved_weights(source, tmp_path))
    close(target.get_weights(), source.get_weights(), 0)


# ---------------------------------------------------------------- broken and missing files

def test_missing_file_is_named_with_its_neighbours(tmp_path):
    small_model().save(tmp_path / "digits.h5")
    with pytest.raises(FileNotFoundError, match="no file .*digit.h5.* Did you mean 'digits.h5'"):
        load_model(tmp_path / "digit.h5")
    with pytest.raises(FileNotFoundError, match="The folder does not exist"):
        load_model(tmp_path / "no" / "a.h5")
    with pytest.raises(OSError, match="is a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize("content, reason", [
    (b"", "it is empty"), (b"PK\x03\x04...", "zip file"),
    (b"<html>", "no HDF5 file: it begins with"), (None, "broken HDF5 file, perhaps cut off")])
def test_file_that_is_no_hdf5_is_explained(content, reason, tmp_path):
    if content is None:
        content = pathlib.Path(reader.path("cnn_adam.h5")).read_bytes()[:9000]
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(OSError, match=reason):
        load_model(tmp_path / "a.h5")
    with pytest.raises(OSError, match=reason):
        small_model().load_weights(tmp_path / "a.h5")


def test_weights_file_is_no_model(tmp_path):
    path = saved_weights(small_model(), tmp_path)
    with pytest.raises(ValueError, match="No model found .* written by save_weights"):
        load_model(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = [1, 2]
    with pytest.raises(ValueError, match="not written by Keras: it holds numbers"):
        load_model(tmp_path / "other.h5")


def damaged(tmp_path, change):
    Sequential([Dense(2, input_shape=(3,), name="d")]).save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        change(file, file["model_weights/d"])
    return tmp_path / "a.h5"


def test_sizes_are_distrusted(tmp_path):
    def claim(file, group):
        name = group.attrs["weight_names"][0]
        del group[name]
        group.create_dataset(name, (10 ** 7, 10 ** 5), "f4")             # nothing is written

    with pytest.raises(ValueError, match=r"claims 4,000,000,000,000 bytes .* the file has 0"):
        load_model(damaged(tmp_path, claim))


def replaced(path, old, new):
    data = path.read_bytes()
    assert data.count(old) == 1 and len(old) == len(new)
    path.write_bytes(data.replace(old, new))


def test_texts_that_hdf5_would_read_for_ever_are_refused(tmp_path):
    def texts(file, group):
        file.attrs["keras_version"] = "2.3.1"      # in a heap, with its free rest behind it

    data = damaged(tmp_path, texts).read_bytes()
    heap = data.index(h5_layout.HEAP)
    rest = heap + 16
    while data[rest:rest + 2] != b"\0\0":
        rest += 16 + -(-int.from_bytes(data[rest + 8:rest + 16], "little") // 8) * 8
    assert rest + int.from_bytes(data[rest + 8:rest + 16], "little") == heap + 4096
    for size in (0, 99):                           # no rest, and one with nothing behind it
        broken = data[:rest + 8] + size.to_bytes(8, "little") + data[rest + 16:]
        (tmp_path / "a.h5").write_bytes(broken)
        with pytest.raises(OSError, match="whose texts cannot be read"):
            load_model(tmp_path / "a.h5")
    reference = (5).to_bytes(4, "little") + heap.to_bytes(8, "little")
    (tmp_path / "a.h5").write_bytes(data)
    replaced(tmp_path / "a.h5", reference, (1 << 30).to_bytes(4, "little") + b"\x77" * 8)
    with pytest.raises(OSError, match="whose texts cannot be read"):
        load_model(tmp_path / "a.h5")


@pytest.mark.parametrize("change, message", [
    (lambda file, group: group.attrs.create("weight_names", [b"gone"]), "lists the weight 'gone'"),
    (lambda file, group: file["model_weights"].attrs.create("layer_names", [b"gone"]),
     "lists the layer 'gone'"),
    (lambda file, group: file.attrs.modify("model_config", '{"class_name": "Sequ'),
     "is damaged JSON"),
    (lambda file, group: file.attrs.modify("model_config", "[" * 100000), "too deeply"),
    (lambda file, group: (group.create_dataset("t", data=b"text"),
                          group.attrs.create("weight_names", [b"t"])), "expected numbers")])
def test_damage_is_named(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_model(damaged(tmp_path, change))


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    small_model().save(path)
    old = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    for module, name in ((h5_layout.np, "asarray"), (os, "fsync"), (os, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises(OSError, match="disk full"):
                small_model().save(path)
        assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.h5"]


SAVE_FOR_EVER = """
from gpukeras.layers import Dense
from gpukeras.models import Sequential
models = [Sequential([Dense(n, input_shape=(50,))], str(n)) for n in (200, 300)]
while True:
    for model in models:
        model.save("a.h5")
        print(model.name, flush=True)
"""


@pytest.mark.slow
def test_killed_while_saving_a_process_leaves_a_whole_file(tmp_path):
    root = pathlib.Path(__file__).resolve().parents[1]
    env = {**os.environ, "PYTHONPATH": str(root)}
    pause = np.random.RandomState(0)
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER], cwd=tmp_path, env=env,
                              stdout=subprocess.PIPE) as child:
            child.stdout.readline()                              # the first file is there
            for _ in range(5):
                time.sleep(pause.uniform(0, 0.03))
                assert load_model(tmp_path / "a.h5", compile=False).name in ("200", "300")
            child.kill()
        assert load_model(tmp_path / "a.h5", compile=False).name in ("200", "300")


def test_overwrite_false_asks_first(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    small_model(name="old").save(path)
    for answers, kept in ((["maybe", "n"], "old"), (["y"], "new")):
        monkeypatch.setattr("builtins.input", lambda _, answers=iter(answers): next(answers))
        small_model(name="new").save(path, overwrite=False)
        assert load_model(path, compile=False).name == kept


def test_saving_while_the_old_file_is_open_is_safe(tmp_path):
    path = tmp_path / "a.h5"
    small_model(name="old").save(path)
    shutil.copy(path, tmp_path / "b.h5")
    with h5py.File(path, "r") as reader_of_old:
        small_model(name="new").save(path)
        assert "old" in h5_layout.read_text(reader_of_old, "model_config")
    assert load_model(path, compile=False).name == "new"


# ---------------------------------------------------------------- YAML

def test_yaml_of_keras_is_read():
    pytest.importorskip("yaml", reason="pip install '.[yaml]'")
    text = pathlib.Path(reader.path("conv.yaml")).read_text()
    assert "!!python/tuple" in text
    model = model_from_yaml(text)
    assert model.output_shape == (None, 3) and model.count_params() == 14 + 40 * 3 + 3
    again = model_from_yaml(model.to_yaml())
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())


@pytest.mark.parametrize("text, message", [
    ("!!python/object/apply:os.system ['touch hit']", "no YAML of plain values"),
    ("!!python/name:os.system", "no YAML of plain values"), ("{a: [", "no YAML of plain values"),
    ("a: &a [x, x]\n" + "".join(f"{n}: &{n} [{', '.join(['*' + m] * 9)}]\n" for m, n in zip(
        "abcdefgh", "bcdefghi")), "unfolds to more than"), ("a: &a [*a]", "unfolds|too deeply")])
def test_yaml_runs_nothing_and_stays_small(text, message, tmp_path, monkeypatch):
    pytest.importorskip("yaml", reason="pip install '.[yaml]'")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        model_from_yaml(text)
    assert not list(tmp_path.iterdir())
