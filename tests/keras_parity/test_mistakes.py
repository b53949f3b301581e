"""Common mistakes raise what Keras 2.3.1 raises, with words that help, before any work is done."""
import re

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers as L
from gpukeras import models, optimizers
from tests.golden import reader

KERAS = reader.cases("mistakes")
X, Y = np.zeros((8, 6), "float32"), np.eye(4, dtype="float32")[[0, 1, 2, 3] * 2]


def model(units=4, compiled=True, loss="categorical_crossentropy", **arguments):
    found = models.Sequential([L.Dense(3, input_shape=(6,), name="first"),
                               L.Dense(units, activation="softmax", name="second")])
    if compiled:
        found.compile("sgd", loss, **arguments)
    return found


def two():
    a, b = L.Input((3,), name="a"), L.Input((2,), name="b")
    found = models.Model([a, b], L.Dense(1, name="out")(L.Flatten()(L.Reshape((3, 1))(a))))
    found.compile("sgd", "mse")
    return found


def image():
    found = models.Sequential([L.Conv2D(2, 3, input_shape=(6, 6, 1), name="conv"),
                               L.Flatten(), L.Dense(2)])
    found.compile("sgd", "mse")
    return found


def sparse():
    return model(loss="sparse_categorical_crossentropy")


# name in the golden file -> (what a user does, words that the message must have)
MISTAKES = {
    "fit_before_compile": (lambda: model(compiled=False).fit(X, Y), "compile"),
    "evaluate_before_compile": (lambda: model(compiled=False).evaluate(X, Y), "compile"),
    "train_on_batch_before_compile": (lambda: model(compiled=False).train_on_batch(X, Y),
                                      "compile"),
    "unbuilt_sequential_fit": (lambda: models.Sequential([L.Dense(4)]).fit(X, Y), "compile"),
    "x_wrong_size": (lambda: model().fit(X[:, :5], Y), r"first_input .*\(6,\).*\(5,\)"),
    "x_wrong_rank": (lambda: image().fit(np.zeros((8, 6, 6)), np.zeros((8, 2))),
                     r"conv_input .*4 dimensions.*\(8, 6, 6\)(.|\n)*x\[\.\.\., None\]"),
    "x_one_sample_without_batch": (lambda: model().predict(X[0]), r"x\[None\]"),
    "y_wrong_size": (lambda: model().fit(X, Y[:, :3]), r"second .*\(4,\).*\(3,\)"),
    "y_integers_for_categorical": (lambda: model().fit(X, np.arange(8) % 4), "to_categorical"),
    "y_one_hot_for_sparse": (lambda: sparse().fit(X, Y), "argmax"),
    "samples_differ": (lambda: model().fit(X, Y[:5]), "8 input samples and 5 target samples"),
    "inputs_differ": (lambda: two().fit([np.zeros((8, 3)), np.zeros((7, 2))], np.zeros((8, 1))),
                      r"\(8, 3\), \(7, 2\)"),
    "one_array_for_two_inputs": (lambda: two().fit(np.zeros((8, 3)), np.zeros((8, 1))),
                                 "see 2 array"),
    "unknown_input_name": (lambda: two().fit({"a": np.zeros((8, 3)), "c": np.zeros((8, 2))},
                                             np.zeros((8, 1))), '"b".*a.*b'),
    "two_arrays_for_one_input": (lambda: model().fit([X, X], Y), "see 1 array"),
    "strings": (lambda: model().fit(np.array([["a"] * 6] * 8), Y), "numbers.*<U1"),
    "ragged": (lambda: model().fit([[1, 2, 3], [4, 5]], Y[:2]), "differ in length.*2 to 3"),
    "no_x": (lambda: model().fit(None, Y), "first_input"),
    "unknown_fit_argument": (lambda: model().fit(X, Y, epoch=3), "epochs"),
    "sample_weight_length": (lambda: model().fit(X, Y, sample_weight=np.ones(5)), r"\(5,\)"),
    "sample_weight_rank": (lambda: model().fit(X, Y, sample_weight=np.ones((8, 2))), "temporal"),
    "class_weight_missing": (lambda: model().fit(X, Y, class_weight={0: 1., 1: 2.}), "{2, 3}"),
    "validation_data_single": (lambda: model().fit(X, Y, validation_data=X), r"x_val, y_val"),
    "validation_data_one": (lambda: model().fit(X, Y, validation_data=(X,)), "contains 1 item"),
    "validation_wrong_size": (lambda: model().fit(X, Y, validation_data=(X[:, :2], Y)),
                              r"\(6,\).*\(2,\)"),
    "batch_size_float": (lambda: model().fit(X, Y, batch_size=2.5), "2.5"),
    "validation_freq_zero": (lambda: model().fit(X, Y, validation_data=(X, Y), validation_freq=0),
                             "validation_freq"),
    "unknown_loss": (lambda: model(loss="categorical_crossentropie"), "categorical_crossentropy"),
    "unknown_optimizer": (lambda: model(compiled=False).compile("adamm", "mse"), "adam"),
    "unknown_metric": (lambda: model(metrics=["acuracy"]), "accuracy"),
    "loss_list_length": (lambda: model(loss=["mse", "mse"]), "1 outputs"),
    "loss_dict_unknown_name": (lambda: model(loss={"third": "mse"}), "third.*second"),
    "loss_weights_type": (lambda: model(loss_weights=2.0), "2.0"),
    "loss_weights_length": (lambda: model(loss_weights=[1.0, 2.0]), "1 outputs"),
    "metrics_type": (lambda: model(metrics=3), "list or dictionary"),
    "optimizer_argument": (lambda: optimizers.SGD(0.1, momentun=0.9), "momentun"),
    "unknown_activation": (lambda: L.Dense(2, activation="rellu"), "relu"),
    "unknown_initializer": (lambda: L.Dense(2, kernel_initializer="glorot"), "glorot_"),
    "unknown_layer_argument": (lambda: L.Dense(2, input_shpe=(3,)), "input_shape"),
    "unknown_padding": (lambda: L.Conv2D(2, 3, padding="sam"), "same"),
    "unknown_data_format": (lambda: L.Conv2D(2, 3, data_format="first"), "channels_first"),
    "kernel_too_large": (lambda: models.Sequential([L.Conv2D(2, 9, input_shape=(6, 6, 1))]), "9"),
    "conv_wrong_rank": (lambda: L.Conv2D(2, 3)(L.Input((6, 6))), "ndim=4.*ndim=3"),
    "reshape_mismatch": (lambda: L.Reshape((5, 3))(L.Input((4, 4))), "15|5, 3"),
    "layer_on_array": (lambda: L.Dense(2)(np.zeros((3, 4))), "Input"),
    "sequential_not_a_layer": (lambda: models.Sequential(["dense"]), "Layer"),
    "sequential_no_input_shape": (lambda: models.Sequential([L.Dense(2)]).summary(), "input_shape"),
    "duplicate_names": (lambda: models.Sequential([L.Dense(2, input_shape=(3,), name="d"),
                                                   L.Dense(2, name="d")]), '"d"'),
    "disconnected": (lambda: models.Model(L.Input((3,)), L.Dense(1)(L.Input((3,)))), "input_"),
    "set_weights_shape": (lambda: model().layers[0].set_weights([np.zeros((6, 4)), np.zeros(3)]),
                          r"\(6, 3\).*\(6, 4\)"),
    "layer_set_weights_count": (lambda: model().layers[0].set_weights([np.zeros((6, 3))]),
                                "1.*2 weights"),
    "get_layer_unknown": (lambda: model().get_layer("third"), "third"),
    "load_missing_file": (lambda: models.load_model("no_such_file.h5"), "no_such_file.h5"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_raises_as_in_keras_and_says_what_is_wrong(name):
    K.clear_session()
    make, words = MISTAKES[name]
    with pytest.raises(Exception) as caught:
        make()
    names = [c.__name__ for c in type(caught.value).__mro__]
    assert KERAS[name].facts["raises"][0] in names
    assert re.search(words, str(caught.value)), str(caught.value)


# Keras 2.3.1 says nothing, or fails somewhere inside; here each is an error of its own.
BETTER = {
    "objects": (lambda: model().fit(np.array([[None] * 6] * 8, object), Y), "None"),
    "no_y": (lambda: model().fit(X), "second"),
    "empty": (lambda: model().fit(X[:0], Y[:0]), "no samples"),
    "sparse_label_out_of_range": (lambda: sparse().fit(X, np.arange(8)),
                                  r"label value of 4 \(sample 4\).*\[0, 4\)(.|\n)*8 units"),
    "set_weights_count": (lambda: model().set_weights([np.zeros((6, 3))]), "4 weights"),
}


@pytest.mark.parametrize("name", BETTER)
def test_mistake_that_keras_reports_badly_is_a_clear_error(name):
    K.clear_session()
    make, words = BETTER[name]
    with pytest.raises(ValueError, match=words):
        make()


def test_message_names_the_line_of_the_user():
    with pytest.raises(ValueError, match=r"in first_input at test_mistakes\.py:\d+"):
        model().fit(X[:, :5], Y)


@pytest.mark.parametrize("name", [n for n in {**MISTAKES, **BETTER} if ".fit" in str(n) or n in (
    "x_wrong_size", "y_wrong_size", "samples_differ", "validation_wrong_size",
    "sparse_label_out_of_range")])
def test_bad_data_leave_the_weights_alone(name):
    K.clear_session()
    found = sparse() if "sparse" in name else model()
    before = found.get_weights()
    x, y, held = np.ones_like(X), Y, None
    if name == "x_wrong_size":
        x = x[:, :5]
    elif name == "y_wrong_size":
        y = y[:, :3]
    elif name == "samples_differ":
        y = y[:5]
    elif name == "validation_wrong_size":
        held = (X[:, :2], Y)
    else:
        y = np.arange(8)
    with pytest.raises(ValueError):
        found.fit(x, y, batch_size=2, validation_data=held, verbose=0)
    for a, b in zip(before, found.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
