"""softmax.cu against torch: a warp per row, a block per row, values whose exponential overflows."""
import numpy as np
import pytest
from check import prove

from gpukeras.ops.nn import LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad

BUDGETS = {"softmax_fwd": 64, "softmax_bwd": 72, "log_softmax_fwd": 64, "log_softmax_bwd": 64}
VARIANTS = [(("T", t), *more) for t in ("float", "double", "float16")
            for more in ((), (("BLOCK_ROW", "1"),))]

TABLE = {"softmax": (Softmax(), SoftmaxGrad()), "log_softmax": (LogSoftmax(), LogSoftmaxGrad())}
# softmax_fwd and softmax_bwd, log_softmax_fwd and log_softmax_bwd
ENTRIES = {"softmax": ("softmax_fwd", "softmax_bwd"),
           "log_softmax": ("log_softmax_fwd", "log_softmax_bwd")}


@pytest.mark.parametrize("rows, columns", [(1, 1), (9, 10), (3, 33), (2, 1024), (2, 1025)])
@pytest.mark.parametrize("name", TABLE)
def test_agrees_with_torch(name, rows, columns):
    torch = pytest.importorskip("torch")
    forward, backward = TABLE[name]
    rng = np.random.default_rng(columns)
    x = (rng.standard_normal((rows, columns)) * 40).astype("f4")
    gy = rng.standard_normal(x.shape).astype("f4")
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    want = getattr(torch, name)(t, -1)
    want.backward(torch.tensor(gy, dtype=torch.float64))
    y, = prove(forward, x, entries=ENTRIES[name][:1])
    gx, = prove(backward, y, gy, entries=ENTRIES[name][1:])
    np.testing.assert_allclose(y, want.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gx, t.grad, rtol=1e-4, atol=2e-5)


def test_half_precision_is_summed_in_float32():
    x = np.zeros((1, 4096), "f2")
    y, = prove(Softmax(), x, entries=["softmax_fwd"])
    assert (y == np.float16(1 / 4096)).all()       # a float16 sum of ones stops at 2048
