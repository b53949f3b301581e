"""gpukeras.ops.host_pool against torch's pooling, by hand where torch has none."""

import numpy as np
import pytest

from gpukeras.ops import host_pool, window
from gpukeras.team import Team

torch = pytest.importorskip("torch")

# x shape (N, *S, C), window, strides, pads
CASES = {
    "2x2": ((5, 8, 6, 3), (2, 2), (2, 2), ((0, 0), (0, 0))),
    "2x2 odd": ((5, 9, 7, 3), (2, 2), (2, 2), ((0, 0), (0, 0))),
    "overlapping": ((5, 9, 9, 3), (3, 3), (2, 2), ((0, 0), (0, 0))),
    "padded": ((5, 9, 8, 3), (3, 2), (2, 1), ((1, 1), (1, 1))),
    "gaps": ((5, 11, 11, 3), (2, 1), (3, 4), ((0, 0), (0, 0))),
    "one tap": ((2, 4, 4, 2), (1, 1), (2, 2), ((0, 0), (0, 0))),
    "1d": ((5, 12, 3), (4,), (4,), ((0, 0),)),
    "1d padded": ((5, 12, 3), (3,), (3,), ((1, 1),)),
    "3d": ((3, 4, 6, 8, 2), (2, 2, 2), (2, 2, 2), ((0, 0), (0, 0), (0, 0))),
    "3d overlapping": ((3, 5, 6, 7, 2), (2, 3, 2), (1, 2, 2), ((1, 1), (1, 1), (0, 0))),
}


@pytest.fixture(params=[(1, 1 << 18, 1 << 19), (3, 500, 0)],
                ids=["one thread", "three, tiny blocks"], autouse=True)
def arrangement(request, monkeypatch):
    crew = Team(request.param[0])
    monkeypatch.setattr(host_pool, "team", lambda: crew)
    monkeypatch.setattr(host_pool, "BLOCK_BYTES", request.param[1])
    monkeypatch.setattr(host_pool, "WORTH_SHARING", request.param[2])


def by_torch(kind, x, gy, size, strides, pads):
    """(y, gx); gy may be None: then y only."""
    axes = x.ndim - 2
    front, back = [0, axes + 1, *range(1, axes + 1)], [0, *range(2, axes + 2), 1]
    tx = torch.tensor(x.transpose(front).copy(), requires_grad=True)
    more = {"count_include_pad": False} if kind == "avg" else {}
    ty = getattr(torch.nn.functional, f"{kind}_pool{axes}d")(
        tx, size, strides, padding=tuple(p for p, _ in pads), **more)
    if gy is not None:
        ty.backward(torch.tensor(gy.transpose(front).copy()))
    return (ty.detach().numpy().transpose(back),
            None if gy is None else tx.grad.numpy().transpose(back))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ties", [False, True])
def test_pooling_agrees_with_torch(name, dtype, ties):
    shape, size, strides, pads = CASES[name]
    rng = np.random.default_rng(0)

    def fresh():
        x = rng.standard_normal(shape) if not ties else rng.integers(-1, 2, shape)
        return x.astype(dtype)
    x = fresh()
    gy = rng.standard_normal(by_torch("max", x, None, size, strides, pads)[0].shape).astype(dtype)
    g = window.geometry(shape, size, strides, pads, (1,) * len(size))
    y, mean, gx, gx_mean = (np.full_like(a, np.nan) for a in (gy, gy, x, x))
    runs = [host_pool.bind_max_pool(x, y, g), host_pool.bind_max_pool_grad(x, y, gy, gx, g),
            host_pool.bind_average_pool(x, mean, g),
            host_pool.bind_average_pool_grad(gy, gx_mean, g)]
    for again in range(2):
        if again:
            x[...] = fresh()
        for run in runs:
            run()
        largest, gx_largest = by_torch("max", x, gy, size, strides, pads)
        np.testing.assert_array_equal(y, largest)
        np.testing.assert_allclose(gx, gx_largest, rtol=1e-5, atol=1e-6)
        for got, want in zip((mean, gx_mean), by_torch("avg", x, gy, size, strides, pads)):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_one_sided_padding_is_not_counted():
    x = np.arange(1, 6, dtype="float32").reshape(1, 5, 1)
    g = window.geometry(x.shape, (2,), (2,), "same", (1,))          # pads (0, 1)
    largest, mean = np.empty((2, 1, 3, 1), "float32")
    host_pool.bind_max_pool(x, largest, g)()
    host_pool.bind_average_pool(x, mean, g)()
    assert largest.ravel().tolist() == [2, 4, 5]
    assert mean.ravel().tolist() == [1.5, 3.5, 5]


def test_a_nan_wins_its_window_only():
    x = np.zeros((1, 4, 4, 1), "float32")
    x[0, 0, 1] = np.nan
    y = np.empty((1, 2, 2, 1), "float32")
    host_pool.bind_max_pool(x, y, window.geometry(x.shape, (2, 2), (2, 2), "valid", (1, 1)))()
    assert np.isnan(y.ravel()).tolist() == [True, False, False, False]
