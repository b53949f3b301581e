"""Data for a model: what users pass, as checked lists of arrays, before any work is done.

Every check raises ValueError with what was wrong, the shapes got and expected, the layer, the
user's line and, where it can be guessed, the likely fix.
"""
import functools
import warnings

import numpy as np

from .. import backend as K
from .. import losses
from ..devices import DeviceArray, adopt, on_host
from ..graph.origin import user_line
from ..utils.generic_utils import nearest_names


def fail(text, layer=None, fix=None):
    """Raise ValueError: `text`, then where, then the fix."""
    line = user_line()
    where = " at ".join(part for part in (layer, line) if part) if layer else (line or "")
    place = f"\n  in {where}" if layer else (f"\n  at {where}" if where else "")
    raise ValueError(text + place + (f"\n  Try: {fix}" if fix else ""))


# ---------------------------------------------------------------- one array

def is_array(x):
    """True for NumPy arrays and for what can be sliced like one (h5py data sets, HDF5Matrix)."""
    return all(hasattr(x, name) for name in ("shape", "dtype", "__getitem__", "__len__"))


def as_array(x, kind, name):
    """`x` as an array of numbers with a batch axis; (n,) becomes (n, 1). A tensor stays as it is.

    Arrays of CuPy, torch and others are not copied where the device can read them as they are.
    """
    if type(x) is np.ndarray and x.dtype.kind in "fiub" and x.ndim > 1 or K.is_tensor(x):
        return x
    if hasattr(x, "to_numpy"):
        x = x.to_numpy()                                     # pandas
    elif hasattr(x, "toarray"):
        x = SparseRows(x)                                    # scipy.sparse
    else:
        x = adopt(x)
    if not is_array(x):
        x = _from_list(x, kind, name)
    if getattr(x.dtype, "kind", "f") == "O" or str(x.dtype) == "object":
        x = _from_objects(x, kind, name)
    if getattr(x.dtype, "name", None) == "bfloat16" and isinstance(x, np.ndarray):
        x = x.astype("float32")                              # of ml_dtypes, as JAX has it
    if x.dtype.kind not in "fiub":
        fail(f"Error when checking {kind}: {name} should be an array of numbers, but got an array "
             f"of type {x.dtype} with shape {tuple(x.shape)}", name, _type_fix(x.dtype.kind))
    if len(x.shape) == 0:
        fail(f"Error when checking {kind}: data for {name} should be an array with one row per "
             f"sample, but got the single number {x!r}", name, "np.array([value])")
    if len(x.shape) == 1:
        return x.view(shape=(*x.shape, 1)) if isinstance(x, DeviceArray) else np.asarray(x)[:, None]
    return x


def _from_list(x, kind, name):
    try:
        return np.asarray(x)
    except ValueError:
        lengths = sorted({len(row) for row in x if hasattr(row, "__len__")})
        fail(f"Error when checking {kind}: the lists for {name} differ in length (from "
             f"{lengths[0]} to {lengths[-1]}), so they make no array" if lengths else
             f"Error when checking {kind}: the data for {name} makes no array", name,
             "rows of equal length; for sequences "
             "gpukeras.preprocessing.sequence.pad_sequences(rows)")


def _from_objects(x, kind, name):
    """An array of Python objects as numbers, if all of them are numbers."""
    try:
        plain = np.array(np.asarray(x).tolist())
    except ValueError:
        return _from_list(list(x), kind, name)
    if plain.dtype.kind not in "fiub":
        odd = next((v for v in np.asarray(x).ravel() if not isinstance(v, (int, float))), None)
        fail(f"Error when checking {kind}: {name} should be an array of numbers, but got an array "
             f"of Python objects with shape {tuple(x.shape)}, such as {odd!r}", name,
             "x.astype('float32'), after missing values are filled in")
    return plain


def _type_fix(kind):
    return {"U": "turn text into numbers first: x.astype('float32') for digits, "
                 "preprocessing.text.Tokenizer for words",
            "S": "np.char.decode, then numbers: x.astype('float32')",
            "c": "x.real, or real and imaginary part as two channels",
            "M": "x.astype('int64'), as a count of time units",
            "m": "x.astype('int64'), as a count of time units"}.get(kind, "x.astype('float32')")


class SparseRows:
    """A matrix of scipy.sparse, of which the rows that are asked for become dense."""

    def __init__(self, matrix):
        self.matrix = matrix.tocsr()
        self.shape, self.dtype = matrix.shape, matrix.dtype

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return self.matrix[rows].toarray()

    def __array__(self, dtype=None, copy=None):
        return self.matrix.toarray().astype(dtype or self.dtype, copy=False)


# ---------------------------------------------------------------- all arrays of one side

