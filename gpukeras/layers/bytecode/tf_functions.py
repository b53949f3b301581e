"""Functions of TensorFlow, and of keras.ops, that have the same meaning in keras.backend.

They take TensorFlow's arguments; `name` is taken and not used. They are for the expressions of
Lambda layers only, not a TensorFlow.
"""
from ... import backend as K
from ...ops import math as op
from ...ops import shape as shape_op


def _renamed(function, **names):
    """`function`, which also knows arguments by other names."""
    def renamed(*args, name=None, **kwargs):
        return function(*args, **{names.get(key, key): value for key, value in kwargs.items()})
    return renamed


def _axes(axis):
    return list(axis) if isinstance(axis, tuple) else axis


def _reduction(function):
    def reduced(input_tensor, axis=None, keepdims=False, name=None, reduction_indices=None,
                keep_dims=False):
        axis = reduction_indices if axis is None else axis
        return function(input_tensor, axis=_axes(axis), keepdims=keepdims or keep_dims)
    return _renamed(reduced, x="input_tensor")


def _matmul(a, b, transpose_a=False, transpose_b=False, name=None):
    rank = K.ndim(a)

    def turned(x):
        return K.permute_dimensions(x, (*range(K.ndim(x) - 2), K.ndim(x) - 1, K.ndim(x) - 2))

    a, b = turned(a) if transpose_a else a, turned(b) if transpose_b else b
    if rank == 2 or K.ndim(b) == 2:
        return K.dot(a, b)
    if rank != 3 or K.ndim(b) != 3:
        raise ValueError(f"matmul of ranks {rank} and {K.ndim(b)}")
    return K.batch_dot(a, b)


def _transpose(a, perm=None, name=None):
    return K.transpose(a) if perm is None else K.permute_dimensions(a, perm)


