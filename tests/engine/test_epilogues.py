"""Products with epilogues: which graphs get them, and that whole models still learn what torch
says, with the library's epilogues and without."""
import functools

import numpy as np
import pytest

from gpukeras import activations, config, devices
from gpukeras import backend as K
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.function import function
from gpukeras.graph import Placeholder, gradients
from gpukeras.layers import Dense
from gpukeras.models import Sequential
from gpukeras.ops.broadcast import sum_
from gpukeras.ops.gelu import gelu
from gpukeras.ops.linalg import dot
from gpukeras.ops.math import relu, tanh
from gpukeras.optimizers import SGD


class Poor(EmuDriver):
    """A device whose library knows only some epilogues."""

    known: tuple[str, ...] = ()

    def fuses(self, gemm, math):
        return gemm.epilogue in self.known

    def bind_gemm(self, call):
        assert not call.epilogue or call.epilogue in self.known
        return super().bind_gemm(call)


@pytest.fixture
def on():
    first = devices.use(None)
    yield lambda driver: devices.use(KernelDevice(driver))
    devices.use(first)
    K.clear_session()


def ops_of(outputs, inputs, arrays):
    compiled = function(inputs, outputs)
    compiled(arrays)
    executable = compiled.specialise(tuple(a.shape for a in arrays))
    return [type(s.op).__name__ for s in executable.schedule.steps]


ROWS, WIDTHS = 96, (30, 80, 64, 48)                # products above 16 KB


def data():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((ROWS, WIDTHS[0])).astype("f4"),
            rng.standard_normal((ROWS, WIDTHS[-1])).astype("f4"))


def network():
    np.random.seed(1)
    model = Sequential([Dense(WIDTHS[1], activation="relu", input_shape=(WIDTHS[0],)),
                        Dense(WIDTHS[2], activation="relu"), Dense(WIDTHS[3])])
    model.compile(SGD(0.05), "mse")
    return model


def torchs(weights, x, t, steps, activation="relu", **how):
    torch = pytest.importorskip("torch")
    bend = functools.partial(getattr(torch.nn.functional, activation), **how)
    ws = [torch.tensor(w.astype("f8"), requires_grad=True) for w in weights]
    x, t = torch.tensor(x.astype("f8")), torch.tensor(t.astype("f8"))
    optimizer, losses = torch.optim.SGD(ws, lr=0.05), []
    for _ in range(steps):
        h = bend(bend(x @ ws[0] + ws[1]) @ ws[2] + ws[3]) @ ws[4] + ws[5]
        loss = ((h - t) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, [w.detach().numpy() for w in ws]


KNOWN = [(), ("bias", "relu", "relu mask"), ("relu grad", "relu grad sums"),
         ("relu mask", "relu grad sums"), ("bias", "relu mask", "relu grad sums", "sums of b")]


@pytest.mark.parametrize("known", KNOWN, ids="+".join)
def test_whatever_the_library_knows_a_model_learns_the_same(on, known):
    driver = Poor()
    driver.known = known
    on(driver)
    model = network()
    losses, weights = torchs(model.get_weights(), *data(), 4)
    got = [model.train_on_batch(*data()) for _ in range(4)]
    np.testing.assert_allclose(got, losses, rtol=1e-5)
    for w, right in zip(model.get_weights(), weights):
        np.testing.assert_allclose(w, right, rtol=1e-4, atol=1e-6)


def test_a_dense_layer_and_its_gradients_are_products_only(on):
    on(EmuDriver())
    x, w1, b1, w2, b2, g = (Placeholder("float32", s) for s in (
        (96, 30), (30, 80), (80,), (80, 64), (64,), (96, 64)))
    h = relu(dot(x, w1) + b1)
    y = dot(h, w2) + b2
    grads = gradients([(y, g)], [w1, b1, w2, b2])
    rng = np.random.default_rng(0)
    inputs = [x, w1, b1, w2, b2, g]
    arrays = [rng.standard_normal(t.shape).astype("f4") for t in inputs]
    found = ops_of([y, *grads], inputs, arrays)
    assert sorted(found) == ["Dot", "DotBias", "DotBias", "DotReluGrad", "DotSums"]


def test_a_bias_before_other_elementwise_work_stays_there(on):
    on(EmuDriver())
    x, w, b = (Placeholder("float32", s) for s in ((96, 30), (30, 80), (80,)))
    arrays = [np.ones(t.shape, "f4") for t in (x, w, b)]
    assert ops_of([tanh(dot(x, w) + b)], [x, w, b], arrays) == ["Dot", "Fused"]
    z = dot(x, w)
    assert "DotBias" not in ops_of([relu(z + b), sum_(z)], [x, w, b], arrays)


# ---- gelu: in tensor-core arithmetic only, where the library's tanh is exact enough

EIGHTS = (30, 80, 64, 48)


@pytest.fixture
def tf32(monkeypatch):
    monkeypatch.setattr(config, "math", "tf32")


def gelu_tanh(x):
    return activations.gelu(x, approximate=True)


def gelu_network(shape):
    np.random.seed(1)
    model = Sequential([Dense(EIGHTS[1], activation=gelu_tanh, input_shape=shape),
                        Dense(EIGHTS[2], activation=gelu_tanh), Dense(EIGHTS[3])])
    model.compile(SGD(0.05), "mse")
    return model


@pytest.mark.parametrize("shape", [(30,), (5, 30)], ids=["rows", "sequences"])
@pytest.mark.parametrize("known", [
    (), ("gelu aux",), ("gelu grad sums",), ("gelu aux", "gelu grad sums", "bias", "sums of b")],
    ids="+".join)
def test_a_model_with_gelus_learns_what_torchs_does(on, tf32, known, shape):
    driver = Poor()
    driver.known = known
    on(driver)
    rng = np.random.default_rng(0)
    x, t = (rng.standard_normal((96, *shape[:-1], n)).astype("f4") for n in (30, 48))
    model = gelu_network(shape)
    losses, weights = torchs(model.get_weights(), x, t, 3, "gelu", approximate="tanh")
    got = [model.train_on_batch(x, t) for _ in range(3)]
    np.testing.assert_allclose(got, losses, rtol=1e-5)
    for w, right in zip(model.get_weights(), weights):
        np.testing.assert_allclose(w, right, rtol=1e-4, atol=1e-6)


def gelu_ops(dtype, approximate=True, columns=80):
    x, w1, b1, w2, b2, g = (Placeholder(dtype, s) for s in (
        (160, 30), (30, columns), (columns,), (columns, 64), (64,), (160, 64)))
    h = gelu(dot(x, w1) + b1, approximate)
    y = dot(h, w2) + b2
    grads = gradients([(y, g)], [w1, b1, w2, b2])
    rng = np.random.default_rng(0)
    inputs = [x, w1, b1, w2, b2, g]
    arrays = [rng.standard_normal(t.shape).astype(dtype) for t in inputs]
    return sorted(ops_of([y, *grads], inputs, arrays))


def test_a_gelu_and_its_gradients_are_products_only(on, tf32):
    on(EmuDriver())
    fused = ["Dot", "DotBias", "DotGelu", "DotGeluGrad", "DotSums"]
    assert gelu_ops("float16") == fused and gelu_ops("float32") == fused


def test_a_gelu_of_another_meaning_or_exactness_is_our_own_kernel(on):
    on(EmuDriver())
    for given in (("float32",), ("float16", False), ("float16", True, 84)):
        found = gelu_ops(*given)               # value and gradient, with its sums, in one kernel
        assert found == ["Dot", "Dot", "Dot", "DotBias", "DotSums", "FusedSums"], given
