"""A script of this folder in a process of its own, which may crash or fill its memory."""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def run(script, *arguments):
    """What the script printed; it must have ended well."""
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "GPUKERAS_DEVICE": "cpu",
           "GPUKERAS_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(HERE / script), *map(str, arguments)], env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
