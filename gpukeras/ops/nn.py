"""Softmax, log-softmax and the cross-entropies from logits, over the last axis.

Each gradient is a composite of its own, so that it is one launch. The probabilities of a
cross-entropy are computed again in its gradient: cheaper than keeping them.
"""
from __future__ import annotations

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph import Node, Op, Tensor, TensorType, as_tensor, is_float
from .broadcast import expand_dims, sum_, sum_like
from .composite import Composite
from .index import one_hot
from .math import Elementwise, cast, exp, log, sigmoid
from .plans import c_type, defines, matrix_of, row_launch
from .record import Expr, In, Kernel, LaunchPlan, Out
from .reduce import max_
from .shape import transpose

Types = tuple[TensorType, ...]


def _row_plan(entry: str, op: Op, ins: Types, outs: Types) -> LaunchPlan:
    """One launch over the rows of the first input."""
    rows, columns = matrix_of(ins[0].shape)
    if not rows or not columns:
        return LaunchPlan(())
    names = defines(T=ins[0].dtype)
    if len(ins) > 1 and not is_float(ins[1].dtype):
        names += (("I", c_type(ins[1].dtype)),)
    refs = (*map(In, range(len(ins))), Out(0))
    return LaunchPlan((row_launch(entry, refs, rows, columns, names),))


def _rows(file: str, entry: str) -> Kernel:
    return Kernel(file, lambda op, ins, outs: _row_plan(entry, op, ins, outs))


def _check_float(x: TensorType, rank: int = 1) -> None:
    if not is_float(x.dtype):
        raise DtypeError(f"got {x}, expected floats")
    if x.ndim < rank:
        raise ShapeError(f"got {x}, expected a last axis of classes")
    if x.shape[-1] == 0:
        raise ShapeError(f"got {x}, expected at least one class")


class _OneRow(Composite):
    """An op whose output has the type of its first input and mixes elements of one row only."""

    def infer(self, x: TensorType, *others: TensorType) -> TensorType:
        _check_float(x)
        for other in others:
            _check_same(x, other)
        return x


def _check_same(a: TensorType, b: TensorType) -> None:
    if a.dtype != b.dtype or a.ndim != b.ndim or any(
            m != n and None not in (m, n) for m, n in zip(a.shape, b.shape)):
        raise ShapeError(f"got {a} and {b}, expected two tensors of one type")


def _as_matrix(*arrays: np.ndarray) -> list[np.ndarray]:
    """Views with rows of the last axis, or the arrays themselves where that needs a copy."""
    return [a.reshape(-1, a.shape[-1]) if a.flags.c_contiguous else a for a in arrays]


# ------------------------------------------------------------------------------ softmax

class Softmax(_OneRow):
    """y = exp(x - max(x)) / sum(exp(x - max(x))) over the last axis."""

    cuda = _rows("softmax.cu", "softmax_fwd")

    def expand(self, x: Tensor) -> Tensor:
        e = exp(x - max_(x, -1, keepdims=True))
        return e / sum_(e, -1, keepdims=True)

    def grad(self, node: Node, gy: Tensor):
        return (SoftmaxGrad()(node.outputs[0], gy),)

    def host(self, ins, outs):
        x, y = _as_matrix(*ins, *outs)
        row = np.empty((*x.shape[:-1], 1), x.dtype)

        def run() -> None:
            np.maximum.reduce(x, axis=-1, keepdims=True, out=row)
            np.subtract(x, row, out=y)
            np.exp(y, out=y)
            np.add.reduce(y, axis=-1, keepdims=True, out=row)
            np.divide(y, row, out=y)
        return run


class SoftmaxGrad(_OneRow):
    """gx = y * (gy - sum(gy * y)): the gradient of softmax by its output y."""

    cuda = _rows("softmax.cu", "softmax_bwd")

    def expand(self, y: Tensor, gy: Tensor) -> Tensor:
        return y * (gy - sum_(gy * y, -1, keepdims=True))

    def host(self, ins, outs):
        y, gy, gx = _as_matrix(*ins, *outs)
        row = np.empty((*y.shape[:-1], 1), y.dtype)

        def run() -> None:
            np.multiply(gy, y, out=gx)
            np.add.reduce(gx, axis=-1, keepdims=True, out=row)
            np.subtract(gy, row, out=gx)
            np.multiply(gx, y, out=gx)
        return run


