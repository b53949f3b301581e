"""Matrix products with what follows them: bias, relu, gelu, their gradients.

Made by passes/epilogues.py. On CUDA each is one call of cuBLASLt, or where that knows no such
call, a product and a kernel or two (epilogue.cu, reduce.cu).
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph import TensorType
from ..graph.op import Op
from .broadcast import Sum
from .gelu import probability, slope
from .linalg import Dot
from .plans import THREADS, defines, grid_for
from .plans_reduce import plan_sum
from .record import Gemm, In, Kernel, Launch, LaunchPlan, Out, Ref

Types = tuple[TensorType, ...]

MASK_ALIGN = 128                                   # elements: what cuBLASLt wants of a mask's rows


def mask_bytes(columns: int) -> int:
    """Bytes of a row of a relu's mask, one bit an element."""
    return -(-columns // MASK_ALIGN) * MASK_ALIGN // 8


def _product(op: Any, ins: Types, outs: Types) -> Gemm:
    """The plain product of the first two inputs."""
    gemm, = Dot.cuda.plan(op, ins[:2], outs[:1]).steps
    return gemm


def _column_sums(x: Ref, of: TensorType, y: Ref, to: TensorType) -> tuple[tuple, tuple]:
    """(launches, scratch) of y = sum of x over its rows."""
    plan = plan_sum(Sum((0,)), (of,), (to,))
    place = {In(0): x, Out(0): y}
    return tuple(replace(s, file="reduce.cu", args=tuple(
        place.get(a, a) if isinstance(a, (In, Out)) else a for a in s.args))
        for s in plan.steps), plan.temps


def plan_dot_bias(op: "DotBias", ins: Types, outs: Types) -> LaunchPlan:
    product, y = _product(op, ins, outs), outs[0]
    epilogue = "relu mask" if op.mask else "relu" if op.relu else "bias"
    one = replace(product, epilogue=epilogue, bias=In(2), aux=Out(1) if op.mask else None)
    add = Launch("bias_fwd", grid_for(y.size), (THREADS,),
                 (In(2), Out(0), np.int64(y.size), np.int32(y.shape[1]), np.int32(op.relu)),
                 defines=defines(T=y.dtype))
    return LaunchPlan((one,), otherwise=LaunchPlan((product, add)))


def plan_dot_relu_grad(op: "DotReluGrad", ins: Types, outs: Types) -> LaunchPlan:
    return _plan_grad("relu grad", "relu_bwd", In(3), op, ins, outs)


def plan_dot_gelu_grad(op: "DotGeluGrad", ins: Types, outs: Types) -> LaunchPlan:
    return _plan_grad("gelu grad", "gelu_bwd", In(2), op, ins, outs)


def _plan_grad(epilogue: str, entry: str, aux: In, op: Op, ins: Types, outs: Types) -> LaunchPlan:
    """A product through an activation's gradient, which needs `aux`, and its column sums."""
    product, g = _product(op, ins, outs), outs[0]
    one = replace(product, epilogue=epilogue + " sums" if op.sums else epilogue, aux=aux,
                  bias=Out(1) if op.sums else None)
    after = Launch(entry, grid_for(g.size), (THREADS,), (In(2), Out(0), np.int64(g.size)),
                   defines=defines(T=g.dtype))
    more, temps = _column_sums(Out(0), g, Out(1), outs[1]) if op.sums else ((), ())
    return LaunchPlan((one,), otherwise=LaunchPlan((product, after, *more), temps))


def plan_dot_sums(op: "DotSums", ins: Types, outs: Types) -> LaunchPlan:
    product = _product(op, ins, outs)
    one = replace(product, epilogue="sums of b", bias=Out(1))
    more, temps = _column_sums(In(1), ins[1], Out(1), outs[1])
    return LaunchPlan((one,), otherwise=LaunchPlan((product, *more), temps))


def plan_dot_gelu(op: "DotGelu", ins: Types, outs: Types) -> LaunchPlan:
    product, y = _product(op, ins, outs), outs[0]
    before = Out(1) if op.aux else Out(0)
    one = replace(product, epilogue="gelu aux" if op.aux else "gelu", bias=In(2),
                  aux=Out(1) if op.aux else None)
    add = Launch("gelu_fwd", grid_for(y.size), (THREADS,),
                 (In(2), before, Out(0), np.int64(y.size), np.int32(y.shape[1])),
                 defines=defines(T=y.dtype))
    return LaunchPlan((one,), otherwise=LaunchPlan((replace(product, c=before), add)))


class _Epilogue(Op):
    """A product of two matrices, each transposed first if asked, and more."""

    trans_a = False
    trans_b = False
    rank = 2

    def product(self, a: TensorType, b: TensorType) -> TensorType:
        return Dot(self.trans_a, self.trans_b).infer(a, b)

    def multiply(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return Dot(self.trans_a, self.trans_b).numpy(a, b)

    def flops(self, ins: Types, outs: Types) -> int:
        return Dot(self.trans_a, self.trans_b).flops(ins[:2], outs[:1])


class DotBias(_Epilogue):
    """y = a @ b + bias, or the relu of it; with `mask` also which elements the relu let through.

    (a, b, bias (n,)) -> y (m, n)[, mask (m, bytes)]: one bit an element, for DotReluGrad alone.
    """

    params = ("trans_a", "trans_b", "relu", "mask")
    relu = False
    mask = False
    opaque = (1,)                                  # the library's own order of bits
    cuda = Kernel("epilogue.cu", plan_dot_bias)

    def infer(self, a: TensorType, b: TensorType, bias: TensorType):
        y = self.product(a, b)
        if bias.shape != y.shape[1:] or bias.dtype != y.dtype:
            raise ShapeError(f"got a bias {bias}, expected {y.with_shape(y.shape[1:])}")
        mask = TensorType("uint8", (y.shape[0], mask_bytes(y.shape[1])))
        return (y, mask) if self.mask else y

    def numpy(self, a, b, bias):
        y = self.multiply(a, b) + bias
        y = np.maximum(y, 0) if self.relu else y
        if not self.mask:
            return y
        bits = np.zeros((len(y), mask_bytes(y.shape[1]) * 8), bool)
        bits[:, :y.shape[1]] = y > 0
        return y, np.packbits(bits, axis=1, bitorder="little")


class DotReluGrad(_Epilogue):
    """g = a @ b where y is positive, else 0; with `sums` also the sums of g over its rows.

    (a, b, y (m, n), mask) -> g (m, n)[, sums (n,)]: y and its mask are DotBias's.
    """

    params = ("trans_a", "trans_b", "sums")
    sums = False
    cuda = Kernel("epilogue.cu", plan_dot_relu_grad)

    def infer(self, a: TensorType, b: TensorType, y: TensorType, mask: TensorType):
        g = self.product(a, b)
        if y != g:
            raise ShapeError(f"got the relu's output {y}, expected {g}")
        return (g, g.with_shape(g.shape[1:])) if self.sums else g

    def numpy(self, a, b, y, mask):
        g = self.multiply(a, b) * (y > 0)
        return (g, g.sum(0, dtype=g.dtype)) if self.sums else g


class DotGelu(_Epilogue):
    """y = gelu(a @ b + bias), by tanh; with `aux` also what the gelu is taken of.

    (a, b, bias (n,)) -> y (m, n)[, a @ b + bias]; n a multiple of 8.
    """

    params = ("trans_a", "trans_b", "aux")
    aux = False
    cuda = Kernel("epilogue.cu", plan_dot_gelu)

    def infer(self, a: TensorType, b: TensorType, bias: TensorType):
        y = self.product(a, b)
        if bias.shape != y.shape[1:] or bias.dtype != y.dtype:
            raise ShapeError(f"got a bias {bias}, expected {y.with_shape(y.shape[1:])}")
        return (y, y) if self.aux else y

    def numpy(self, a, b, bias):
        x = self.multiply(a, b) + bias
        y = x * probability(x, approximate=True)
        return (y, x) if self.aux else y


class DotGeluGrad(_Epilogue):
    """g = (a @ b) * gelu'(x), by tanh; with `sums` also the sums of g over its rows.

    (a, b, x (m, n)) -> g (m, n)[, sums (n,)]; n a multiple of 8.
    """

    params = ("trans_a", "trans_b", "sums")
    sums = False
    cuda = Kernel("epilogue.cu", plan_dot_gelu_grad)

    def infer(self, a: TensorType, b: TensorType, x: TensorType):
        g = self.product(a, b)
        if x != g:
            raise ShapeError(f"got the gelu's input {x}, expected {g}")
        return (g, g.with_shape(g.shape[1:])) if self.sums else g

    def numpy(self, a, b, x):
        g = self.multiply(a, b) * slope(x, approximate=True)
        return (g, g.sum(0, dtype=g.dtype)) if self.sums else g


class DotSums(_Epilogue):
    """y = a @ b and the sums of b over its rows: gradients of a layer's kernel and its bias."""

    params = ("trans_a",)
    cuda = Kernel("epilogue.cu", plan_dot_sums)

    def infer(self, a: TensorType, b: TensorType):
        return self.product(a, b), b.with_shape(b.shape[1:])

    def numpy(self, a, b):
        return self.multiply(a, b), b.sum(0, dtype=b.dtype)
