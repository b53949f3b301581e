"""Devices with memories of their own: several emulated ones, and what a GPU can show of it."""
import sys
import types

import numpy as np
import pytest
from fakes import FakeCupy, FakeLibrary, FakeNccl, stand_in

from gpukeras import backend as K
from gpukeras import config, devices, layers, models, optimizers
from gpukeras.devices import cublas, several
from gpukeras.devices.choose import Choice
from gpukeras.devices.cuda import CudaDriver
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.devices.several import Copies, Link, _tested, devices_of, through_host
from gpukeras.errors import DeviceError
from gpukeras.parallel.multi_gpu import ParallelModel


@pytest.fixture(autouse=True)
def emulator(request, monkeypatch):
    kind = "cuda" if request.node.get_closest_marker("gpu") else "emu"
    old = devices.use(devices.make(Choice(kind, "")))
    monkeypatch.setattr(config, "deterministic", True)
    yield devices.current()
    devices.use(old)


def network():
    return models.Sequential([
        layers.Dense(6, activation="relu", input_shape=(5,)), layers.BatchNormalization(),
        layers.Dropout(0.3), layers.Dense(3, activation="softmax")])


def trained(count, numbers=(), optimizer=None, epochs=2, during=None):
    K.clear_session()
    np.random.seed(3)
    template = network()
    model = ParallelModel.of(template, count, numbers) if count > 1 else template
    model.compile(optimizer or optimizers.SGD(0.1), "categorical_crossentropy", ["accuracy"])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(22, 5)).astype("f4"), np.eye(3)[rng.integers(0, 3, 22)]
    found = []
    for _ in range(epochs):
        history = model.fit(x, y, batch_size=8, verbose=0, validation_data=(x[:2], y[:2])).history
        found += history.values()
        if during:
            during(template, model)
    return [*template.get_weights(), *map(np.array, found), model.predict(x)]


def test_three_devices_with_copies_give_what_one_gives():
    for a, b in zip(trained(1), trained(3, range(3)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_across_devices_their_bits_are_those_of_one():
    config.deterministic = "across devices"
    for a, b in zip(trained(1, (), "adam"), trained(3, range(3), "adam"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_copies_follow_what_is_written_from_outside():
    """Weights set by hand, a learning rate, and steps of the template alone."""
    def change(template, model):
        template.layers[0].set_weights([w * 0.5 for w in template.layers[0].get_weights()])
        K.set_value(model.optimizer.lr, 0.05)
        template.train_on_batch(np.ones((4, 5)), np.eye(3)[[0, 1, 2, 0]])

    for a, b in zip(trained(1, during=change), trained(3, range(3), during=change), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_after_the_first_step_devices_replay_graphs(emulator):
    trained(2, range(2), epochs=1)
    found = devices_of(emulator, range(2))
    counters = [d.driver.counters for d in found]
    assert all(c.graph_launches for c in counters) and found[1] is not emulator


def test_the_self_test_leaves_out_what_brings_wrong_values(capsys):
    class Odd(EmuDriver):
        """A driver whose copies from device to device set a bit."""

        def bind_peer_copy(self, dst, src):
            return lambda: self.upload(dst, src.driver.download(src) | 1)

    pair = [Odd(), Odd()]
    link = _tested(pair)
    assert isinstance(link, Link) and link.move is through_host and link.nccl is None
    assert "values arrive changed" in capsys.readouterr().err


# ------------------------------------------------------------------ the CUDA driver, two stand-ins

@pytest.fixture
def two_gpus(monkeypatch):
    """Two CUDA devices over stand-ins for CuPy, the first one in use; and their CuPys."""
    cupys = []

    def driver(number):
        cupy = FakeCupy()
        cupys.append(cupy)
        stand_in(monkeypatch, cupy)
        library = FakeLibrary(lambda run: cupy.stream.submit(run))
        monkeypatch.setattr(cublas, "find_cublas", lambda: library)
        made = CudaDriver(number)
        made._cublas()
        return made

    home = KernelDevice(driver(0))
    monkeypatch.setitem(several._devices, (id(home), 1), Copies(driver(1), home))
    old = devices.use(home)
    yield cupys
    devices.use(old)


def test_gpus_without_nccl_copy_from_one_to_the_other(two_gpus, capsys, monkeypatch):
    monkeypatch.setenv("GPUKERAS_DEBUG", "1")
    found = trained(2, range(2))
    assert "travel by peer copies" in capsys.readouterr().err
    devices.use(devices.make(Choice("emu", "")))
    for a, b in zip(trained(1), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_nccl_adds_beside_the_backward_pass_and_inside_the_graph(two_gpus, capsys, monkeypatch):
    monkeypatch.setenv("GPUKERAS_DEBUG", "1")
    nccl = FakeNccl(two_gpus)
    monkeypatch.setitem(sys.modules, "cupy.cuda", types.ModuleType("cupy.cuda"))
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", nccl)
    found = trained(2, range(2))
    assert "travel by NCCL" in capsys.readouterr().err and nccl.calls
    assert all(d.driver.counters.graph_launches
               for d in devices_of(devices.current(), range(2)))
    devices.use(devices.make(Choice("emu", "")))
    for a, b in zip(trained(1), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


# ------------------------------------------------------------------ on a GPU

@pytest.mark.gpu
def test_two_virtual_devices_on_one_gpu_give_the_bits_of_one():
    config.deterministic = "across devices"
    for a, b in zip(trained(1, (), "adam"), trained(2, (), "adam"), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
def test_nccl_starts_with_one_rank_and_its_sum_is_captured(emulator):
    from gpukeras.devices import nccl
    driver = emulator.driver
    try:
        comms = nccl.communicators([driver.device.id])
    except DeviceError as error:
        pytest.skip(str(error))
    nccl.self_test(comms, [driver])
    x = driver.to_device(np.arange(5, dtype="f4"))
    y = driver.empty((5,), "float32")
    run = nccl.bind_sum(comms[0], driver, x, y)
    run()
    with driver.capture() as graph:
        driver.bind_copy(x, y)()
        run()
    graph.launch()
    np.testing.assert_array_equal(driver.download(y), np.arange(5))
