"""Whole functions over the emulated device: against the host device, eager against replayed."""

import numpy as np
import pytest

from gpukeras import devices
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.host import HostDevice
from gpukeras.devices.launcher import KernelDevice
from gpukeras.errors import KernelError
from gpukeras.function import function
from gpukeras.graph import Constant, Op, Placeholder, Variable, gradients
from gpukeras.ops import broadcast, linalg, math
from gpukeras.ops.record import Expr
from gpukeras.ops.rnn import Lstm
from gpukeras.ops.scan import scan


def emulated(**kwargs):
    return KernelDevice(EmuDriver(**kwargs))


def training_step(steps, rows=5):
    """A two-layer net trained by gradient descent with momentum; returns losses and weights."""
    rng = np.random.default_rng(0)
    x, t = Placeholder("float32", (None, 8)), Placeholder("float32", (None, 4))
    weights = [Variable(rng.normal(size=s).astype("f4")) for s in ((8, 16), (16,), (16, 4), (4,))]
    slots = [Variable(np.zeros(w.shape, "f4")) for w in weights]
    rate = Variable(np.float32(0.002))
    w1, b1, w2, b2 = weights
    y = linalg.dot(math.tanh(linalg.dot(x, w1) + b1), w2) + b2
    loss = broadcast.sum_(math.square(y - t))
    grads = gradients([(loss, Constant(np.float32(1)))], weights)
    updates = []
    for w, s, g in zip(weights, slots, grads):
        new = s * 0.9 - rate * g
        updates += [(s, new), (w, w + new)]
    step = function([x, t], [loss, y], updates)
    data = [rng.normal(size=(rows, n)).astype("f4") for n in (8, 4)]
    results = [step(data) for _ in range(steps)]
    device = devices.current()
    return step, results, [device.read(w) for w in weights]


def test_training_gives_the_losses_of_the_host_device(on):
    on(HostDevice())
    _, host, host_weights = training_step(5)
    on(emulated(check="races"))
    _, emu, emu_weights = training_step(5)
    for (a, ya), (b, yb) in zip(host, emu):
        np.testing.assert_allclose(a, b, rtol=1e-4)
        np.testing.assert_allclose(ya, yb, rtol=1e-3, atol=1e-4)
    for a, b in zip(host_weights, emu_weights):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert host[-1][0] < host[0][0]


def test_replayed_and_eager_runs_give_the_same_bits(on, monkeypatch):
    on(emulated())
    step, replayed, weights = training_step(4)
    assert next(iter(step._plans.values()))[1]._graph is not None
    monkeypatch.setenv("GPUKERAS_REPLAY", "0")
    on(emulated(schedule="random"))
    step, eager, eager_weights = training_step(4)
    assert next(iter(step._plans.values()))[1]._graph is None
    for a, b in zip(replayed + [weights], eager + [eager_weights]):
        assert all(u.tobytes() == v.tobytes() for u, v in zip(a, b))


def test_a_replayed_step_allocates_and_reads_nothing(on):
    on(emulated())
    step, _, _ = training_step(2)
    counters = devices.current().driver.counters
    counters.reset()
    step.run([np.zeros((5, 8), "f4"), np.zeros((5, 4), "f4")])
    assert (counters.allocations, counters.downloads, counters.synchronizations) == (0, 0, 0)
    assert (counters.uploads, counters.graph_launches) == (2, 1)


def test_each_shape_is_captured_when_it_comes_back(on):
    on(emulated())
    x = Placeholder("float32", (None, 3))
    double = function([x], [x * 2])
    graphs = []
    for rows in (2, 5, 2, 2, 5):
        a = np.random.default_rng(rows).normal(size=(rows, 3)).astype("f4")
        np.testing.assert_array_equal(double([a])[0], 2 * a)
        graphs.append(devices.current().driver.counters.graph_launches)
    assert graphs == [0, 0, 1, 2, 3]


def test_exchanged_variables_and_untouched_ones(on):
    on(emulated())
    a, b = Variable(np.arange(3.0)), Variable(np.arange(3.0) + 10)
    swap = function([], [a + b], [(a, b), (b, a)])
    for i in range(1, 4):
        np.testing.assert_array_equal(swap([])[0], [10, 12, 14])
        first = devices.current().read(a)[0]
        assert first == (10 if i % 2 else 0)


