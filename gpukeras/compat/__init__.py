"""Old scripts, unchanged: `import keras` and the usual `tensorflow.keras` mean gpukeras.

    python -m gpukeras script.py arguments          or, in a notebook:
    import gpukeras.compat; gpukeras.compat.install()
"""
import functools
import importlib
import runpy
import sys
from pathlib import Path

from .. import backend
from . import old_numpy, tensorflow
from .alias import Finder
from .tensorflow import stand_in


def install():
    """Let `keras`, `keras.*`, `tensorflow` and `tensorflow.keras` be imported from gpukeras.

    Installed packages of these names are not touched, only hidden in this process. Of TensorFlow
    there is what Keras scripts touch in passing (devices, sessions, seeds, logging); anything else
    is an error that says what to do. NumPy gets those of its old names back that it has dropped
    since, such as `np.float`.

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
    backend.manual_variable_initialization = lambda value: None      # values are there at once
    old_numpy.restore()


def uninstall():
    """Undo `install` for imports to come; what scripts have imported they keep."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Finder)]
    for name in ("tensorflow_backend", "get_session", "set_session",
                 "manual_variable_initialization"):
        backend.__dict__.pop(name, None)
    for name in [n for n in sys.modules if n.split(".")[0] in ("keras", "tensorflow")]:
        del sys.modules[name]
    old_numpy.remove()


def run(script, arguments=()):
    """Run a script as `python script.py arguments` would, after `install`. Gives its globals."""
    path = Path(script)
    if not path.is_file():
        raise FileNotFoundError(f"there is no script {script!r} (in {Path.cwd()})")
    install()
    argv, where, hook = sys.argv, sys.path[0], sys.excepthook
    sys.excepthook = functools.partial(_from_the_script_on, str(script), hook)
    sys.argv, sys.path[0] = [str(script), *arguments], str(path.resolve().parent)
    try:
        return runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv, sys.path[0] = argv, where


def _from_the_script_on(script, show, kind, error, trace):
    """Show an error that nobody catches as `python script` would: without what ran the script."""
    own = trace
    while own is not None and own.tb_frame.f_code.co_filename != script:
        own = own.tb_next
    show(kind, error.with_traceback(own or trace), own or trace)
