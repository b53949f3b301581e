"""The functions of K on arrays: each call builds its graph, evaluates it and returns arrays.

    from gpukeras.backend import numpy_backend as KNP
    KNP.softmax(np.ones((2, 3)))

For tests that compare layers with plain computations. Slow, since nothing is compiled twice.
"""
import functools

import numpy as np

from .. import backend as K


def __getattr__(name):
    function = getattr(K, name, None)
    if name.startswith("_") or not callable(function):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _on_arrays(function)


def __dir__():
    return [name for name in dir(K) if callable(getattr(K, name)) and name[0] != "_"]


def _on_arrays(function):
    """`function` of K with arrays in and out; given tensors (as inside K.rnn) it stays symbolic."""
    @functools.wraps(function)
    def call(*args, **kwargs):
        given = [*args, *kwargs.values()]
        if any(K.is_tensor(x) for x in given):
            return function(*args, **kwargs)
        result = function(*map(_tensor, args), **{name: _tensor(x) for name, x in kwargs.items()})
        return _array(result)
    return call


def _tensor(x):
    if isinstance(x, (list, tuple)) and any(isinstance(item, np.ndarray) for item in x):
        return [_tensor(item) for item in x]
    return K.constant(x, dtype=x.dtype.name) if isinstance(x, np.ndarray) else x


def _array(x):
    if isinstance(x, (list, tuple)):
        return type(x)(_array(item) for item in x)
    return K.eval(x) if K.is_tensor(x) else x
