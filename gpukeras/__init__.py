"""gpukeras: Keras 2.3 on CuPy and NumPy."""
from . import activations, backend, constraints, initializers, layers, losses
from . import metrics, models, optimizers, regularizers, utils
from .layers import Input
from .models import Model, Sequential

__version__ = "2.3.1"
_LAZY = ("applications", "callbacks", "datasets", "engine", "hvd", "legacy",
         "mixed_precision", "objectives", "preprocessing", "wrappers")


def __getattr__(name):
    """Import the parts that most programs do not need when they are first used."""
    if name in _LAZY:
        import importlib
        return importlib.import_module("." + name, __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
