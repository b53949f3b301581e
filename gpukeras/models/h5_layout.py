"""Keras's HDF5 layout, piece by piece: texts, lists of names, and the arrays that a list names.

A group of weights has the attributes `layer_names`, `backend`, `keras_version` and one group per
layer; a layer's group has the attribute `weight_names` and one dataset per name. Other programs
read these files by the letter, so what looks odd here (bytes, an empty list as floats) is meant.
"""
import numpy as np

from ..utils.io_utils import HDF5_OBJECT_HEADER_LIMIT

KERAS_VERSION = "2.3.1"                          # whose files we write
DEFLATE = 1100                                   # compressed bytes stand for at most so many
BACKEND = "tensorflow"                           # whose convolutions ours are: kernels not reversed


HEAP = b"GCOL\x01\0\0\0"                         # begins a heap of texts in a file


def looks_treacherous(data):
    """Whether HDF5 might read the texts of a file for ever, or into gigabytes of memory.

    data: the bytes of the file, or a mapping of it. A heap of texts is its signature, its size and
    objects, each an index (0: the rest is free), two numbers that do not matter here, a size, and
    its bytes up to a multiple of 8. HDF5 does not get past a free rest of size 0, and it believes
    the length that stands before a reference (address of the heap, index).
    """
    begin = data.find(HEAP)
    while begin >= 0:
        sizes = _heap_sizes(data, begin)
        if sizes is None or _has_long_reference(data, begin, sizes):
            return True
        begin = data.find(HEAP, begin + 8)
    return any(_claims_more(data, name) for name in READ)


# the attributes that are read
READ = (b"model_config", b"training_config", b"keras_version", b"backend", b"layer_names",
        b"weight_names")


