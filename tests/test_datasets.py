"""Data sets and the cache; "the network" is file:// URLs of a temporary folder."""
import hashlib
import io
import os
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest

from gpukeras.datasets import digits, mnist
from gpukeras.utils import data_utils, get_file
from gpukeras.utils.io_utils import atomic_write


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "datasets"


def url(path, content=None):
    if content is not None:
        path.write_bytes(content)
    return path.as_uri()


# ---------------------------------------------------------------- digits

def test_digits_are_those_of_scikit_learn():
    (x, y), (x_test, y_test) = digits.load_data()
    assert x.shape == (1438, 8, 8) and x_test.shape == (359, 8, 8)
    assert y.shape == (1438,) and y_test.shape == (359,)
    assert x.dtype == y.dtype == "uint8"
    # number of each class, range and sum of all pixels of scikit-learn 1.9's copy
    counts = np.bincount(np.concatenate([y, y_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert x.min() == 0 and x.max() == 16
    assert int(x.astype(int).sum() + x_test.astype(int).sum()) == 561718
    assert x[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert y[:4].tolist() == [0, 1, 2, 3] and y_test[0] == 4


def test_digits_name_their_origin():
    text = pathlib.Path(digits.__file__).with_name("digits.txt").read_text()
    assert "Alpaydin" in text and "CC BY 4.0" in text


# ---------------------------------------------------------------- mnist

@pytest.fixture
def small_mnist(monkeypatch):
    """Small arrays in the place of MNIST's, with their checksum."""
    r = np.random.RandomState(0)
    arrays = {"x_train": r.randint(0, 256, (6, 28, 28)), "y_train": r.randint(0, 10, 6),
              "x_test": r.randint(0, 256, (2, 28, 28)), "y_test": r.randint(0, 10, 2)}
    arrays = {name: a.astype("uint8") for name, a in arrays.items()}
    monkeypatch.setattr(mnist, "CHECKSUM", data_utils.arrays_checksum(arrays))
    monkeypatch.setattr(mnist, "ORIGINS", ("file:///nowhere/mnist.npz",))
    return arrays


def test_mnist_takes_any_file_with_the_right_arrays(small_mnist, home):
    home.mkdir(parents=True)
    for save in (np.savez, np.savez_compressed):
        save(home / "mnist.npz", **dict(reversed(small_mnist.items())))
        (x, y), (x_test, y_test) = mnist.load_data()
        assert np.array_equal(x, small_mnist["x_train"])
        assert np.array_equal(y_test, small_mnist["y_test"])
    np.savez(home / "mine.npz", **small_mnist)
    assert np.array_equal(mnist.load_data(str(home / "mine.npz"))[0][1], small_mnist["y_train"])


def test_mnist_downloads_in_place_of_a_wrong_file(small_mnist, home, tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "mirror.npz", **small_mnist)
    monkeypatch.setattr(mnist, "ORIGINS", ("file:///nowhere/a", url(tmp_path / "mirror.npz")))
    home.mkdir(parents=True)
    wrong = {**small_mnist, "y_train": small_mnist["y_train"] + np.uint8(1)}
    np.savez(home / "mnist.npz", **wrong)
    (_, y), _ = mnist.load_data()
    assert np.array_equal(y, small_mnist["y_train"])
    assert "its arrays are not those of MNIST" in capsys.readouterr().out
    assert os.listdir(home) == ["mnist.npz"]


@pytest.mark.parametrize("content", [None, b"", b"no zip file", b"PK\x03\x04broken"])
def test_failed_download_says_where_to_put_the_file(small_mnist, home, content):
    if content is not None:
        home.mkdir(parents=True)
        (home / "mnist.npz").write_bytes(content)
    with pytest.raises(OSError) as error:
        mnist.load_data()
    assert "URL fetch failure on file:///nowhere/mnist.npz" in str(error.value)
    assert f"Try: put the file there by hand, as {home / 'mnist.npz'}" in str(error.value)
    left = {} if content is None else {"mnist.npz": content}
    assert {p.name: p.read_bytes() for p in home.iterdir()} == left


def test_mnist_is_mnist():
    path = pathlib.Path.home() / ".keras" / "datasets" / "mnist.npz"
    if not path.exists():
        pytest.skip(f"needs {path}")
    (_, y), (_, y_test) = mnist.load_data(str(path))
    assert np.bincount(y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


# ---------------------------------------------------------------- get_file

def test_get_file_downloads_once(home, tmp_path):
    origin = url(tmp_path / "a.txt", b"one")
    path = get_file("a.txt", origin)
    assert path == str(home / "a.txt") and (home / "a.txt").read_bytes() == b"one"
    url(tmp_path / "a.txt", b"two")
    assert pathlib.Path(get_file("a.txt", origin)).read_bytes() == b"one"


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_get_file_checks_the_hash(home, tmp_path, algorithm):
    origin = url(tmp_path / "a.txt", b"right")
    right = hashlib.new(algorithm, b"right").hexdigest()
    home.mkdir(parents=True)
    (home / "a.txt").write_bytes(b"stale")
    assert pathlib.Path(get_file("a.txt", origin, file_hash=right)).read_bytes() == b"right"
    wrong = hashlib.new(algorithm, b"other").hexdigest()
    with pytest.raises(OSError, match=f"its hash is not {wrong}"):
        get_file("a.txt", origin, file_hash=wrong)
    assert (home / "a.txt").read_bytes() == b"right"


def test_get_file_unpacks_archives(home, tmp_path):
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("t/x.txt")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"tar"))
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("z.txt", "zip")
    path = get_file("t", url(tmp_path / "t.tar.gz"), untar=True)
    assert (pathlib.Path(path) / "x.txt").read_bytes() == b"tar"
    get_file("z.zip", url(tmp_path / "z.zip"), extract=True)
    assert (home / "z.txt").read_bytes() == b"zip"


def test_archive_cannot_write_outside_of_its_folder(home, tmp_path):
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../outside.txt"), io.BytesIO())
    with pytest.raises(tarfile.TarError):
        get_file("t.tar.gz", url(tmp_path / "t.tar.gz"), extract=True)
    assert not (tmp_path / "outside.txt").exists()


# ---------------------------------------------------------------- atomic files

def test_atomic_write_replaces_or_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.bin"
    for content in (b"one", b"two"):
        with atomic_write(file) as part:
            assert os.path.dirname(part) == str(tmp_path)
            pathlib.Path(part).write_bytes(content)
        assert file.read_bytes() == content
    with pytest.raises(KeyboardInterrupt):
        with atomic_write(file) as part:
            pathlib.Path(part).write_bytes(b"half of thr")
            raise KeyboardInterrupt
    assert file.read_bytes() == b"two" and os.listdir(tmp_path) == ["a.bin"]


def test_atomic_write_keeps_mode_and_link(tmp_path):
    real, link = tmp_path / "real.bin", tmp_path / "link.bin"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    with atomic_write(link) as part:
        pathlib.Path(part).write_bytes(b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_atomic_write_refuses_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*Try: os.makedirs"):
        with atomic_write(tmp_path / "no" / "a.bin"):
            pass
