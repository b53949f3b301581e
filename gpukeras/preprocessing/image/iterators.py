"""Batches of changed pictures, as Sequences that are also endless generators."""
import os
import threading
import warnings

import numpy as np

from ... import backend as K
from ...utils.data_utils import Sequence
from .files import (FORMATS, MODES, array_to_img, img_to_array, load_img, pictures_of_class)


class Iterator(Sequence):
    """Base of the iterators: batches of the numbers 0 ... n - 1, by index or one after the other.

    # Arguments
        n: number of samples.
        batch_size: samples of a batch; the last may have fewer.
        shuffle: new order each epoch.
        seed: of NumPy's generator, plus the number of batches so far; None leaves it alone.

    A subclass defines `_get_batches_of_transformed_samples(index_array)`.
    """

    white_list_formats = FORMATS

    def __init__(self, n, batch_size, shuffle, seed):
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.batch_index = self.total_batches_seen = 0
        self.index_array = None
        self.lock = threading.Lock()

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, state):
        vars(self).update(state)
        self.lock = threading.Lock()

    def _set_index_array(self):
        self.index_array = np.random.permutation(self.n) if self.shuffle else np.arange(self.n)

    def _seed(self):
        if self.seed is not None:
            np.random.seed(self.seed + self.total_batches_seen)
        self.total_batches_seen += 1

    def __len__(self):
        return -(-self.n // self.batch_size)

    def __getitem__(self, index):
        if index >= len(self):
            raise ValueError(f"Asked to retrieve element {index}, but the Sequence has length "
                             f"{len(self)}")
        with self.lock:
            self._seed()
            if self.index_array is None:
                self._set_index_array()
        start = self.batch_size * index
        return self._get_batches_of_transformed_samples(
            self.index_array[start:start + self.batch_size])

    def on_epoch_end(self):
        self._set_index_array()

    def reset(self):
        """Go on with the first batch of a new epoch."""
        self.batch_index = 0

    def __iter__(self):
        return self

    def __next__(self):
        return self.next()

    def next(self):
        """The next batch; the epochs follow each other without end."""
        with self.lock:
            self._seed()
            if self.batch_index == 0:
                self._set_index_array()
            start = self.batch_index * self.batch_size
            rows = self.index_array[start:start + self.batch_size]
            self.batch_index = (self.batch_index + 1) % max(1, len(self))
        return self._get_batches_of_transformed_samples(rows)

    def _get_batches_of_transformed_samples(self, index_array):
        raise NotImplementedError

    def _changed(self, x):
        """A picture changed at random and normalised."""
        generator = self.image_data_generator
        if not generator:
            return x
        changed = generator.apply_transform(x, generator.get_random_transform(x.shape))
        return generator.standardize(changed)

    def _save(self, pictures, rows):
        """Write changed pictures to `save_to_dir`, if there is one."""
        if not self.save_to_dir:
            return
        for x, row in zip(pictures, rows, strict=True):
            name = f"{self.save_prefix}_{row}_{np.random.randint(10 ** 7)}.{self.save_format}"
            array_to_img(x, self.data_format, scale=True).save(os.path.join(self.save_to_dir, name))


class NumpyArrayIterator(Iterator):
    """Batches from arrays; arguments as for `ImageDataGenerator.flow`."""

    def __init__(self, x, y, image_data_generator, batch_size=32, shuffle=False,
                 sample_weight=None, seed=None, data_format=None, save_to_dir=None,
                 save_prefix="", save_format="png", subset=None, dtype=None):
        x, further = _with_further(x)
        for name, other in (("y", y), ("sample_weight", sample_weight)):
            if other is not None and len(x) != len(other):
                raise ValueError(f"`x` (images tensor) and `{name}` should have the same length. "
                                 "Found: "
                                 f"x.shape = {np.shape(x)}, {name}.shape = {np.shape(other)}")
        if subset is not None:
            part = _part(subset, len(x), image_data_generator._validation_split)
            _check_classes(y, part)
            x, y, sample_weight = (None if a is None else a[part] for a in (x, y, sample_weight))
            further = [a[part] for a in further]
        self.dtype = dtype or "float32"
        # numbers stay as they are, also in a file: only batches are converted
        held = getattr(getattr(x, "dtype", None), "kind", None) in tuple("fiub")
        self.x, self.x_misc = x if held else np.asarray(x, self.dtype), further
        if len(self.x.shape) != 4:
            raise ValueError("Input data in `NumpyArrayIterator` should have rank 4. You passed "
                             "an array "
                             f"with shape {self.x.shape}. Try: x[..., None] for grey pictures")
        self.y = None if y is None else np.asarray(y)
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight)
        self.image_data_generator = image_data_generator
        self.data_format = data_format or K.image_data_format()
        _check_channels(self.x.shape, self.data_format)
        self.save_to_dir, self.save_prefix, self.save_format = save_to_dir, save_prefix, save_format
        super().__init__(len(self.x), batch_size, shuffle, seed)

    def _get_batches_of_transformed_samples(self, index_array):
        batch = np.zeros((len(index_array), *self.x.shape[1:]), self.dtype)
        for i, row in enumerate(index_array):
            batch[i] = self._changed(np.array(self.x[row], self.dtype))
        self._save(batch, index_array)
        inputs = [batch] + [a[index_array] for a in self.x_misc] if self.x_misc else batch
        if self.y is None:
            return inputs
        if self.sample_weight is None:
            return inputs, self.y[index_array]
        return inputs, self.y[index_array], self.sample_weight[index_array]