def test_views_constants_and_inputs_of_other_dtypes(on):
    on(emulated())
    x = Placeholder("float32", (None, 4))
    table = Constant(np.arange(200, dtype="f4").reshape(2, 100))
    y = broadcast.reshape(table, (100, 2)) + broadcast.reshape(broadcast.sum_(x), (1, 1))
    got, = function([x], [y])([np.ones((3, 4), "int64")])
    np.testing.assert_array_equal(got, np.arange(200).reshape(100, 2) + 12)


class Sorted(Op):
    """x in order: has no CUDA kernel."""

    def infer(self, x):
        return x

    def numpy(self, x):
        return np.sort(x)


def test_an_op_without_a_kernel_runs_on_the_host_and_is_never_captured(on):
    on(emulated())
    x = Placeholder("float32", (5,))
    step = function([x], [Sorted()(x * -1) + 1])
    a = np.array([3, 1, 2, 5, 4], "f4")
    for _ in range(3):
        np.testing.assert_array_equal(step([a])[0], np.sort(-a) + 1)
    executable = next(iter(step._plans.values()))[1]
    assert [type(s.op).__name__ for s in executable.host_steps] == ["Sorted"]
    assert executable._graph is None


def test_empty_arrays_launch_nothing(on):
    on(emulated())
    x = Placeholder("float32", (None, 3))
    assert function([x], [x * 2 + 1])([np.zeros((0, 3), "f4")])[0].shape == (0, 3)


class Doubled(math.Elementwise):
    """2 x, says NumPy; the kernel is wrong."""

    cuda = Expr("a * 3")

    def numpy(self, x):
        return x * 2


def test_check_names_the_first_step_that_differs_from_numpy(on, monkeypatch):
    monkeypatch.setenv("GPUKERAS_CHECK", "1")
    on(emulated())
    x, w = Placeholder("float32", (3, 4)), Placeholder("float32", (4, 2))
    a, b = np.ones((3, 4), "f4"), np.ones((4, 2), "f4")
    right = function([x, w], [math.tanh(linalg.dot(x, w))])
    for _ in range(3):
        right([a, b])
    assert devices.current().driver.counters.graph_launches == 0
    with pytest.raises(KernelError, match="step 1 differs from NumPy(.|\n)*Doubled"):
        function([x, w], [Doubled()(linalg.dot(x, w))])([a, b])


def test_debug_4_prints_the_cuda_source(on, monkeypatch, capsys):
    monkeypatch.setenv("GPUKERAS_DEBUG", "4")
    on(emulated())
    x = Placeholder("float32", (3,))
    function([x], [math.tanh(x)])([np.ones(3, "f4")])
    assert "tanh(a)" in capsys.readouterr().out


def test_a_device_with_little_shared_memory_gets_the_other_plan(on):
    rng = np.random.default_rng(0)
    shapes = ((3, 4, 20), (5, 20), (3, 5), (3, 5))
    data = [rng.normal(size=s).astype("f4") for s in shapes]
    results, launches = [], []
    for limit in (48 * 1024, 100):
        device = emulated()
        device.driver.shared_limit = limit
        on(device)
        xs = [Placeholder("float32", s) for s in shapes]
        results.append(function(xs, [Lstm()(*xs)[0]])(data)[0])
        launches.append(device.driver.counters.launches)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)
    assert launches == [1, 4]


def test_a_loops_body_may_look_at_its_slices_in_another_shape(on):
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(5, 2, 4)).astype("f4"), rng.random((5, 2)) > 0.5]
    results = []
    for device in (HostDevice(), emulated()):
        on(device)
        x, mask = Placeholder("float32", (5, 2, 4)), Placeholder("bool", (5, 2))

        def step(slices, states):
            keep = broadcast.expand_dims(slices[1], 1)
            new = math.where(keep, math.tanh(slices[0] + states[0]), states[0])
            return [new], [new * 2]

        histories, values = scan(step, [x, mask], [Constant(np.zeros((2, 4), "f4"))])
        results.append(function([x, mask], [histories[0], values[0]])(data))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
