"""The names that an expression from a file may use, and what they stand for here.

Nothing is reached but what these tables list: no attribute of a module, an object or a type.
"""
import math
import operator
import types

import numpy as np

from ... import activations
from ... import backend as K
from .expression import NoExpression
from .tf_functions import OPS, TF

MOST = 10 ** 7                                     # elements of what is made out of nothing
LONG = 10 ** 5                                     # elements of a list

_K = """abs all any arange argmax argmin batch_dot batch_flatten bias_add binary_crossentropy cast
cast_to_floatx categorical_crossentropy clip concatenate constant conv1d conv2d conv2d_transpose
conv3d cos cumprod cumsum depthwise_conv2d dot dropout dtype elu epsilon equal exp expand_dims eye
flatten floatx foldl foldr gather greater greater_equal hard_sigmoid identity image_data_format
in_test_phase in_train_phase int_shape is_keras_tensor is_sparse is_tensor l2_normalize
learning_phase less less_equal log logsumexp map_fn max maximum mean min minimum ndim not_equal
one_hot ones_like permute_dimensions pool2d pool3d pow prod random_binomial random_normal
random_uniform relu repeat repeat_elements reshape resize_images resize_volumes reverse round
separable_conv2d shape sigmoid sign sin slice softmax softplus softsign
sparse_categorical_crossentropy spatial_2d_padding spatial_3d_padding sqrt square squeeze stack std
stop_gradient sum switch tanh temporal_padding tile transpose truncated_normal var zeros_like
backend""".split()
_MAKERS = {"arange", "eye", "one_hot", "ones", "zeros", "random_binomial", "random_normal",
           "random_uniform", "truncated_normal", "repeat", "repeat_elements", "tile", "pad",
           "resize_images", "resize_volumes", "spatial_2d_padding", "spatial_3d_padding",
           "temporal_padding", "constant", "range", "conv2d_transpose"}
_TYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


class DType(str):
    """float32 as a name and, as NumPy's, as a function of a number."""

    def __call__(self, value):
        if isinstance(value, (list, tuple, np.ndarray)):
            return np.asarray(value, self)
        return np.dtype(str(self)).type(value).item()


def _made(name, function):
    """`function`, which may not make more than MOST elements out of nothing."""
    def limited(*args, **kwargs):
        product = 1
        for number in _integers([*args, *[v for k, v in kwargs.items() if k != "seed"]]):
            product *= max(1, abs(number))
            if product > MOST:
                raise NoExpression(f"{name} of more than {MOST:,} elements")
        return function(*args, **kwargs)
    return limited if name in _MAKERS else function


def _integers(values):
    for value in values:
        if isinstance(value, (int, np.integer)):
            yield int(value)
        elif isinstance(value, (list, tuple)):
            yield from _integers(value)


def _numbers(function):
    """A function of numbers, or of sequences of them, that are known: no tensors."""
    def on_numbers(*args, **kwargs):
        for value in args:
            if K.is_tensor(value):
                raise NoExpression("it gives NumPy or Python a tensor to compute with")
        found = function(*args, **kwargs)
        return found.item() if isinstance(found, np.generic) else found
    return on_numbers


def _short(values):
    if len(values) > LONG:
        raise NoExpression(f"a list of more than {LONG:,} elements")
    return list(values)


def _sum(values, start=0):
    for value in values:
        start = start + value
    return start


def _power(a, b):
    return compute("**", a, b)


_NUMPY = {name: _numbers(getattr(np, name)) for name in (
    "sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "tanh", "floor", "ceil", "abs",
    "prod", "sum", "mean", "max", "min", "array", "asarray", "sign", "round", "square", "reshape",
    "maximum", "minimum")}
_NUMPY.update(pi=math.pi, e=math.e, inf=math.inf, nan=math.nan, newaxis=None, power=_power,
              **{name: DType(name) for name in _TYPES})
