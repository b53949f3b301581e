"""passes/attach.py: bias and rectifier go into the convolution unless others look in between."""
import numpy as np
import pytest

from gpukeras import devices
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.function import function
from gpukeras.graph import Graph, Placeholder, gradients
from gpukeras.ops.conv import conv
from gpukeras.ops.math import add, relu
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