def _check_channels(shape, data_format):
    axis = 3 if data_format == "channels_last" else 1
    if shape[axis] not in (1, 3, 4):
        warnings.warn("NumpyArrayIterator is set to use the data format convention "
                      f"\"{data_format}\" (channels on axis {axis}), i.e. expected either 1, 3, or "
                      f"4 channels on axis {axis}. However, it was passed an array with shape "
                      f"{shape} ({shape[axis]} channels).", stacklevel=5)


def _with_further(x):
    """(pictures, list of further arrays) of x or (x, further)."""
    if not isinstance(x, (tuple, list)):
        return x, []
    pictures, further = x[0], x[1] if isinstance(x[1], list) else [x[1]]
    further = [np.asarray(a) for a in further]
    for a in further:
        if len(a) != len(pictures):
            raise ValueError("All of the arrays in `x` should have the same length. Found a pair "
                             f"with: len(x[0]) = {len(pictures)}, len(x[?]) = {len(a)}")
    return pictures, further


def _part(subset, count, share):
    """Slice of a subset: the validation data come first."""
    at = int(count * share)
    if subset == "validation":
        return slice(0, at)
    if subset == "training":
        return slice(at, count)
    raise ValueError(f'Invalid subset name: {subset}; expected "training" or "validation".')


def _check_classes(y, part):
    if y is None:
        return
    rest = np.concatenate([y[:part.start], y[part.stop:]])
    if not np.array_equal(np.unique(y[part]), np.unique(rest)):
        raise ValueError("Training and validation subsets have different number of classes after "
                         "the split. If your numpy arrays are sorted by the label, you might want "
                         "to shuffle them.")