_MATH = {name: _numbers(getattr(math, name)) for name in (
    "sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "tanh", "floor", "ceil", "fabs")}
_MATH.update(pi=math.pi, e=math.e, inf=math.inf, nan=math.nan, pow=_power)
_BUILTINS = {"abs": abs, "len": len, "int": _numbers(int), "float": _numbers(float),
             "bool": _numbers(bool), "min": _numbers(min), "max": _numbers(max), "sum": _sum,
             "round": _numbers(round), "list": list, "tuple": tuple, "pow": _power,
             "range": lambda *numbers: _short(range(*numbers)), "slice": slice,
             "print": lambda *args, **kwargs: None, "None": None, "True": True, "False": False,
             "Ellipsis": Ellipsis}
_BACKEND = {name: _made(name, getattr(K, name)) for name in _K}
_BACKEND.update(variable=_BACKEND["constant"], zeros=lambda shape, dtype=None, name=None:
                K.constant(_made("zeros", np.zeros)(shape), dtype=dtype),
                ones=lambda shape, dtype=None, name=None:
                K.constant(_made("ones", np.ones)(shape), dtype=dtype))
_TENSORFLOW = {**{name: _made(name, f) for name, f in TF.items()}, "newaxis": None,
               **{name: DType(name) for name in _TYPES}}
_ACTIVATIONS = {name: getattr(activations, name) for name in (
    "softmax", "elu", "selu", "softplus", "softsign", "relu", "tanh", "sigmoid", "hard_sigmoid",
    "exponential", "linear")}


def _layers():
    from .. import merge
    names = ("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot")
    return {name: getattr(merge, name) for name in names}


# prefix -> table; the longest prefix that fits is taken
_MODULES = {
    **dict.fromkeys(("K", "backend", "keras.backend", "tf.keras.backend", "KTF", "kb",
                     "tensorflow.keras.backend", "tensorflow.python.keras.backend",
                     "keras.src.backend", "tf.compat.v1.keras.backend",
                     "keras.backend.tensorflow_backend"), _BACKEND),
    **dict.fromkeys((f"{top}{version}{part}" for top in ("tf", "tensorflow", "K.tf")
                     for version in ("", ".compat.v1", ".compat.v2")
                     for part in ("", ".math", ".nn", ".image", ".random", ".linalg", ".dtypes")),
                    _TENSORFLOW),
    **dict.fromkeys(("np", "numpy", "np.linalg"), _NUMPY), "math": _MATH,
    **dict.fromkeys(("activations", "keras.activations", "tf.keras.activations",
                     "tensorflow.keras.activations"), _ACTIVATIONS),
    **dict.fromkeys(("ops", "keras.ops", "keras.src.ops"), OPS),
    **dict.fromkeys(("layers", "keras.layers", "tf.keras.layers", "L"), _layers),
}
# of a user's names, what these modules are called here
_GIVEN = {K.__name__: "K", "numpy": "np", "math": "math", activations.__name__: "activations"}


class NotAllowed(NoExpression):
    """A name that no table has. `names`: what to ask the user for."""

    def __init__(self, name):
        super().__init__(f"it uses {name[:100]}")
        self.name = name


def resolve(path, known):
    """What a dotted name stands for.

    # Arguments
        path: "K.sum", "latent_dim".
        known: dict name -> object that the user gave.

    # Raises
        NotAllowed: for a name that is in no table.
    """
    head, _, rest = path.partition(".")
    if head in known:
        given = known[head]
        if isinstance(given, types.ModuleType):
            head = _GIVEN.get(given.__name__)
            if head is None or not rest:
                raise NotAllowed(path)
            path = f"{head}.{rest}"
        elif not rest:
            return given
        else:
            raise NotAllowed(path)
    prefix, _, name = path.rpartition(".")
    if not prefix:
        if name not in _BUILTINS:                  # a K function by its bare name may be another
            raise NotAllowed(path)
        return _BUILTINS[name]
    table = _MODULES.get(prefix)
    table = table() if callable(table) else table
    if table is None or name not in table:
        raise NotAllowed(path)
    return table[name]


# ---------------------------------------------------------------- values

def _shape(x):
    return tuple(K.int_shape(x)) if K.is_tensor(x) else tuple(np.shape(x))


def _set_shape(x):
    def set_shape(shape):
        return None
    return set_shape


# attribute -> function of the value; "x.get_shape" gives a function
ATTRIBUTES = {
    "shape": _shape, "_keras_shape": _shape, "dtype": K.dtype, "ndim": K.ndim,
    "T": lambda x: K.transpose(x) if K.is_tensor(x) else np.transpose(x),
    "get_shape": lambda x: lambda: _shape(x),
    "as_list": lambda x: lambda: list(x) if isinstance(x, (tuple, list)) else _no(x, "as_list"),
    "value": lambda x: x if x is None or isinstance(x, int) else _no(x, "value"),
    "ndims": lambda x: len(x) if isinstance(x, tuple) else _no(x, "ndims"),
    "set_shape": _set_shape,
}
METHODS = ("get_shape", "as_list", "set_shape")


def _no(x, name):
    raise NoExpression(f"{type(x).__name__} has no {name} here")


_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
              "//": operator.floordiv, "%": operator.mod, "**": operator.pow, "@": None,
              "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift,
              ">>": operator.rshift}


def compute(word, a, b):
    """a + b and the like, of tensors and numbers; numbers stay small."""
    if word == "div":                              # of Python 2
        whole = all(isinstance(v, int) for v in (a, b))
        word = "//" if whole else "/"
    if word == "@":
        return TF["matmul"](a, b)
    if not K.is_tensor(a) and not K.is_tensor(b):
        _check_growth(word, a, b)
    if isinstance(a, str) and word == "%":
        raise NoExpression("it makes texts")
    return _OPERATORS[word](a, b)


def _check_growth(word, a, b):
    bits = [v.bit_length() if isinstance(v, int) else 0 for v in (a, b)]
    texts = [len(v) if isinstance(v, (str, list, tuple)) else 0 for v in (a, b)]
    large = max(bits) > 64
    large |= word == "**" and isinstance(b, int) and (bits[0] or 1) * abs(b) > 1000
    large |= word == "<<" and isinstance(b, int) and b > 64
    large |= word == "*" and max(texts) and max(texts) * 2 ** min(64, max(bits)) > LONG
    if large:
        raise NoExpression("it makes numbers or lists that are too large")


def contrast(word, a, b):
    """a < b and the like."""
    if word in ("is", "is not"):
        return (a is b) == (word == "is")
    if word in ("in", "not in"):
        if K.is_tensor(a) or K.is_tensor(b):
            raise NoExpression("it looks for a tensor in a list")
        return (a in b) == (word == "in")
    if K.is_tensor(a) or K.is_tensor(b):
        names = {"==": K.equal, "!=": K.not_equal, "<": K.less, "<=": K.less_equal,
                 ">": K.greater, ">=": K.greater_equal}
        return names[word](a, b)
    return {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
            ">": operator.gt, ">=": operator.ge}[word](a, b)