def _split(value, num_or_size_splits, axis=0, name=None):
    size = K.int_shape(value)[axis]
    if size is None:
        raise ValueError("split along an axis of unknown size")
    if isinstance(num_or_size_splits, int):
        if not 0 < num_or_size_splits <= min(size, 1000) or size % num_or_size_splits:
            raise ValueError(f"split of {size} into {num_or_size_splits}")
        sizes = [size // num_or_size_splits] * num_or_size_splits
    else:
        sizes = list(num_or_size_splits)
    if len(sizes) > 1000:
        raise ValueError(f"split into {len(sizes)} parts, expected at most 1000")
    found, at, axis = [], 0, axis % K.ndim(value)
    for part in sizes:
        found.append(shape_op.slice_axis(value, axis, at, at + part))
        at += part
    return found


def _split_of_keras(x, indices_or_sections, axis=0):
    if isinstance(indices_or_sections, int):
        return _split(x, indices_or_sections, axis)
    cuts = [0, *indices_or_sections, K.int_shape(x)[axis]]
    return _split(x, [b - a for a, b in zip(cuts, cuts[1:])], axis)


def _unstack(value, num=None, axis=0, name=None):
    count = K.int_shape(value)[axis] if num is None else num
    return [K.squeeze(part, axis) for part in _split(value, count, axis)]


def _pad(tensor, paddings, mode="CONSTANT", constant_values=0, name=None):
    if mode.upper() != "CONSTANT":
        raise ValueError(f"pad with mode {mode!r}")
    return shape_op.pad(tensor, [tuple(pair) for pair in paddings], constant_values)


def _space_to_depth(input, block_size, name=None):
    n, h, w, c = K.int_shape(input)
    b = block_size
    x = K.reshape(input, (-1, h // b, b, w // b, b, c))
    return K.reshape(K.permute_dimensions(x, (0, 1, 3, 2, 4, 5)), (-1, h // b, w // b, b * b * c))


def _depth_to_space(input, block_size, name=None):
    n, h, w, c = K.int_shape(input)
    b = block_size
    x = K.reshape(input, (-1, h, w, b, b, c // (b * b)))
    return K.reshape(K.permute_dimensions(x, (0, 1, 3, 2, 4, 5)), (-1, h * b, w * b, c // (b * b)))


def _l2_normalize(x, axis=None, epsilon=1e-12, name=None, dim=None):
    axis = dim if axis is None else axis
    total = K.sum(K.square(x), axis=axis, keepdims=True)
    return x * op.rsqrt(K.maximum(total, epsilon))


def _where(condition, x=None, y=None, name=None):
    if x is None or y is None:
        raise ValueError("where without the two tensors to choose from")
    return K.switch(condition, x, y)


def _leaky_relu(features, alpha=0.2, name=None):
    return K.relu(features, alpha=alpha)


def _gather(params, indices, axis=None, name=None):
    if axis not in (None, 0):
        raise ValueError(f"gather along axis {axis}")
    return K.gather(params, indices)


def _norm(tensor, ord="euclidean", axis=None, keepdims=False, name=None):
    if ord not in ("euclidean", 2, None):
        raise ValueError(f"a norm of order {ord!r}")
    return K.sqrt(K.sum(K.square(tensor), axis=axis, keepdims=keepdims))


def _argmax(input, axis=None, name=None, dimension=None, output_type="int64"):
    axis = dimension if axis is None else axis
    return K.argmax(input, axis=0 if axis is None else axis)


def _softmax(logits, axis=-1, name=None, dim=None):
    return K.softmax(logits, axis=axis if dim is None else dim)


def _log_softmax(logits, axis=-1, name=None):
    return logits - K.logsumexp(logits, axis=axis, keepdims=True)


def _clip(t, clip_value_min, clip_value_max, name=None):
    return K.clip(t, clip_value_min, clip_value_max)


def _constant(value, dtype=None, shape=None, name=None):
    return K.constant(value, dtype=dtype, shape=shape)


def _random(function, first, second, defaults):
    def made(shape, *args, **kwargs):
        names = (first, second, "dtype", "seed", "name")
        given = {**defaults, **dict(zip(names, args)), **kwargs}
        given.pop("name", None)
        return function(shape, **{key: given[key] for key in given if key in names})
    return made


def _binary(function):
    def applied(x, y, name=None):
        return function(x, y)
    return _renamed(applied, x1="x", x2="y")


def _unary(function):
    def applied(x, name=None):
        return function(x)
    return _renamed(applied, features="x", input="x", input_tensor="x", tensor="x", logits="x")


def _stack(values, axis=0, name=None):
    return K.stack(list(values), axis=axis)


def _concat(values, axis=-1, name=None):
    return K.concatenate(list(values), axis=axis)


_SAME = {name: _unary(function) for name, function in {
    "abs": K.abs, "square": K.square, "sqrt": K.sqrt, "exp": K.exp, "log": K.log, "sign": K.sign,
    "sin": K.sin, "cos": K.cos, "tanh": K.tanh, "sigmoid": K.sigmoid, "round": K.round,
    "relu": K.relu, "softplus": K.softplus, "softsign": K.softsign, "elu": K.elu,
    "zeros_like": K.zeros_like, "ones_like": K.ones_like, "identity": K.identity,
    "stop_gradient": K.stop_gradient, "rsqrt": op.rsqrt, "log1p": op.log1p, "expm1": op.expm1,
    "floor": op.floor, "ceil": op.ceil, "erf": op.erf, "negative": lambda x: -x,
    "logical_not": op.logical_not, "relu6": lambda x: K.relu(x, max_value=6.),
    "reciprocal": lambda x: 1. / x, "softsign ": K.softsign}.items()}
_PAIRS = {name: _binary(function) for name, function in {
    "add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y, "truediv": lambda x, y: x / y, "pow": K.pow,
    "maximum": K.maximum, "minimum": K.minimum, "equal": K.equal, "not_equal": K.not_equal,
    "greater": K.greater, "greater_equal": K.greater_equal, "less": K.less,
    "less_equal": K.less_equal, "logical_and": op.logical_and, "logical_or": op.logical_or,
    "squared_difference": lambda x, y: K.square(x - y)}.items()}
_SAME.pop("softsign ")
_REDUCTIONS = {name: _reduction(getattr(K, name)) for name in (
    "sum", "mean", "max", "min", "prod", "all", "any", "logsumexp", "std", "var")}

TF = {
    **_SAME, **_PAIRS, **{f"reduce_{name}": f for name, f in _REDUCTIONS.items()},
    "reduce_variance": _REDUCTIONS["var"], "sub": _PAIRS["subtract"], "mul": _PAIRS["multiply"],
    "div": _PAIRS["divide"], "neg": _SAME["negative"],
    "matmul": _matmul, "transpose": _transpose, "split": _split, "unstack": _unstack,
    "concat": _concat, "stack": _stack, "pad": _pad, "where": _where, "gather": _gather,
    "norm": _norm, "argmax": _argmax, "softmax": _softmax, "log_softmax": _log_softmax,
    "space_to_depth": _space_to_depth, "depth_to_space": _depth_to_space,
    "l2_normalize": _l2_normalize, "leaky_relu": _leaky_relu, "clip_by_value": _clip,
    "constant": _constant, "convert_to_tensor": _constant,
    "reshape": _renamed(lambda tensor, shape: K.reshape(tensor, shape)),
    "expand_dims": _renamed(lambda input, axis=None: K.expand_dims(input, axis), dim="axis"),
    "squeeze": _renamed(lambda input, axis: K.squeeze(
        input, axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis),
        squeeze_dims="axis"),
    "tile": _renamed(lambda input, multiples: K.tile(input, multiples)),
    "cast": _renamed(lambda x, dtype: K.cast(x, dtype)),
    "to_float": _renamed(lambda x: K.cast(x, "float32")),
    "to_int32": _renamed(lambda x: K.cast(x, "int32")),
    "shape": _renamed(lambda input: K.shape(input), x="input"),
    "one_hot": _renamed(lambda indices, depth: K.one_hot(indices, depth)),
    "reverse": _renamed(lambda tensor, axis: K.reverse(tensor, axis)),
    "random_normal": _random(K.random_normal, "mean", "stddev", {}),
    "random_uniform": _random(K.random_uniform, "minval", "maxval", {}),
}

def _item(x, key):
    return x[tuple(key) if isinstance(key, list) else key]


TF["get_item"] = _item
# keras.ops, whose arguments are NumPy's
OPS = {
    **_SAME, **_PAIRS, **_REDUCTIONS, "negative": _SAME["negative"], "absolute": _SAME["abs"],
    "power": _PAIRS["pow"], "matmul": lambda x1, x2: _matmul(x1, x2),
    "reshape": lambda x, newshape: K.reshape(x, newshape),
    "transpose": lambda x, axes=None: _transpose(x, axes),
    "expand_dims": lambda x, axis: K.expand_dims(x, axis),
    "squeeze": lambda x, axis: K.squeeze(x, axis),
    "concatenate": lambda xs, axis=-1: _concat(xs, axis),
    "stack": lambda x, axis=0: _stack(x, axis), "split": _split_of_keras,
    "unstack": lambda x, num=None, axis=0: _unstack(x, num, axis),
    "where": lambda condition, x1=None, x2=None: _where(condition, x1, x2),
    "clip": lambda x, x_min, x_max: K.clip(x, x_min, x_max),
    "cast": lambda x, dtype: K.cast(x, dtype), "shape": K.int_shape,
    "amax": _REDUCTIONS["max"], "amin": _REDUCTIONS["min"], "norm": _norm,
    "softmax": lambda x, axis=-1: K.softmax(x, axis=axis), "leaky_relu":
    lambda x, negative_slope=0.2: K.relu(x, alpha=negative_slope),
    "flip": lambda x, axis: K.reverse(x, axis), "tile": lambda x, repeats: K.tile(x, repeats),
    "argmax": lambda x, axis=-1: K.argmax(x, axis=axis),
    "normalize": lambda x, axis=-1, order=2: _l2_normalize(x, axis), "get_item": _item,
}