def as_list(data, names, kind):
    """User data (array, list, dict by name) as one array per name, in order.

    # Arguments
        kind: "input" or "target", for messages.
    """
    if not names:
        if data is not None and hasattr(data, "__len__") and len(data):
            fail(f"Error when checking model {kind}: expected no data, but got {_brief(data)}")
        return []
    if data is None:
        return [None] * len(names)
    if isinstance(data, dict):
        return [_of_dict(data, name, names, kind) for name in names]
    if isinstance(data, tuple) and len(names) > 1:
        data = list(data)
    if not isinstance(data, list):
        data = [data]
    elif len(names) == 1 and len(data) != 1 and not any(is_array(x) for x in data):
        data = [data]                                        # rows as plain lists
    elif len(names) == 1 and data and np.isscalar(data[0]):
        data = [data]
    if len(data) != len(names):
        fix = "np.concatenate or np.stack, to make one array of several"
        if len(names) > 1:
            fix = "a dict by name, {" + ", ".join(f"{name!r}: ..." for name in names) + "}"
        fail(f"Error when checking model {kind}: the list of arrays that you are passing to your "
             f"model is not the size the model expected. Expected to see {len(names)} array(s), "
             f"for {', '.join(names)}, but instead got the following list of {len(data)} arrays: "
             f"{_brief(data)}", fix=fix)
    return [as_array(x, kind, name) for x, name in zip(data, names, strict=True)]


def not_needed(y):
    """None, in place of targets for a model none of whose outputs has a loss."""
    if y is not None and len(y):
        warnings.warn("No output of this model has a loss: the targets (y) are left alone.",
                      stacklevel=5)


def _of_dict(data, name, names, kind):
    if name not in data:
        near = nearest_names(name, [str(key) for key in data])
        fail(f'No data provided for "{name}". Need data for each key in: {list(names)}, got keys '
             f"{list(data)}", fix=f"rename {near[0]!r} to {name!r}" if near else None)
    return as_array(data[name], kind, name)


def row_list(data, shapes):
    """A list of rows, [[1, 2, 3]], as an array, where the one input wants rows of that length.

    Keras reads a list of one list as a list of arrays: three samples of one number.
    """
    if len(shapes) != 1 or not (isinstance(data, list) and len(data) == 1
                                and isinstance(data[0], list)):
        return data
    try:
        rows = np.asarray(data)
    except ValueError:
        return data
    numbers = rows.dtype.kind in "fiub" and rows.ndim > 1
    return rows if numbers and _fits((None, *rows.shape[1:]), (None, *shapes[0][1:])) else data


def _brief(data):
    parts = [f"array of shape {tuple(x.shape)}" if is_array(x) else repr(x)[:60]
             for x in (data if isinstance(data, (list, tuple)) else [data])]
    return "[" + ", ".join(parts[:6]) + (", ...]" if len(parts) > 6 else "]")


def check_shapes(arrays, names, shapes, kind, check_batch_axis=True):
    """Raise if an array does not fit the expected shape (with batch axis; None: any size)."""
    for x, name, shape in zip(arrays, names, shapes, strict=True):
        if x is None or shape is None:
            continue
        got = tuple(x.shape)
        if len(got) != len(shape):
            fail(f"Error when checking {kind}: expected {name} to have {len(shape)} dimensions, "
                 "but got "
                 f"array with shape {got}; expected "
                 f"{_text(shape)}", name, _rank_fix(got, shape, kind))
        first = 0 if check_batch_axis else 1
        if any(None not in (g, w) and g != w
               for g, w in zip(got[first:], shape[first:], strict=True)):
            fail(f"Error when checking {kind}: expected {name} to have shape {_text(shape[1:])} "
                 "but got "
                 f"array with shape {_text(got[1:])}: got {got}, expected {_text(shape)}", name,
                 _size_fix(got, shape, kind))


def _text(shape):
    sizes = ", ".join("any" if size is None else str(size) for size in shape)
    return f"({sizes},)" if len(shape) == 1 else f"({sizes})"


def _fits(got, shape):
    return len(got) == len(shape) and all(
        w is None or g == w for g, w in zip(got, shape, strict=True))


def _rank_fix(got, shape, kind):
    x = "x" if kind == "input" else "y"
    if _fits((*got, 1), shape):
        return f"{x}[..., None], to add the last axis"
    if _fits((1, *got), shape):
        return f"{x}[None], to make a batch of one sample"
    if len(shape) == 2 and shape[1] == int(np.prod(got[1:])):
        return f"{x}.reshape(len({x}), -1), or a Flatten layer first"
    sizes = [size for size in shape[1:] if size is not None]
    if len(sizes) == len(shape) - 1 and int(np.prod(got[1:])) == int(np.prod(sizes)):
        return f"{x}.reshape((len({x}), {', '.join(map(str, sizes))}))"
    return None


