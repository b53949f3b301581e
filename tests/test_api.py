"""Every public name of Keras 2.3.1 is here under its path, with its signature."""
import importlib
import inspect

import pytest

from golden import reader

API = {name: case.facts for name, case in reader.cases("api").items()}

# still to come; a complete module must leave the list
LATER = {
    "keras.applications",
    "keras.engine.saving", "keras.utils", "keras.utils.data_utils", "keras.utils.io_utils",
    "keras.utils.losses_utils", "keras.utils.metrics_utils", "keras.utils.multi_gpu_utils",
    "keras.utils.test_utils", "keras.utils.vis_utils",
}
# modules that Keras's own parts only need among themselves
INTERNAL = {
    "keras.engine.training_arrays": "one loop serves arrays, generators and sequences: models/loop",
    "keras.engine.training_generator": "the same",
    "keras.engine.training_utils": "checks of data are in models/data and models/feed",
    "keras.legacy.interfaces": "one table for all old arguments instead of a decorator each",
}
_ABSTRACT = "base of Keras 1's recurrent layers, which no model contains"
# names that are left out on purpose, with the reason
OMITTED = {
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
    if path in LATER:
        assert wrong, f"{path} is complete: take it off the list LATER"
        return
    assert {name: text for name, text in wrong.items() if name not in omitted} == {}
    assert not set(omitted) - set(wrong), "these are there: take them off the list OMITTED"
