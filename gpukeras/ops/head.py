"""The end of a classifier. Of a small one in one launch each: summed loss with its gradient, number
of hits. Of a wide one in one launch: losses, their gradient and hits, row by row.

passes/condense.py puts these in where a training step for CUDA has the longer form.
"""
from __future__ import annotations

from math import prod

import numpy as np

from ..graph import Op, Tensor, TensorType
from .broadcast import sum_
from .composite import Composite
from .math import cast, equal
from .nn import (SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad, SparseSoftmaxCrossEntropy,
                 SparseSoftmaxCrossEntropyGrad)
from .plans import THREADS, c_type, defines, row_launch
from .record import In, Kernel, Launch, LaunchPlan, Out
from .reduce import argmax

Types = tuple[TensorType, ...]

MOST_COLUMNS, MOST_ELEMENTS = 128, 1 << 16         # beyond, one block is slower than more launches


def is_small(scores: TensorType) -> bool:
    """Whether one block does (…, classes) faster than several launches would."""
    size = scores.size
    return size is not None and 0 < size <= MOST_ELEMENTS and scores.shape[-1] <= MOST_COLUMNS


def _plan(entry: str, scores: int) -> Kernel:
    """One block over the rows of input `scores`."""
    def plan(op: Op, ins: Types, outs: Types) -> LaunchPlan:
        *lead, columns = ins[scores].shape
        rows = prod(lead)
        names = defines(T=ins[scores].dtype)
        other = ins[1 - scores]
        if other.ndim < ins[scores].ndim:
            names += (("I", c_type(other.dtype)),)
        refs = (*map(In, range(len(ins))), *map(Out, range(len(outs))))
        args = (*refs, np.int32(rows), np.int32(columns))
        return LaunchPlan((Launch(entry, (1,), (THREADS,), args, defines=names),))
    return Kernel("head.cu", plan)


class CrossEntropySum(Composite):
    """(logits (…, C), targets (…, C), g (…)) -> sum over rows of the cross-entropy, and its
    gradient by the logits where g arrives at each row."""

    cuda = _plan("xent_sum_fwd", 0)

    def expand(self, logits: Tensor, targets: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return (sum_(SoftmaxCrossEntropy()(logits, targets)),
                SoftmaxCrossEntropyGrad()(logits, targets, g))


class SparseCrossEntropySum(Composite):
    """(logits (…, C), classes (…), g (…)) -> as CrossEntropySum."""

    cuda = _plan("sparse_xent_sum_fwd", 0)

    def expand(self, logits: Tensor, labels: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return (sum_(SparseSoftmaxCrossEntropy()(logits, labels)),
                SparseSoftmaxCrossEntropyGrad()(logits, labels, g))


def _rows_plan(entry: str) -> Kernel:
    """All rows of the scores, with losses, gradient and perhaps hits as outputs."""
    def plan(op: Op, ins: Types, outs: Types) -> LaunchPlan:
        scores, targets, _ = ins
        *lead, columns = scores.shape
        names = defines(T=scores.dtype)
        if targets.ndim < scores.ndim:
            names += (("I", c_type(targets.dtype)),)
        refs = (In(0), In(1), In(2), Out(0), Out(1), Out(2) if op.hits else None)
        return LaunchPlan((row_launch(entry, refs, prod(lead), columns, names),))
    return Kernel("loss.cu", plan)


class CrossEntropyRows(Composite):
    """(logits (…, C), targets (…, C), g (…)) -> cross-entropy of each row (…), its gradient by the
    logits where g arrives, and with `hits` 1 where the largest elements are at one place (…)."""

    params = ("hits",)
    hits = False
    cuda = _rows_plan("softmax_xent_rows")

    def expand(self, logits: Tensor, targets: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        outs = (SoftmaxCrossEntropy()(logits, targets),
                SoftmaxCrossEntropyGrad()(logits, targets, g))
        hit = cast(equal(argmax(targets), argmax(logits)), logits.dtype)
        return (*outs, hit) if self.hits else outs


class SparseCrossEntropyRows(Composite):
    """(logits (…, C), classes (…), g (…)) -> as CrossEntropyRows; a hit is at the class's place."""

    params = ("hits",)
    hits = False
    cuda = _rows_plan("sparse_xent_rows")

    def expand(self, logits: Tensor, labels: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        outs = (SparseSoftmaxCrossEntropy()(logits, labels),
                SparseSoftmaxCrossEntropyGrad()(logits, labels, g))
        hit = cast(equal(labels, cast(argmax(logits), labels.dtype)), logits.dtype)
        return (*outs, hit) if self.hits else outs


class MatchCount(Composite):
    """(targets (…, C), scores (…, C)) -> number of rows with the largest element at one place."""

    cuda = _plan("match_count_fwd", 1)

    def expand(self, targets: Tensor, scores: Tensor) -> Tensor:
        return sum_(cast(equal(argmax(targets), argmax(scores)), scores.dtype))


class LabelCount(Composite):
    """(classes (…), scores (…, C)) -> number of rows with the largest element at the class."""

    cuda = _plan("label_count_fwd", 1)

    def expand(self, labels: Tensor, scores: Tensor) -> Tensor:
        return sum_(cast(equal(labels, cast(argmax(scores), labels.dtype)), scores.dtype))
