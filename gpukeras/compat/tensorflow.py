"""In TensorFlow's place: what Keras scripts touch in passing, doing nothing or the same of ours."""
import contextlib
import logging as python_logging
import types

import numpy as np

VERSION = "1.15.5"


class Anything:
    """Takes any argument and attribute: ConfigProto(), config.gpu_options.allow_growth = True."""

    def __init__(self, *args, **kwargs):
        self.__dict__.update(kwargs)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = self.__dict__[name] = Anything()
        return made

    def __call__(self, *args, **kwargs):
        return Anything()


class Session:
    """A session: opens, closes and initialises, as ours needs none of it."""

    def __init__(self, target="", graph=None, config=None):
        self.graph = graph or Graph()

    def __enter__(self):
        return self

    def __exit__(self, *details):
        return False

    def close(self):
        pass

    def as_default(self):
        return contextlib.nullcontext(self)

    def run(self, fetches, feed_dict=None):
        """None for an initializer; the values of tensors that need no feeding."""
        from .. import backend as K
        if isinstance(fetches, Anything):
            return None
        if feed_dict:
            raise NotImplementedError("session.run(..., feed_dict) is TensorFlow's. "
                                      "Try: K.function(inputs, outputs)(values)")
        if isinstance(fetches, (list, tuple)):
            return [K.eval(x) for x in fetches]
        return K.eval(fetches)


class Graph:
    """A graph to be the default one; ours needs none."""

    def as_default(self):
        return contextlib.nullcontext(self)

    def finalize(self):
        pass


_session = None


def set_session(session):
    global _session
    _session = session


def get_session():
    global _session
    if _session is None:
        _session = Session()
    return _session


def _seed(seed):
    np.random.seed(seed)


def _gpus(kind=None, *args):
    """Names of the GPUs as TensorFlow 2 lists them; none when the CPU is used."""
    from ..devices.choose import choose
    found = choose().name == "cuda"
    return [types.SimpleNamespace(name="/physical_device:GPU:0", device_type="GPU")] * found


def available_gpus():
    """Names of the GPUs as TensorFlow 1 has them."""
    return [f"/device:GPU:{i}" for i in range(len(_gpus()))]


def _reset():
    from .. import backend as K
    K.clear_session()


NAMES = {
    "__version__": VERSION, "VERSION": VERSION,
    "device": lambda name=None: contextlib.nullcontext(name),
    "name_scope": lambda *args, **kwargs: contextlib.nullcontext(args[0] if args else None),
    "variable_scope": lambda *args, **kwargs: contextlib.nullcontext(),
    "ConfigProto": Anything, "GPUOptions": Anything, "RunOptions": Anything,
    "OptimizerOptions": Anything,
    "Session": Session, "InteractiveSession": Session, "Graph": Graph,
    "get_default_graph": Graph, "get_default_session": get_session,
    "reset_default_graph": _reset,
    "global_variables_initializer": Anything, "local_variables_initializer": Anything,
    "initialize_all_variables": Anything, "tables_initializer": Anything,
    "set_random_seed": _seed, "disable_v2_behavior": lambda: None,
    "disable_eager_execution": lambda: None, "enable_eager_execution": lambda: None,
    "executing_eagerly": lambda: False,
    "float16": "float16", "float32": "float32", "float64": "float64", "int32": "int32",
    "int64": "int64", "uint8": "uint8", "bool": "bool",
}
_LEVELS = {"DEBUG": python_logging.DEBUG, "INFO": python_logging.INFO, "WARN": python_logging.WARN,
           "ERROR": python_logging.ERROR, "FATAL": python_logging.FATAL}
PARTS = {
    "logging": {"set_verbosity": lambda level: None, **_LEVELS},
    "random": {"set_seed": _seed, "set_random_seed": _seed},
    "test": {"is_gpu_available": lambda *a, **k: bool(_gpus()),
             "is_built_with_cuda": lambda: True,
             "gpu_device_name": lambda: "/device:GPU:0" if _gpus() else ""},
    "config": {"list_physical_devices": _gpus, "set_visible_devices": lambda *a, **k: None,
               "run_functions_eagerly": lambda *a: None, "experimental": {
                   "list_physical_devices": _gpus, "set_memory_growth": lambda *a: None,
                   "set_visible_devices": lambda *a, **k: None}},
}
PARTS["compat"] = {"v1": {**NAMES, **PARTS}}
PARTS["python"] = {"client": {"device_lib": {"list_local_devices": lambda *a: _gpus()}},
                   "framework": {"ops": {"reset_default_graph": _reset}}}
# as one says them: tf.compat.v1.logging, tf.python.client.device_lib
TREE = {**NAMES, **PARTS}


class StandIn(types.ModuleType):
    """A module of TensorFlow; names that it does not have are explained."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "keras":
            import keras
            return keras
        raise AttributeError(
            f"{self.__name__}.{name} is TensorFlow's own, and this script runs on gpukeras, which "
            "stands in for Keras only. Try: the function of the same kind in `keras.backend`, or "
            "run the script with TensorFlow")


def stand_in(name):
    """The module in the place of tensorflow or one of its parts, such as tensorflow.compat.v1."""
    tree = TREE
    for part in name.split(".")[1:]:
        if not isinstance(tree.get(part), dict):
            raise ModuleNotFoundError(
                f"No module named {name!r}: this script runs on gpukeras, which stands in for "
                "Keras and not for TensorFlow. Try: run the script with TensorFlow", name=name)
        tree = tree[part]
    module = StandIn(name)
    for key, value in tree.items():
        module.__dict__[key] = stand_in(f"{name}.{key}") if isinstance(value, dict) else value
    return module