def _size_fix(got, shape, kind):
    x = "x" if kind == "input" else "y"
    if len(got) == 2 and got[1] == 1 and shape[1] == got[0]:
        return f"{x}[None], to make a batch of one sample"   # (n,) was made (n, 1)
    if kind == "target" and got[-1] == 1 and shape[-1] not in (None, 1):
        return (f"utils.to_categorical(y, {shape[-1]}), or the loss "
                "'sparse_categorical_crossentropy' for class numbers")
    if kind == "target" and shape[-1] == 1 and got[-1] > 1:
        return "np.argmax(y, axis=-1), or the loss 'categorical_crossentropy' for one-hot targets"
    if len(got) == 4 and shape[1:] == (got[3], *got[1:3]):
        return f"{x}.transpose(0, 3, 1, 2): the model wants the channels first"
    if len(got) == 4 and shape[1:] == (*got[2:], got[1]):
        return f"{x}.transpose(0, 2, 3, 1): the model wants the channels last"
    return None


def check_counts(inputs, targets, weights=()):
    """Raise unless all arrays have the same number of samples."""
    counts = []
    for what, arrays in (("input arrays (x)", inputs), ("target arrays (y)", targets),
                         ("sample_weight arrays", weights)):
        shapes = [tuple(x.shape) for x in arrays if x is not None and x.shape[0] is not None]
        if len({shape[0] for shape in shapes}) > 1:
            fail(f"All {what} should have the same number of samples. Got array shapes: {shapes}")
        counts.append(shapes[0][0] if shapes else None)
    x, y, w = counts
    if x is not None and y is not None and x != y:
        fail("Input arrays should have the same number of samples as target arrays. "
             f"Found {x} input samples and {y} target samples.")
    samples = x if x is not None else y
    if w is not None and samples is not None and w != samples:
        fail("Sample_weight arrays should have the same number of samples as target arrays. "
             f"Got {samples} samples and {w} weights.")


def as_many_as_the_first(inputs):
    """Arrays to predict from: with more samples than the first has, only their first ones count."""
    counts = [x.shape[0] for x in inputs]
    if None in counts or len(set(counts)) < 2 or min(counts) < counts[0]:
        return inputs
    warnings.warn(f"The inputs have {' and '.join(map(str, counts))} samples. predict takes the "
                  f"first {counts[0]} of each, as many as there are in the first input.",
                  stacklevel=3)
    return [x if len(x) == counts[0] else x[:counts[0]] for x in inputs]


# ---------------------------------------------------------------- targets and losses

def check_targets(targets, outputs):
    """Raise if targets cannot go with their loss: shapes, and class numbers in range."""
    for y, out in zip(targets, outputs, strict=True):
        fn = getattr(out.loss, "fn", None)
        if fn is losses.categorical_crossentropy and y.shape[-1] == 1:
            fail(f"You are passing a target array of shape {tuple(y.shape)} while using as loss "
                 "`categorical_crossentropy`, which expects targets to be binary matrices (1s and "
                 "0s) of shape (samples, classes)", out.name,
                 "utils.to_categorical(y), or the loss 'sparse_categorical_crossentropy'")
        known = isinstance(y, (np.ndarray, DeviceArray)) and y.size
        if fn is losses.sparse_categorical_crossentropy and known:
            _check_labels(y, out)


def _check_labels(y, out):
    classes = out.shape[-1]
    low, high = _range(y)
    if classes is not None and isinstance(y, DeviceArray):
        if low >= 0 and high < classes:
            return
        y = on_host(y)                                       # to say which one it is
    if y.dtype.kind == "f" and low >= 0 and not np.array_equal(y, np.floor(y)):
        odd = float(y[y != np.floor(y)][0])
        fail(f"Labels for a sparse loss should be whole numbers, got {odd}", out.name,
             "y.astype('int'), or the loss 'mse' for numbers that are no classes")
    if classes is not None and not (low >= 0 and high < classes):
        bad = np.asarray(y).ravel()
        where = int(np.flatnonzero(~((bad >= 0) & (bad < classes)))[0])
        fix = "class numbers from 0 on"
        if low >= 0 and high < 2 * classes:
            fix = f"a last layer of {int(high) + 1} units"
        if low == 1 and high == classes:
            fix = "y - 1: class numbers start at 0"
        fail(f"Received a label value of {bad[where]:g} (sample {where}) which is outside the "
             f"valid range of [0, {classes}) of the output {out.name} of shape {_text(out.shape)}; "
             f"labels go from {low:g} to {high:g}", out.name, fix)


def _range(y):
    """(smallest, largest) of an array, found where it is."""
    if isinstance(y, np.ndarray):
        return y.min(), y.max()
    return _range_on_device(y.dtype.name, y.ndim)([y])


