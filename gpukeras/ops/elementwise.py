"""What every elementwise op shares: its type, its NumPy code, binding to arrays; and the cast.

Shapes broadcast. Python numbers take the type of the tensor they meet; tensors of different types
meet in `promote`'s type.
"""
from __future__ import annotations

from functools import partial
from typing import Any, Callable, ClassVar, Sequence

import numpy as np

from ..graph import (Constant, Node, Op, Tensor, TensorType, as_tensor, broadcast_shapes, is_float,
                     promote)
from ..graph.halves import rounded
from .fused import Fused, FusedStep
from .host_fused import bind_fused
from .record import Expr


class Elementwise(Op):
    """An op whose element i depends on the elements i of its (broadcast) inputs.

    `ufunc(*arrays, out=)` is its NumPy code. `result` says the output type: "same" as the inputs,
    "bool", or "float" (integers become float32 first).
    """

    ufunc: ClassVar[Callable]
    result: ClassVar[str] = "same"
    renames: ClassVar[bool] = False                # the values of its input, under another type

    def __call__(self, *inputs: Any) -> Tensor:
        return super().__call__(*self.cast_inputs(inputs))

    def cast_inputs(self, inputs) -> tuple[Tensor, ...]:
        return common_dtype(inputs, need_float=self.result == "float")

    def infer(self, *types: TensorType) -> TensorType:
        shape = broadcast_shapes(*(t.shape for t in types)) if len(types) > 1 else types[0].shape
        return TensorType("bool" if self.result == "bool" else types[0].dtype, shape)

    def numpy(self, *arrays):
        return np.asarray(type(self).ufunc(*arrays))

    def into(self, out: np.ndarray, *arrays: np.ndarray) -> None:
        """Fill `out`, which has the shape of the result and may be one of the inputs."""
        type(self).ufunc(*arrays, out=out)

    def bind(self, out: np.ndarray, args: Sequence[np.ndarray], scratch) -> list[Callable]:
        """Calls that fill `out`, which may be one of `args`: bound once, made many times.

        scratch(name, shape, dtype) gives memory that is this op's while its calls run.
        """
        ufunc = getattr(type(self), "ufunc", None)
        if isinstance(ufunc, np.ufunc):
            return [partial(ufunc, *args, out=out)]
        return [partial(self.into, out, *args)]

    def host(self, ins, outs):
        n = len(ins)
        return bind_fused(Fused(n, (), (FusedStep(self, tuple(range(n))),), (n,), outs[0].shape),
                          ins, outs)


def common_dtype(inputs, need_float: bool = False) -> tuple[Tensor, ...]:
    """The inputs as tensors of one data type; numbers and arrays adapt to the tensors."""
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    kinds = [t.dtype for t in tensors] or [np.asarray(x).dtype.name for x in inputs]
    dtype = promote(*kinds)
    if not is_float(dtype) and (need_float or any(
            not isinstance(x, Tensor) and np.asarray(x).dtype.kind == "f" for x in inputs)):
        dtype = "float32"
    elif dtype == "bool" and any(not isinstance(x, Tensor) and np.asarray(x).dtype.kind in "iu"
                                 for x in inputs):
        dtype = "int32"
    return tuple(cast(x, dtype) if isinstance(x, Tensor) else Constant(x, dtype) for x in inputs)


def in_steps(function: Callable) -> Any:
    """A ufunc from `function(out, *arrays)` that uses several in-place steps."""
    def ufunc(*arrays, out=None):
        if out is None:
            out = np.empty(np.broadcast_shapes(*(np.shape(a) for a in arrays)),
                           np.result_type(*arrays))
        function(out, *arrays)
        return out
    return staticmethod(ufunc)


class Cast(Elementwise):
    """x in another data type; floats lose their fraction on the way to integers."""

    params = ("dtype",)
    cuda = Expr("a")

    def cast_inputs(self, inputs):
        return (as_tensor(inputs[0]),)

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.dtype)

    def grad(self, node: Node, gy: Tensor):
        x, = node.inputs
        return (cast(gy, x.dtype) if is_float(x.dtype) else None,)

    def numpy(self, x):
        return rounded(x, self.dtype) if self.dtype == "bfloat16" else x.astype(self.dtype)

    def into(self, out, x):
        np.copyto(out, x, casting="unsafe")


def cast(x: Any, dtype: str) -> Tensor:
    """x in the data type `dtype`."""
    if not isinstance(x, Tensor):
        return Constant(x, dtype)
    return x if x.dtype == dtype else Cast(dtype)(x)
