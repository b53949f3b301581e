"""multi_gpu_model, where Keras 2.3 keeps it."""
import importlib


def __getattr__(name):
    """From gpukeras.parallel, which is above this folder, when first asked for."""
    return getattr(importlib.import_module("..parallel.multi_gpu", __package__), name)
