"""Images as the networks expect them, names of the classes, sizes of the input."""
import functools
import json
import warnings

import numpy as np

from .. import backend as K
from ..utils.data_utils import get_file

CLASS_INDEX_PATH = ("https://storage.googleapis.com/download.tensorflow.org/data/"
                    "imagenet_class_index.json")
# mean and standard deviation of ImageNet's channels: 0 to 255 in the order blue, green, red; 0 to 1
# in the order red, green, blue
CAFFE_MEAN = (103.939, 116.779, 123.68)
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocess_input(x, data_format=None, mode="caffe", **kwargs):
    """Images of RGB values 0 to 255 in the range that a network was trained with.

    # Arguments
        x: array or tensor (rows, columns, 3) or (n, rows, columns, 3), or channels first; an array
            of floats is written over.
        data_format: "channels_last" or "channels_first"; that of the session if None.
        mode: "caffe": BGR minus the mean; "tf": -1 to 1; "torch": 0 to 1, minus the mean, divided
            by the standard deviation.
    """
    data_format = data_format or K.image_data_format()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(f"Unknown data_format {data_format}")
    if mode not in ("caffe", "tf", "torch"):
        raise ValueError(f"Unknown mode: got {mode!r}, expected 'caffe', 'tf' or 'torch'")
    axis = -3 if data_format == "channels_first" else -1
    if isinstance(x, np.ndarray):
        return _preprocess_array(x, axis, mode)
    return _preprocess_tensor(x, axis, mode)


def preprocess_tf(x, **kwargs):
    """RGB values 0 to 255 as -1 to 1; see `preprocess_input`."""
    return preprocess_input(x, mode="tf", **kwargs)


def preprocess_torch(x, **kwargs):
    """RGB values 0 to 255 minus ImageNet's mean, by its deviation; see `preprocess_input`."""
    return preprocess_input(x, mode="torch", **kwargs)


def _preprocess_array(x, axis, mode):
    if not np.issubdtype(x.dtype, np.floating):
        x = x.astype(K.floatx())
    if mode == "tf":
        x /= 127.5
        x -= 1.
        return x
    if mode == "caffe":
        x = np.flip(x, axis)
        mean, std = CAFFE_MEAN, 1
    else:
        x /= 255.
        mean, std = TORCH_MEAN, TORCH_STD
    channels = np.moveaxis(x, axis, -1)                              # a view: x itself changes
    channels -= np.asarray(mean, x.dtype)
    channels /= np.asarray(std, x.dtype)
    return x


def _preprocess_tensor(x, axis, mode):
    if mode == "tf":
        return x / 127.5 - 1.
    shape = (3, 1, 1) if axis == -3 else (3,)
    mean, std = (np.reshape(np.asarray(v, x.dtype), shape) for v in (
        (CAFFE_MEAN, (1, 1, 1)) if mode == "caffe" else (TORCH_MEAN, TORCH_STD)))
    x = K.reverse(x, K.ndim(x) + axis) if mode == "caffe" else x / 255.
    return (x - mean) / std


@functools.lru_cache(maxsize=1)
def _classes():
    path = get_file("imagenet_class_index.json", CLASS_INDEX_PATH, cache_subdir="models",
                    file_hash="c2c37ea517e94d9795004a39431a14cb")
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def decode_predictions(preds, top=5, **kwargs):
    """The likeliest classes of each prediction.

    # Arguments
        preds: array (n, 1000).
        top: how many classes.

    # Returns
        n lists of `top` tuples (WordNet number, name, score), the best first.
    """
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ValueError("`decode_predictions` expects a batch of predictions (i.e. a 2D array of "
                         f"shape (samples, 1000)). Found array with shape: {preds.shape}")
    names = _classes()
    return [[(*names[str(i)], row[i]) for i in np.argsort(row)[::-1][:top]] for row in preds]


def _obtain_input_shape(input_shape, default_size, min_size, data_format, require_flatten,
                        weights=None):
    """The shape of one image, checked.

    # Arguments
        input_shape: what the user gave, or None.
        default_size, min_size: rows and columns.
        data_format: "channels_last" or "channels_first".
        require_flatten: whether rows and columns must be known.
        weights: "imagenet" needs 3 channels and, with `require_flatten`, the default size.
    """
    first = data_format == "channels_first"

    def shape_of(channels, size):
        return (channels, size, size) if first else (size, size, channels)

    channels = 3
    if input_shape and len(input_shape) == 3 and weights != "imagenet":
        channels = input_shape[0 if first else -1]
        if channels not in (1, 3):
            warnings.warn("This model usually expects 1 or 3 input channels. However, it was "
                          f"passed an input_shape with {channels} input channels.")
    default = shape_of(channels, default_size)
    if weights == "imagenet" and require_flatten:
        if input_shape is not None and tuple(input_shape) != default:
            raise ValueError("When setting `include_top=True` and loading `imagenet` weights, "
                             f"`input_shape` should be {default}.")
        return default
    if not input_shape:
        return default if require_flatten else shape_of(3, None)
    _check_size(input_shape, min_size, first, weights)
    if require_flatten and None in input_shape:
        raise ValueError("If `include_top` is True, you should specify a static `input_shape`. "
                         f"Got `input_shape={input_shape}`")
    return tuple(input_shape)


def _check_size(shape, min_size, first, weights):
    if len(shape) != 3:
        raise ValueError(f"`input_shape` must be a tuple of three integers. Got {shape}")
    if weights == "imagenet" and shape[0 if first else -1] != 3:
        raise ValueError(f"The input must have 3 channels; got `input_shape={shape}`")
    sizes = shape[1:] if first else shape[:-1]
    if any(size is not None and size < min_size for size in sizes):
        raise ValueError(f"Input size must be at least {min_size}x{min_size}; "
                         f"got `input_shape={shape}`")
