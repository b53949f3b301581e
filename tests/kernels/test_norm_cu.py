"""norm.cu against NumPy in float64, and whole batch normalisations on the device against torch."""
import numpy as np
import pytest
from check import prove
from harness import emulator

from gpukeras import devices
from gpukeras.devices.launcher import KernelDevice
from gpukeras.function import function
from gpukeras.graph import Placeholder, gradients
from gpukeras.ops.math import cast, relu
from gpukeras.ops.norm import BatchNormStats, batch_norm_train
from gpukeras.ops.record import Launch

BUDGETS = {"bn_stats_fwd": 104}     # 64 by NVRTC 13.0; 13.5 takes 80, and 97 for doubles, on sm_100
VARIANTS = [(("T", t),) for t in ("float", "double", "float16", "bfloat16")]
EPS = 1e-3


@pytest.mark.parametrize("rows, columns, dtype", [
    (2, 1, "f4"), (31, 3, "f4"), (33, 33, "f4"), (100, 64, "f8"), (1000, 5, "f4"), (65, 33, "f2"),
    (5000, 16, "f4"), (900, 40, "f8"), (9000, 1, "f2")])
def test_statistics_are_numpys(rows, columns, dtype):
    x = np.random.default_rng(rows).standard_normal((rows, columns)).astype(dtype)
    mean, var, rstd = prove(BatchNormStats(EPS), x, entries=["bn_stats_fwd"])
    wide = x.astype("f8")
    for got, want in ((mean, wide.mean(0)), (var, wide.var(0)),
                      (rstd, 1 / np.sqrt(wide.var(0) + EPS))):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_mean_far_from_zero_costs_no_digits():
    x = np.random.default_rng(0).standard_normal((2048, 3)) * 0.5 + 4096
    _, var, _ = prove(BatchNormStats(EPS), x.astype("f4"), entries=["bn_stats_fwd"])
    # sums of squares in float32 would leave no digit of the variance here
    np.testing.assert_allclose(var, x.astype("f4").astype("f8").var(0), rtol=1e-3)


@pytest.mark.parametrize("shape, dtype", [((3, 4, 5, 6), "float32"), ((900, 16), "float32"),
                                          ((40, 33), "float16"), ((2000, 3), "float64")])
def test_a_block_of_a_network_agrees_with_torch_in_five_launches(shape, dtype):
    """relu(bn(x) + side) and all its gradients: statistics, one walk; sums, one walk."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    wide = "float64" if dtype == "float64" else "float32"
    c = shape[-1]
    arrays = [rng.standard_normal(s).astype(d) for s, d in
              ((shape, dtype), (c, wide), (c, wide), (shape, dtype), (shape, dtype))]
    x, gamma, beta, side, gy = (Placeholder(a.dtype.name, a.shape) for a in arrays)
    first = devices.use(KernelDevice(emulator("")))
    try:
        y = relu(batch_norm_train(x, gamma, beta, EPS)[0] + side)
        step = function([x, gamma, beta, side, gy],
                        [y, *(cast(g, wide) for g in gradients([(y, gy)], [x, gamma, beta, side]))])
        got = step(arrays)
    finally:
        devices.use(first)
    t, g, b, s = (torch.tensor(a.astype("f8"), requires_grad=True) for a in arrays[:4])
    want = torch.relu(torch.nn.functional.batch_norm(
        t.reshape(-1, c), None, None, g, b, training=True, eps=EPS).reshape(shape) + s)
    want.backward(torch.tensor(arrays[4].astype("f8")))
    limit = {"float32": 1e-4, "float16": 1e-2, "float64": 1e-9}[dtype]
    for a, right in zip(got, (want.detach(), t.grad, g.grad, b.grad, s.grad)):
        scale = 1 + float(right.abs().max())
        np.testing.assert_allclose(a, right.numpy(), rtol=limit, atol=limit * scale)


def test_statistics_take_one_launch_however_large():
    from gpukeras.graph import TensorType
    op, x = BatchNormStats(EPS), TensorType("float32", (128, 32, 32, 16))
    launch, = op.cuda.plan(op, (x,), op.infer(x)).steps
    assert isinstance(launch, Launch) and launch.grid[0] * launch.grid[1] > 132
