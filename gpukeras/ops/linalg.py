"""Matrix products. Both are row-major GEMMs with optional transposes, so that no transpose is ever
copied."""
from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..blas import bind_batched, bind_gemm
from ..errors import ShapeError
from ..graph import Node, Op, Tensor, TensorType
from .math import common_dtype
from .record import Gemm, In, Kernel, LaunchPlan, Out


def _sizes(op: Op, a: TensorType, b: TensorType) -> tuple:
    """(m, inner of a, inner of b, n) of a product of the last two axes."""
    m, ka = a.shape[-2:][::-1] if op.trans_a else a.shape[-2:]
    kb, n = b.shape[-2:][::-1] if op.trans_b else b.shape[-2:]
    return m, ka, kb, n


def plan_dot(op: Op, ins: tuple, outs: tuple) -> LaunchPlan:
    """One GEMM, batched when the tensors have rank 3."""
    a, b = ins
    m, k, _, n = _sizes(op, a, b)
    batch = a.shape[0] if a.ndim == 3 else 1
    return LaunchPlan((Gemm(In(0), In(1), Out(0), m, n, k, op.trans_a, op.trans_b, batch=batch,
                            stride_a=m * k, stride_b=k * n, stride_c=m * n, dtype=a.dtype),))


class Dot(Op):
    """The matrix product of two matrices, each transposed first if asked."""

    params = ("trans_a", "trans_b")
    trans_a = False
    trans_b = False
    rank = 2
    cuda = Kernel("gemm", plan_dot)

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if a.ndim != self.rank or b.ndim != self.rank:
            raise ShapeError(f"got {a} and {b}, expected two tensors of rank {self.rank}")
        m, ka, kb, n = _sizes(self, a, b)
        if ka != kb and None not in (ka, kb):
            raise ShapeError(f"inner sizes differ: got {a} and {b}, expected "
                             f"{'a.shape[-2]' if self.trans_a else 'a.shape[-1]'} == "
                             f"{'b.shape[-1]' if self.trans_b else 'b.shape[-2]'}")
        return a.with_shape(self._lead(a, b) + (m, n))

    def _lead(self, a: TensorType, b: TensorType) -> tuple:
        return ()

    def grad(self, node: Node, gy: Tensor):
        a, b = node.inputs
        dot = type(self)
        ta, tb = self.trans_a, self.trans_b
        ga = dot(tb, True)(b, gy) if ta else dot(False, not tb)(gy, b)
        gb = dot(True, ta)(gy, a) if tb else dot(not ta, False)(a, gy)
        return ga, gb

    def flops(self, ins, outs):
        m, k, _, n = _sizes(self, *ins)
        return 2 * m * n * k * (ins[0].shape[0] if self.rank == 3 else 1)

    def _views(self, a, b):
        return (a.swapaxes(-1, -2) if self.trans_a else a,
                b.swapaxes(-1, -2) if self.trans_b else b)

    def numpy(self, a, b):
        return np.matmul(*self._views(a, b))

    def host(self, ins, outs):
        a, b = self._views(*ins)
        y, = outs
        return bind_gemm(a, b, y) if self.rank == 2 else bind_batched(a, b, y)


def plan_cut_dot(op: Op, ins: tuple, outs: tuple) -> LaunchPlan:
    """One GEMM whose factors' rows lie further apart than they are long."""
    gemm, = plan_dot(Dot(op.trans_a, op.trans_b), op.cut(*ins), outs).steps
    sides = {}
    for name, i, cut, x in (("a", 0, op.cut_a, ins[0]), ("b", 1, op.cut_b, ins[1])):
        if cut:
            sides |= {name: In(i, cut[0] * x.itemsize), f"ld{name}": x.shape[1]}
    return LaunchPlan((replace(gemm, **sides),))


class CutDot(Op):
    """Dot of some columns of its factors: cut_a, cut_b are () or (first column, columns).

    Made by passes/cut.py from products of slices.
    """

    params = ("trans_a", "trans_b", "cut_a", "cut_b")
    cut_a: tuple = ()
    cut_b: tuple = ()
    cuda = Kernel("gemm", plan_cut_dot)

    def cut(self, a: TensorType, b: TensorType) -> tuple[TensorType, TensorType]:
        """The types of the two factors."""
        return tuple(x.with_shape((x.shape[0], cut[1])) if cut else x
                     for x, cut in ((a, self.cut_a), (b, self.cut_b)))

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return Dot(self.trans_a, self.trans_b).infer(*self.cut(a, b))

    def numpy(self, a, b):
        a, b = (x[:, cut[0]:sum(cut)] if cut else x
                for x, cut in ((a, self.cut_a), (b, self.cut_b)))
        return Dot(self.trans_a, self.trans_b).numpy(a, b)

    def flops(self, ins, outs):
        return Dot(self.trans_a, self.trans_b).flops(self.cut(*ins), outs)


class BatchDot(Dot):
    """Dot over a leading batch axis: (B, m, k) x (B, k, n) -> (B, m, n)."""

    rank = 3

    def _lead(self, a: TensorType, b: TensorType) -> tuple:
        if a.shape[0] != b.shape[0] and None not in (a.shape[0], b.shape[0]):
            raise ShapeError(f"batch sizes differ: got {a} and {b}")
        return (a.shape[0] if a.shape[0] is not None else b.shape[0],)


def dot(a: Tensor, b: Tensor, trans_a: bool = False, trans_b: bool = False) -> Tensor:
    """The product of two matrices."""
    return Dot(trans_a, trans_b)(*common_dtype((a, b)))


def batch_dot(a: Tensor, b: Tensor, trans_a: bool = False, trans_b: bool = False) -> Tensor:
    """The product of each pair of matrices of two stacks."""
    return BatchDot(trans_a, trans_b)(*common_dtype((a, b)))
