"""pool.cu against torch and the ops' NumPy meaning: ties, NaN, borders, one to three axes."""
import itertools

import numpy as np
import pytest
from harness import run_kernel

from gpukeras.ops import plans_conv, window
from gpukeras.ops.pool import AveragePool, AveragePoolGrad, MaxPool, MaxPoolGrad, MaxPoolPick

BUDGETS = {"max_pool_fwd": 64, "max_pool_bwd": 80, "max_pool_pick": 72, "average_pool_fwd": 72,
           "average_pool_bwd": 64}
VARIANTS = [(("T", t), ("V", v)) for t, v in (("float", "4"), ("float", "1"), ("float16", "8"),
                                              ("double", "2"))]

# size, window, strides, pads, channels
CASES = [
    ((7,), (2,), (2,), ((0, 0),), 4),
    ((8,), (3,), (1,), ((1, 1),), 3),
    ((6, 6), (2, 2), (2, 2), ((0, 0), (0, 0)), 8),
    ((7, 5), (3, 3), (2, 2), ((1, 1), (0, 1)), 2),
    ((7, 8), (3, 2), (1, 3), ((2, 1), (1, 0)), 1),
    ((5, 4, 6), (2, 3, 2), (2, 1, 2), ((0, 1), (1, 1), (0, 0)), 4),
    ((6, 6), (2, 2), (4, 4), ((0, 0), (0, 0)), 3),             # elements in no window
]


def geometry(case, images):
    size, taps, strides, pads, channels = case
    return window.geometry((images, *size, channels), taps, strides, pads, (1,) * len(size))


def op(cls, case, *more):
    return cls(*case[1:4], *more)


def run(entry, g, walk, arrays, **kwargs):
    step = plans_conv.launch(entry, g, g.images, (), walk, arrays[0].dtype.name)
    return run_kernel("pool.cu", entry, step.grid, step.block, [*arrays, *step.args], step.defines,
                      **kwargs)


def check_case(case, images, x, **kwargs):
    """All five entries on x; the maximum and its gradient must be equal to the bit."""
    g, rng = geometry(case, images), np.random.default_rng(1)
    small = (images, *g.out, g.channels)
    gy, v = (rng.integers(-9, 9, s).astype(x.dtype) for s in (small, x.shape))
    y = op(MaxPool, case).numpy(x)
    empty, empty_x = np.full(small, np.nan, x.dtype), np.full_like(x, np.nan)
    got = run("max_pool_fwd", g, "y", [x, empty], **kwargs)[-1]
    np.testing.assert_array_equal(got, y)
    got = run("max_pool_bwd", g, "x", [x, y, gy, empty_x], **kwargs)[-1]
    np.testing.assert_array_equal(got, op(MaxPoolGrad, case).numpy(x, y, gy))
    got = run("max_pool_pick", g, "y", [x, y, v, empty], **kwargs)[-1]
    np.testing.assert_array_equal(got, op(MaxPoolPick, case).numpy(x, y, v))
    tolerance = {"rtol": 4 * np.finfo(x.dtype).eps, "atol": 8 * np.finfo(x.dtype).eps}
    got = run("average_pool_fwd", g, "y", [x, empty], **kwargs)[-1]
    np.testing.assert_allclose(got, op(AveragePool, case).numpy(x), **tolerance)
    got = run("average_pool_bwd", g, "x", [gy, empty_x], **kwargs)[-1]
    want = op(AveragePoolGrad, case, case[0]).numpy(gy.astype("float64"))
    np.testing.assert_allclose(got, want, rtol=1e-3 if x.dtype == "float16" else 1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("images", [1, 33])
def test_pooling_kernels(case, images):
    shape = (images, *case[0], case[-1])
    schedules = ("forward", "reverse", "random") if images == 1 else ("random",)
    check_case(case, images, np.random.default_rng(0).standard_normal(shape).astype("float32"),
               schedules=schedules)


@pytest.mark.parametrize("case", CASES[:6])
def test_ties_go_to_the_first_element(case):
    shape = (2, *case[0], case[-1])
    check_case(case, 2, np.random.default_rng(0).integers(0, 2, shape).astype("float32"),
               schedules=("random",))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types(dtype):
    case = CASES[3]
    x = np.random.default_rng(0).integers(-4, 4, (2, *case[0], case[-1])).astype(dtype)
    check_case(case, 2, x, schedules=("random",))


def test_nan_and_minus_infinity():
    case = CASES[3]
    x = np.random.default_rng(0).standard_normal((2, *case[0], case[-1])).astype("float32")
    x[0, 2:4, 1] = np.nan
    x[1] = -np.inf
    g = geometry(case, 2)
    y = op(MaxPool, case).numpy(x)
    assert np.isnan(y).any() and np.isneginf(y[1]).all()
    got = run("max_pool_fwd", g, "y", [x, np.zeros_like(y)])[-1]
    np.testing.assert_array_equal(got, y)
    gy = np.ones_like(y)
    got = run("max_pool_bwd", g, "x", [x, y, gy, np.full_like(x, np.nan)])[-1]
    np.testing.assert_array_equal(got, op(MaxPoolGrad, case).numpy(x, y, gy))
    assert got.sum() == gy.sum()                            # nothing lost, nothing counted twice


def test_against_torch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    maxima, means = (f.max_pool1d, f.max_pool2d, f.max_pool3d), (f.avg_pool1d, f.avg_pool2d,
                                                                 f.avg_pool3d)
    rng = np.random.default_rng(0)
    for rank, k, s, p in itertools.product((1, 2, 3), (2, 3), (1, 2), (0, 1)):
        size, more = (7, 6, 5)[:rank], ((k,) * rank, (s,) * rank, ((p, p),) * rank)
        x = rng.integers(0, 3, (2, *size, 4)).astype("float32")
        case = (size, *more, 4)
        g = geometry(case, 2)
        leaf = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
        y = maxima[rank - 1](leaf, k, s, p)
        gy = rng.standard_normal((2, *g.out, 4)).astype("float32")
        y.backward(torch.tensor(np.moveaxis(gy, -1, 1).copy()))
        top = np.moveaxis(y.detach().numpy(), 1, -1).copy()
        got = run("max_pool_bwd", g, "x", [x, top, gy, np.full_like(x, np.nan)],
                  schedules=("random",), check=False)[-1]
        np.testing.assert_allclose(got, np.moveaxis(leaf.grad.numpy(), 1, -1), rtol=1e-6, atol=1e-6)
        want = means[rank - 1](leaf, k, s, p, count_include_pad=False).detach().numpy()
        got = run("average_pool_fwd", g, "y", [x, np.full_like(top, np.nan)],
                  schedules=("random",), check=False)[-1]
        np.testing.assert_allclose(got, np.moveaxis(want, 1, -1), rtol=1e-6, atol=1e-6)
