"""Softmax, cross-entropies and batch normalisation: ops/nn.py, ops/norm.py."""
import numpy as np
from check import SIZES, Case

from gpukeras.ops.nn import (LogSoftmax, LogSoftmaxGrad, SigmoidCrossEntropy, Softmax,
                             SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad, SoftmaxGrad,
                             SparseSoftmaxCrossEntropy, SparseSoftmaxCrossEntropyGrad)
from gpukeras.ops.norm import BatchNormGrad, BatchNormStats, BatchNormSums, BatchNormTrain

ALL = ("float32", "float16", "float64")
rng = np.random.default_rng(5)
LARGE = rng.standard_normal((5, 33)) * 300         # exp(x) alone would overflow
LABELS = np.array([0, 32, 7, 7, 31], "int32")
ONE = np.abs(rng.standard_normal(33)) + 0.5


def vectors(c: int) -> tuple:
    """gamma, beta, mean and a positive variance of c channels."""
    return ((c,), (c,), (c,), np.abs(np.random.default_rng(c).standard_normal(c)) + 0.5)


def norm_grad(*shape: int) -> tuple:
    gamma, _, mean, var = vectors(shape[-1])
    return (shape, gamma, mean, var, shape)


CASES = [
    *(Case(op(), ((n, 10),)) for op in (Softmax, LogSoftmax) for n in SIZES),
    *(Case(op(), ((3, c),)) for op in (Softmax, LogSoftmax) for c in (1, 31, 32, 33, 1000, 1500)),
    *(Case(op(), ((2, 5, 33),), dtypes=ALL, batch=True) for op in (Softmax, LogSoftmax)),
    *(Case(op(), (LARGE,), grad=False) for op in (Softmax, LogSoftmax)),
    *(Case(op(), ((n, 33), (n, 33))) for op in (SoftmaxGrad, LogSoftmaxGrad) for n in (0, 1, 33)),
    *(Case(op(), ((3, 1500), (3, 1500)), dtypes=ALL, tolerance=10)
      for op in (SoftmaxGrad, LogSoftmaxGrad)),
    *(Case(SoftmaxCrossEntropy(), ((n, 10), (n, 10))) for n in SIZES),
    Case(SoftmaxCrossEntropy(), ((2, 5, 33), (2, 5, 33)), dtypes=ALL, batch=True, tolerance=3),
    Case(SoftmaxCrossEntropy(), ((3, 1500), (3, 1500)), tolerance=3),
    Case(SoftmaxCrossEntropy(), (LARGE, np.eye(33)[LABELS]), grad=False),
    *(Case(SoftmaxCrossEntropyGrad(), ((n, 10), (n, 10), (n,))) for n in SIZES),
    Case(SoftmaxCrossEntropyGrad(), ((3, 1500), (3, 1500), (3,)), dtypes=ALL, tolerance=3),
    *(Case(SparseSoftmaxCrossEntropy(), ((n, 10), np.arange(n, dtype="int32") % 10))
      for n in SIZES),
    Case(SparseSoftmaxCrossEntropy(), ((5, 33), LABELS), dtypes=ALL, batch=True),
    Case(SparseSoftmaxCrossEntropy(), ((5, 1500), LABELS.astype("int64") * 40)),
    Case(SparseSoftmaxCrossEntropy(), ((2, 3, 4), np.array([[0, 1, 2], [3, 2, 1]], "uint8"))),
    Case(SparseSoftmaxCrossEntropy(), ((3, 4), np.array([-1, 4, 2], "int32")), grad=False),
    Case(SparseSoftmaxCrossEntropyGrad(), ((5, 33), LABELS, (5,)), dtypes=ALL),
    Case(SparseSoftmaxCrossEntropyGrad(), ((5, 1500), LABELS, (5,))),
    Case(SparseSoftmaxCrossEntropyGrad(), ((3, 4), np.array([-1, 4, 2], "int32"), (3,)),
         grad=False),
    Case(SigmoidCrossEntropy(), ((4, 33), (4, 33)), batch=True),
    Case(SigmoidCrossEntropy(), (LARGE, np.eye(33)[LABELS]), grad=False),
    *(Case(BatchNormStats(1e-3), ((n, 5),), tolerance=3) for n in SIZES[2:]),
    *(Case(BatchNormSums(), (shape, shape[-1:], shape), tolerance=3, batch=True)
      for shape in ((3, 4, 5), (132, 33), (2, 9, 8, 33))),
    *(Case(BatchNormStats(1e-3), ((7, c),), tolerance=3) for c in SIZES[1:]),
    Case(BatchNormStats(1e-3), ((2, 9, 8, 33),), dtypes=ALL, tolerance=3, batch=True),
    *(Case(BatchNormTrain(1e-3), ((n, 5), *vectors(5)[:2]), tolerance=3) for n in SIZES[2:]),
    *(Case(BatchNormTrain(1e-3), ((7, c), *vectors(c)[:2]), tolerance=3) for c in SIZES[1:]),
    Case(BatchNormTrain(1e-3), ((2, 9, 8, 33), *vectors(33)[:2]), dtypes=("float32", "float64"),
         tolerance=3, batch=True),
    Case(BatchNormTrain(1e-5), ((700, 3), *vectors(3)[:2]), tolerance=3),
    *(Case(BatchNormGrad(1e-3), norm_grad(n, 5), tolerance=10) for n in SIZES[2:]),
    *(Case(BatchNormGrad(1e-3), norm_grad(7, c), tolerance=10) for c in SIZES[1:]),
    Case(BatchNormGrad(1e-3), norm_grad(2, 9, 8, 33), dtypes=("float32", "float64"), tolerance=10),
    Case(BatchNormGrad(1e-3), norm_grad(700, 3), tolerance=10),
]