class _FileIterator(Iterator):
    """Batches from picture files: `filepaths`, `classes`, `labels` say which."""

    modes = ("categorical", "binary", "sparse", "input", None)
    sample_weight = None

    def __init__(self, image_data_generator, target_size, color_mode, class_mode, batch_size,
                 shuffle, seed, data_format, save_to_dir, save_prefix, save_format, interpolation,
                 dtype):
        if color_mode not in MODES:
            raise ValueError(f'Invalid color mode: {color_mode}; expected "rgb", "rgba", or '
                             '"grayscale".')
        if class_mode not in self.modes:
            raise ValueError(f"Invalid class_mode: {class_mode}; expected one of: {self.modes}")
        self.image_data_generator, self.class_mode = image_data_generator, class_mode
        self.target_size, self.color_mode = tuple(target_size), color_mode
        self.data_format, self.interpolation = data_format or K.image_data_format(), interpolation
        channels = MODES[color_mode][1]
        self.image_shape = ((channels, *self.target_size) if self.data_format == "channels_first"
                            else (*self.target_size, channels))
        self.save_to_dir, self.save_prefix, self.save_format = save_to_dir, save_prefix, save_format
        self.dtype = dtype or "float32"
        super().__init__(self.samples, batch_size, shuffle, seed)

    @property
    def filepaths(self):
        """Paths of all pictures."""
        return [os.path.join(self.directory, name) for name in self.filenames]

    def _get_batches_of_transformed_samples(self, index_array):
        paths = self.filepaths
        batch = np.zeros((len(index_array), *self.image_shape), self.dtype)
        for i, row in enumerate(index_array):
            with load_img(paths[row], color_mode=self.color_mode, target_size=self.target_size,
                          interpolation=self.interpolation) as image:
                batch[i] = self._changed(img_to_array(image, self.data_format))
        self._save(batch, index_array)
        if self.class_mode is None:
            return batch
        y = batch.copy() if self.class_mode == "input" else self._targets_of(index_array)
        if self.sample_weight is None:
            return batch, y
        return batch, y, self.sample_weight[index_array]

    def _targets_of(self, rows):
        if self.class_mode == "raw":
            return self.labels[rows]
        if self.class_mode == "multi_output":
            return [output[rows] for output in self.labels]
        chosen = [self.classes[row] for row in rows]
        if self.class_mode != "categorical":
            return np.array(chosen, self.dtype)
        y = np.zeros((len(rows), len(self.class_indices)), self.dtype)
        for row, classes in zip(y, chosen, strict=True):
            row[classes] = 1                       # a list for pictures with several labels
        return y


class DirectoryIterator(_FileIterator):
    """Batches from a folder; arguments as for `ImageDataGenerator.flow_from_directory`."""

    def __init__(self, directory, image_data_generator, target_size=(256, 256), color_mode="rgb",
                 classes=None, class_mode="categorical", batch_size=32, shuffle=True, seed=None,
                 data_format=None, save_to_dir=None, save_prefix="", save_format="png",
                 follow_links=False, subset=None, interpolation="nearest", dtype=None):
        self.directory = os.fspath(directory)
        names = classes or sorted(name for name in os.listdir(self.directory)
                                  if os.path.isdir(os.path.join(self.directory, name)))
        self.num_classes = len(names)
        self.class_indices = {name: i for i, name in enumerate(names)}
        self.filenames, numbers = [], []
        for i, name in enumerate(names):
            found = pictures_of_class(self.directory, name, follow_links)
            if subset is not None:
                found = found[_part(subset, len(found), image_data_generator._validation_split)]
            self.filenames += found
            numbers += [i] * len(found)
        self.classes = np.array(numbers, "int32")
        self.samples = len(self.filenames)
        print(f"Found {self.samples} images belonging to {self.num_classes} classes.")
        super().__init__(image_data_generator, target_size, color_mode, class_mode, batch_size,
                         shuffle, seed, data_format, save_to_dir, save_prefix, save_format,
                         interpolation, dtype)

    @property
    def labels(self):
        return self.classes


