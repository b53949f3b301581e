"""Files that go through the true Keras 2.3.1 and through tf_keras, and come back.

    KERAS_231_PYTHON=oracle/bin/python TF_KERAS_PYTHON=some/bin/python pytest <this file>

golden/generate.py says how to set the first one up; the second has the package tf_keras.
"""
import os
import pathlib
import subprocess

import numpy as np
import pytest

from golden import reader

from gpukeras.layers import LSTM, Bidirectional, Conv2D, Dense, Flatten, TimeDistributed
from gpukeras.models import Sequential, load_model
from gpukeras.utils.generic_utils import to_list

LOAD_AND_SAVE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
{imports}
model = keras.models.load_model(sys.argv[1])
with np.load(sys.argv[3]) as file:
    x = [file[name] for name in sorted(file.files, key=lambda n: int(n[4:]))]
p = model.predict(x if len(x) > 1 else x[0])
model.save(sys.argv[2])
np.savez(sys.argv[3], *(p if isinstance(p, list) else [p]))
"""
PROGRAMS = {"keras": ("KERAS_231_PYTHON", "import keras"),
            "tf_keras": ("TF_KERAS_PYTHON", "import tf_keras as keras")}


def through(program, path, arrays, tmp_path):
    """The file after the other program has loaded and saved it, and what it predicted."""
    variable, imports = PROGRAMS[program]
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} is not set")
    there, exchanged = tmp_path / "there.h5", tmp_path / "arrays.npz"
    np.savez(exchanged, *arrays)
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "",
           "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", LOAD_AND_SAVE.format(imports=imports), str(path),
                           str(there), str(exchanged)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(exchanged) as file:
        return there, [file[name] for name in sorted(file.files, key=lambda n: int(n[4:]))]


def changed(model):
    """The model with weights unlike those of any file."""
    rng = np.random.RandomState(2)
    model.set_weights([(w + rng.uniform(.01, .1, w.shape)).astype(w.dtype)
                       for w in model.get_weights()])
    return model


def trained(optimizer):
    model = changed(Sequential([
        Conv2D(2, 3, input_shape=(6, 6, 1)), TimeDistributed(Flatten()),
        Bidirectional(LSTM(2)), Dense(3, activation="softmax")]))
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.random.RandomState(0).rand(8, 6, 6, 1), np.eye(3)[np.arange(8) % 3], verbose=0)
    return model


@pytest.mark.filterwarnings("ignore:No training configuration")
def test_a_layer_of_every_class_keeps_every_bit(tmp_path):
    case = reader.cases("zoo")["zoo"]
    model = changed(load_model(pathlib.Path(reader.path("zoo.h5"))))
    model.save(tmp_path / "here.h5")
    x = [a.astype("float32") for a in case.list("x")]
    path, predicted = through("keras", tmp_path / "here.h5", x, tmp_path)
    back = load_model(path)
    assert [w.tobytes() for w in back.get_weights()] == [w.tobytes() for w in model.get_weights()]
    for a, b in zip(to_list(model.predict(x)), predicted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamax",
                                       "nadam"])
def test_the_state_of_the_optimizer_keeps_every_bit(program, optimizer, tmp_path):
    model, x = trained(optimizer), np.random.RandomState(1).rand(4, 6, 6, 1).astype("float32")
    model.save(tmp_path / "here.h5")
    path, (predicted,) = through(program, tmp_path / "here.h5", [x], tmp_path)
    np.testing.assert_allclose(model.predict(x), predicted, rtol=1e-5, atol=1e-6)
    back = load_model(path)
    assert [w.tobytes() for w in back.get_weights()] == [w.tobytes() for w in model.get_weights()]
    if program == "keras":                         # tf_keras keeps its states in other places
        assert [w.tobytes() for w in back.optimizer.get_weights()] == [
            w.tobytes() for w in model.optimizer.get_weights()]