class LogSoftmax(_OneRow):
    """y = x - max(x) - log(sum(exp(x - max(x)))) over the last axis."""

    cuda = _rows("softmax.cu", "log_softmax_fwd")

    def expand(self, x: Tensor) -> Tensor:
        d = x - max_(x, -1, keepdims=True)
        return d - log(sum_(exp(d), -1, keepdims=True))

    def grad(self, node: Node, gy: Tensor):
        return (LogSoftmaxGrad()(node.outputs[0], gy),)


class LogSoftmaxGrad(_OneRow):
    """gx = gy - exp(y) * sum(gy): the gradient of log-softmax by its output y."""

    cuda = _rows("softmax.cu", "log_softmax_bwd")

    def expand(self, y: Tensor, gy: Tensor) -> Tensor:
        return gy - exp(y) * sum_(gy, -1, keepdims=True)


# ------------------------------------------------------------------------------ cross-entropies

class SoftmaxCrossEntropy(Composite):
    """loss = -sum_c targets_c * log_softmax(logits)_c.   (..., C) and (..., C) -> (...)"""

    cuda = _rows("loss.cu", "softmax_xent_fwd")

    def infer(self, logits: TensorType, targets: TensorType) -> TensorType:
        _check_float(logits)
        _check_same(logits, targets)
        return logits.with_shape(logits.shape[:-1])

    def expand(self, logits: Tensor, targets: Tensor) -> Tensor:
        return -sum_(targets * log_softmax(logits), -1)

    def grad(self, node: Node, gy: Tensor):
        logits, targets = node.inputs
        return (SoftmaxCrossEntropyGrad()(logits, targets, gy),
                -log_softmax(logits) * expand_dims(gy, gy.ndim))

    def host(self, ins, outs):
        (logits, targets), (loss,) = _as_matrix(*ins), outs
        loss = loss.reshape(logits.shape[:-1])
        d, e = np.empty_like(logits), np.empty_like(logits)
        row, total = (np.empty((*logits.shape[:-1], 1), logits.dtype) for _ in range(2))

        def run() -> None:
            _shifted(logits, d, row)
            np.exp(d, out=e)
            np.add.reduce(e, axis=-1, keepdims=True, out=total)
            np.log(total, out=total)
            np.subtract(total, d, out=d)
            np.multiply(d, targets, out=d)
            np.add.reduce(d, axis=-1, out=loss)
        return run


class SoftmaxCrossEntropyGrad(Composite):
    """gx = (softmax(logits) * sum(targets) - targets) * g: (..., C), (..., C), (...) -> (..., C)"""

    cuda = _rows("loss.cu", "softmax_xent_bwd")

    def infer(self, logits: TensorType, targets: TensorType, g: TensorType) -> TensorType:
        _check_same(logits, targets)
        _check_same(logits.with_shape(logits.shape[:-1]), g)
        return logits

    def expand(self, logits: Tensor, targets: Tensor, g: Tensor) -> Tensor:
        total = sum_(targets, -1, keepdims=True)
        return (softmax(logits) * total - targets) * expand_dims(g, g.ndim)

    def host(self, ins, outs):
        logits, targets, gx = _as_matrix(*ins[:2], *outs)
        g = ins[2].reshape(*logits.shape[:-1], 1)
        row, total = (np.empty((*logits.shape[:-1], 1), logits.dtype) for _ in range(2))

        def run() -> None:
            _shifted(logits, gx, row)
            np.exp(gx, out=gx)
            np.add.reduce(gx, axis=-1, keepdims=True, out=row)
            np.add.reduce(targets, axis=-1, keepdims=True, out=total)
            np.divide(total, row, out=total)
            np.multiply(gx, total, out=gx)
            np.subtract(gx, targets, out=gx)
            np.multiply(gx, g, out=gx)
        return run


def _shifted(x: np.ndarray, out: np.ndarray, row: np.ndarray) -> None:
    """out = x - max(x): exp overflows float32 above 88.7"""
    np.maximum.reduce(x, axis=-1, keepdims=True, out=row)
    np.subtract(x, row, out=out)


