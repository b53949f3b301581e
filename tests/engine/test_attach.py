"""passes/attach.py: bias and rectifier go into the convolution unless others look in between."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices, layers
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.function import function
from gpukeras.graph import Graph, Placeholder, gradients
from gpukeras.models import Sequential
from gpukeras.ops.conv import conv
from gpukeras.ops.math import add, relu, relu_grad
from gpukeras.ops.norm import BatchNormTrain
from gpukeras.passes.pipeline import compile_graph
from gpukeras.passes.target import CUDA, HOST


def parts(filters=8, dtype="float32"):
    shapes = (2, 7, 6, 4), (3, 3, 4, filters), (filters,)
    return [Placeholder(dtype, s) for s in shapes]


def ops(inputs, outputs, target=CUDA):
    graph = Graph(tuple(inputs), tuple(outputs))
    return [type(s.op).__name__ for s in compile_graph(graph, target).steps]


@pytest.mark.parametrize("swapped", [False, True])
def test_bias_and_rectifier_are_attached(swapped):
    x, w, b = parts()
    y = conv(x, w, pads="same")
    y = relu(add(b, y) if swapped else add(y, b))
    assert ops([x, w, b], [y]) == ["ConvBias"]
    assert "ConvBias" not in ops([x, w, b], [y], HOST)


@pytest.mark.parametrize("case", ["no rectifier", "sum used", "convolution used", "other shape"])
def test_what_is_looked_at_stays(case):
    x, w, b = parts()
    y = conv(x, w, pads="same")
    if case == "other shape":
        b = Placeholder("float32", (7, 6, 8))
    total = add(y, b)
    outputs = {"no rectifier": [total], "sum used": [relu(total), total],
               "convolution used": [relu(total), y], "other shape": [relu(total)]}[case]
    assert "ConvBias" not in ops([x, w, b], outputs)


def agree(inputs, outputs):
    """The emulated device's values are the host's."""
    rng = np.random.default_rng(0)
    data = [rng.standard_normal(t.shape).astype("f4") for t in inputs]
    results = []
    for device in (devices.HostDevice(), KernelDevice(EmuDriver())):
        old = devices.use(device)
        try:
            results.append(function(inputs, outputs)(data))
        finally:
            devices.use(old)
    for host, cuda in zip(*results):
        np.testing.assert_allclose(cuda, host, rtol=1e-4, atol=1e-4 * np.abs(host).max())


def test_statistics_of_batch_normalisation_are_attached():
    x, w, b = parts()
    y, mean, var = BatchNormTrain(1e-3)(conv(x, w, pads="same"), b, b)
    assert ops([x, w, b], [y, mean, var]) == ["ConvStats", "Fused"]
    assert "ConvStats" not in ops([x, w, b], [y, mean, var], HOST)


def test_batch_normalisation_gives_what_the_host_gives():
    x, w, b = parts()
    y, mean, var = BatchNormTrain(1e-3)(conv(x, w, pads="same"), b, b)
    agree([x, w, b], [y, mean, var, *gradients([(y, y * y)], [x, w, b])])


@pytest.mark.parametrize("strides", [1, 2])
def test_values_and_gradients_are_those_of_the_host(strides):
    x, w, b = parts()
    y = relu(add(conv(x, w, strides, "same"), b))
    agree([x, w, b], [y, *gradients([(y, y)], [x, w, b])])


def two_layers():
    """Inputs, and gradients of relu(conv(relu(conv(x, w) + b), v) + c)."""
    x, w, b = parts()
    v, c = Placeholder("float32", (3, 3, 8, 4)), Placeholder("float32", (4,))
    h = relu(add(conv(x, w, pads="same"), b))
    y = relu(add(conv(h, v, pads="same"), c))
    inputs = [x, w, b, v, c]
    return inputs, h, [y, *gradients([(y, y)], inputs)]


def test_a_relu_and_the_sums_for_a_bias_go_into_the_data_gradient():
    inputs, h, outputs = two_layers()
    found = ops(inputs, outputs)
    assert found.count("ConvDataRelu") == 1
    assert found.count("FusedSums") == 1                       # of the last layer alone
    assert "ConvDataRelu" not in ops(inputs, outputs, HOST)
    agree(inputs, outputs)


def test_a_relu_before_other_elementwise_work_stays_with_that():
    inputs, h, outputs = two_layers()
    gh, = gradients([(outputs[0], outputs[0])], [h])
    for more in ([relu_grad(gh, h) * 2.0], [gh]):
        assert "ConvDataRelu" not in ops(inputs, outputs + more)


def test_a_network_learns_what_it_learns_on_the_host():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 9, 8, 3)).astype("f4")
    t = rng.standard_normal((8, 5)).astype("f4")
    found = []
    for device in (devices.HostDevice(), KernelDevice(EmuDriver())):
        old = devices.use(device)
        try:
            K.clear_session()
            np.random.seed(1)
            model = Sequential([
                layers.Conv2D(8, 3, activation="relu", padding="same", input_shape=x.shape[1:]),
                layers.Conv2D(12, 3, strides=2, activation="relu", padding="same"),
                layers.Conv2D(4, 2, activation="relu"), layers.Flatten(), layers.Dense(5)])
            model.compile("sgd", "mse")
            losses = [model.train_on_batch(x, t) for _ in range(4)]
            found.append((losses, model.get_weights()))
        finally:
            devices.use(old)
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    for got, want in zip(found[1][1], found[0][1]):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
