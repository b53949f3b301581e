"""Files: written whole or not at all, read without running anything."""
import contextlib
import io
import os
import pickle
import platform
import shutil
import time
import uuid

import numpy as np

HDF5_OBJECT_HEADER_LIMIT = 64512          # bytes of one attribute; HDF5 itself stops at 64 KiB


@contextlib.contextmanager
def atomic_write(path):
    """Name of a new file beside `path` that takes its place when the block ends well.

        with atomic_write("digits.h5") as part:
            write(part)

    The new file is on the disk (fsync) before it is renamed, so a crash at any instant leaves the
    old file or the new one. If the block raises, the new file is removed and the old one stays.
    """
    target = os.path.realpath(os.fspath(path))                       # a link stays a link
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {os.fspath(path)!r}: there is no folder {folder!r}. "
                                f"Try: os.makedirs({folder!r})")
    if os.path.isdir(target):
        raise IsADirectoryError(f"cannot write {os.fspath(path)!r}: it is a folder, expected the "
                                "name of a file")
    begin = f".{name[:150]}.{platform.node()[:40]}-"
    _sweep(folder, begin)
    part = os.path.join(folder, f"{begin}{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # umask applies
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror}: no file can be made in {folder!r}",
                          os.fspath(path)) from None
    try:
        yield part
        if os.path.exists(target):
            shutil.copymode(target, part)
        _sync(part, os.O_RDWR)
        os.replace(part, target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)
        if isinstance(error, OSError) and error.errno and error.filename in (None, part):
            raise OSError(error.errno, f"{error.strerror}: what was there before is as it was",
                          os.fspath(path)) from error
        raise
    if os.name != "nt":                                              # Windows cannot open a folder
        _sync(folder, os.O_RDONLY)


def _sweep(folder, begin):
    """Remove what writers of the same file left behind when they were killed.

    The name tells machine and process. A minute of grace, as containers may share a machine's name
    and not its processes.
    """
    for part in os.listdir(folder):
        process, _, end = part.removeprefix(begin).partition("-")
        if not (part.startswith(begin) and process.isdigit() and end.endswith(".part")):
            continue
        path = os.path.join(folder, part)
        with contextlib.suppress(OSError):
            if time.time() - os.path.getmtime(path) > 60 and not _runs(int(process)):
                os.remove(path)


def _runs(process):
    if os.name == "nt":                                              # os.kill would end it there
        return process == os.getpid()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:                                                  # it is somebody else's
        pass
    return True


def _sync(path, flags):
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_ODD = (TypeError, KeyError, IndexError, AttributeError, ArithmeticError, AssertionError,
        MemoryError, RuntimeError)


@contextlib.contextmanager
def clear_errors(what):
    """Errors of reading `what`, a damaged file, say, as a ValueError that names it.

    ValueError and OSError pass: they are meant. Others come from values where the code that reads
    them expected different ones.
    """
    try:
        yield
    except NotImplementedError:
        raise
    except RecursionError:
        raise ValueError(f"cannot read {what}: it is nested too deeply") from None
    except _ODD as error:
        raise ValueError(f"cannot read {what}: it is damaged, or was written by something that is "
                         f"not known here ({type(error).__name__}: {error})") from error


def ask_to_proceed_with_overwrite(filepath):
    """Ask on the console whether an existing file may go; True for yes."""
    answer = ""
    while answer not in ("y", "n"):
        answer = input(f"[WARNING] {filepath} already exists - overwrite? [y/n] ").strip().lower()
    return answer == "y"


# ---------------------------------------------------------------- pickles without code

class _PlainUnpickler(pickle.Unpickler):
    """Makes arrays and plain values, so that a file cannot run anything."""

    _ALLOWED = {("builtins", "dict"), ("_codecs", "encode"), ("numpy", "ndarray"),
                ("numpy", "dtype"),
                ("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar"),
                ("numpy._core.numeric", "_frombuffer")}

    def find_class(self, module, name):
        if module.startswith("numpy.core."):       # where NumPy 1 had it
            module = module.replace("numpy.core.", "numpy._core.", 1)
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"the file holds {module}.{name}, expected arrays and "
                                         "plain values only")
        return super().find_class(module, name)


def load_plain(data, encoding="ASCII"):
    """The value of a pickle of arrays, numbers, texts, lists and dicts.

    # Arguments
        data: bytes.
        encoding: of the texts in pickles of Python 2, or "bytes".

    # Raises
        pickle.UnpicklingError: if it holds anything else.
    """
    return _PlainUnpickler(io.BytesIO(data), encoding=encoding).load()


def load_npz(path):
    """dict name -> array of an .npz file; arrays of Python objects too, if the objects are plain.

    # Raises
        ValueError: if it is no such file.
    """
    import zipfile
    arrays = {}
    try:
        with zipfile.ZipFile(path) as file:
            for member in file.namelist():
                arrays[member.removesuffix(".npy")] = _load_npy(file.read(member))
    except (zipfile.BadZipFile, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"it is no .npz file of plain arrays ({error})") from None
    return arrays


def _load_npy(data):
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0,
              (2, 0): np.lib.format.read_array_header_2_0}[version](file)
    if not header[2].hasobject:
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return load_plain(data[file.tell():], "latin1")


class HDF5Matrix:
    """A data set of an HDF5 file, or some of its rows, to train on without reading it whole.

    Use it with shuffle="batch" or shuffle=False: rows in random order are read slowly.

    # Arguments
        datapath: path of the file.
        dataset: name of the data set in it.
        start, end: rows to use.
        normalizer: function applied to whatever is read.
    """

    refs = {}                                      # path -> open file, shared by all

    def __init__(self, datapath, dataset, start=0, end=None, normalizer=None):
        import h5py
        datapath = os.fspath(datapath)
        if not self.refs.get(datapath):            # a closed file counts as none
            self.refs[datapath] = h5py.File(datapath, "r")
        self.data = self.refs[datapath][dataset]
        self.start, self.end = start, self.data.shape[0] if end is None else end
        self.normalizer = normalizer
        first = self.data[0:1]
        self._first = normalizer(first) if normalizer is not None else first

    def __len__(self):
        return self.end - self.start

    def __getitem__(self, key):
        if isinstance(key, slice):
            first, last, step = key.indices(len(self))
            rows = slice(self.start + first, self.start + last, step)
        elif isinstance(key, (int, np.integer)):
            self._check(key, key)
            rows = int(key) + self.start
        elif isinstance(key, (list, np.ndarray)):
            index = np.asarray(key)
            if index.size:
                self._check(index.min(), index.max())
            return self._normal(self._rows(index + self.start))
        else:
            raise IndexError(f"HDF5Matrix takes numbers, slices and lists of numbers, got {key!r}")
        return self._normal(self.data[rows])

    def _rows(self, rows):
        """Rows in any order, also several times; HDF5 itself wants them rising."""
        found, back = np.unique(rows, return_inverse=True)
        return self.data[found][back.reshape(-1)]

    def _check(self, low, high):
        if low < 0 or high >= len(self):
            raise IndexError(f"row {low if low < 0 else high} of {len(self)} rows")

    def _normal(self, values):
        return values if self.normalizer is None else self.normalizer(values)

    @property
    def shape(self):
        return (len(self), *self._first.shape[1:])

    @property
    def dtype(self):
        return self._first.dtype

    @property
    def ndim(self):
        return self._first.ndim

    @property
    def size(self):
        return int(np.prod(self.shape))

    @staticmethod
    def close(datapath):
        """Close the file of all matrices with this path."""
        file = HDF5Matrix.refs.pop(os.fspath(datapath), None)
        if file:
            file.close()