class DataFrameIterator(_FileIterator):
    """Batches from a table; arguments as for `ImageDataGenerator.flow_from_dataframe`."""

    modes = ("binary", "categorical", "input", "multi_output", "raw", "sparse", None)

    def __init__(self, dataframe, directory=None, image_data_generator=None, x_col="filename",
                 y_col="class", weight_col=None, target_size=(256, 256), color_mode="rgb",
                 classes=None, class_mode="categorical", batch_size=32, shuffle=True, seed=None,
                 data_format="channels_last", save_to_dir=None, save_prefix="", save_format="png",
                 subset=None, interpolation="nearest", dtype="float32", validate_filenames=True):
        self.directory = os.fspath(directory or "")
        by_class = class_mode in ("binary", "categorical", "sparse")
        columns = y_col if isinstance(y_col, list) else [y_col]
        table = {name: list(dataframe[name]) for name in
                 [x_col, *(columns if by_class or class_mode in ("raw", "multi_output") else []),
                  *([weight_col] if weight_col else [])]}
        _check_table(table, x_col, y_col, class_mode)
        keep = range(len(table[x_col]))
        if validate_filenames:
            keep = self._valid(table[x_col])
        if by_class:
            names, keep = _known_classes(table[y_col], classes, keep)
            self.class_indices = {name: i for i, name in enumerate(names)}
        if subset is not None:
            keep = keep[_part(subset, len(keep), image_data_generator._validation_split)]
        table = {name: [values[i] for i in keep] for name, values in table.items()}
        self.filenames, self.samples = table[x_col], len(keep)
        if by_class:
            self.classes = [_numbers(label, self.class_indices) for label in table[y_col]]
        self.labels = self.classes if by_class else (
            [np.array(table[name]) for name in y_col] if class_mode == "multi_output"
            else np.array(table[columns[0]]) if class_mode == "raw" and len(columns) == 1
            else np.array([table[name] for name in columns]).T if class_mode == "raw" else None)
        self.sample_weight = np.array(table[weight_col]) if weight_col else None
        kind = "validated" if validate_filenames else "non-validated"
        belonging = f" belonging to {len(self.class_indices)} classes" if by_class else ""
        print(f"Found {self.samples} {kind} image filenames{belonging}.")
        super().__init__(image_data_generator, target_size, color_mode, class_mode, batch_size,
                         shuffle, seed, data_format, save_to_dir, save_prefix, save_format,
                         interpolation, dtype)

    def _valid(self, names):
        """Numbers of the rows whose files are there."""
        keep = [i for i, name in enumerate(names) if name.lower().endswith(FORMATS)
                and os.path.isfile(os.path.join(self.directory, name))]
        if len(keep) < len(names):
            warnings.warn(f"Found {len(names) - len(keep)} invalid image filename(s). These "
                          "filename(s) will be ignored.", stacklevel=4)
        return keep


def _check_table(table, x_col, y_col, class_mode):
    if class_mode == "multi_output" and not isinstance(y_col, list):
        raise TypeError(f'If class_mode="multi_output", y_col must be a list. Received '
                        f"{type(y_col).__name__}.")
    if not all(isinstance(name, str) for name in table[x_col]):
        raise TypeError(f"All values in column x_col={x_col} must be strings.")
    allowed = {"binary": str, "sparse": str, "categorical": (str, list, tuple)}.get(class_mode)
    if allowed and not all(isinstance(label, allowed) for label in table[y_col]):
        raise TypeError(f'If class_mode="{class_mode}", y_col="{y_col}" column values must be '
                        'strings'
                        + (", lists or tuples." if class_mode == "categorical" else "."))
    if class_mode == "binary" and len(set(table[y_col])) != 2:
        raise ValueError('If class_mode="binary" there must be 2 classes. Found '
                         f'{len(set(table[y_col]))} '
                         "classes.")


def _known_classes(labels, classes, keep):
    """(sorted names, numbers of rows with a label among them)."""
    def listed(label):
        return list(label) if isinstance(label, (list, tuple)) else [label]

    names = set(classes) if classes else {name for i in keep for name in listed(labels[i])}
    return sorted(names), [i for i in keep if names & set(listed(labels[i]))]


def _numbers(label, indices):
    if isinstance(label, (list, tuple)):
        return [indices[name] for name in label if name in indices]
    return indices[label]
