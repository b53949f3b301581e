"""The pass `near`: same values as without it, and the large array gone."""

import numpy as np
import pytest

from gpukeras import devices
from gpukeras.devices.host import HostDevice
from gpukeras.function import function
from gpukeras.graph import Placeholder, Variable, gradients
from gpukeras.ops import broadcast as b
from gpukeras.ops import conv, math, pool
from gpukeras.ops.conv_pool import ConvMaxPool, MaskedConvWeightGrad, MaskedSpread
from gpukeras.passes import near


@pytest.fixture(autouse=True)
def small_arrays_too(monkeypatch):
    monkeypatch.setattr(near, "LEAST_BYTES", 0)


@pytest.fixture(autouse=True)
def on_the_host():
    first = devices.use(HostDevice())              # whose pass it is
    yield
    devices.use(first)


def network(extra_user=False, window=(2, 2)):
    rng = np.random.default_rng(0)
    x = Placeholder("float32", (None, 12, 12, 3))
    w1 = Variable(rng.standard_normal((3, 3, 3, 8)).astype("float32"))
    w2 = Variable(rng.standard_normal((2, 2, 8, 4)).astype("float32"))
    bias = Variable(rng.standard_normal(8).astype("float32"))
    y = conv.conv(x, w1)
    h = pool.max_pool(math.relu(y + bias), window)
    z = conv.conv(h, w2)
    z = pool.max_pool(z, 2) if window == (2, 2) else z
    loss = b.sum_(math.square(z))
    if extra_user:
        loss = loss + b.sum_(y)
    grads = gradients([(loss, math.ones_like(loss))], [w1, w2, bias])
    return function([x], [loss, *grads])


def run(f):
    return f([np.random.default_rng(1).standard_normal((5, 12, 12, 3)).astype("float32")])


def ops_of(f):
    schedule = next(iter(f._plans.values()))[0]
    return [type(step.op) for step in schedule.steps]


def test_values_are_those_without_the_pass(monkeypatch):
    fused = network()
    got = run(fused)
    assert {ConvMaxPool, MaskedSpread, MaskedConvWeightGrad} <= set(ops_of(fused))
    monkeypatch.setattr(near, "LEAST_BYTES", 1 << 40)
    plain = network()
    want = run(plain)
    assert ConvMaxPool not in ops_of(plain)
    for a, c in zip(got, want):
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("how", [{"extra_user": True}, {"window": (3, 4)}])
def test_other_users_and_windows_that_do_not_tile(how):
    """A second user needs the array itself; (3, 4) does not divide the 10 x 10 output."""
    f = network(**how)
    run(f)
    first = [op for op in ops_of(f) if op in (conv.Conv, ConvMaxPool)][0]
    assert first is conv.Conv
