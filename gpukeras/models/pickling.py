"""Models as pickles: the bytes of their file, and the classes and functions that are the user's."""
import importlib
import io
import marshal
import pickle
import types
import warnings

from ..layers import Lambda, Layer
from ..metrics import Metric


def reduced(model):
    """(function, arguments) that make the model again, as `__reduce__` gives them.

    What the user wrote goes as pickle takes classes and functions, by module and name. What has no
    place in a module is left out, and must be in `custom_objects` of a scope when it is loaded.
    """
    objects = {name: value for name, value in own_objects(model).items() if _has_place(value)}
    codes = {layer.name: _code(layer.function) for layer in _lambdas(model)
             if not _has_place(layer.function)}
    return unpickled, (_bytes(model), objects, codes)


def copied(model):
    """A model of its own with the same weights, optimizer and losses."""
    objects = own_objects(model)
    objects.update({layer.name: layer.function for layer in _lambdas(model)})
    return unpickled(_bytes(model), objects)


def unpickled(data, objects=(), codes=()):
    """The model of a pickle.

    # Arguments
        data: bytes of its HDF5 file.
        objects: dict name -> class or function that is not ours.
        codes: dict layer name -> code of its function.
    """
    from .saving import load
    objects = {**dict(objects), **{name: _function(*code) for name, code in dict(codes).items()}}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No training configuration")
        return load(io.BytesIO(data), objects, lenient=False)


def _bytes(model):
    from .saving import save_model
    if not (model._is_graph_network or hasattr(model, "add")):
        raise NotImplementedError(f"{type(model).__name__} cannot be pickled: it is a subclassed "
                                  "model, which has no config. Try: get_weights(), and build the "
                                  "model by its own code")
    file = io.BytesIO()
    save_model(model, file)
    return file.getvalue()


# ---------------------------------------------------------------- what is the user's

def own_objects(model):
    """dict name -> class or function in the model that is not part of this package."""
    found, seen = {}, set()
    waiting = [model, model.optimizer, model.loss, model._compile_metrics,
               model._compile_weighted_metrics]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (list, tuple)):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, (type, types.FunctionType)):
            _add(item, found)
        elif isinstance(item, (Layer, Metric)) or hasattr(item, "get_config"):
            _add(type(item), found)
            waiting += vars(item).values()
    for layer in _lambdas(model):
        found.pop(getattr(layer.function, "__name__", None), None)
        if _has_place(layer.function):
            found[layer.name] = layer.function
    return found


def _add(item, found):
    package = __name__.partition(".")[0]
    if item.__module__.partition(".")[0] not in (package, "builtins"):
        found[item.__name__] = item


def _lambdas(model):
    layers = [inner for layer in model.layers for inner in
              (_lambdas(layer) if hasattr(layer, "layers") else [layer])]
    return [layer for layer in layers if isinstance(layer, Lambda)]


def _has_place(item):
    """Whether pickle can name it."""
    try:
        pickle.dumps(item)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def _code(function):
    """What makes a function without a name again: a pickle may hold code, unlike a file."""
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return (marshal.dumps(function.__code__), function.__module__, function.__defaults__, cells)


def _function(code, module, defaults, values):
    cells = tuple(types.CellType(value) for value in values)
    globs = vars(importlib.import_module(module))
    return types.FunctionType(marshal.loads(code), globs, "<lambda>", defaults, cells or None)
