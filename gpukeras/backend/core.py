"""Tensors, variables, functions, gradients, and what happens in which learning phase."""
import contextlib
import gc

import numpy as np

from .. import devices, graph
from .. import function as engine
from ..devices import current
from ..graph import Constant, Placeholder, Tensor, Variable
from ..graph.halves import values_dtype
from ..ops import broadcast, random, reduce
from ..ops import math as op
from . import settings
from .settings import floatx


# ---------------------------------------------------------------- what a thing is

def is_tensor(x):
    """True for symbolic tensors: variables, placeholders, and what is computed from them."""
    return isinstance(x, Tensor)


def is_variable(x):
    """True for a tensor with state, made by `variable`."""
    return isinstance(x, Variable)


def is_placeholder(x):
    """True for a tensor made by `placeholder`."""
    return isinstance(x, Placeholder)


def is_sparse(tensor):
    """False: all tensors are dense here, also those made with sparse=True."""
    return False


def to_dense(tensor):
    """The tensor itself, see `is_sparse`."""
    return tensor


def is_keras_tensor(x):
    """True for the output of a layer (or an Input), which carries the layer that made it.

    # Raises
        ValueError: for what is no symbolic tensor at all.
    """
    if not is_tensor(x):
        raise ValueError(f"Unexpectedly found an instance of type `{type(x)}`. "
                         "Expected a symbolic tensor instance.")
    return hasattr(x, "_keras_history")


def dtype(x):
    """Name of the data type: "float32"."""
    return x.dtype if is_tensor(x) else np.asarray(x).dtype.name


def int_shape(x):
    """The shape as a tuple; None for sizes that are not known yet."""
    if hasattr(x, "_keras_shape"):
        return x._keras_shape
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def ndim(x):
    """Number of axes."""
    return x.ndim if hasattr(x, "ndim") else np.ndim(x)


def shape(x):
    """The shape as a tensor of integers, for sizes known only when a function is called."""
    return broadcast.Shape()(x)


def size(x, name=None):
    """Number of elements, as an integer tensor."""
    return reduce.prod_(shape(x)) if x.ndim else Constant(1, "int32")


def count_params(x):
    """Number of elements of a variable (whose sizes are all known)."""
    return int(np.prod(int_shape(x)))


# ---------------------------------------------------------------- making tensors

def variable(value, dtype=None, name=None, constraint=None):
    """A tensor with state.

    # Arguments
        value: number, array or tensor: the first value.
        dtype: data type, None for floatx.
        name: optional name.
        constraint: optional function from the updated value to the allowed one.
    """
    if hasattr(value, "tocoo"):
        value = value.toarray()                              # scipy.sparse
    dtype = dtype or floatx()
    if is_tensor(value):
        value = cast(_at_step_zero(value), dtype)
    return Variable(value, dtype, settings.full_name(name or "Variable"), constraint=constraint)


def _at_step_zero(value):
    """A first value does not depend on how many random numbers other functions have drawn."""
    return graph.rebuild([value], {random.step(): Constant(0, random.step().dtype)})[0]


def constant(value, dtype=None, shape=None, name=None):
    """A tensor with a fixed value, repeated up to `shape` if given; dtype None for floatx."""
    dtype = dtype or floatx()
    if is_tensor(value):
        return cast(value, dtype)
    if shape is None:
        return Constant(value, dtype)
    if np.ndim(value):
        return Constant(np.reshape(value, shape), dtype)
    return broadcast.broadcast_to(Constant(value, dtype), tuple(shape))


def placeholder(shape=None, ndim=None, dtype=None, sparse=False, name=None):
    """A tensor whose value is given when a function is called.

    # Arguments
        shape: tuple; None for sizes that are not known yet.
        ndim: number of axes, if there is no shape.
        dtype: data type, None for floatx.
        sparse: accepted, but the tensor is dense.
        name: optional name.
    """
    if shape is None:
        if ndim is None:
            raise ValueError("placeholder: got neither shape nor ndim, expected one of them.")
        shape = (None,) * ndim
    return Placeholder(dtype or floatx(), tuple(shape),
                       settings.full_name(name) if name else None)


def _filled(value, shape, dtype, name):
    dtype, shape = dtype or floatx(), tuple(int(d) for d in shape)
    return Variable(lambda: np.full(shape, value, values_dtype(dtype)), dtype,
                    settings.full_name(name or "Variable"), shape=shape)


def zeros(shape, dtype=None, name=None):
    """A variable full of zeros."""
    return _filled(0, shape, dtype, name)


def ones(shape, dtype=None, name=None):
    """A variable full of ones."""
    return _filled(1, shape, dtype, name)


def eye(size, dtype=None, name=None):
    """A variable that holds the identity matrix; `size`: a number, or (rows, columns)."""
    rows, columns = size if isinstance(size, (tuple, list)) else (size, size)
    return variable(np.eye(rows, columns), dtype, name)


def zeros_like(x, dtype=None, name=None):
    """A tensor of zeros in the shape of x."""
    return op.zeros_like(cast(x, dtype or x.dtype))


def ones_like(x, dtype=None, name=None):
    """A tensor of ones in the shape of x."""
    return op.ones_like(cast(x, dtype or x.dtype))


def identity(x, name=None):
    """x, as a tensor of its own."""
    return graph.mark(x, name or "identity")


def cast(x, dtype):
    """x in another data type."""
    return op.cast(x, dtype if dtype == "bfloat16" else np.dtype(dtype).name)


