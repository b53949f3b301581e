"""Old scripts, unchanged: `import keras` and the usual `tensorflow.keras` mean gpukeras.

    python -m gpukeras script.py arguments          or, in a notebook:
    import gpukeras.compat; gpukeras.compat.install()
"""
import importlib
import runpy
import sys
from pathlib import Path

from .. import backend
from . import tensorflow
from .alias import Finder
from .tensorflow import stand_in


def install():
    """Let `keras`, `keras.*`, `tensorflow` and `tensorflow.keras` be imported from gpukeras.

    Installed packages of these names are not touched, only hidden in this process. Of TensorFlow
    there is what Keras scripts touch in passing (devices, sessions, seeds, logging); anything else
    is an error that says what to do.

    # Raises
        RuntimeError: another Keras or TensorFlow is already imported.
    """
    if any(isinstance(finder, Finder) for finder in sys.meta_path):
        return
    for name in ("keras", "tensorflow"):
        if name in sys.modules:
            raise RuntimeError(f"{name} is already imported, from "
                               f"{getattr(sys.modules[name], '__file__', '?')}. Try: call "
                               "gpukeras.compat.install() first, in a fresh process")
    sys.meta_path.insert(0, Finder(stand_in))
    importlib.import_module("keras.backend.tensorflow_backend")      # Keras's own K imports it, too
    backend.get_session, backend.set_session = tensorflow.get_session, tensorflow.set_session


def uninstall():
    """Undo `install` for imports to come; what scripts have imported they keep."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Finder)]
    for name in ("tensorflow_backend", "get_session", "set_session"):
        backend.__dict__.pop(name, None)
    for name in [n for n in sys.modules if n.split(".")[0] in ("keras", "tensorflow")]:
        del sys.modules[name]


def run(script, arguments=()):
    """Run a script as `python script.py arguments` would, after `install`. Gives its globals."""
    path = Path(script)
    if not path.is_file():
        raise FileNotFoundError(f"there is no script {script!r} (in {Path.cwd()})")
    install()
    argv, where = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [str(script), *arguments], str(path.resolve().parent)
    try:
        return runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv, sys.path[0] = argv, where
