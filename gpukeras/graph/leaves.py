"""Tensors without inputs: placeholders, constants, variables, and the learning phase."""
from __future__ import annotations

import itertools
from typing import Any, Callable

import numpy as np

from ..errors import DtypeError, ShapeError
from . import origin
from .halves import plain, rounded, values_dtype
from .op import Op
from .tensor import Node, Tensor, intern
from .types import TensorType, check_dtype


class Leaf(Op):
    """The op of a tensor that is given, not computed."""

    foldable = False


class PlaceholderOp(Leaf):
    params = ("serial",)


class VariableOp(Leaf):
    params = ("serial",)


class ConstantOp(Leaf):
    params = ("data", "dtype", "shape")


_serial = itertools.count()


class Placeholder(Tensor):
    """A value that the caller of a function supplies."""

    def __init__(self, dtype: str, shape: tuple[int | None, ...], name: str | None = None) -> None:
        type = TensorType(check_dtype(dtype), tuple(None if d is None else int(d) for d in shape))
        node = Node(PlaceholderOp(next(_serial)), (), (), origin.current())
        node.outputs = (self,)
        super().__init__(node, 0, type)
        self._name = name


class Constant(Tensor):
    """A value known while the graph is built. Small equal constants are the same tensor."""

    value: np.ndarray
    _SMALL = 64                                    # elements: hashing more costs more than it saves

    def __new__(cls, value: Any, dtype: str | None = None) -> "Constant":
        half = dtype == "bfloat16"
        try:
            array = rounded(value, dtype) if half else plain(np.asarray(value, dtype))
        except (ValueError, TypeError) as error:
            raise DtypeError(f"cannot make a tensor of {type(value).__name__}: {error}") from None
        check_dtype(array.dtype)
        # Byte strings keep -0.0 and NaN apart, which == does not.
        data = array.tobytes() if array.size <= cls._SMALL else next(_serial)
        name = "bfloat16" if half else array.dtype.name
        op = ConstantOp(data, name, array.shape)

        def make() -> Node:
            node = Node(op, (), (), origin.NOWHERE)
            tensor = object.__new__(cls)
            Tensor.__init__(tensor, node, 0, TensorType(name, array.shape))
            tensor.value = array.copy() if array.flags.writeable else array
            tensor.value.flags.writeable = False
            node.outputs = (tensor,)
            return node

        return intern((op, ()), make).outputs[0]

    def __init__(self, value: Any, dtype: str | None = None) -> None:
        pass                                       # done in __new__, which may find an older one

    def __repr__(self) -> str:
        return f"<Constant {self.value if self.value.size <= 8 else self.type}>"


class Variable(Tensor):
    """A tensor with state. Its value lives on a device from the first use on.

    initial: an array, a tensor (evaluated at first use), or a function that returns an array.
    """

    def __init__(self, initial: Any, dtype: str | None = None, name: str | None = None,
                 trainable: bool = True, constraint: Callable | None = None,
                 shape: tuple[int, ...] | None = None) -> None:
        if isinstance(initial, Tensor):
            type = TensorType(dtype or initial.dtype, shape or initial.shape)
            if not type.is_static:
                raise ShapeError(f"a variable needs a known shape: got {type} as initial value")
        elif callable(initial):
            type = TensorType(check_dtype(dtype), tuple(shape))
        else:
            # a copy: the caller's array stays the caller's
            initial = np.array(initial, values_dtype(dtype) if dtype else None)
            type = TensorType(check_dtype(dtype or initial.dtype), initial.shape)
        node = Node(VariableOp(next(_serial)), (), (), origin.current())
        node.outputs = (self,)
        super().__init__(node, 0, type)
        self._name = name or f"Variable_{node.op.serial}"
        self.initial = initial
        self.trainable = trainable
        self.constraint = constraint
        self.storage: Any = None                   # the value, in the memory of `device`
        self.device: Any = None
        self.counts_calls = False                  # True: every function that reads it adds 1 to it

    def __repr__(self) -> str:
        return f"<Variable {self.name} {self.type}>"


def as_tensor(x: Any, dtype: str | None = None) -> Tensor:
    """`x` itself if it is a tensor, else a constant (of type `dtype` if given)."""
    return x if isinstance(x, Tensor) else Constant(x, dtype)


def constant_value(x: Tensor) -> np.ndarray | None:
    """The array of a constant, else None."""
    return x.value if isinstance(x, Constant) else None


_phase: Placeholder | None = None


def learning_phase() -> Placeholder:
    """The one placeholder that says train (True) or test (False); functions make it a constant."""
    global _phase
    if _phase is None:
        _phase = Placeholder("bool", (), "keras_learning_phase")
    return _phase
