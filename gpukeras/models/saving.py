"""Saving and loading models and weights in Keras's HDF5 files.

A file is written beside its target, synced and renamed: whatever happens, the old file or the new
one is there. Nothing that is read from a file is executed.
"""
import contextlib
import io
import mmap
import os
import subprocess
import sys

from ..exchange import load_safetensors, save_safetensors
from ..utils.generic_utils import nearest_names
from ..utils.io_utils import ask_to_proceed_with_overwrite, atomic_write, clear_errors


def save_model(model, filepath, overwrite=True, include_optimizer=True):
    """Write a model to one file: architecture, weights, losses and metrics, state of the optimizer.

    # Arguments
        model: a model with a config (not a subclassed one).
        filepath: path, open `h5py.Group`, or object with a `write` method that takes bytes.
        overwrite: False asks on the console before an existing file is replaced.
        include_optimizer: False leaves out the optimizer, its state, losses and metrics.
    """
    from .h5_writing import write_model
    with _writing(filepath, overwrite) as group:
        if group is not None:
            write_model(group, model, include_optimizer)


def save_weights(model, filepath, overwrite=True):
    """Write the weights of a model to a file; arguments as for `save_model`."""
    from .h5_writing import write_weights
    if _is_safetensors(filepath):
        if _may_write(filepath, overwrite):
            save_safetensors(model, filepath)
        return
    with _writing(filepath, overwrite) as group:
        if group is not None:
            write_weights(group, model.layers)


def load_model(filepath, custom_objects=None, compile=True):
    """The model of a file that `save_model`, Keras 1, 2 or 3, or tf.keras wrote.

    # Arguments
        filepath: path, open `h5py.Group`, or object with a `read` method that gives bytes.
        custom_objects: dict name -> class or function, for what is not part of Keras.
        compile: False leaves the model uncompiled (for a loss that is not at hand).

    What the file names and nobody has given, such as a layer class, is stood in for, with a warning
    that lists it; `missing_objects` of the model is [(kind, name)]. See `layers.missing`.

    # Raises
        OSError: there is no such file, or it is no HDF5 file or is cut off.
        ValueError: the file holds no model, or something that is not known.
    """
    return load(filepath, custom_objects, compile)


def load(filepath, custom_objects=None, compile=True, lenient=True):
    """`load_model`; lenient=False: an unknown layer class is an error."""
    from .h5_reading import read_model
    from .network_config import model_from_config
    if _is_keras_file(filepath):
        from .keras3_weights import read_keras_file
        return read_keras_file(filepath, model_from_config, custom_objects, compile, lenient)
    with _reading(filepath) as group:
        return read_model(group, model_from_config, custom_objects, compile, lenient)


def load_weights(model, filepath, by_name=False, skip_mismatch=False, reshape=False):
    """Read weights from a file of weights or of a whole model.

    # Arguments
        model: a built model.
        filepath: as for `load_model`.
        by_name: False pairs the layers that have weights in their order, True by name. The names
            in a .safetensors file must be the model's; with by_name those of either side may lack.
            Files of Keras 3 name their weights by class and order: they are paired so.
        skip_mismatch: with `by_name`, leave what does not fit, with a warning.
        reshape: a convolution's kernel may have another shape with as many elements.
    """
    from . import keras3_weights
    from .h5_reading import assign_by_name, assign_by_order, weights_group
    if _is_safetensors(filepath):
        load_safetensors(model, filepath, by_name, skip_mismatch)
        return
    if _is_keras_file(filepath):
        keras3_weights.read_weights(filepath, model.layers)
        return
    with _reading(filepath) as group:
        if keras3_weights.has_weights(group):
            keras3_weights.assign(group, model.layers)
        elif by_name:
            assign_by_name(weights_group(group), model.layers, skip_mismatch, reshape)
        else:
            assign_by_order(weights_group(group), model.layers, reshape)


# ---------------------------------------------------------------- files

