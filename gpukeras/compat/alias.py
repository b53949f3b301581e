"""The names `keras.*`, `tensorflow.*` and `horovod.*` for modules of gpukeras."""
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import types

ROOTS = ("tensorflow.python.keras.", "tensorflow.compat.v1.keras.", "tensorflow.keras.", "keras.",
         "tensorflow_core.keras.")


def target(name):
    """The module of gpukeras that `name` stands for, or None: keras.layers -> gpukeras.layers."""
    if (name + ".").startswith("horovod."):
        inner = name.endswith(".callbacks")
        return "gpukeras.parallel.hvd_callbacks" if inner else "gpukeras.hvd"
    for root in ROOTS:
        if (name + ".").startswith(root):
            return ("gpukeras." + name[len(root):]).rstrip(".")
    return None


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives keras.*, tensorflow.* and horovod.*; everything else goes its usual way."""

    def __init__(self, stand_in):
        self.stand_in = stand_in                   # function: name -> module in TensorFlow's place
        self.own = {}                              # module -> the spec it was imported with

    def find_spec(self, name, path=None, where=None):
        if name.split(".")[0] not in ("keras", "tensorflow", "tensorflow_core", "horovod"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        ours = target(spec.name)
        if ours == "gpukeras.backend.tensorflow_backend":
            return session_backend(spec.name)
        if ours is None:
            return self.stand_in(spec.name)
        try:
            module = importlib.import_module(ours)
        except ModuleNotFoundError as error:
            if error.name and not ours.startswith(error.name):
                raise                                    # a package that ours needs, such as pandas
            raise ModuleNotFoundError(
                f"No module named {spec.name!r}: gpukeras has no {ours!r} (yet). The names that "
                f"scripts take from it may be in gpukeras.layers, .models, .utils or .backend",
                name=spec.name) from None
        self.own[module] = module.__spec__
        return module

    def exec_module(self, module):
        if module in self.own:
            module.__spec__ = self.own[module]           # the import system has put ours aside


def session_backend(name):
    """keras.backend.tensorflow_backend: K, and the sessions that TensorFlow had."""
    from .. import backend
    from . import tensorflow

    module = types.ModuleType(name, "K with TensorFlow's sessions, which do nothing.")
    module.__getattr__ = lambda key: getattr(backend, key)
    module.set_session, module.get_session = tensorflow.set_session, tensorflow.get_session
    module._get_available_gpus = tensorflow.available_gpus       # many scripts ask for it
    module.get_variable_shape = backend.int_shape
    return module
