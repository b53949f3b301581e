"""Models: graphs of layers, and what makes, saves and copies them."""
from .. import layers as _layers
from ..layers import Input, InputLayer
from .cloning import clone_model
from .model import Model
from .network import Network
from .network_config import model_from_config, model_from_json, model_from_yaml
from .sequential import Sequential

# `from keras.models import *` asks for these, the ones that come late (below) among them
__all__ = ["Input", "InputLayer", "Model", "Network", "Sequential", "clone_model", "load_model",
           "model_from_config", "model_from_json", "model_from_yaml", "save_model"]

_layers._containers.update(Model=Model, Sequential=Sequential)


def __getattr__(name):
    # h5py takes a third of a second to import, and most programs save nothing before they train
    if name in ("load_model", "save_model"):
        from . import saving
        return getattr(saving, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