def _claims_more(data, name):
    """Whether an attribute of that name refers to a text that is longer than the file.

    The message of an attribute is its version, the sizes of name, type and space, these three (in
    version 1 up to multiples of 8), and the references: length, address of the heap, index.
    """
    at = data.find(name + b"\0")
    while at >= 0:
        for version, header, step in ((1, 8, 8), (2, 8, 1), (3, 9, 1)):
            begin = at - header
            if begin < 0 or data[begin] != version or _number(data, begin + 2, 2) != len(name) + 1:
                continue
            sizes = [_number(data, begin + 2 + 2 * i, 2) for i in range(3)]
            name_size, type_size, space_size = (-(-size // step) * step for size in sizes)
            kind = data[at + name_size:at + name_size + 1]
            values = at + name_size + type_size + space_size
            if kind and kind[0] & 15 == 9 and _number(data, values, 4) > len(data):
                return True
        at = data.find(name + b"\0", at + 1)
    return False


def _number(data, at, size):
    return int.from_bytes(data[at:at + size], "little")


def _heap_sizes(data, begin):
    """Index -> size of the objects of the heap at `begin`; None if it has no end."""
    end = min(begin + _number(data, begin + 8, 8), len(data))
    at, sizes = begin + 16, {}
    while at + 16 <= end:
        index, size = _number(data, at, 2), _number(data, at + 8, 8)
        if index == 0 and size == 0:
            return None
        sizes[index] = size
        # HDF5 reads on behind a rest that is too short
        at += size if index == 0 else 16 + -(-size // 8) * 8
    return sizes


def _has_long_reference(data, begin, sizes):
    address = begin.to_bytes(8, "little")
    at = data.find(address)
    for _ in range(10_000):
        if at < 4:
            break
        size = sizes.get(_number(data, at + 8, 4))
        if size is not None and _number(data, at - 4, 4) > size:
            return True
        at = data.find(address, at + 1)
    return False


def _attribute(group, name):
    """A text attribute, or a list of texts. Its type is looked at first: HDF5 trusts it blindly."""
    import h5py
    attribute = h5py.h5a.open(group.id, name.encode())
    kind = attribute.get_type()
    claimed = attribute.get_space().get_simple_extent_npoints() * kind.get_size()
    texts = isinstance(kind, h5py.h5t.TypeStringID)
    if not texts and (attribute.shape != (0,) or not isinstance(kind, h5py.h5t.TypeFloatID)):
        raise ValueError(f"broken file: the attribute {name!r} of {group.name} holds no text")
    if claimed > group.file.id.get_filesize():
        raise ValueError(f"broken file: the attribute {name!r} of {group.name} claims "
                         f"{claimed:,} bytes, which is more than the file has")
    return group.attrs[name]


def write_text(group, name, text):
    group.attrs[name] = text.encode("utf-8")


def read_text(group, name, default=None):
    """A text attribute; h5py 2 gave bytes, h5py 3 gives str, and old files hold either."""
    return _text(_attribute(group, name)) if name in group.attrs else default


def _text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def write_names(group, name, names):
    """Write a list of names as one attribute, or as name0, name1, ... if it is too large for one.

    # Raises
        RuntimeError: a single name is longer than an attribute can be.
    """
    data = [n.encode("utf-8") for n in names]
    long = [n for n in data if len(n) > HDF5_OBJECT_HEADER_LIMIT]
    if long:
        raise RuntimeError(f"cannot save: got a name of {len(long[0])} bytes ({long[0][:40]!r}...),"
                           f" expected at most {HDF5_OBJECT_HEADER_LIMIT}")
    array = np.asarray(data)                                         # no names: float64, as Keras
    count = 1
    while any(part.nbytes > HDF5_OBJECT_HEADER_LIMIT for part in np.array_split(array, count)):
        count += 1
    if count == 1:
        group.attrs[name] = array
    else:
        for i, part in enumerate(np.array_split(array, count)):
            group.attrs[f"{name}{i}"] = part


def read_names(group, name):
    """The list of names written by `write_names`; [] if there is none."""
    if name in group.attrs:
        return [_text(n) for n in _attribute(group, name)]
    names, i = [], 0
    while f"{name}{i}" in group.attrs:
        names += [_text(n) for n in _attribute(group, f"{name}{i}")]
        i += 1
    return names


def has_names(group, name):
    return name in group.attrs or f"{name}0" in group.attrs


def write_arrays(group, names, arrays):
    """Datasets of a group and the attribute `weight_names` that orders them."""
    names = _unique(names)
    write_names(group, "weight_names", names)
    for name, array in zip(names, arrays, strict=True):
        group.create_dataset(name, data=np.asarray(array))


def read_arrays(group):
    """The arrays of a group in the order of `weight_names`."""
    names = read_names(group, "weight_names")
    missing = [name for name in names if name not in group]
    if missing:
        raise ValueError(f"broken file: {group.name} lists the weight {missing[0]!r}, which is "
                         "not there")
    return [stored_array(group, name) for name in names]


def stored_array(group, name):
    """One stored array; a size that its bytes in the file cannot hold is refused, not allocated."""
    data = group[name]
    if not hasattr(data, "shape"):
        raise ValueError(f"broken file: the weight {name!r} of {group.name} is no array")
    claimed, there = data.size * data.dtype.itemsize, data.id.get_storage_size()
    if claimed > there * (DEFLATE if data.chunks else 1):
        raise ValueError(f"broken file: the weight {name!r} of {group.name} claims {claimed:,} "
                         f"bytes {data.shape}, but the file has {there:,} for it")
    if data.dtype.kind not in "fiub":
        raise ValueError(f"broken file: the weight {name!r} of {group.name} holds {data.dtype}, "
                         "expected numbers")
    return np.asarray(data)


def _unique(names):
    """The names, a repeated one with _1, _2, ... behind it."""
    seen, out = set(), []
    for i, name in enumerate(names):
        name = name or f"param_{i}"
        number, free = 0, name
        while free in seen:
            number += 1
            free = f"{name}_{number}"
        seen.add(free)
        out.append(free)
    return out
