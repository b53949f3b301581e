"""Broken model files load or give a clear error: no crash, no hang, little memory, no code run."""
import os
import pathlib
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def read_broken_files(folder, count, seed):
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "GPUKERAS_DEVICE": "cpu",
           "GPUKERAS_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(HERE / "read_broken_files.py"), str(folder),
                           str(count), str(seed)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_some_broken_files(tmp_path):
    read_broken_files(tmp_path, 150, seed=1)


@pytest.mark.long
def test_ten_thousand_broken_files(tmp_path):
    read_broken_files(tmp_path, 10_000, seed=int(time.time()))
