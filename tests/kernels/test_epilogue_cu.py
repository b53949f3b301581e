"""epilogue.cu against NumPy: what stands in for cuBLASLt's epilogues."""
import numpy as np
import pytest
from harness import run_kernel

BUDGETS = {"bias_fwd": 40, "relu_bwd": 24, "gelu_fwd": 40, "gelu_bwd": 40}
VARIANTS = [(("T", t),) for t in ("float", "float16", "bfloat16")]


@pytest.mark.parametrize("rows, columns", [(1, 1), (3, 33), (31, 32), (40, 300)])
@pytest.mark.parametrize("relu", [0, 1])
def test_a_bias_and_a_relu(rows, columns, relu):
    rng = np.random.default_rng(rows)
    bias, y = rng.standard_normal(columns).astype("f4"), rng.standard_normal((rows, columns))
    y = y.astype("f4")
    y[0, 0] = np.nan
    want = np.maximum(y + bias, 0) if relu else y + bias
    n = y.size
    _, got = run_kernel("epilogue.cu", "bias_fwd", (-(-n // 256),), (256,),
                        (bias, y, np.int64(n), np.int32(columns), np.int32(relu)))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n", [1, 255, 257, 3000])
def test_a_relu_gradient(n):
    rng = np.random.default_rng(n)
    y, g = (rng.standard_normal(n).astype("f4") for _ in range(2))
    y[::3] = 0
    _, got = run_kernel("epilogue.cu", "relu_bwd", (-(-n // 256),), (256,), (y, g, np.int64(n)))
    np.testing.assert_array_equal(got, np.where(y > 0, g, 0))


@pytest.mark.parametrize("rows, columns", [(1, 8), (31, 32), (40, 304)])
def test_a_bias_and_a_gelu(rows, columns):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(rows)
    bias = rng.standard_normal(columns).astype("f4")
    z = (rng.standard_normal((rows, columns)) * 3).astype("f4")
    n = z.size
    want = torch.nn.functional.gelu(torch.tensor((z + bias).astype("f8")), approximate="tanh")
    _, x, y = run_kernel("epilogue.cu", "gelu_fwd", (-(-n // 256),), (256,),
                         (bias, z, np.zeros_like(z), np.int64(n), np.int32(columns)))
    np.testing.assert_array_equal(x, z + bias)
    np.testing.assert_allclose(y, want.numpy(), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("n", [1, 255, 257, 3000])
def test_a_gelu_gradient(n):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(n)
    x, g = ((rng.standard_normal(n) * 3).astype("f4") for _ in range(2))
    at = torch.tensor(x.astype("f8"), requires_grad=True)
    torch.nn.functional.gelu(at, approximate="tanh").backward(torch.tensor(g.astype("f8")))
    _, got = run_kernel("epilogue.cu", "gelu_bwd", (-(-n // 256),), (256,), (x, g, np.int64(n)))
    np.testing.assert_allclose(got, at.grad.numpy(), rtol=1e-5, atol=1e-5)
