"""Products with epilogues: which graphs get them, and that whole models still learn what torch
says, with the library's epilogues and without."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.function import function
from gpukeras.graph import Placeholder, gradients
from gpukeras.layers import Dense
from gpukeras.models import Sequential
from gpukeras.ops.broadcast import sum_
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


def torchs(weights, steps):
    torch = pytest.importorskip("torch")
    ws = [torch.tensor(w.astype("f8"), requires_grad=True) for w in weights]
    x, t = (torch.tensor(a.astype("f8")) for a in data())
    optimizer, losses = torch.optim.SGD(ws, lr=0.05), []
    for _ in range(steps):
        h = torch.relu(torch.relu(x @ ws[0] + ws[1]) @ ws[2] + ws[3]) @ ws[4] + ws[5]
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
    losses, weights = torchs(model.get_weights(), 4)
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
