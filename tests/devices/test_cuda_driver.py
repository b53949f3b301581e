"""CudaDriver against a stand-in for CuPy: what it asks for, not what a GPU does with it."""

import numpy as np
import pytest
from fakes import FakeCupy, FakeLibrary, stand_in

from gpukeras import devices
from gpukeras.devices import cublas, cuda
from gpukeras.devices.cuda import CudaDriver
from gpukeras.devices.inlet import Inlet
from gpukeras.devices.launcher import KernelDevice
from gpukeras.errors import DeviceError, KernelError
from gpukeras.function import function
from gpukeras.graph import Constant, Placeholder, Variable, gradients
from gpukeras.ops import broadcast, linalg, math


@pytest.fixture
def driver(monkeypatch):
    cupy = FakeCupy()
    stand_in(monkeypatch, cupy)
    library = FakeLibrary(lambda run: cupy.stream.submit(run))
    monkeypatch.setattr(cublas, "find_cublas", lambda: library)
    return CudaDriver()


KERNEL = 'struct P { int a; float b; }; extern "C" __global__ void k(float* x, const float* y, ' \
         'float s, P p) { x[threadIdx.x] = (y ? y[threadIdx.x] : 0) * s + p.a + p.b; }'


def test_launches_pass_pointers_null_scalars_and_structs_by_value(driver):
    x, y = driver.to_device(np.zeros(4, "f4")), driver.to_device(np.arange(4, dtype="f4"))
    kernel = driver.load(KERNEL, "k.cu").kernel("k")
    struct = np.array((3, 0.5), "i4,f4")[()]
    driver.launch(kernel, (1,), (4,), (x, y, np.float32(2), struct))
    np.testing.assert_array_equal(driver.download(x), np.arange(4) * 2 + 3.5)
    driver.launch(kernel, (1,), (4,), (x, None, np.float32(2), struct))
    np.testing.assert_array_equal(driver.download(x), np.full(4, 3.5))
    with pytest.raises(KernelError, match="expected a DeviceArray or a NumPy scalar"):
        driver.launch(kernel, (1,), (4,), (x, y, 2.0, struct))
    with pytest.raises(KernelError, match="no entry 'missing'"):
        driver.load(KERNEL, "k.cu").kernel("missing")


def test_much_shared_memory_is_asked_for_once(driver):
    kernel = driver.load('extern "C" __global__ void k() {}', "k.cu").kernel("k")
    for smem in (1000, 100_000, 90_000, 100_000):
        driver.launch(kernel, (1,), (32,), (), smem)
    assert driver.cupy.attributes == [(8, 100_000)]
    with pytest.raises(DeviceError, match="too much shared memory"):
        driver.launch(kernel, (1,), (32,), (), 240_000)


def test_uploads_go_through_a_few_pinned_buffers(driver, monkeypatch):
    x = driver.empty((300,), "f4")
    for i in range(10):
        driver.upload(x, np.full(300, i, "f4"))
        assert driver.download(x)[0] == i
    assert driver.cupy.events == 4
    monkeypatch.setattr(cuda, "_STAGE_BYTES", 1 << 10)
    data = np.arange(3000, dtype="f4").reshape(3, 1000)[:, ::2]
    y = driver.empty(data.shape, "f4")
    driver.upload(y, data)
    np.testing.assert_array_equal(driver.download(y), data)
    with pytest.raises(DeviceError, match="expected float32"):
        driver.upload(x, np.zeros(300))


def test_data_are_sent_beside_the_work_and_arrive_when_waited_for(driver):
    x = driver.to_device(np.zeros(5, "f4"))
    data = np.arange(5, dtype="f4")
    driver.send(x, data)
    arrived = driver.fence(sending=True)
    data[:] = -1                                   # it was copied to pinned memory
    assert driver.cupy.sending.ptr != driver.stream.ptr
    np.testing.assert_array_equal(driver.download(x), np.zeros(5))
    driver.wait(arrived, sending=False)
    np.testing.assert_array_equal(driver.download(x), np.arange(5))


def test_an_inlet_fills_a_buffer_again_only_after_it_was_read(driver):
    inlet, place = Inlet(driver), driver.empty((4,), "f4")
    kinds = [np.dtype("f4")]
    inlet.send([np.full(4, 0)], kinds)
    for i in range(6):
        if i < 5:
            inlet.send([np.full(4, i + 1)], kinds)
        inlet.receive([place])
        np.testing.assert_array_equal(driver.download(place), np.full(4, i, "f4"))
        read = inlet._read[i % 2]
        assert read.stream is driver.stream
        if 2 <= i:                                 # sent after a wait for the reading before
            assert len(driver.cupy.sending.waits) >= i - 1
    inlet.send([np.full(4, 7)], kinds)
    inlet.forget()
    inlet.send([np.full(9, 8)], kinds)             # larger than before
    wide = driver.empty((9,), "f4")
    inlet.receive([wide])
    np.testing.assert_array_equal(driver.download(wide), np.full(9, 8))
    with pytest.raises(RuntimeError, match="third batch"):
        for _ in range(3):
            inlet.send([np.zeros(4)], kinds)


