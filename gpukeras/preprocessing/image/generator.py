"""ImageDataGenerator: pictures changed at random, batch by batch."""
import warnings

import numpy as np

from ... import backend as K
from .iterators import DataFrameIterator, DirectoryIterator, NumpyArrayIterator
from .transforms import (apply_affine_transform, apply_brightness_shift, apply_channel_shift,
                         flip_axis)


class ImageDataGenerator:
    """Makes batches of pictures, each changed at random, then normalised.

    # Arguments
        featurewise_center, featurewise_std_normalization: subtract the mean, divide by the standard
            deviation of the data given to `fit`, per channel.
        samplewise_center, samplewise_std_normalization: the same by each picture's own.
        zca_whitening, zca_epsilon: whiten with the statistics of `fit`.
        rotation_range: degrees.
        width_shift_range, height_shift_range: below 1 a share of the size, else points; an int or a
            list for whole points.
        brightness_range: pair of factors.
        shear_range: degrees.
        zoom_range: z for [1 - z, 1 + z], or a pair.
        channel_shift_range: largest value to add.
        fill_mode, cval: what comes in from outside, see `apply_affine_transform`.
        horizontal_flip, vertical_flip: mirror every second picture, at random.
        rescale: factor, applied after `preprocessing_function`.
        preprocessing_function: of one picture, after the random changes.
        data_format: "channels_last" or "channels_first"; None for `image_data_format()`.
        validation_split: share of the data for subset="validation".
        interpolation_order: 0 or 1.
        dtype: of the batches.
    """

    def __init__(self, featurewise_center=False, samplewise_center=False,
                 featurewise_std_normalization=False, samplewise_std_normalization=False,
                 zca_whitening=False, zca_epsilon=1e-6, rotation_range=0, width_shift_range=0.0,
                 height_shift_range=0.0, brightness_range=None, shear_range=0.0, zoom_range=0.0,
                 channel_shift_range=0.0, fill_mode="nearest", cval=0.0, horizontal_flip=False,
                 vertical_flip=False, rescale=None, preprocessing_function=None,
                 data_format="channels_last", validation_split=0.0, interpolation_order=1,
                 dtype="float32"):
        data_format = K.image_data_format() if data_format is None else data_format
        if data_format not in ("channels_last", "channels_first"):
            raise ValueError('`data_format` should be `"channels_last"` or `"channels_first"`. '
                             f"Received: {data_format}")
        if validation_split and not 0 < validation_split < 1:
            raise ValueError("`validation_split` must be strictly between 0 and 1. Received: "
                             f"{validation_split}")
        if brightness_range is not None and np.shape(brightness_range) != (2,):
            raise ValueError("`brightness_range should be tuple or list of two floats. Received: "
                             f"{brightness_range}")
        self.featurewise_center, self.samplewise_center = featurewise_center, samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range = rotation_range, shear_range
        self.width_shift_range, self.height_shift_range = width_shift_range, height_shift_range
        self.brightness_range, self.zoom_range = brightness_range, _zoom_range(zoom_range)
        self.channel_shift_range, self.fill_mode, self.cval = channel_shift_range, fill_mode, cval
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.data_format, self._validation_split = data_format, validation_split
        self.interpolation_order, self.dtype = interpolation_order, dtype
        axes = (1, 2, 3) if data_format == "channels_first" else (3, 1, 2)
        self.channel_axis, self.row_axis, self.col_axis = axes
        self.mean = self.std = self.principal_components = None
        self._settle()

    def _settle(self):
        """Switch on what other arguments need, with a warning."""
        def override(reason, name, value):
            if getattr(self, name) != value:
                setattr(self, name, value)
                warnings.warn(f"This ImageDataGenerator specifies `{reason}`, which overrides "
                              f"setting of `{name}`.", stacklevel=4)

        if self.zca_whitening:
            override("zca_whitening", "featurewise_center", True)
            override("zca_whitening", "featurewise_std_normalization", False)
        if self.featurewise_std_normalization:
            override("featurewise_std_normalization", "featurewise_center", True)
        if self.samplewise_std_normalization:
            override("samplewise_std_normalization", "samplewise_center", True)

    # ---- batches

    def flow(self, x, y=None, batch_size=32, shuffle=True, sample_weight=None, seed=None,
             save_to_dir=None, save_prefix="", save_format="png", subset=None):
        """Batches from arrays: x (n, h, w, c), or (x, further arrays) that go along unchanged.

        # Arguments
            y, sample_weight: arrays of n entries, or None.
            seed: makes order and changes repeatable.
            save_to_dir, save_prefix, save_format: write the changed pictures there too.
            subset: "training" or "validation", by `validation_split`.
        """
        return NumpyArrayIterator(x, y, self, batch_size, shuffle, sample_weight, seed,
                                  self.data_format, save_to_dir, save_prefix, save_format, subset,
                                  self.dtype)

    def flow_from_directory(self, directory, target_size=(256, 256), color_mode="rgb", classes=None,
                            class_mode="categorical", batch_size=32, shuffle=True, seed=None,
                            save_to_dir=None, save_prefix="", save_format="png",
                            follow_links=False, subset=None, interpolation="nearest"):
        """Batches from a folder with one folder of pictures per class.

        # Arguments
            target_size: (height, width) of the pictures.
            color_mode: "rgb", "rgba" or "grayscale".
            classes: names of the folders, all of them in order of the alphabet if not given.
            class_mode: "categorical" one-hot, "binary" or "sparse" numbers, "input" the pictures
                themselves, None no targets.
            Others: as for `flow`, and of `load_img`.
        """
        return DirectoryIterator(directory, self, target_size, color_mode, classes, class_mode,
                                 batch_size, shuffle, seed, self.data_format, save_to_dir,
                                 save_prefix, save_format, follow_links, subset, interpolation,
                                 self.dtype)

    def flow_from_dataframe(self, dataframe, directory=None, x_col="filename", y_col="class",
                            weight_col=None, target_size=(256, 256), color_mode="rgb",
                            classes=None, class_mode="categorical", batch_size=32, shuffle=True,
                            seed=None, save_to_dir=None, save_prefix="", save_format="png",
                            subset=None, interpolation="nearest", validate_filenames=True,
                            **kwargs):
        """Batches from a pandas DataFrame of file names and labels.

        # Arguments
            directory: folder that the names are relative to.
            x_col, y_col, weight_col: names of columns; y_col a list for class_mode="multi_output".
            class_mode: as for `flow_from_directory`, or "raw" for numbers, "multi_output".
            validate_filenames: leave out names of files that are not there.
            Others: as for `flow_from_directory`.
        """
        for name in set(kwargs) - {"has_ext", "sort", "drop_duplicates"}:
            raise TypeError(f"Unrecognized keyword argument: {name}")
        for name in kwargs:
            warnings.warn(f"{name} is deprecated, it is ignored.", DeprecationWarning, stacklevel=2)
        class_mode = "raw" if class_mode == "other" else class_mode
        return DataFrameIterator(dataframe, directory, self, x_col, y_col, weight_col, target_size,
                                 color_mode, classes, class_mode, batch_size, shuffle, seed,
                                 self.data_format, save_to_dir, save_prefix, save_format, subset,
                                 interpolation, self.dtype, validate_filenames)

    # ---- one picture

    def get_random_transform(self, img_shape, seed=None):
        """The random numbers for a picture of that shape, as a dict for `apply_transform`."""
        if seed is not None:
            np.random.seed(seed)
        rows, columns = img_shape[self.row_axis - 1], img_shape[self.col_axis - 1]

        def symmetric(limit):
            return np.random.uniform(-limit, limit) if limit else 0

        found = {"theta": symmetric(self.rotation_range),
                 "tx": _random_shift(self.height_shift_range, rows),
                 "ty": _random_shift(self.width_shift_range, columns),
                 "shear": symmetric(self.shear_range)}
        still = tuple(self.zoom_range) == (1, 1)
        found["zx"], found["zy"] = (1, 1) if still else np.random.uniform(*self.zoom_range, 2)
        found["flip_horizontal"] = (np.random.random() < 0.5) * self.horizontal_flip
        found["flip_vertical"] = (np.random.random() < 0.5) * self.vertical_flip
        found["channel_shift_intensity"] = symmetric(self.channel_shift_range) or None
        found["brightness"] = None
        if self.brightness_range is not None:
            found["brightness"] = np.random.uniform(*self.brightness_range)
        return found

    def apply_transform(self, x, transform_parameters):
        """A picture changed as the dict says; keys that are missing change nothing."""
        given = transform_parameters
        row, column, channel = self.row_axis - 1, self.col_axis - 1, self.channel_axis - 1
        affine = {name: given[name] for name in ("theta", "tx", "ty", "shear", "zx", "zy")
                  if name in given}
        x = apply_affine_transform(x, row_axis=row, col_axis=column, channel_axis=channel,
                                   fill_mode=self.fill_mode, cval=self.cval,
                                   order=self.interpolation_order, **affine)
        if given.get("channel_shift_intensity") is not None:
            x = apply_channel_shift(x, given["channel_shift_intensity"], channel)
        if given.get("flip_horizontal"):
            x = flip_axis(x, column)
        if given.get("flip_vertical"):
            x = flip_axis(x, row)
        if given.get("brightness") is not None:
            x = apply_brightness_shift(x, given["brightness"])
        return x

    def random_transform(self, x, seed=None):
        """A picture changed at random."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def standardize(self, x):
        """A picture (or batch) normalised. May change `x` itself."""
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x = x * self.rescale
        if self.samplewise_center:
            x = x - np.mean(x, keepdims=True)
        if self.samplewise_std_normalization:
            x = x / (np.std(x, keepdims=True) + 1e-6)
        if self.featurewise_center and self._fitted("featurewise_center", self.mean):
            x = x - self.mean
        if self.featurewise_std_normalization and self._fitted("featurewise_std_normalization",
                                                               self.std):
            x = x / (self.std + 1e-6)
        if self.zca_whitening and self._fitted("zca_whitening", self.principal_components):
            flat = np.reshape(x, (-1, np.prod(x.shape[-3:])))
            x = np.reshape(flat @ self.principal_components, x.shape)
        return x

    def _fitted(self, name, statistics):
        if statistics is None:
            warnings.warn(f"This ImageDataGenerator specifies `{name}`, but it hasn't been fit on "
                          "any training data. Fit it first by calling "
                          "`.fit(numpy_data)`.", stacklevel=4)
        return statistics is not None

    def fit(self, x, augment=False, rounds=1, seed=None):
        """Find the mean, standard deviation and principal components of sample data.

        # Arguments
            x: array (n, h, w, c).
            augment: of pictures changed at random.
            rounds: how many times, with `augment`.

        # Raises
            ValueError: for another rank.
        """
        x = np.array(x, dtype=self.dtype)
        if x.ndim != 4:
            raise ValueError("Input to `.fit()` should have rank 4. Got array with shape: "
                             f"{x.shape}")
        warn_of_channels(x, self.channel_axis, self.data_format)
        if seed is not None:
            np.random.seed(seed)
        if self.rescale:
            x *= self.rescale
        if augment:
            x = np.stack([self.random_transform(picture) for _ in range(rounds) for picture in x])
        axes = (0, self.row_axis, self.col_axis)
        if self.featurewise_center:
            self.mean = np.mean(x, axis=axes, keepdims=True)[0]
            x -= self.mean
        if self.featurewise_std_normalization:
            self.std = np.std(x, axis=axes, keepdims=True)[0]
            x /= self.std + 1e-6
        if self.zca_whitening:
            flat = x.reshape(len(x), -1)
            u, s, _ = np.linalg.svd(flat.T @ flat / len(flat))
            self.principal_components = (u / np.sqrt(s + self.zca_epsilon)) @ u.T


def _zoom_range(given):
    if isinstance(given, (float, int)):
        return [1 - given, 1 + given]
    if np.shape(given) == (2,):
        return list(given)
    raise ValueError("`zoom_range` should be a float or a tuple or list of two floats. Received: "
                     f"{given}")


def _random_shift(limit, size):
    """Points to shift by; limit: a float, or an int or list to choose from, with a random sign."""
    if not np.any(limit):
        return 0
    if isinstance(limit, (float, np.floating)):
        shift = np.random.uniform(-limit, limit)
    else:
        shift = np.random.choice(limit)
        shift = shift * np.random.choice([-1, 1])
    return shift * size if np.max(limit) < 1 else shift


def warn_of_channels(x, axis, data_format):
    """Warn if the axis of the channels is not 1, 3 or 4 long."""
    if x.shape[axis] not in (1, 3, 4):
        warnings.warn('Expected input to be images following the data format convention '
                      f'"{data_format}" '
                      f"(channels on axis {axis}), i.e. expected either 1, 3 or 4 channels on "
                      f"axis {axis}. "
                      f"However, it was passed an array with shape {x.shape} ({x.shape[axis]} "
                      "channels).", stacklevel=3)
