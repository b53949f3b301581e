"""upsample.cu against the closed formula, and its gradient against the transpose of that map."""
import numpy as np
import pytest
from harness import run_kernel

from gpukeras.ops import plans_conv
from gpukeras.ops.upsample import UpsampleLinear, matrix

BUDGETS = {"upsample_fwd": 80, "upsample_bwd": 80}
VARIANTS = [(("T", t), ("V", v)) for t, v in (("float", "4"), ("float", "1"), ("float16", "8"),
                                              ("double", "2"))]

# factors, size, channels, images
CASES = [((2,), (5,), 4, 3), ((2, 3), (4, 3), 3, 2), ((1, 4), (2, 3), 8, 1),
         ((3, 2), (1, 1), 5, 33), ((2, 1, 3), (2, 3, 2), 4, 2)]


def run(entry, op, x_shape, walk, arrays):
    g = op.geometry(x_shape)
    step = plans_conv.launch(entry, g, g.images, (), walk, arrays[0].dtype.name)
    return run_kernel("upsample.cu", entry, step.grid, step.block, [*arrays, *step.args],
                      step.defines)[-1]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("factors, size, channels, images", CASES)
def test_upsampling_kernels(factors, size, channels, images, dtype):
    rng = np.random.default_rng(0)
    op, shape = UpsampleLinear(factors), (images, *size, channels)
    x = rng.standard_normal(shape).astype(dtype)
    large = (images, *(d * f for d, f in zip(size, factors)), channels)
    # one matrix for all axes: places of y by pixels of x
    whole = np.ones((1, 1))
    for d, f in zip(size, factors):
        whole = np.kron(whole, matrix(d, f))
    want = np.einsum("ij,njc->nic", whole, x.astype("float64").reshape(images, -1, channels))
    tolerance = {"float32": 2e-6, "float64": 1e-14, "float16": 2e-3}[dtype]
    got = run("upsample_fwd", op, shape, "y", [x, np.full(large, np.nan, dtype)])
    np.testing.assert_allclose(got, want.reshape(large), rtol=tolerance, atol=tolerance)
    gy = rng.standard_normal(large).astype(dtype)
    want = np.einsum("ij,nic->njc", whole, gy.astype("float64").reshape(images, -1, channels))
    got = run("upsample_bwd", op, shape, "x", [gy, np.full(shape, np.nan, dtype)])
    np.testing.assert_allclose(got, want.reshape(shape), rtol=tolerance,
                               atol=tolerance * np.abs(want).max())


def test_places_lie_where_tensorflow_1_puts_them():
    # K.resize_images(arange(6).reshape(1, 2, 3, 1), 2, 3, interpolation="bilinear") of Keras 2.3.1
    # on TensorFlow 1.15
    row = np.array([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2, 2, 2])
    want = np.stack([row, row + 1.5, row + 3, row + 3])
    got = UpsampleLinear((2, 3)).numpy(np.arange(6.0).reshape(1, 2, 3, 1))
    np.testing.assert_allclose(got[0, :, :, 0], want, rtol=1e-12)
