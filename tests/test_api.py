"""Every public name of Keras 2.3.1 is here under its path, with its signature."""
import importlib
import inspect

import pytest

from golden import reader

API = {name: case.facts for name, case in reader.cases("api").items()}

# modules that Keras's own parts only need among themselves
INTERNAL = {
    "keras.engine.training_arrays": "one loop serves arrays, generators and sequences: models/loop",
    "keras.engine.training_generator": "the same",
    "keras.engine.training_utils": "checks of data are in models/data and models/feed",
    "keras.utils.metrics_utils": "parts of the metrics, in metrics/confusion",
    "keras.legacy.interfaces": "one table for all old arguments instead of a decorator each",
}
_ABSTRACT = "base of Keras 1's recurrent layers, which no model contains"
# names that are left out on purpose, with the reason
_FILES = "models/h5_*.py read and write files with h5py itself"
OMITTED = {
    "keras.applications": {"keras_modules_injection": "there is one engine to build on"},
    "keras.engine.saving": {name: _FILES for name in (
        "allow_read_from_gcs", "allow_write_to_gcs", "load_attributes_from_hdf5_group",
        "pickle_model", "preprocess_weights_for_loading", "save_attributes_to_hdf5_group",
        "unpickle_model")},
    "keras.utils": {"H5Dict": _FILES},
    "keras.utils.io_utils": {name: _FILES for name in (
        "H5Dict", "h5dict", "load_from_binary_h5py", "save_to_binary_h5py")},
    "keras.utils.data_utils": {name: "parts of the enqueuers" for name in (
        "SequenceEnqueuer", "get_index", "init_pool", "init_pool_generator", "next_sample")},
    "keras.utils.test_utils": {"tf_file_io_proxy": "Google's storage through TensorFlow"},
    "keras.utils.vis_utils": {name: "parts of model_to_dot" for name in (
        "add_edge", "is_model", "is_wrapped_model")},
    "keras.backend": {name: "TensorFlow sessions" for name in (
        "get_session", "set_session", "manual_variable_initialization")},
    "keras.layers": {"ConvRecurrent2D": _ABSTRACT, "Recurrent": _ABSTRACT},
    "keras.legacy.layers": {"ConvRecurrent2D": _ABSTRACT, "Recurrent": _ABSTRACT},
    "keras.optimizers": {"TFOptimizer": "wraps an optimizer of TensorFlow"},
}


def module_of(path):
    return importlib.import_module("gpukeras" + path[len("keras"):])


def differences(path):
    """name -> what is wrong with it."""
    try:
        module = module_of(path)
    except ModuleNotFoundError:
        return {name: "missing" for name in API[path]}
    found = {}
    for name, (_, signature) in API[path].items():
        if not hasattr(module, name):
            found[name] = "missing"
        elif signature is not None:
            ours = str(inspect.signature(getattr(module, name)))
            if ours != signature:
                found[name] = f"{ours}, expected {signature}"
    return found


@pytest.mark.parametrize("path", [path for path in API if path not in INTERNAL])
def test_names_and_signatures(path):
    wrong, omitted = differences(path), OMITTED.get(path, {})
    assert {name: text for name, text in wrong.items() if name not in omitted} == {}
    assert not set(omitted) - set(wrong), "these are there: take them off the list OMITTED"
