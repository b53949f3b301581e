"""Data sets from the cache: small files in their layout; what Keras 2.3.1 makes of them."""
import gzip
import json
import os
import pickle
import warnings

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras.datasets import boston_housing, cifar, cifar10, cifar100, fashion_mnist, imdb, reuters
from gpukeras.datasets import words as word_data
from gpukeras.utils import io_utils

TEXTS = [[1, 5, 2], [3], [4, 4, 9, 7, 1], [2, 2], [6, 1, 8]]
LABELS = [0, 1, 0, 1, 1]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


def lists(texts):
    out = np.empty(len(texts), object)
    out[:] = texts
    return out


def write_imdb(home):
    np.savez(home / "imdb.npz", x_train=lists(TEXTS), y_train=LABELS, x_test=lists(TEXTS[::-1]),
             y_test=LABELS[::-1])


def order(n, seed=113, generator=None):
    """The order of Keras 2.3.1: one generator shuffles the training data, then the test data."""
    index = np.arange(n)
    (generator or np.random.RandomState(seed)).shuffle(index)
    return index


def test_imdb_in_the_order_of_keras(home):
    write_imdb(home)
    (x, y), (x_test, y_test) = imdb.load_data()
    rng = np.random.RandomState(113)
    index, test_index = order(5, generator=rng), order(5, generator=rng)
    assert list(x) == [[1] + [w + 3 for w in TEXTS[i]] for i in index]
    assert list(y) == [LABELS[i] for i in index]
    assert list(x_test) == [[1] + [w + 3 for w in TEXTS[::-1][i]] for i in test_index]
    assert list(y_test) == [LABELS[::-1][i] for i in test_index]


def test_words_that_are_cut_out(home):
    write_imdb(home)
    (x, _), _ = imdb.load_data(num_words=9, skip_top=4, start_char=None, index_from=0)
    assert list(x) == [[w if 4 <= w < 9 else 2 for w in TEXTS[i]] for i in order(5)]
    (x, _), _ = imdb.load_data(num_words=9, skip_top=4, start_char=None, index_from=0,
                               oov_char=None)
    assert list(x) == [[w for w in TEXTS[i] if 4 <= w < 9] for i in order(5)]


def test_long_texts_are_left_out_of_both_parts(home):
    write_imdb(home)
    (x, y), (x_test, y_test) = imdb.load_data(maxlen=4)
    assert sorted(map(len, x)) == sorted(map(len, x_test)) == [2, 3]
    assert len(y) == len(y_test) == 2
    with pytest.raises(ValueError, match="Increase maxlen"):
        imdb.load_data(maxlen=1)


def test_numpy_keeps_its_random_numbers(home):
    write_imdb(home)
    np.random.seed(1)
    expected = np.random.uniform()
    np.random.seed(1)
    imdb.load_data()
    assert np.random.uniform() == expected


def test_old_and_unknown_arguments(home):
    write_imdb(home)
    with pytest.warns(UserWarning, match="num_words"):
        (x, _), _ = imdb.load_data(nb_words=6)
    assert max(map(max, x)) < 6
    with pytest.raises(TypeError, match="words"):
        imdb.load_data(words=6)


def test_reuters_is_split_after_the_shuffle(home):
    np.savez(home / "reuters.npz", x=lists(TEXTS), y=LABELS)
    (x, y), (x_test, y_test) = reuters.load_data(test_split=0.4)
    index = order(5)
    assert list(y) + list(y_test) == [LABELS[i] for i in index] and len(y) == 3
    assert list(x_test) == [[1] + [w + 3 for w in TEXTS[i]] for i in index[3:]]


def test_word_indices(home):
    for module, name in ((imdb, "imdb_word_index.json"), (reuters, "reuters_word_index.json")):
        (home / name).write_text(json.dumps({"the": 1}))
        assert module.get_word_index() == {"the": 1}


def test_boston_housing(home):
    np.savez(home / "boston_housing.npz", x=np.arange(20.0).reshape(10, 2), y=np.arange(10.0))
    (x, y), (x_test, y_test) = boston_housing.load_data()
    assert list(y) + list(y_test) == order(10).tolist() and len(y) == 8
    np.testing.assert_array_equal(x[:, 0], y * 2)
    with pytest.raises(ValueError, match="test_split"):
        boston_housing.load_data(test_split=1)


def test_a_broken_file_is_reported_and_the_place_for_it_named(home, monkeypatch, capsys):
    (home / "imdb.npz").write_bytes(b"no zip file")
    missing = (home / "nothing.npz").as_uri()
    monkeypatch.setattr(imdb, "ORIGIN", missing)
    with pytest.raises(OSError, match="put the file there by hand, as .*imdb.npz"):
        imdb.load_data()
    assert "it is no .npz file" in capsys.readouterr().out


class Command:
    """What a file must not do when it is read."""

    def __reduce__(self):
        return os.mkdir, ("made_by_a_pickle",)


def test_no_file_can_run_anything(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(home / "bad.npz", x=lists([[Command()]]), y=[1])
    with pytest.raises(ValueError, match="mkdir"):
        io_utils.load_npz(home / "bad.npz")
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        io_utils.load_plain(pickle.dumps(Command()))
    assert not os.path.exists("made_by_a_pickle")
    with pytest.raises(OSError):
        word_data.load(str(home / "bad.npz"), (home / "none").as_uri(), ("x", "y"))


def write_batch(path, x, key, labels, protocol=2):
    batch = {b"data": x.reshape(len(x), -1), key.encode(): list(labels), b"batch_label": b"one"}
    with open(path, "wb") as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pickle.dump(batch, file, protocol)


def test_cifar(home):
    x = np.random.RandomState(0).randint(0, 256, (6, 3, 32, 32)).astype("uint8")
    folder = home / "cifar-10-batches-py"
    folder.mkdir()
    for i in range(1, 6):
        write_batch(folder / f"data_batch_{i}", x[i - 1:i], "labels", [i])
    write_batch(folder / "test_batch", x[5:], "labels", [9])
    (a, y), (b, y_test) = cifar10.load_data()
    np.testing.assert_array_equal(a, x[:5].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(b, x[5:].transpose(0, 2, 3, 1))
    assert y.tolist() == [[1], [2], [3], [4], [5]] and y_test.tolist() == [[9]]
    assert y.dtype == "uint8"
    K.set_image_data_format("channels_first")
    try:
        np.testing.assert_array_equal(cifar10.load_data()[0][0], x[:5])
    finally:
        K.set_image_data_format("channels_last")
    np.testing.assert_array_equal(cifar.load_batch(folder / "test_batch")[0], x[5:])


@pytest.mark.parametrize("mode", ["fine", "coarse"])
def test_cifar100(home, mode):
    x = np.zeros((2, 3, 32, 32), "uint8")
    folder = home / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        write_batch(folder / name, x, f"{mode}_labels", [3, 4])
    (a, y), _ = cifar100.load_data(mode)
    assert a.shape == (2, 32, 32, 3) and y.tolist() == [[3], [4]]
    with pytest.raises(ValueError, match="label_mode"):
        cifar100.load_data("medium")


def test_fashion_mnist(home):
    folder = home / "fashion-mnist"
    folder.mkdir()
    x, y = np.arange(2 * 784).astype("uint8"), np.array([7, 9], "uint8")
    for part in ("train", "t10k"):
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(bytes(16) + x.tobytes())
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(bytes(8) + y.tobytes())
    (a, b), (_, c) = fashion_mnist.load_data()
    np.testing.assert_array_equal(a, x.reshape(2, 28, 28))
    assert list(b) == list(c) == [7, 9]
