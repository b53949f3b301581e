"""Convolutions for the tests of implicit GEMM: cases, and the sums in float64 with their bounds."""
import numpy as np

from gpukeras.graph.halves import convert, numpy_dtype, plain
from gpukeras.graph.types import TensorType
from gpukeras.ops import window
from gpukeras.ops.conv import Conv, ConvDataGrad, ConvWeightGrad
from gpukeras.ops.plans_implicit import implicit
from gpukeras.ops.record import In, Out

from harness import run_plan

# images, size, window, strides, pads, dilation, channels, filters
CASES = {
    "3x3": (2, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 8, 16),
    "odd": (3, (7, 6), (3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1), 3, 5),
    "strided": (2, (9, 8), (3, 3), (2, 2), ((0, 1), (1, 1)), (1, 1), 8, 8),
    "strided odd": (2, (8, 7), (2, 3), (3, 2), ((0, 1), (2, 0)), (1, 1), 2, 7),
    "deep": (1, (5, 4), (3, 3), (2, 2), ((1, 1), (0, 1)), (1, 1), 12, 24),
    "dilated": (2, (9, 11), (3, 2), (1, 1), ((2, 2), (3, 0)), (2, 3), 4, 4),
    "dilated, strided": (1, (13, 12), (4, 3), (2, 3), ((1, 2), (2, 2)), (3, 2), 4, 8),
    "even steps": (1, (9, 12), (2, 3), (2, 4), ((0, 0), (1, 1)), (2, 2), 4, 4),
    "1x1 strided": (2, (7, 8), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 8, 12),
    "untouched": (1, (9, 9), (2, 2), (4, 4), ((0, 0), (0, 0)), (1, 1), 4, 4),
    "sequence": (3, (17,), (5,), (1,), ((4, 0),), (1,), 8, 3),
    "volume": (2, (4, 5, 6), (2, 3, 2), (1, 2, 1), ((0, 1), (1, 1), (0, 0)), (2, 1, 1), 8, 4),
    "one": (1, (1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 1),
    "many filters": (1, (5, 4), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 16, 70),
    "places in padding": (1, (3, 2), (3, 3), (1, 1), ((2, 3), (4, 2)), (1, 1), 4, 8),
}
KINDS = ("fwd", "data", "weight")
EPS = {"float64": 2.0 ** -53, "float32": 2.0 ** -24, "float16": 2.0 ** -11, "bfloat16": 2.0 ** -8}


class Problem:
    """One product of a case: op, operands, what is to come out and how far sums may be off.

    Operands are rounded to the type `stored`, held in float64 by `exact`.
    """

    def __init__(self, case, kind, stored="float32", seed=0):
        images, size, taps, strides, pads, dilation, channels, filters = case
        how = strides, pads, dilation
        self.stored, self.kind = stored, kind
        self.g = window.geometry((images, *size, channels), taps, *how)
        self.f = filters
        x, w = (images, *size, channels), (*taps, channels, filters)
        y = (images, *self.g.out, filters)
        self.op = {"fwd": Conv(*how), "data": ConvDataGrad(*how, size),
                   "weight": ConvWeightGrad(taps, *how)}[kind]
        self.shapes = {"fwd": (x, w, y), "data": (y, w, x), "weight": (x, y, w)}[kind]
        rng = np.random.default_rng(seed)
        self.exact = [rounded(rng.standard_normal(s), stored) for s in self.shapes[:2]]
        self.want = self.op.numpy(*self.exact)
        self.size = self.op.numpy(*map(np.abs, self.exact))       # sums of absolute values
        self.terms = {"fwd": self.g.taps * channels, "data": self.g.taps * filters,
                      "weight": images * self.g.places}[kind]

    @property
    def types(self):
        """(types of the operands, types of the results)"""
        types = [TensorType(self.stored, s) for s in self.shapes]
        return tuple(types[:2]), tuple(types[2:])

    @property
    def arrays(self):
        return [coded(a, self.stored) for a in self.exact]

    @property
    def empty(self):
        """Room for the result, full of NaN."""
        return [coded(np.full(self.shapes[2], np.nan), self.stored)]

    def check(self, got, each=0.0, summed="float32"):
        """got: the result. each: relative error of one product's operands; the sums are kept in
        `summed`, whose error grows with the number of terms at worst, and rounded at the end."""
        got = decoded(got).reshape(self.want.shape)
        bound = (self.size * (2.1 * each + (self.terms + 2) * EPS[summed])
                 + np.abs(self.want) * EPS[self.stored] + 2.0 ** -24 * (self.stored == "float16"))
        assert np.isfinite(got).all(), f"{np.sum(~np.isfinite(got))} results were not written"
        worst = np.max(np.abs(got - self.want) / np.maximum(bound, 1e-300))
        assert worst <= 1, f"error is {worst:.1f} times what rounding explains"


def rounded(x, dtype):
    """x as a number of the type, in float64."""
    return decoded(coded(x, dtype))


def coded(x, dtype):
    """Memory of the type."""
    return convert(x, numpy_dtype(dtype))


def decoded(x):
    return plain(x).astype("f8")


def check_stats(plan, problem, entry, offset=0.0, **kwargs):
    """Runs the plan of ConvStats: y, and its mean, variance and 1 / sqrt(variance + eps)."""
    assert [step.entry for step in plan.steps] == [entry]
    problem.exact[0] = rounded(problem.exact[0] + offset, problem.stored)
    problem.want = problem.op.numpy(*problem.exact)
    problem.size = problem.op.numpy(*map(np.abs, problem.exact))
    wide = "float64" if problem.stored == "float64" else "float32"
    room = [np.full(problem.f, np.nan, wide) for _ in range(3)]
    y, mean, var, rstd = run_plan(plan, problem.arrays, problem.empty + room, **kwargs)
    rows = decoded(y).reshape(-1, problem.f)                 # statistics of what was written
    few = 16 * EPS[wide]
    spread = rows.std(0) + few * np.abs(rows).max(0)
    assert (np.abs(mean - rows.mean(0)) <= few * (np.abs(rows).max(0))).all()
    np.testing.assert_allclose(np.sqrt(var), rows.std(0), rtol=2e-6 if wide == "float32" else 1e-12,
                               atol=float(few * spread.max()))
    np.testing.assert_allclose(rstd, 1 / np.sqrt(var + 1e-3), rtol=8 * EPS[wide])
    return y


def check_data_relu(problem, tile, entry, total=True, each=0.0, **kwargs):
    """Runs the plan of ConvDataRelu: the data gradient where a relu's output is positive, and the
    sums of that."""
    stored, shape = problem.stored, problem.shapes[2]
    y = rounded(np.maximum(np.random.default_rng(1).standard_normal(shape), 0), stored)
    plan = implicit("data", problem.g, problem.f, stored, tile, relu=In(2),
                    total=Out(1) if total else None)
    assert [step.entry for step in plan.steps] == [entry]
    room = problem.empty + [coded(np.full(shape[-1], np.nan), stored)] * total
    gx, *sums = run_plan(plan, problem.arrays + [coded(y, stored)], room, **kwargs)
    problem.want = problem.want * (y > 0)
    summed = "float64" if stored == "float64" else "float32"
    problem.check(gx, each=each, summed=summed)
    rows = decoded(gx).reshape(-1, shape[-1])
    assert (rows[y.reshape(rows.shape) == 0] == 0).all()
    if total:                                                # of what was not rounded yet
        bound = np.abs(rows).sum(0) * (EPS[stored] + len(rows) * EPS[summed])
        got = decoded(sums[0])
        assert (np.abs(got - rows.sum(0)) <= bound + np.abs(got) * EPS[stored]).all()
    return plan