def _is_safetensors(filepath):
    return isinstance(filepath, (str, os.PathLike)) and os.fspath(filepath).endswith(".safetensors")


def _may_write(path, overwrite):
    return overwrite or not os.path.isfile(path) or ask_to_proceed_with_overwrite(path)


@contextlib.contextmanager
def _writing(target, overwrite):
    """The HDF5 group to write to; None if the user wants to keep the old file.

    The file is made in memory: HDF5 does not survive a disk that becomes full.
    """
    import h5py
    if isinstance(target, h5py.Group):
        yield target
        return
    to_object = hasattr(target, "write")
    if not to_object and not _may_write(target, overwrite):
        yield None
        return
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        yield file
    if to_object:
        target.write(image.getvalue())
    else:
        with atomic_write(target) as part, open(part, "wb") as file:
            file.write(image.getbuffer())


@contextlib.contextmanager
def _reading(source):
    import h5py
    if isinstance(source, h5py.Group):
        with clear_errors(f"the group {source.name!r}"):
            yield source
        return
    image = io.BytesIO(source.read()) if hasattr(source, "read") else None
    name = "the data" if image else _existing(source)
    if _is_treacherous(image or name):
        raise OSError(f"cannot read {name}: it is a broken HDF5 file, whose texts cannot be read.")
    try:
        file = h5py.File(image or name, "r")
    except OSError as error:
        raise OSError(f"cannot read {name}: {_why_broken(image or name, error)}") from None
    with file, clear_errors(name):
        yield file


def _is_keras_file(source):
    """Whether a path or a file object holds a zip file, as .keras files are."""
    if isinstance(source, (str, os.PathLike)):
        if not os.path.isfile(source):
            return False
        with open(source, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    if not (hasattr(source, "seek") and hasattr(source, "read")):
        return False
    at = source.tell()
    start = source.read(4)
    source.seek(at)
    return start == b"PK\x03\x04"


def _is_treacherous(source):
    """Whether h5py would hang or take all memory. What looks so may be a rest of something that was
    deleted: another process tries files."""
    from .h5_layout import looks_treacherous
    if not isinstance(source, str):
        return looks_treacherous(source.getvalue())
    with open(source, "rb") as file:
        if not os.path.getsize(source):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if not looks_treacherous(data):
                return False
    try:
        done = subprocess.run([sys.executable, "-c", _READ_ALL, source], capture_output=True,
                              timeout=2)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


_READ_ALL = """
import sys, h5py
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
except ImportError:
    pass
def read(name, item):
    list(item.attrs.items())
with h5py.File(sys.argv[1], "r") as file:
    read("/", file)
    file.visititems(read)
"""


def _existing(path):
    path = os.fspath(path)
    if os.path.isfile(path):
        return path
    if os.path.isdir(path):
        raise OSError(f"{path!r} is a folder, expected an HDF5 file of Keras 2 (.h5)")
    folder, name = os.path.split(os.path.abspath(path))
    text = f"there is no file {path!r} (looked in {folder})."
    if not os.path.isdir(folder):
        raise FileNotFoundError(text + " The folder does not exist either.")
    near = nearest_names(name, os.listdir(folder))
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise FileNotFoundError(text + hint)


def _why_broken(source, error):
    """Why h5py could not open a file, in words of the file's own first bytes."""
    if isinstance(source, str):
        with open(source, "rb") as file:
            start, size = file.read(8), os.path.getsize(source)
    else:
        start, size = source.getvalue()[:8], len(source.getvalue())
    if not size:
        return "it is empty."
    if start.startswith(b"\x89HDF"):
        return f"it is a broken HDF5 file, perhaps cut off while it was copied ({error})."
    if start.startswith(b"PK"):
        return "it is a zip file (perhaps .keras of Keras 3), expected HDF5 of Keras 2 (.h5)."
    return f"it is no HDF5 file: it begins with {start!r}."
