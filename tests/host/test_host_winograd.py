"""gpukeras.ops.host_winograd against torch's convolutions: exact in float64, close in float32."""
import numpy as np
import pytest
from test_host_conv import by_torch

from gpukeras import blas
from gpukeras.ops import host_block, host_conv, host_conv_pool, host_scatter, host_winograd, window
from gpukeras.ops.conv_pool import ConvMaxPool, MaskedConvWeightGrad
from gpukeras.team import Team

# x, kernel, filters, pads, rows at a time
CASES = {
    "same": ((3, 11, 13, 5), (3, 3), 6, ((1, 1), (1, 1)), 4),
    "valid": ((5, 12, 12, 5), (3, 3), 6, ((0, 0), (0, 0)), 4),
    "two rows at a time": ((3, 7, 9, 5), (3, 3), 6, ((1, 1), (1, 1)), 2),
    "full": ((2, 9, 6, 4), (3, 3), 5, ((2, 2), (2, 2)), 4),
    "five": ((3, 12, 12, 5), (5, 5), 6, ((2, 2), (2, 2)), 4),
    "five by two, causal": ((2, 9, 30, 5), (5, 2), 6, ((4, 0), (1, 0)), 2),
    "narrow window": ((2, 9, 7, 8), (3, 1), 9, ((1, 1), (0, 0)), 4),
    "uneven border": ((2, 10, 40, 3), (3, 3), 4, ((0, 2), (2, 1)), 4),
    "fewer rows than at a time": ((2, 3, 5, 4), (3, 3), 3, ((0, 1), (1, 1)), 4),
    "1d": ((3, 30, 5), (3,), 6, ((2, 0),), 4),
}


@pytest.fixture(params=[(1, 1 << 19), (3, 3000)], ids=["one thread", "three threads"],
                autouse=True)
def arrangement(request, monkeypatch):
    """Every case alone, and over a team in small blocks."""
    size, block = request.param
    crew = Team(size)
    for module in (blas, host_conv, host_block, host_conv_pool, host_scatter, host_winograd):
        monkeypatch.setattr(module, "workers", lambda: crew)
    monkeypatch.setattr(host_winograd, "BLOCK_BYTES", block)
    monkeypatch.setattr(host_scatter, "BLOCK_BYTES", block)
    monkeypatch.setattr(host_winograd, "LEAST_ROWS", min(192, block // 100))
    monkeypatch.setattr(host_block, "WORTH_SPLITTING", 0)


def back(g, filters, m):
    """The Shape of the input gradient."""
    pads = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip(g.window, g.pads))
    turned = g._replace(size=g.out, out=g.size, channels=filters, pads=pads)
    return host_winograd.Shape(turned, g.channels, m)


@pytest.mark.parametrize("unfolds", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_forward_and_both_gradients_agree_with_torch(name, unfolds, monkeypatch):
    monkeypatch.setattr(host_winograd, "UNFOLD", -1e9 if unfolds else 1e9)
    shape, kernel, filters, pads, m = CASES[name]
    ones = (1,) * len(kernel)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape), rng.standard_normal(kernel + (shape[-1], filters))
    gy = rng.standard_normal(by_torch(x, w, None, ones, pads, ones))
    y, gx, gw = (np.full_like(a, np.nan) for a in (gy, x, w))
    g = window.geometry(shape, kernel, ones, pads, ones)
    how = host_winograd.Shape(g, filters, m)
    runs = [host_winograd.bind_conv(x, w, y, how),
            host_winograd.bind_conv_grad_input(gy, w, gx, back(g, filters, m)),
            host_winograd.bind_conv_grad_weight(x, gy, gw, how)]
    for fresh in range(2):                          # a second run sees new values, no leftovers
        if fresh:
            for a in (x, w, gy):
                a[...] = rng.standard_normal(a.shape)
        for run in runs:
            run()
        for got, want, what in zip((y, gx, gw), by_torch(x, w, gy, ones, pads, ones),
                                   ("y", "gx", "gw")):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11,
                                       err_msg=f"{what} of {name}")


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if len(case[1]) == 2])
def test_scattered_gradient_agrees_with_torch(name):
    shape, kernel, filters, pads, m = CASES[name]
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape), rng.standard_normal(kernel + (shape[-1], filters))
    gy = rng.standard_normal(by_torch(x, w, None, (1, 1), pads, (1, 1)))
    gx = np.full_like(x, np.nan)
    g = window.geometry(shape, kernel, (1, 1), pads, (1, 1))
    how = host_winograd.Shape(g, filters, m, scatter=True)
    run = host_scatter.bind_conv_grad_input(gy, w, gx, how)
    for _ in range(2):
        run()
        np.testing.assert_allclose(gx, by_torch(x, w, gy, (1, 1), pads, (1, 1))[1], rtol=1e-11,
                                   atol=1e-11)
        gy[...] = rng.standard_normal(gy.shape)