def test_a_capture_runs_nothing_refuses_host_work_and_keeps_what_it_uses(driver):
    x, y = driver.to_device(np.ones(4, "f4")), driver.empty((4,), "f4")
    with driver.capture() as graph:
        driver.copy(y, x)
        driver.fill(x, 0)
        for work in (lambda: driver.alloc(4), lambda: driver.download(x), driver.synchronize):
            with pytest.raises(DeviceError, match="while a graph is captured"):
                work()
    assert driver.download(x)[0] == 1
    assert any(x in uses for uses in graph.kept if uses)
    graph.launch()
    assert driver.download(x)[0] == 0 and driver.download(y)[0] == 1
    with pytest.raises(ValueError):
        with driver.capture():
            raise ValueError
    driver.download(x)                       # the stream captures no longer


def test_a_training_step_runs_and_replays_over_it(driver):
    old = devices.use(KernelDevice(driver))
    try:
        rng = np.random.default_rng(0)
        x, w = Placeholder("float32", (None, 8)), Variable(rng.normal(size=(8, 4)).astype("f4"))
        loss = broadcast.sum_(math.square(math.tanh(linalg.dot(x, w))))
        gradient, = gradients([(loss, Constant(np.float32(1)))], [w])
        step = function([x], [loss], [(w, w - gradient * 0.01)])
        data = rng.normal(size=(5, 8)).astype("f4")
        losses = [float(step([data])[0]) for _ in range(4)]
    finally:
        devices.use(old)
    assert losses == sorted(losses, reverse=True) and driver.counters.graph_launches == 3


def test_unused_memory_is_given_back_and_counted(driver):
    from gpukeras import backend as K

    old = devices.use(KernelDevice(driver))
    try:
        assert driver.memory_info() == (512, 1 << 30)
        assert K.clear_session() == 2048 and K.clear_session() == 0
    finally:
        devices.use(old)


def test_a_call_is_timed_by_events(driver):
    x = driver.to_device(np.zeros(4, "f4"))
    calls = []
    seconds = driver.time(lambda: calls.append(driver.fill(x, 1)))
    assert len(calls) == 1 and 0 < seconds < 60 and driver.counters.synchronizations >= 2
    assert driver.download(x).view(np.uint8).tolist() == [1] * 16


class ElsewhereArray:
    """An array of another library on GPU `number`."""

    def __init__(self, array, kind=2, number=0):
        self.array, self.place, self.streams = array, (kind, number), []

    def __dlpack_device__(self):
        return self.place

    def __dlpack__(self, stream):
        self.streams.append(stream)
        return self.array.__dlpack__()


def test_arrays_of_other_libraries_on_this_gpu_are_read_in_place(driver):
    numbers = np.arange(12, dtype="f4").reshape(4, 3)
    for kind in (2, 13):                           # device and managed memory
        x = ElsewhereArray(numbers, kind)
        found = driver.adopt(x)
        assert found.ptr == numbers.ctypes.data and found.shape == (4, 3)
        assert x.streams == [driver.stream.ptr]    # its library makes our stream wait
        np.testing.assert_array_equal(driver.download(found), numbers)
    assert driver.adopt(ElsewhereArray(numbers, 2, 1)) is None
    assert driver.adopt(ElsewhereArray(numbers, 1)) is None
    assert driver.adopt(ElsewhereArray(numbers.T)) is None     # not contiguous


def test_the_older_interface_says_what_stream_to_wait_for(driver):
    numbers, waited = np.arange(12, dtype="i4").reshape(4, 3), []
    driver.cupy.cuda.runtime.streamSynchronize = waited.append

    class Older:
        __cuda_array_interface__ = {"shape": (4, 3), "typestr": "<i4", "version": 3, "stream": 7,
                                    "strides": (12, 4), "data": (numbers.ctypes.data, True)}

    found = driver.adopt(Older())
    assert waited == [7] and found.dtype == "int32" and found.ptr == numbers.ctypes.data
    Older.__cuda_array_interface__ = {**Older.__cuda_array_interface__, "strides": (24, 8)}
    assert driver.adopt(Older()) is None
