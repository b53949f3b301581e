"""A disk that is full, a folder that cannot be written: a clear error, and the old file stays."""
import os
import pathlib
import subprocess
import sys

import pytest

from gpukeras.layers import Dense
from gpukeras.models import Sequential, load_model

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A limit on the size of files fails a write as a full disk does.
SAVE = """
import resource, signal, sys
from gpukeras.callbacks import BackupAndRestore, CSVLogger, ModelCheckpoint
from gpukeras.layers import Dense
from gpukeras.models import Sequential
import numpy as np
model = Sequential([Dense(100, input_shape=(200,), name="new")], "new")
model.compile("sgd", "mse")
x, y = np.zeros((4, 200)), np.zeros((4, 100))
model.train_on_batch(x, y)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
save = {"model": lambda: model.save("a.h5"), "weights": lambda: model.save_weights("a.h5"),
        "checkpoint": lambda: model.fit(x, y, verbose=0, callbacks=[ModelCheckpoint("a.h5")]),
        "backup": lambda: model.fit(x, y, verbose=0, callbacks=[BackupAndRestore("backup")])}
try:
    save[sys.argv[1]]()
except OSError as error:
    print(error)
else:
    sys.exit("no error")
"""


@pytest.mark.parametrize("what", ["model", "weights", "checkpoint", "backup"])
def test_a_full_disk_leaves_the_old_file(what, tmp_path):
    pytest.importorskip("resource")
    Sequential([Dense(1, input_shape=(2,))], "old").save(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GPUKERAS_DEVICE": "cpu"}
    done = subprocess.run([sys.executable, "-c", SAVE, what], cwd=tmp_path, env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "File too large" in done.stdout and len(done.stdout) < 500
    assert "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "a.h5").read_bytes() == before
    assert load_model(tmp_path / "a.h5").name == "old"
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith((".part", ".backup"))]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=tmp_path.name):
        Sequential([Dense(1, input_shape=(2,))]).save(tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())