def test_scattering_is_for_large_windows_on_small_images():
    valid = window.geometry((128, 12, 12, 32), (5, 5), (1, 1), ((0, 0), (0, 0)), (1, 1))
    same = window.geometry((32, 16, 16, 32), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    kind = np.dtype("float32")
    assert host_scatter.saves(valid, 64, kind) and not host_scatter.saves(same, 32, kind)


@pytest.mark.parametrize("size, channels", [(3, 64), (5, 32)])
def test_float32_takes_this_way_and_stays_close(size, channels):
    shape, kernel, pads = (4, 20, 20, channels), (size, size), ((size // 2,) * 2,) * 2
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape).astype("float32")
    w = rng.standard_normal(kernel + (channels, 32)).astype("float32")
    gy = rng.standard_normal((4, 20, 20, 32)).astype("float32")
    y, gx, gw = (np.empty_like(a) for a in (gy, x, w))
    g = window.geometry(shape, kernel, (1, 1), pads, (1, 1))
    assert host_winograd.best(g, 32, x.dtype) and host_winograd.best_back(g, 32, x.dtype)
    for run in (host_conv.bind_conv(x, w, y, g), host_conv.bind_conv_grad_input(gy, w, gx, g),
                host_conv.bind_conv_grad_weight(x, gy, gw, g)):
        run()
    exact = by_torch(*(a.astype("float64") for a in (x, w, gy)), (1, 1), pads, (1, 1))
    for got, want, plain in zip((y, gx, gw), exact, by_torch(x, w, gy, (1, 1), pads, (1, 1))):
        mistake = (got - want).std() / want.std()
        assert mistake < 2e-6 and mistake < 12 * (plain - want).std() / want.std()


def test_float64_does_not():
    g = window.geometry((4, 20, 20, 64), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    assert host_winograd.best(g, 64, np.dtype("float64")) is None


@pytest.mark.parametrize("side", [20, 96])          # blocks of whole images; larger than a block
def test_pooled_convolution_and_its_gradient(side):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, side, side, 32)).astype("float32")
    w = rng.standard_normal((3, 3, 32, 32)).astype("float32")
    op = ConvMaxPool((1, 1), ((1, 1), (1, 1)), (1, 1), (2, 2))
    pooled, mask = (np.empty(t.shape, t.dtype) for t in op.numpy(x, w))
    op.host((x, w), (pooled, mask))()
    np.testing.assert_allclose(pooled, op.numpy(x, w)[0], rtol=1e-4, atol=1e-4)
    gy = rng.standard_normal(pooled.shape).astype("float32")
    grad = MaskedConvWeightGrad((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (2, 2))
    gw = np.empty_like(w)
    grad.host((x, mask, gy), (gw,))()
    np.testing.assert_allclose(gw, grad.numpy(x, mask, gy), rtol=1e-3, atol=2e-2)
