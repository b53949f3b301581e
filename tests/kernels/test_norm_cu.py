"""norm.cu against torch's batch_norm: one slice of rows, several, far from zero, 16-bit data."""
import numpy as np
import pytest
from check import prove

from gpukeras.ops.norm import BatchNormGrad, BatchNormTrain

BUDGETS = {"bn_stats_fwd": 56, "bn_merge_fwd": 72, "bn_apply_fwd": 32, "bn_sums_bwd": 56,
           "bn_merge_bwd": 72, "bn_apply_bwd": 48}
VARIANTS = [(("T", t),) for t in ("float", "double", "float16", "bfloat16")]
ONE_SLICE = (["bn_stats_fwd", "bn_apply_fwd"], ["bn_sums_bwd", "bn_apply_bwd"])
SLICES = (["bn_stats_fwd", "bn_merge_fwd", "bn_apply_fwd"],
          ["bn_sums_bwd", "bn_merge_bwd", "bn_apply_bwd"])
EPS = 1e-3


def check(x, entries, rtol=1e-4):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    c = x.shape[-1]
    gamma, beta = (rng.standard_normal(c).astype("f4") for _ in range(2))
    gy = rng.standard_normal(x.shape).astype(x.dtype)
    t, g, b = (torch.tensor(a.astype("f8"), requires_grad=True) for a in (x, gamma, beta))
    want = torch.nn.functional.batch_norm(t, None, None, g, b, training=True, eps=EPS)
    want.backward(torch.tensor(gy.astype("f8")))
    y, mean, var = prove(BatchNormTrain(EPS), x, gamma, beta, entries=entries[0])
    gx, ggamma, gbeta = prove(BatchNormGrad(EPS), x, gamma, mean, var, gy, entries=entries[1])
    wide = x.astype("f8")
    for got, right in ((mean, wide.mean(0)), (var, wide.var(0)), (y, want.detach().numpy()),
                       (gx, t.grad.numpy()), (ggamma, g.grad.numpy()), (gbeta, b.grad.numpy())):
        np.testing.assert_allclose(got, right, rtol=rtol, atol=rtol * (1 + np.abs(right).max()))


@pytest.mark.parametrize("rows, columns", [(2, 1), (31, 3), (33, 33), (100, 64)])
def test_agrees_with_torch(rows, columns):
    check(np.random.default_rng(rows).standard_normal((rows, columns)).astype("f4"), ONE_SLICE)


def test_several_slices_agree_with_torch():
    check(np.random.default_rng(0).standard_normal((1000, 5)).astype("f4"), SLICES)


def test_a_mean_far_from_zero_costs_no_digits():
    x = np.random.default_rng(0).standard_normal((2048, 3)) * 0.5 + 4096
    y, mean, var = prove(BatchNormTrain(EPS), x.astype("f4"), np.ones(3, "f4"), np.zeros(3, "f4"),
                         entries=SLICES[0])
    # sums of squares in float32 would leave no digit of the variance here
    np.testing.assert_allclose(var, x.astype("f4").astype("f8").var(0), rtol=1e-3)


def test_half_precision_keeps_float32_statistics():
    check(np.random.default_rng(3).standard_normal((65, 33)).astype("f2"), ONE_SLICE, rtol=4e-3)
