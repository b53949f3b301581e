"""kill -9 at any instant: files stay whole, and going on gives the bits of a run without kills."""
import os
import pathlib
import subprocess
import sys
import time

import pytest
from own_process import HERE, run

from gpukeras.utils.io_utils import atomic_write

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def kill_trainings(folder, kills, seed):
    return int(run("training_to_kill.py", folder, kills, seed))


def test_a_few_kills(tmp_path):
    assert kill_trainings(tmp_path, 10, seed=1) >= 1


@pytest.mark.long
def test_a_thousand_kills(tmp_path):
    assert kill_trainings(tmp_path, 1000, seed=int(time.time())) >= 100


def test_parts_of_killed_writers_are_swept_away(tmp_path):
    program = ("import os, sys; from gpukeras.utils.io_utils import atomic_write\n"
               "with atomic_write('a.h5') as part:\n"
               "    open(part, 'w').write('half'); os.kill(os.getpid(), 9)")
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env)
    left, = tmp_path.iterdir()
    assert left.name.endswith(".part")
    with atomic_write(tmp_path / "a.h5") as part:
        pathlib.Path(part).write_text("whole")
    assert left.exists()                           # young: its writer may be on another machine
    os.utime(left, (0, 0))
    with atomic_write(tmp_path / "a.h5") as part:
        pathlib.Path(part).write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    with atomic_write(tmp_path / "a.h5") as part:  # a writer that lives keeps its part
        os.utime(part, (0, 0))
        with atomic_write(tmp_path / "a.h5") as other:
            pathlib.Path(other).write_text("other")
        assert os.path.exists(part)