class SparseSoftmaxCrossEntropy(Composite):
    """loss = -log_softmax(logits)[label].   (..., C) and integers (...) -> (...)

    A label outside 0..C-1 gives NaN, on every device.
    """

    cuda = _rows("loss.cu", "sparse_xent_fwd")

    def infer(self, logits: TensorType, labels: TensorType) -> TensorType:
        _check_float(logits)
        _check_labels(logits, labels)
        return logits.with_shape(logits.shape[:-1])

    def expand(self, logits: Tensor, labels: Tensor) -> Tensor:
        chosen = one_hot(labels, logits.shape[-1], logits.dtype)
        # 0 / 0: a row without a class
        known = sum_(chosen, -1)
        return -sum_(chosen * log_softmax(logits), -1) / known

    def grad(self, node: Node, gy: Tensor):
        return SparseSoftmaxCrossEntropyGrad()(*node.inputs, gy), None

    def numpy(self, logits, labels):
        rows, label, valid = _rows_of(logits, labels)
        top = rows.max(-1, keepdims=True)
        with np.errstate(over="ignore"):
            total = np.log(np.exp(rows - top).sum(-1))
        loss = total - (rows[np.arange(len(rows)), label] - top[:, 0])
        return np.where(valid, loss, np.nan).astype(logits.dtype).reshape(labels.shape)


class SparseSoftmaxCrossEntropyGrad(Composite):
    """gx = (softmax(logits) - one_hot(label)) * g.   (..., C), integers (...), (...) -> (..., C)"""

    cuda = _rows("loss.cu", "sparse_xent_bwd")

    def infer(self, logits: TensorType, labels: TensorType, g: TensorType) -> TensorType:
        _check_labels(logits, labels)
        _check_same(logits.with_shape(logits.shape[:-1]), g)
        return logits

    def expand(self, logits: Tensor, labels: Tensor, g: Tensor) -> Tensor:
        chosen = one_hot(labels, logits.shape[-1], logits.dtype)
        known = sum_(chosen, -1)
        return (softmax(logits) - chosen) * expand_dims(g / known * known, g.ndim)

    def numpy(self, logits, labels, g):
        rows, label, valid = _rows_of(logits, labels)
        out = np.exp(rows - rows.max(-1, keepdims=True))
        out /= out.sum(-1, keepdims=True)
        out[np.arange(len(rows)), label] -= 1
        out *= np.where(valid, g.reshape(-1), np.nan).astype(g.dtype)[:, None]
        return out.reshape(logits.shape)


def _check_labels(logits: TensorType, labels: TensorType) -> None:
    if is_float(labels.dtype) or labels.dtype == "bool":
        raise DtypeError(f"labels: got {labels}, expected integers")
    _check_same(labels.with_shape(logits.shape[:-1]), labels)


def _rows_of(logits, labels) -> tuple:
    """(logits as a matrix, labels as a vector inside it, which labels were inside)."""
    rows, label = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    valid = (label >= 0) & (label < rows.shape[1])
    return rows, np.where(valid, label, 0), valid


class SigmoidCrossEntropy(Elementwise):
    """max(x, 0) - x * t + log(1 + e^-|x|): the cross-entropy of sigmoid(x) with t, per element."""

    cuda = Expr("((a > 0 ? a : 0) - a * b + log1p(exp(a > 0 ? -a : a)))")
    result = "float"

    @staticmethod
    def ufunc(x, t, out=None):
        loss = np.maximum(x, 0) - x * t
        return np.add(loss, np.log1p(np.exp(-np.abs(x))), out=out)

    def grad(self, node: Node, gy: Tensor):
        x, t = node.inputs
        return sum_like(gy * (sigmoid(x) - t), x), sum_like(-(gy * x), t)


# ------------------------------------------------------------------------------ functions

def _over_axis(op: Op, x: Tensor, axis: int) -> Tensor:
    axis = axis % x.ndim
    if axis == x.ndim - 1:
        return op(x)
    perm = [i for i in range(x.ndim) if i != axis] + [axis]
    return transpose(op(transpose(x, perm)), [int(i) for i in np.argsort(perm)])


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Positive numbers that sum to 1 along `axis`."""
    return _over_axis(Softmax(), x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """The logarithm of softmax, finite where softmax underflows."""
    return _over_axis(LogSoftmax(), x, axis)


def softmax_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of softmax(logits) with target probabilities, one number per row."""
    return SoftmaxCrossEntropy()(logits, cast(as_tensor(targets), logits.dtype))


def sparse_softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of softmax(logits) with class numbers, one number per row."""
    labels = as_tensor(labels)
    if is_float(labels.dtype):
        labels = cast(labels, "int32")
    return SparseSoftmaxCrossEntropy()(logits, labels)


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of sigmoid(logits) with targets, per element."""
    return SigmoidCrossEntropy()(logits, targets)
