"""Data in files and large arrays: read and copied batch by batch."""
import os
import subprocess
import sys

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras.layers import Dense
from gpukeras.models import Sequential, data
from gpukeras.utils import HDF5Matrix

h5py = pytest.importorskip("h5py")
X = np.random.RandomState(0).uniform(-1, 1, (23, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = X, Y
    yield path
    HDF5Matrix.close(path)


def trained(x, y, **arguments):
    K.clear_session()
    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse")
    model.set_weights([np.ones((3, 1)), np.zeros(1)])
    np.random.seed(3)
    history = model.fit(x, y, batch_size=5, epochs=2, verbose=0, **arguments).history
    return [*model.get_weights(), np.array(list(history.values())), model.predict(x)]


def test_rows_of_a_matrix(path):
    whole, part = HDF5Matrix(path, "x"), HDF5Matrix(path, "x", 4, 20, normalizer=lambda v: v * 2)
    assert whole.shape == (23, 3) and part.shape == (16, 3) and len(part) == 16
    assert part.dtype == "float32" and part.ndim == 2 and part.size == 48
    np.testing.assert_array_equal(whole[2:5], X[2:5])
    np.testing.assert_array_equal(part[2:5], X[6:9] * 2)
    np.testing.assert_array_equal(part[3], X[7] * 2)
    for rows in ([5, 1, 1, 9], np.array([0, 15])):
        np.testing.assert_array_equal(part[rows], X[4:20][rows] * 2)
    for wrong in (16, -1, [3, 16], "x"):
        with pytest.raises(IndexError):
            part[wrong]


@pytest.mark.parametrize("arguments", [
    {"shuffle": "batch"}, {"shuffle": False}, {"shuffle": True},
    {"shuffle": "batch", "validation_split": 0.3}])
def test_training_on_a_file_is_training_on_its_arrays(path, arguments):
    expected = trained(X, Y, **arguments)
    with h5py.File(path, "r") as file:
        for x, y in ((HDF5Matrix(path, "x"), HDF5Matrix(path, "y")), (file["x"], file["y"])):
            for a, b in zip(trained(x, y, **arguments), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5)


_MEMORY = """
import resource, sys
import h5py, numpy as np
from gpukeras.layers import Dense
from gpukeras.models import Sequential, data
rows, kind = int(sys.argv[2]), sys.argv[3]
model = Sequential([Dense(1, input_shape=(2000,))])
model.compile('sgd', 'mse')
model.fit(np.zeros((64, 2000)), np.zeros((64, 1)), verbose=0)
if kind == 'array':
    x = np.zeros((rows, 2000))
    x[:] = 1e-3
    y = np.zeros((rows, 1))
else:
    file = h5py.File(sys.argv[1], 'r')
    x, y = file['x'], file['y']
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.fit(x, y, batch_size=64, shuffle='batch', validation_split=0.25, verbose=0)
model.evaluate(x, y, batch_size=64, verbose=0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("kind", ["array", "file"])
def test_large_data_are_not_copied_whole(tmp_path, kind):
    """80 MB of data train in a few MB more than were there before."""
    rows, path = 5000, str(tmp_path / "large.h5")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (rows, 2000), "float64", fillvalue=1e-3)
        file.create_dataset("y", (rows, 1), "float32")
    done = subprocess.run([sys.executable, "-c", _MEMORY, path, str(rows), kind],
                          env={**os.environ, "GPUKERAS_DEVICE": "cpu"},    # a driver is large
                          capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 25


def test_rows_of_sparse_matrices_become_dense_batch_by_batch():
    sparse = pytest.importorskip("scipy.sparse")
    x = np.where(abs(X) > 0.5, X, 0)
    expected = trained(x, Y, validation_split=0.3)
    for kind in (sparse.csr_matrix, sparse.coo_matrix, sparse.csc_array):
        for a, b in zip(trained(kind(x), Y, validation_split=0.3), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    model = Sequential([Dense(3, activation="softmax", input_shape=(3,))])
    model.compile("sgd", "categorical_crossentropy")
    kinds = np.eye(3)[np.arange(23) % 3]
    assert (model.test_on_batch(sparse.csr_matrix(x), sparse.csr_matrix(kinds))
            == pytest.approx(model.test_on_batch(x, kinds)))
    model.fit(sparse.csr_matrix(x), sparse.csr_matrix(kinds), class_weight={0: 1, 1: 2, 2: 3},
              verbose=0)
    huge = sparse.coo_matrix((np.ones(4), (range(4), (0, 5, 7, 9))), shape=(4, 10 ** 7))
    largest = []

    class Rows(data.SparseRows):
        def __getitem__(self, rows):
            found = super().__getitem__(rows)
            largest.append(len(found))
            return found[:, :3]

    rows = Rows(huge)
    rows.shape = (4, 3)
    model.predict(rows, batch_size=1)
    assert max(largest) == 1
