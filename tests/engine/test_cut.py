"""Products of slices read them where they lie, on CUDA; the results are NumPy's."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.function import function
from gpukeras.graph import Placeholder
from gpukeras.ops.broadcast import reshape
from gpukeras.ops.linalg import dot
from gpukeras.ops.math import tanh
from gpukeras.ops.shape import Slice

FULL = (None, None, None)
LAST, GATES = (FULL, (-1, None, None), FULL), (FULL, FULL, (2, 5, None))


@pytest.fixture
def emulated():
    first = devices.use(KernelDevice(EmuDriver(check="races")))
    yield
    devices.use(first)
    K.clear_session()


def run(outputs, inputs, arrays):
    """(results, names of the ops that ran)"""
    step = function(inputs, outputs)
    results = step(arrays)
    schedule = step.specialise(tuple(a.shape for a in arrays)).schedule
    return results, sorted(type(s.op).__name__ for s in schedule.steps)


def arrays_of(inputs):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(t.shape).astype("f4") for t in inputs]


def test_the_last_state_of_a_sequence_and_its_weights_gradient(emulated):
    h, w, g = (Placeholder("float32", s) for s in ((6, 4, 9), (9, 5), (6, 5)))
    last = reshape(Slice(LAST)(h), (6, 9))
    a = arrays_of((h, w, g))
    (y, gw), ops = run([dot(last, w), dot(last, g, trans_a=True)], [h, w, g], a)
    assert ops == ["CutDot", "CutDot"]
    np.testing.assert_allclose(y, a[0][:, -1] @ a[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gw, a[0][:, -1].T @ a[2], rtol=1e-5, atol=1e-5)


def test_some_gates_of_all_steps(emulated):
    x, gates = Placeholder("float32", (6, 4, 9)), Placeholder("float32", (6, 4, 8))
    some = reshape(Slice(GATES)(gates), (24, 3))
    a = arrays_of((x, gates))
    (y,), ops = run([dot(reshape(x, (24, 9)), some, trans_a=True)], [x, gates], a)
    assert ops == ["CutDot"]
    want = a[0].reshape(24, 9).T @ a[1][..., 2:5].reshape(24, 3)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)


def test_a_slice_that_others_read_too_is_made(emulated):
    h, w = Placeholder("float32", (6, 4, 9)), Placeholder("float32", (9, 5))
    last = reshape(Slice(LAST)(h), (6, 9))
    a = arrays_of((h, w))
    (y, z), ops = run([dot(last, w), tanh(last)], [h, w], a)
    assert "CutDot" not in ops and "Slice" in ops
    np.testing.assert_allclose(y, a[0][:, -1] @ a[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(z, np.tanh(a[0][:, -1]), rtol=1e-5)


@pytest.mark.parametrize("slices", [(FULL, (0, None, 2), FULL), ((1, None, None), FULL, FULL),
                                    (FULL, (0, 2, None), (0, 3, None))])
def test_slices_whose_rows_are_not_evenly_spaced_are_made(emulated, slices):
    h = Placeholder("float32", (6, 4, 9))
    part = Slice(slices)(h)
    rows, columns = part.shape[0], part.type.size // part.shape[0]
    w = Placeholder("float32", (columns, 2))
    a = arrays_of((h, w))
    (y,), ops = run([dot(reshape(part, (rows, columns)), w)], [h, w], a)
    assert ops == ["Dot", "Slice"]
    cut = a[0][tuple(slice(*s) for s in slices)].reshape(rows, columns)
    np.testing.assert_allclose(y, cut @ a[1], rtol=1e-5, atol=1e-5)
