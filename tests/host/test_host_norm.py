"""gpukeras.ops.host_norm against torch's batch normalisation in float64."""
import numpy as np
import pytest

from gpukeras.ops import host_norm
from gpukeras.team import Team

torch = pytest.importorskip("torch")

EPS = 1e-3


def by_torch(x, gamma, beta, gy):
    """y, mean, biased variance, gx, ggamma, gbeta in float64."""
    tx, tg, tb = (torch.tensor(a.astype("float64"), requires_grad=True) for a in (x, gamma, beta))
    flat = tx.reshape(-1, x.shape[-1])
    y = torch.nn.functional.batch_norm(flat, None, None, tg, tb, True, 0.0, EPS).reshape(x.shape)
    y.backward(torch.tensor(gy.astype("float64")))
    m, v = flat.mean(0), flat.var(0, unbiased=False)
    return [t.detach().numpy() for t in (y, m, v, tx.grad, tg.grad, tb.grad)]


@pytest.fixture(params=[(1, 1 << 15), (3, 1 << 9)], ids=["one thread", "three threads"],
                autouse=True)
def arrangement(request, monkeypatch):
    """Every case alone, and over a team in small blocks."""
    crew = Team(request.param[0])
    monkeypatch.setattr(host_norm, "team", lambda: crew)
    monkeypatch.setattr(host_norm, "WORTH_SHARING", 0)
    monkeypatch.setattr(host_norm, "BLOCK", request.param[1])


@pytest.mark.parametrize("shape", [(32, 9, 9, 16), (7, 600), (5, 3), (1001, 1), (6, 10, 10, 130)])
@pytest.mark.parametrize("far", [0.0, 3.0, 2000.0])
def test_values_and_gradients_agree_with_torch(shape, far):
    """far: mean over standard deviation; sums of squares alone would lose all digits at 2000."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) + far * rng.random(shape[-1])).astype("float32")
    gy = rng.standard_normal(shape).astype("float32")
    gamma, beta = rng.standard_normal((2, shape[-1])).astype("float32")
    want = by_torch(x, gamma, beta, gy)
    y, gx = np.empty_like(x), np.empty_like(x)
    m, v, ggamma, gbeta = np.empty((4, shape[-1]), "float32")
    forward = host_norm.bind_batch_norm(x, gamma, beta, y, m, v, EPS)
    backward = host_norm.bind_batch_norm_grad(x, gamma, m, v, gy, gx, ggamma, gbeta, EPS)
    for _ in range(2):                              # no leftovers of the first run
        forward()
        backward()
        for got, exact, what in zip((y, m, v, gx, ggamma, gbeta), want,
                                    ("y", "mean", "variance", "gx", "ggamma", "gbeta")):
            close = 2e-5 if far < 100 else 5e-4     # a mean of 2000 leaves float32 four digits
            np.testing.assert_allclose(got, exact, rtol=close, atol=close * 10, err_msg=what)