def cast_to_floatx(x):
    """An array (or tensor) in the float type."""
    return cast(x, floatx()) if is_tensor(x) else np.asarray(x, dtype=values_dtype(floatx()))


def print_tensor(x, message=""):
    """x; its value is printed by `K.eval` and `K.function` only if you fetch it.

    A compiled step never stops to print.
    """
    return identity(x, message or "print_tensor")


# ---------------------------------------------------------------- values

def get_value(x):
    """The value of a variable: an array, or a NumPy number where it has no axes."""
    if not is_tensor(x):
        return np.asarray(x)
    return current().read(x)[()] if is_variable(x) else eval(x)


def batch_get_value(ops):
    """The values of several variables, as a list of arrays."""
    return [get_value(x) for x in ops]


def set_value(x, value):
    """Set a variable from an array (or number) of its shape."""
    current().write(x, value)


def batch_set_value(tuples):
    """Set several variables from a list of (variable, array)."""
    for x, value in tuples:
        set_value(x, value)


def eval(x):
    """The value of a tensor that depends on no placeholder, as an array."""
    if is_variable(x):
        return get_value(x)
    return function([], [x])([])[0] if is_tensor(x) else np.asarray(x)


def function(inputs, outputs, updates=None, **kwargs):
    """A callable from arrays to arrays.

    # Arguments
        inputs: list of placeholders; `learning_phase()` may be among them.
        outputs: list of tensors.
        updates: list of (variable, new value), all computed from the values before the call.
        name: optional.

    # Returns
        f with f([array, ...]) -> [array, ...].
    """
    return engine.function(_listed(inputs), _listed(outputs), _listed(updates), **kwargs)


def _listed(x):
    if x is None:
        return []
    return list(x) if isinstance(x, (list, tuple)) else [x]


def gradients(loss, variables):
    """Gradients of sum(loss) for each variable (or any tensor); None where there is none."""
    return graph.gradients([(loss, op.ones_like(loss))], _listed(variables))


def stop_gradient(variables):
    """A tensor, or a list of them, through which no gradient passes."""
    if isinstance(variables, (list, tuple)):
        return [op.stop_gradient(x) for x in variables]
    return op.stop_gradient(variables)


# ---------------------------------------------------------------- updates

def update(x, new_x):
    """The pair (variable, new value), for the updates of a function or layer."""
    return x, cast(new_x, x.dtype)


def update_add(x, increment):
    """x becomes x + increment."""
    return update(x, x + increment)


def update_sub(x, decrement):
    """x becomes x - decrement."""
    return update(x, x - decrement)


def moving_average_update(x, value, momentum):
    """x becomes x - (x - value) * (1 - momentum)."""
    return update(x, x - (x - value) * (1.0 - momentum))


# ---------------------------------------------------------------- learning phase, branches

def learning_phase():
    """What says train (1) or test (0): a number if `set_learning_phase` fixed it, else a tensor."""
    fixed = settings.fixed_phase()
    return graph.learning_phase() if fixed is None else fixed


def in_train_phase(x, alt, training=None):
    """x when training, else alt; both tensors, or functions that make one.

    # Arguments
        training: 0, 1, a tensor, or None for the learning phase.
    """
    training = learning_phase() if training is None else training
    if not is_tensor(training):
        return _made(x if training else alt)
    return switch(training, x, alt)


def in_test_phase(x, alt, training=None):
    """x when testing, else alt; see `in_train_phase`."""
    return in_train_phase(alt, x, training=training)


def _made(x):
    return x() if callable(x) else x


def switch(condition, then_expression, else_expression):
    """then_expression where the condition holds, else else_expression.

    # Arguments
        condition: tensor of truth values with at most as many axes as the expressions; its axes are
            the first of theirs.
        then_expression, else_expression: tensors, or functions that make one.
    """
    then_expression, else_expression = _made(then_expression), _made(else_expression)
    if not is_tensor(condition):
        condition = Constant(condition, "bool")
    missing = max(ndim(then_expression), ndim(else_expression)) - condition.ndim
    if missing < 0:
        raise ValueError(f"Rank of `condition` should be less than or equal to rank of the "
                         f"expressions, got {condition.ndim} and {condition.ndim + missing}.")
    if condition.ndim and missing:
        axes = range(condition.ndim, condition.ndim + missing)
        condition = broadcast.expand_dims(condition, tuple(axes))
    return op.where(condition, then_expression, else_expression)


def set_learning_phase(value):
    """Fix the learning phase for everything built from now on, and for functions that are not told:
    0 test, 1 train.

    # Raises
        ValueError: for any other value.
    """
    settings.fix_phase(value)
    engine.set_default_phase(bool(value))


def control_dependencies(control_inputs):
    """A context in which nothing changes: the graph is pure, so there is no order to force."""
    return contextlib.nullcontext()


def symbolic(func):
    """Decorator of functions that build graph; here all do, so it returns `func` itself."""
    return func


def eager(func):
    """The counterpart of `symbolic`; returns `func` itself."""
    return func


def clear_session():
    """Forget names, the learning phase and the number of random draws; free what nobody holds.

    # Returns
        Bytes of GPU memory given back to the system.
    """
    settings.reset_names()
    random.reset_step()
    settings.fix_phase(None)
    engine.set_default_phase(False)
    gc.collect()
    return devices.release()
