"""The examples, run as a user runs them, and the accuracy that their first lines promise."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
MNIST_PLACES = (pathlib.Path.home() / ".keras" / "datasets" / "mnist.npz",
                ROOT.parent / "shared" / "data" / "mnist.npz")
MNIST = next((path for path in MNIST_PLACES if path.exists()), None)


def run(example, *arguments, cwd):
    """What an example prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(ROOT / "examples" / example), *map(str, arguments)],
                          cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stderr + done.stdout


def number(pattern, text):
    return float(re.search(pattern + r"\D*?(-?\d+\.\d+)", text).group(1))


def test_examples_are_short():
    lengths = {path.name: len(path.read_text().splitlines())
               for path in (ROOT / "examples").glob("*.py")}
    assert lengths and max(lengths.values()) < 80


def test_regression_finds_the_line(tmp_path):
    out = run("regression.py", cwd=tmp_path)
    assert abs(number("found y =", out) - 0.5) < 0.05
    assert abs(number(r"x \+", out) - 2) < 0.05


@pytest.mark.slow
def test_digits_are_learned_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    out = run("digits_cnn.py", cwd=tmp_path)
    assert number("test accuracy:", out) > 0.97
    assert 'Model: "sequential_1"' in out and "device" in out.splitlines()[0]
    assert sorted(os.listdir(tmp_path)) == ["digits.h5", "digits_curves.png",
                                            "digits_predictions.png"]


@pytest.mark.slow
@pytest.mark.skipif(MNIST is None, reason="needs mnist.npz in ~/.keras/datasets")
@pytest.mark.parametrize("example, accuracy", [("mnist_cnn.py", 0.985), ("mnist_mlp.py", 0.97)])
def test_mnist_is_learned(example, accuracy, tmp_path):
    assert number("test accuracy", run(example, "--data", MNIST, cwd=tmp_path)) > accuracy