@functools.lru_cache
def _range_on_device(dtype, ndim):
    y = K.placeholder(ndim=ndim, dtype=dtype)
    return K.function([y], [K.min(y), K.max(y)])


# ---------------------------------------------------------------- weights of samples

def per_output(value, names, what):
    """`sample_weight` or `class_weight` as one entry per output."""
    if not names or value is None or (hasattr(value, "__len__") and len(value) == 0):
        return [None] * len(names)
    if len(names) == 1:
        if isinstance(value, list) and len(value) == 1:
            return value
        if isinstance(value, dict) and names[0] in value:
            return [value[names[0]]]
        return [value]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            fail(f"Provided `{what}` was a list of {len(value)} elements, but the model has "
                 f"{len(names)} outputs. You should provide one `{what}` array per model output.")
        return list(value)
    if isinstance(value, dict):
        return [value.get(name) for name in names]
    raise TypeError(f"The model has multiple outputs, so `{what}` should be either a list or a "
                    f"dict by output name, got {type(value).__name__}.")


def sample_weights(y, weight, class_weight, mode, name):
    """Weights of the samples of one output as float array, or None if all are one."""
    if weight is not None:
        weight = np.asarray(on_host(weight), dtype="float32")
        _check_weight(weight, y, mode, name)
    if class_weight is None:
        return weight
    by_class = _class_weights(y, class_weight, name)
    return by_class if weight is None else weight * by_class


def _check_weight(weight, y, mode, name):
    shape = tuple(y.shape)
    if mode == "temporal":
        if len(shape) < 3:
            fail(f'Found a sample_weight array for an input with shape {shape}. Timestep-wise '
                 'sample '
                 "weighting (use of sample_weight_mode=\"temporal\") is restricted to outputs "
                 "that are at "
                 "least 3D, i.e. that have a time dimension.", name)
        if weight.ndim != 2:
            fail(f"Found a sample_weight array with shape {weight.shape}. In order to use "
                 "timestep-wise sample weighting, you should pass a 2D sample_weight array.", name)
    elif weight.ndim != 1:
        fail(f"Found a sample_weight array with shape {weight.shape}. In order to use "
             "timestep-wise sample "
             'weights, you should specify sample_weight_mode="temporal" in compile(). If you '
             'just mean to '
             "use sample-wise weights, make sure your sample_weight array is 1D.", name)
    if weight.shape != shape[:weight.ndim]:
        fail(f"Found a sample_weight array with shape {weight.shape} for an input with shape "
             f"{shape}. sample_weight cannot be broadcast.", name)


def _class_weights(y, class_weight, name):
    """Factor of each sample by its class: argmax of one-hot targets, or the number itself."""
    if len(y.shape) > 2:
        fail("`class_weight` not supported for 3+ dimensional targets.", name, "sample_weight")
    if not isinstance(class_weight, dict):
        class_weight = dict(enumerate(class_weight))
    y = np.asarray(on_host(y))
    classes = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0]
    found, places = np.unique(classes, return_inverse=True)
    missing = {int(c) for c in found} - {int(c) for c in class_weight}
    if missing:
        fail(f"`class_weight` must contain all classes in the data. The classes {missing} exist in "
             "the data but not in `class_weight`.", name)
    factors = np.array([class_weight[int(c)] for c in found], dtype="float32")
    return factors[places.reshape(-1)]


# ---------------------------------------------------------------- batches

def batches(count, size):
    """(start, end) of each batch of `count` samples; the last may be short."""
    return [(start, min(count, start + size)) for start in range(0, count, size)]


def shuffled(index, batch_size, shuffle):
    """Order of the samples of an epoch; shuffle: True, False, or "batch" (whole batches move)."""
    if shuffle == "batch":
        whole = len(index) // batch_size * batch_size
        rows = index[:whole].reshape(-1, batch_size)
        np.random.shuffle(rows)
        return np.concatenate([rows.reshape(-1), index[whole:]])
    if shuffle:
        np.random.shuffle(index)
    return index


def split(arrays, at):
    """Arrays cut in two at a sample: (those before, those from there on)."""
    return [[None if x is None else part_of(x, *bounds) for x in arrays]
            for bounds in ((0, at), (at, None))]


def part_of(x, start, end):
    """Samples start to end; those of a data set in a file stay there."""
    held = isinstance(x, (np.ndarray, DeviceArray))
    return x[start:end] if held else Part(x, start, end)


class Part:
    """Rows, one after the other, of something that can be sliced; read when they are asked for."""

    def __init__(self, x, start, end):
        self.x, self.start = x, start
        self.dtype = x.dtype
        self.shape = ((len(x) if end is None else end) - start, *x.shape[1:])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            return self.x[self.start + first:self.start + last:step]
        return self.x[np.asarray(rows) + self.start]
