"""conv.cu: im2col and col2im against NumPy, and the GEMM of columns against torch."""
import itertools

import numpy as np
import pytest

from gpukeras.ops import plans, plans_conv, window

from harness import run_kernel

BUDGETS = {"im2col": 24, "col2im": 56, "conv_bias": 40}
VARIANTS = [(("T", t), ("V", v)) for t, v in (("float", "4"), ("float", "1"), ("float16", "8"),
                                              ("double", "2"))]

# size, window, strides, pads, dilation, channels
CASES = [
    ((7,), (3,), (1,), ((0, 0),), (1,), 4),
    ((9,), (3,), (2,), ((4, 0),), (2,), 3),
    ((6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
    ((7, 6), (2, 3), (2, 3), ((0, 1), (2, 0)), (1, 1), 2),
    ((8, 7), (3, 2), (1, 2), ((2, 3), (0, 0)), (2, 3), 5),
    ((5, 4, 6), (2, 3, 2), (1, 2, 3), ((0, 1), (1, 1), (0, 0)), (2, 1, 1), 8),
    ((5, 5), (2, 2), (4, 4), ((0, 0), (0, 0)), (1, 1), 1),      # elements that no window touches
    ((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
]


def geometry(case, images):
    size, taps, strides, pads, dilation, channels = case
    return window.geometry((images, *size, channels), taps, strides, pads, dilation)


def run(entry, g, walk, arrays, **kwargs):
    step = plans_conv.launch(entry, g, g.images, (), walk, arrays[0].dtype.name)
    return run_kernel("conv.cu", entry, step.grid, step.block, [*arrays, *step.args], step.defines,
                      **kwargs)


def columns(x, g):
    return window.windows(window.padded(x, g), g).reshape(g.images * g.places, -1)


def scattered(col, g):
    """The transpose of `columns`, tap by tap."""
    col = col.reshape(g.images, *g.out, *g.window, g.channels)
    xp = np.zeros(window.padded_shape(g, g.channels))
    rank = len(g.size)
    for tap in itertools.product(*map(range, g.window)):
        xp[(slice(None), *window.tap_slices(g, tap))] += col[(slice(None),) * (1 + rank) + tap]
    return xp[window.interior(g)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("images", [1, 3])
def test_im2col_and_col2im(case, images):
    g = geometry(case, images)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, *g.size, g.channels)).astype("float32")
    col = np.full((images * g.places, g.taps * g.channels), np.nan, "float32")
    _, col = run("im2col", g, "col", [x, col])
    assert np.array_equal(col, columns(x, g))
    col = rng.standard_normal(col.shape).astype("float32")
    _, back = run("col2im", g, "x of col", [col, np.full_like(x, np.nan)])
    np.testing.assert_allclose(back, scattered(col, g), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_im2col_and_col2im_of_other_types(dtype):
    g = geometry(CASES[5], 2)
    rng = np.random.default_rng(0)
    x = rng.integers(-8, 8, (2, *g.size, g.channels)).astype(dtype)
    col = np.full((2 * g.places, g.taps * g.channels), np.nan, dtype)
    _, col = run("im2col", g, "col", [x, col], schedules=("random",))
    assert np.array_equal(col, columns(x, g))
    _, back = run("col2im", g, "x of col", [col, np.full_like(x, np.nan)], schedules=("random",))
    assert np.array_equal(back, scattered(col, g))       # small whole numbers: exact in half


def test_many_small_images_share_blocks():
    g = geometry(CASES[0], 70)
    x = np.arange(70 * 7 * 4, dtype="float32").reshape(70, 7, 4)
    step = plans_conv.launch("im2col", g, 70, (), "col", "float32")
    assert step.block[0] * step.block[1] == plans.THREADS and step.block[1] > 1
    _, col = run("im2col", g, "col", [x, np.full((70 * 5, 12), np.nan, "float32")])
    assert np.array_equal(col, columns(x, g))


def test_division_by_multiplication_is_exact():
    rng = np.random.default_rng(0)
    edges = [0, 1, 2, 3, (1 << 31) - 1, (1 << 31) - 2, (1 << 30) - 1, 1 << 30]
    for d in [*range(1, 70), 127, 128, 1000, 46341, 65535, 65537, (1 << 31) - 1, 1 << 30]:
        _, mul, shift = plans.division(d)
        assert 0 <= mul < 1 << 32
        near = [q for k in (1, 2, 3, 1000) for q in (k * d - 1, k * d, k * d + 1) if q < 1 << 31]
        for q in [*edges, *near, *map(int, rng.integers(0, 1 << 31, 50))]:
            high = (q * mul >> 32) + q
            assert high < 1 << 32 and high >> shift == q // d, (q, d)


@pytest.mark.parametrize("channels, dtype, relu", [(8, "float32", 1), (8, "float32", 0),
                                                   (7, "float32", 1), (8, "float16", 1),
                                                   (3, "float64", 1)])
def test_bias_is_added_in_place(channels, dtype, relu):
    rng = np.random.default_rng(0)
    y, b = rng.standard_normal((75, channels)).astype(dtype), rng.standard_normal(channels)
    group = plans_conv.group_size(channels, y.itemsize)
    names = (("T", plans.c_type(dtype)), ("V", str(group)))
    got = run_kernel("conv.cu", "conv_bias", (2,), (32,), [
        b.astype(dtype), y, np.int64(y.size // group), np.int32(channels // group),
        np.int32(relu)], names)[1]
    want = y.astype("f8") + b.astype(dtype)
    np.testing.assert_allclose(got, np.maximum(want, 0) if relu else want,
                               rtol=2 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
