"""Arrays of CuPy, torch and others are read where they are: no copy to the host, no copy at all."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices
from gpukeras.devices import dlpack
from gpukeras.devices.array import DeviceArray
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.host import HostDevice
from gpukeras.devices.launcher import KernelDevice
from gpukeras.layers import Dense
from gpukeras.models import Sequential

RNG = np.random.RandomState(0)
X = RNG.randn(50, 6).astype("float32")
LABELS = RNG.randint(0, 3, 50).astype("int32")


class OnDevice:
    """What CuPy's arrays look like, over memory that the emulated device can read."""

    def __init__(self, array):
        self.memory, self.streams = array, []
        self.shape, self.dtype = array.shape, array.dtype

    def __len__(self):
        return len(self.memory)

    def __dlpack_device__(self):
        return dlpack.CUDA, 0

    def __dlpack__(self, stream=None):
        self.streams.append(stream)
        return self.memory.__dlpack__()

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def get(self):
        raise AssertionError("copied to the host")

    def copy(self, order):
        return type(self)(self.memory.copy(order))


class OnlyInterface:
    """Before DLPack: __cuda_array_interface__ alone."""

    def __init__(self, array):
        self.memory, self.shape, self.dtype = array, array.shape, array.dtype

    def __len__(self):
        return len(self.memory)

    @property
    def __cuda_array_interface__(self):
        return {"shape": self.shape, "typestr": self.dtype.str, "version": 3, "stream": 1,
                "strides": None, "data": (self.memory.ctypes.data, False)}


@pytest.fixture
def emulator():
    first = devices.use(KernelDevice(EmuDriver()))
    yield devices.current()
    devices.use(first)


@pytest.fixture
def host():
    first = devices.use(HostDevice())
    yield
    devices.use(first)


def results(wrap, x=X, labels=LABELS):
    """Everything that a model does with data."""
    K.clear_session()
    np.random.seed(1)
    model = Sequential([Dense(8, activation="relu", input_shape=(6,)),
                        Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = wrap(x), wrap(labels)
    np.random.seed(2)
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0, validation_split=0.2).history
    found = [*history.values(), model.evaluate(x, y, verbose=0), model.predict(x, batch_size=20)]
    found += [model.train_on_batch(x, y), model.test_on_batch(x, y), model.predict_on_batch(x)]

    def batches():
        while True:
            yield x, y

    found += [model.fit_generator(batches(), 2, verbose=0).history["loss"], *model.get_weights()]
    return [np.asarray(part) for part in found]


def same(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrap", [OnDevice, OnlyInterface,
                                  lambda a: OnDevice(np.asfortranarray(a))])
def test_arrays_on_the_device_train_as_numpy_does(wrap, emulator):
    same(results(wrap), results(np.asarray))


def test_other_types_are_cast_on_the_device(emulator):
    x, labels = X.astype("float64"), LABELS.astype("int64")
    same(results(OnDevice, x, labels), results(np.asarray, x, labels))


def test_nothing_of_the_data_goes_through_the_host(emulator, monkeypatch):
    large = []
    for name in ("upload", "download"):
        do = getattr(EmuDriver, name)

        def counted(driver, *arrays, do=do):
            large.extend(a.nbytes for a in arrays if a.nbytes >= 16 * 6 * 4)
            return do(driver, *arrays)

        monkeypatch.setattr(EmuDriver, name, counted)
    model = Sequential([Dense(4, input_shape=(6,)), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = OnDevice(X), OnDevice(LABELS)
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, shuffle=False)
    model.evaluate(x, y, batch_size=16, verbose=0)
    model.train_on_batch(x, y)
    assert not large
    model.evaluate(X, LABELS, batch_size=16, verbose=0)
    assert large                                   # the counter sees what it should
    assert x.streams


def test_a_view_is_the_memory_itself(emulator):
    x = OnDevice(X.copy())
    view = devices.adopt(x)
    assert isinstance(view, DeviceArray)
    assert view.ptr == x.memory.ctypes.data and view.shape == (50, 6)
    assert view[10:20].ptr == x.memory[10:].ctypes.data and len(view[10:20]) == 10
    np.testing.assert_array_equal(devices.on_host(view[48:99]), x.memory[48:])
    owner = view.buffer.owner
    del x
    np.testing.assert_array_equal(emulator.driver.download(view), X)
    assert owner is view.buffer.owner
    with pytest.raises(TypeError, match="slices of rows"):
        view[[1, 2]]


def test_labels_on_the_device_are_checked(emulator):
    model = Sequential([Dense(3, activation="softmax", input_shape=(6,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    labels = LABELS.copy()
    labels[7] = 3
    with pytest.raises(ValueError, match=r"label value of 3 \(sample 7\)"):
        model.fit(OnDevice(X), OnDevice(labels), verbose=0)


def test_weights_of_samples_and_classes_with_data_on_the_device(emulator):
    def losses(wrap):
        np.random.seed(1)
        K.clear_session()
        model = Sequential([Dense(3, activation="softmax", input_shape=(6,))])
        model.compile("sgd", "sparse_categorical_crossentropy")
        weights = np.linspace(0, 1, 50).astype("float32")
        arguments = dict(epochs=2, verbose=0, shuffle=False)
        return [model.fit(wrap(X), wrap(LABELS), sample_weight=OnHost(weights),
                          **arguments).history["loss"],
                model.fit(wrap(X), wrap(LABELS), class_weight={0: 1, 1: 2, 2: 3},
                          **arguments).history["loss"]]

    class OnHost(OnDevice):
        def get(self):
            return self.memory

    same(losses(OnDevice), losses(np.asarray))


def test_an_array_on_a_gpu_is_fetched_when_the_model_runs_on_the_cpu(host):
    class Fetched(OnDevice):
        def get(self):
            return self.memory

    same(results(Fetched), results(np.asarray))


def test_a_function_takes_arrays_of_other_libraries(emulator):
    x = K.placeholder((None, 6))
    twice = K.function([x], [2 * x])
    np.testing.assert_array_equal(twice([OnDevice(X)])[0], 2 * X)


def test_torch_tensors_are_not_copied(host):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X.copy())
    assert devices.adopt(x).ctypes.data == x.data_ptr()
    wanting = torch.from_numpy(X.copy()).requires_grad_()
    assert devices.adopt(wanting).ctypes.data == wanting.data_ptr()
    same(results(torch.from_numpy), results(np.asarray))
    half = torch.from_numpy(X).bfloat16()
    np.testing.assert_array_equal(devices.adopt(half), half.float().numpy())
    np.testing.assert_array_equal(devices.adopt(x.T), X.T)


def test_numbers_of_16_bits_of_ml_dtypes_are_data(host):
    half = pytest.importorskip("ml_dtypes").bfloat16
    model = Sequential([Dense(3, input_shape=(6,))])
    np.testing.assert_array_equal(model.predict(X.astype(half)),
                                  model.predict(X.astype(half).astype("float32")))
