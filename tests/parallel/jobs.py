"""Jobs of several ranks under mpirun on this machine."""
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
SCRIPT, SAME_BITS = HERE / "train_digits.py", HERE / "train_same_bits.py"


def mpirun():
    """The command, or None: from the wheel beside this Python, else from the system."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else shutil.which("mpirun")


def job(n, *args, script=SCRIPT, options=(), folder=None, **environ):
    """(exit code, output, time of its end) of a training script on n ranks. script: its path, or
    the arguments of Python."""
    if mpirun() is None or not _has_mpi4py():
        pytest.skip("no mpirun and mpi4py: pip install gpukeras[mpi]")
    command = [mpirun(), "--allow-run-as-root", "--oversubscribe", *map(str, options), "-n", str(n),
               sys.executable, *([str(script)] if isinstance(script, Path) else script),
               *map(str, args)]
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "GPUKERAS_DEVICE": "cpu",
           "OMP_NUM_THREADS": "1", "GPUKERAS_THREADS": "1", **environ}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300,
                          errors="replace", cwd=folder)
    return done.returncode, done.stdout + done.stderr, time.time()


def _has_mpi4py():
    try:
        import mpi4py
    except ImportError:
        return False
    return bool(mpi4py)


def since_trouble(words, end):
    """Seconds from the trouble that a rank has announced to the end of the job."""
    return end - float(re.search(r"trouble at ([\d.]+)", words)[1])


def load(out, rank):
    with np.load(f"{out}.{rank}.npz") as file:
        return {name: file[name] for name in file}
