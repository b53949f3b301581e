"""Topic `api`: public names of Keras 2.3.1 and their signatures, by module.

Names that a module only imports count in the modules meant for users (OFFICIAL); wrappers that
accept old argument names are looked through.
"""
import importlib
import inspect
import pkgutil

import keras

from .store import Store

LEFT_OUT = ('keras.backend.tensorflow_backend', 'keras.backend.theano_backend',
            'keras.backend.cntk_backend', 'keras.backend.load_backend', 'keras.backend.common',
            'keras.backend.numpy_backend', 'keras.callbacks.tensorboard_v2')


OFFICIAL = ('keras', 'keras.models', 'keras.layers', 'keras.engine', 'keras.engine.topology',
            'keras.objectives', 'keras.callbacks', 'keras.backend', 'keras.utils',
            'keras.applications', 'keras.preprocessing.image', 'keras.preprocessing.sequence',
            'keras.preprocessing.text', 'keras.wrappers.scikit_learn', 'keras.metrics',
            'keras.losses', 'keras.optimizers', 'keras.initializers', 'keras.activations',
            'keras.regularizers', 'keras.constraints')


def signature(found):
    """Text of a class's or function's signature, without self."""
    call = found
    if inspect.isclass(found):
        call = found.__init__
    call = getattr(call, '_original_function', call)
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return None
    if [p.kind for p in parameters] == [inspect.Parameter.VAR_POSITIONAL,
                                        inspect.Parameter.VAR_KEYWORD]:
        return None
    if inspect.isclass(found):
        if call is object.__init__ or parameters[0].kind == parameters[0].VAR_POSITIONAL:
            return None
        parameters = parameters[1:]
    return str(inspect.Signature([p.replace(annotation=p.empty) for p in parameters]))


def public(module):
    """name -> (kind, signature) of what Keras itself defines."""
    names = {}
    for name, found in vars(module).items():
        home = getattr(found, '__module__', None) or ''
        if name.startswith('_') or inspect.ismodule(found) or not home.startswith('keras'):
            continue
        tool = (home == 'keras.utils.generic_utils' and module.__name__ != 'keras.utils'
                or home.startswith('keras.engine') and module.__name__ in
                ('keras.activations', 'keras.metrics'))
        if home != module.__name__ and (module.__name__ not in OFFICIAL or tool):
            continue
        if inspect.isclass(found) or inspect.isfunction(found):
            kind = 'class' if inspect.isclass(found) else 'function'
            names[name] = [kind, signature(found)]
    return names


def generate():
    store = Store('api')
    store.add('keras', public(keras))
    for found in pkgutil.walk_packages(keras.__path__, 'keras.'):
        if found.name in LEFT_OUT:
            continue
        try:
            names = public(importlib.import_module(found.name))
        except ImportError:
            continue
        if names:
            store.add(found.name, names)
    store.write()
