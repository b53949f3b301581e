"""Ops that the host needs for 16-bit floats, which it keeps in float32 (see passes/lower.py)."""
from __future__ import annotations

from typing import Callable

import numpy as np

from ..errors import DtypeError
from ..graph import Node, Op, Tensor, TensorType
from ..graph.halves import BFLOAT16, convert, plain, rounded
from .elementwise import Elementwise
from .record import Expr


class _Rounded(Elementwise):
    """float32 numbers rounded to those of a 16-bit float."""

    to: str

    def grad(self, node: Node, gy: Tensor):
        return (gy,)

    def numpy(self, x):
        return rounded(x, self.to)

    def into(self, out, x):
        np.copyto(out, rounded(x, self.to))


class RoundFloat16(_Rounded):
    """The nearest float16 to x, as a float32; infinite from 65520 on."""

    to, cuda = "float16", Expr("(float)(float16)(a)")


class RoundBfloat16(_Rounded):
    """The nearest bfloat16 to x, as a float32."""

    to, cuda = "bfloat16", Expr("(float)(bfloat16)(a)")


class LoadBfloat16(Op):
    """A bfloat16 of the memory of the host as the float32 that it is."""

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype != "bfloat16":
            raise DtypeError(f"got {x}, expected a bfloat16")
        return x.with_dtype("float32")

    def grad(self, node: Node, gy: Tensor):
        return (gy,)

    def numpy(self, x):
        return plain(x)

    def host(self, ins, outs) -> Callable[[], None]:
        (x,), (y,) = ins, outs
        return lambda: np.copyto(y, plain(x))


class StoreBfloat16(Op):
    """float32 numbers rounded to bfloat16 in the memory of the host."""

    foldable = False                               # a constant in that memory: no op reads one

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype != "float32":
            raise DtypeError(f"got {x}, expected float32")
        return x.with_dtype("bfloat16")

    def grad(self, node: Node, gy: Tensor):
        return (gy,)

    def numpy(self, x):
        return rounded(x, "bfloat16")

    def host(self, ins, outs) -> Callable[[], None]:
        (x,), (y,) = ins, outs
        return lambda: np.copyto(y, convert(x, BFLOAT16))


ROUND = {"float16": RoundFloat16(), "bfloat16": RoundBfloat16()}
