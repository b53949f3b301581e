"""Old scripts through `python -m gpukeras`, and its questions about model files."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from gpukeras.layers import BatchNormalization, Dense
from gpukeras.models import Sequential

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "tests" / "scripts").glob("*.py"))


def gpukeras(*arguments, cwd, fails=False):
    """What `python -m gpukeras arguments` prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "gpukeras", *map(str, arguments)], cwd=cwd,
                          env=env, capture_output=True, text=True, timeout=300)
    assert bool(done.returncode) == fails, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_old_script_runs(script, tmp_path):
    assert "done" in gpukeras(script, cwd=tmp_path).splitlines()


def test_script_gets_its_arguments_and_its_folder(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "beside.py").write_text("NAME = 'found'\n")
    (tmp_path / "code" / "main.py").write_text(
        "import sys, beside, keras.layers\nif __name__ == '__main__':\n"
        "    print(sys.argv[1:], beside.NAME, keras.layers.Dense.__module__)\n")
    out = gpukeras("code/main.py", "--epochs", "3", cwd=tmp_path)
    assert "['--epochs', '3'] found gpukeras.layers.core" in out


@pytest.mark.parametrize("text, message", [
    ("import tensorflow.contrib", "stands in for Keras and not for TensorFlow"),
    ("import keras.contrib.crf", "No module named 'keras.contrib"),
    ("import tensorflow as tf\ntf.matmul", "tensorflow.matmul is TensorFlow's own")])
def test_what_is_not_there_is_explained(text, message, tmp_path):
    (tmp_path / "a.py").write_text(text)
    assert message in gpukeras("a.py", cwd=tmp_path, fails=True)


def test_numpy_has_its_old_names_while_old_scripts_run(tmp_path):
    (tmp_path / "a.py").write_text(
        "import numpy as np\n"
        "print(np.zeros(2, np.float).dtype, np.ones(1, dtype=np.int)[0] == 1, np.Inf, np.bool(2),\n"
        "      np.product([2, 3]), np.asscalar(np.array([4])), np.in1d([[1, 2], [3, 4]], [3]),\n"
        "      np.array([1, 'a'], np.object).dtype, np.trapz([0, 2, 2]))\n"
        "import gpukeras.compat; gpukeras.compat.uninstall(); print(hasattr(np, 'asscalar'))\n")
    out = gpukeras("a.py", cwd=tmp_path)
    assert "float64 True inf True 6 4 [False False  True False] object 3.0\nFalse\n" in out


def test_an_error_is_shown_from_the_line_of_the_script_on(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    raise KeyError('mine')\nf()\n")
    trace = gpukeras("a.py", cwd=tmp_path, fails=True).split("Traceback")[1]
    shown = subprocess.run([sys.executable, "a.py"], cwd=tmp_path, capture_output=True, text=True)
    own = shown.stderr.split("Traceback")[1].replace(str(tmp_path) + os.sep, "")
    assert trace.splitlines()[1].strip() == own.splitlines()[1].strip()
    assert "runpy" not in trace and trace.endswith("KeyError: 'mine'\n")


def test_install_leaves_another_keras_alone(tmp_path):
    code = ("import sys, types; sys.modules['keras'] = types.ModuleType('keras')\n"
            "import gpukeras.compat\n"
            "try: gpukeras.compat.install()\n"
            "except RuntimeError as error: print(error)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "keras is already imported" in done.stdout


# ---------------------------------------------------------------- questions about files

@pytest.fixture
def saved(tmp_path):
    model = Sequential([Dense(3, input_shape=(2,), name="first"), BatchNormalization(name="norm")])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 2)), np.ones((2, 3)))
    model.save(tmp_path / "a.h5")
    return model


def test_doctor_tells_what_a_file_holds(saved, tmp_path):
    out = gpukeras("doctor", "a.h5", cwd=tmp_path)
    for text in ("Keras 2.3.1", "2: first, norm", "Adam", "mse", "of the optimizer is there",
                 "yes, Sequential with 2 layers and 21 weights", "from [(2, 2)] to [(2, 3)]"):
        assert text in out
    saved.save_weights(tmp_path / "w.h5")
    assert "model.load_weights(path)" in gpukeras("doctor", "w.h5", cwd=tmp_path)
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    assert "no HDF5 file" in gpukeras("doctor", "bad.h5", cwd=tmp_path, fails=True)


def test_summary_and_info_print(saved, tmp_path):
    assert "Total params: 21" not in gpukeras("info", cwd=tmp_path)
    assert "Trainable params: 15" in gpukeras("summary", "a.h5", cwd=tmp_path)
    assert "device" in gpukeras("info", cwd=tmp_path)


def test_convert_writes_h5(saved, tmp_path):
    gpukeras("convert", "a.h5", "b.h5", cwd=tmp_path)
    assert "Trainable params: 15" in gpukeras("summary", "b.h5", cwd=tmp_path)


def test_wrong_commands_are_explained(tmp_path):
    assert "expected 1" in gpukeras("doctor", cwd=tmp_path, fails=True)
    assert "there is no script 'nowhere.py'" in gpukeras("nowhere.py", cwd=tmp_path, fails=True)
