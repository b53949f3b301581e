"""Utilities against what Keras 2.3.1 printed and computed (golden/utils.json) and against NumPy."""
import io
import json
import pathlib
import sys

import numpy as np
import pytest

from gpukeras import utils
from gpukeras.utils import conv_utils, generic_utils

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "utils.json").read_text())


class Terminal(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


# ---------------------------------------------------------------- progress bar

@pytest.mark.parametrize("row", GOLDEN["progbar"],
                         ids=lambda r: f"{r['tty']}-{r['verbose']}-{r['target']}-{r['seconds']}")
def test_progbar_prints_as_keras(row, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(generic_utils.time, "time", lambda: clock[0])
    monkeypatch.setattr(sys, "stdout", Terminal(bool(row["tty"])))
    target, step = row["target"], row["step"]
    bar = generic_utils.Progbar(target, verbose=row["verbose"], stateful_metrics=["acc"])
    bar.update(0)
    for k in range(3):
        clock[0] += row["seconds"] * step
        done = min(step * (k + 1), target or 99)
        bar.update(done, [("loss", [2.5, 1e-3, -4.0][k]), ("acc", 0.25 * k), ("lr", -1e-5)])
    assert sys.stdout.getvalue() == row["text"]


@pytest.mark.parametrize("verbose", [0, 1, 2])
@pytest.mark.parametrize("target", [None, 10])
def test_progbar_due_tells_whether_update_prints(verbose, target, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(generic_utils.time, "time", lambda: clock[0])
    monkeypatch.setattr(sys, "stdout", Terminal(True))
    bar = generic_utils.Progbar(target, verbose=verbose)
    for done in range(1, 11):
        clock[0] += 0.02
        before, due = sys.stdout.getvalue(), bar.due(done)
        bar.update(done)
        assert due == (sys.stdout.getvalue() != before)


# ---------------------------------------------------------------- names and configs

@pytest.mark.parametrize("name, snake", [
    ("Dense", "dense"), ("Conv2D", "conv2d"), ("MaxPooling2D", "max_pooling2d"), ("LSTM", "lstm"),
    ("GlobalAveragePooling1D", "global_average_pooling1d"), ("ReLU", "re_lu"), ("PReLU", "p_re_lu"),
    ("BatchNormalization", "batch_normalization"), ("CuDNNGRU", "cu_dnngru"),
    ("SeparableConv2D", "separable_conv2d"), ("_Merge", "private__merge")])
def test_to_snake_case_gives_keras_layer_names(name, snake):
    assert generic_utils.to_snake_case(name) == snake


def test_unknown_name_gives_the_nearest_names():
    known = {"categorical_crossentropy": len, "binary_crossentropy": len, "mean_squared_error": len}
    with pytest.raises(ValueError, match="Unknown loss: catgorical_crossentropy. Did you mean "
                                         "'categorical_crossentropy'"):
        utils.deserialize_keras_object("catgorical_crossentropy", known,
                                       printable_module_name="loss")
    assert generic_utils.nearest_names("MeanSquaredError", known) == ["mean_squared_error"]
    assert generic_utils.nearest_names("zebra", known) == []


class Scaled:
    def __init__(self, factor=1):
        self.factor = factor

    def get_config(self):
        return {"factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_objects_survive_serializing():
    config = json.loads(json.dumps(utils.serialize_keras_object(Scaled(3))))
    assert config == {"class_name": "Scaled", "config": {"factor": 3}}
    assert utils.deserialize_keras_object(config, {"Scaled": Scaled}).factor == 3
    assert utils.deserialize_keras_object(config, {}, {"Scaled": Scaled}).factor == 3
    assert utils.deserialize_keras_object("Scaled", {"Scaled": Scaled}) is Scaled
    assert utils.deserialize_keras_object(None) is None
    assert utils.serialize_keras_object(max) == "max"
    with pytest.raises(ValueError, match="Improper config format"):
        utils.deserialize_keras_object({"class_name": "Scaled"}, {"Scaled": Scaled})


def test_custom_objects_live_as_long_as_their_scope():
    before = dict(utils.get_custom_objects())
    with utils.CustomObjectScope({"A": 1}, {"B": 2}):
        with utils.custom_object_scope({"A": 3}):
            assert utils.get_custom_objects()["A"] == 3
        assert utils.get_custom_objects() == {**before, "A": 1, "B": 2}
    assert utils.get_custom_objects() == before


def test_has_arg_sees_keywords_only():
    def fn(a, /, b, *args, c=1, **rest):
        return a, b, args, c, rest

    assert [generic_utils.has_arg(fn, n) for n in ("a", "b", "args", "c", "d")] == [0, 1, 0, 1, 0]
    assert generic_utils.has_arg(fn, "d", accept_all=True)


def test_slice_arrays_slices_one_or_many():
    x = np.arange(6)
    assert generic_utils.slice_arrays(x, 1, 3).tolist() == [1, 2]
    first, none = generic_utils.slice_arrays([x, None], np.array([4, 0]))
    assert first.tolist() == [4, 0] and none is None
    assert generic_utils.slice_arrays(None) == [None]


def test_transpose_shape_moves_channels():
    assert generic_utils.transpose_shape((9, 1, 2, 3), "channels_first", (1, 2)) == (9, 3, 1, 2)
    five = generic_utils.transpose_shape([8, 9, 1, 2, 3], "channels_first", (2, 3))
    assert five == [8, 9, 3, 1, 2]
    assert generic_utils.transpose_shape((9, 1, 2, 3), "channels_last", (1, 2)) == (9, 1, 2, 3)


# ---------------------------------------------------------------- sizes of convolutions

@pytest.mark.parametrize("name", ["conv_output_length", "conv_input_length", "deconv_length"])
def test_lengths_are_those_of_keras(name):
    for *args, length in GOLDEN[name]:
        assert getattr(conv_utils, name)(*args) == length, args


def test_normalize_tuple_names_the_argument():
    assert conv_utils.normalize_tuple(2, 3, "strides") == (2, 2, 2)
    assert conv_utils.normalize_tuple([np.int64(2), 3], 2, "strides") == (2, 3)
    for wrong in ((1, 2, 3), "ab", 1.5, None, (True, 1)):
        with pytest.raises(ValueError, match="`strides` argument must be a tuple of 2 integers"):
            conv_utils.normalize_tuple(wrong, 2, "strides")


def test_convert_kernel_reverses_space_only():
    kernel = np.random.RandomState(0).rand(3, 2, 4, 5)
    assert np.array_equal(conv_utils.convert_kernel(kernel), kernel[::-1, ::-1])


# ---------------------------------------------------------------- data

@pytest.mark.parametrize("shape, result", [((4,), (4, 5)), ((4, 1), (4, 5)), ((2, 3), (2, 3, 5)),
                                           ((2, 3, 1), (2, 3, 5)), ((), (5,))])
def test_to_categorical_has_one_one_a_row(shape, result):
    y = np.random.RandomState(1).randint(0, 5, shape)
    rows = utils.to_categorical(y, 5)
    assert rows.shape == result and rows.dtype == "float32"
    assert np.array_equal(rows.argmax(-1).ravel(), y.ravel())
    assert np.array_equal(rows.sum(-1), np.ones(result[:-1]))


@pytest.mark.parametrize("y", [[0, 5], [-1, 2]])
def test_to_categorical_refuses_labels_out_of_range(y):
    with pytest.raises(ValueError, match="expected 0 to 4"):
        utils.to_categorical(y, 5)


def test_to_categorical_refuses_words():
    with pytest.raises(ValueError, match="expected class numbers"):
        utils.to_categorical(["cat", "dog"])


def test_normalize_gives_rows_of_length_one():
    x = np.random.RandomState(2).rand(4, 3)
    x[1] = 0
    assert np.allclose(np.linalg.norm(utils.normalize(x), axis=-1), [1, 0, 1, 1])
    assert np.allclose(np.abs(utils.normalize(x, axis=0, order=1)).sum(0), 1)


# ---------------------------------------------------------------- pictures

def test_plot_history_draws_training_and_validation(tmp_path):
    pytest.importorskip("matplotlib")
    curves = {"val_loss": [2., 1.5], "loss": [2., 1.], "accuracy": [.4, .5]}
    panels = utils.plot_history(curves).axes
    assert [panel.get_title() for panel in panels] == ["loss", "accuracy"]
    lines = {line.get_label(): line.get_ydata().tolist() for line in panels[0].lines}
    assert lines == {"training": [2., 1.], "validation": [2., 1.5]}
    assert [line.get_xdata().tolist() for line in panels[1].lines] == [[1, 2]]
    utils.plot_history(curves, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_kernels_and_dense_weights_of_other_data_formats():
    from gpukeras import backend as K
    from gpukeras import layers as L
    from gpukeras.models import Sequential
    from gpukeras.utils import layer_utils

    model = Sequential([L.Conv2D(2, (2, 3), input_shape=(4, 5, 3)), L.Flatten(), L.Dense(2)])
    kernel = model.get_weights()[0]
    layer_utils.convert_all_kernels_in_model(model)
    np.testing.assert_array_equal(model.get_weights()[0], kernel[::-1, ::-1])

    images = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    dense = L.Dense(2)
    x = L.Input((60,))
    run = K.function([x], [dense(x)])
    want, = run([images.reshape(2, -1)])
    first = images.transpose(0, 3, 1, 2).reshape(2, -1)
    layer_utils.convert_dense_weights_data_format(dense, (3, 4, 5), "channels_first")
    np.testing.assert_allclose(run([first])[0], want, rtol=1e-5, atol=1e-6)
    layer_utils.convert_dense_weights_data_format(dense, (4, 5, 3), "channels_last")
    np.testing.assert_allclose(run([images.reshape(2, -1)])[0], want, rtol=1e-5, atol=1e-6)


def test_layer_test_accepts_good_layers_and_finds_a_bad_one():
    from gpukeras import layers as L
    from gpukeras.utils.test_utils import layer_test

    output = layer_test(L.Dense, {"units": 3}, input_shape=(4, 5))
    assert output.shape == (4, 3)
    layer_test(L.LSTM, {"units": 2, "return_sequences": True}, input_shape=(2, 4, 3))
    layer_test(L.Flatten, input_data=np.ones((2, 3, 4), "float32"),
               expected_output=np.ones((2, 12)))

    class Forgets(L.Dense):
        def get_config(self):
            return {**super().get_config(), "units": 7}

    with pytest.raises((AssertionError, ValueError)):
        layer_test(Forgets, {"units": 3}, input_shape=(4, 5))


def test_get_test_data_has_the_shapes_asked_for():
    from gpukeras.utils.test_utils import get_test_data
    (x, y), (x2, y2) = get_test_data(20, 10, (3, 2), classification=True, num_classes=4)
    assert x.shape == (20, 3, 2) and x2.shape == (10, 3, 2) and set(y) <= {0, 1, 2, 3}
    (x, y), _ = get_test_data(20, 10, (3,), (2,), classification=False)
    assert y.shape == (20, 2) and y2.shape == (10,)
