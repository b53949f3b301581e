"""gpukeras.ops.host_conv against torch's convolutions (float64, so that only mistakes differ)."""

import numpy as np
import pytest

from gpukeras import blas
from gpukeras.ops import host_block, host_conv, host_winograd, window
from gpukeras.team import Team

torch = pytest.importorskip("torch")

# x shape (N, *S, C), kernel, filters, strides, pads, dilation
CASES = {
    "thin": ((3, 9, 10, 1), (5, 3), 4, (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "thin padded": ((3, 9, 10, 3), (3, 3), 4, (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "thin strided": ((2, 11, 10, 2), (3, 3), 4, (2, 3), ((0, 1), (1, 1)), (1, 1)),
    "rows": ((3, 12, 12, 8), (5, 5), 6, (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "rows same": ((3, 8, 9, 16), (3, 3), 6, (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "rows lopsided": ((2, 8, 9, 16), (4, 2), 6, (1, 1), ((1, 2), (0, 1)), (1, 1)),
    "rows strided": ((2, 17, 19, 16), (3, 3), 6, (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "rows stride 3": ((2, 30, 30, 12), (2, 4), 6, (3, 2), ((0, 0), (2, 1)), (1, 1)),
    "rows dilated": ((2, 15, 15, 12), (3, 3), 6, (1, 1), ((2, 2), (0, 0)), (2, 3)),
    "rows strided, dilated": ((2, 23, 21, 12), (3, 2), 6, (2, 2), ((2, 2), (0, 0)), (3, 2)),
    "stride passes the kernel": ((2, 24, 24, 12), (1, 2), 6, (3, 3), ((0, 0), (0, 0)), (1, 1)),
    "flat": ((5, 6, 7, 8), (3, 3), 6, (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "flat same strided": ((5, 8, 8, 8), (3, 3), 6, (2, 2), ((0, 1), (0, 1)), (1, 1)),
    "pointwise": ((3, 5, 4, 7), (1, 1), 6, (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "pointwise strided": ((3, 15, 14, 7), (1, 1), 6, (2, 2), ((0, 0), (0, 0)), (1, 1)),
    "1d": ((3, 60, 40), (5,), 6, (1,), ((0, 0),), (1,)),
    "1d causal dilated": ((3, 60, 5), (3,), 6, (1,), ((4, 0),), (2,)),
    "1d strided": ((3, 99, 7), (4,), 6, (3,), ((1, 2),), (1,)),
    "3d": ((2, 6, 7, 8, 5), (3, 2, 3), 4, (1, 1, 1), ((1, 1), (0, 0), (1, 1)), (1, 1, 1)),
    "3d strided": ((2, 7, 7, 8, 2), (3, 2, 3), 4, (2, 1, 2), ((1, 1), (0, 1), (0, 0)), (1, 1, 1)),
    "one of each": ((1, 1, 1, 1), (1, 1), 1, (1, 1), ((0, 0), (0, 0)), (1, 1)),
}


def by_torch(x, w, gy, strides, pads, dilation):
    """y, gx, gw by torch, in our layouts."""
    axes = x.ndim - 2
    front, back = [0, axes + 1, *range(1, axes + 1)], [0, *range(2, axes + 2), 1]
    tx = torch.tensor(x.transpose(front).copy(), requires_grad=True)
    tw = torch.tensor(w.transpose(axes + 1, axes, *range(axes)).copy(), requires_grad=True)
    padded = torch.nn.functional.pad(tx, [p for pair in pads[::-1] for p in pair])
    conv = getattr(torch.nn.functional, f"conv{axes}d")
    ty = conv(padded, tw, stride=tuple(strides), dilation=tuple(dilation))
    if gy is None:
        return tuple(ty.shape[i] for i in back)
    ty.backward(torch.tensor(gy.transpose(front).copy()))
    return (ty.detach().numpy().transpose(back), tx.grad.numpy().transpose(back),
            tw.grad.numpy().transpose(*range(2, axes + 2), 1, 0))


@pytest.fixture(params=[(1, 1 << 19), (3, 1 << 19), (2, 3000)],
                ids=["one thread", "three threads", "tiny blocks"], autouse=True)
def arrangement(request, monkeypatch):
    """Every case alone, over a team, and cut into many row blocks."""
    size, block = request.param
    crew = Team(size)
    monkeypatch.setattr(blas, "workers", lambda: crew)
    monkeypatch.setattr(host_conv, "workers", lambda: crew)
    monkeypatch.setattr(host_conv, "BLOCK_BYTES", block)
    monkeypatch.setattr(host_winograd, "BLOCK_BYTES", block)
    for module in (host_block, host_winograd):
        monkeypatch.setattr(module, "workers", lambda: crew)
    monkeypatch.setattr(host_block, "WORTH_SPLITTING", 0)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_forward_and_both_gradients_agree_with_torch(name, dtype):
    shape, kernel, filters, strides, pads, dilation = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    w = rng.standard_normal(kernel + (shape[-1], filters)).astype(dtype)
    gy = rng.standard_normal(by_torch(x, w, None, strides, pads, dilation)).astype(dtype)
    y, gx, gw = (np.full_like(a, np.nan) for a in (gy, x, w))
    g = window.geometry(shape, kernel, strides, pads, dilation)
    runs = [host_conv.bind_conv(x, w, y, g), host_conv.bind_conv_grad_input(gy, w, gx, g),
            host_conv.bind_conv_grad_weight(x, gy, gw, g)]
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    for fresh in range(2):                          # a second run sees new values, no leftovers
        if fresh:
            for a in (x, w, gy):
                a[...] = rng.standard_normal(a.shape)
        for run in runs:
            run()
        for got, want, what in zip((y, gx, gw), by_torch(x, w, gy, strides, pads, dilation),
                                   ("y", "gx", "gw")):
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * 10,
                                       err_msg=f"{what} of {name}")


def test_unusual_arrays_are_left_to_numpy():
    x, w, y = np.zeros((1, 5, 5, 2), "float16"), np.zeros((3, 3, 2, 4), "float16"), \
        np.zeros((1, 3, 3, 4), "float16")
    g = window.geometry(x.shape, (3, 3), (1, 1), "valid", (1, 1))
    assert host_conv.bind_conv(x, w, y, g) is None
    x32, w32, y32 = (a.astype("float32") for a in (x, w, y))
    assert host_conv.bind_conv(x32[:, ::-1], w32, y32, g) is None
    assert host_conv.bind_conv(x32[:0], w32, y32[:0], g) is None
    assert host_conv.bind_conv(x32, w32, y32, g) is not None
