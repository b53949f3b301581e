"""Pictures in files, Pillow images and arrays."""
import io
import os
import warnings

import numpy as np

from ... import backend as K

FORMATS = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")
MODES = {"rgb": ("RGB", 3), "rgba": ("RGBA", 4), "grayscale": ("L", 1)}


def pillow():
    """The module PIL.Image, imported at first use."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("Could not import PIL.Image: working with picture files needs Pillow. "
                          "Try: pip install pillow") from None
    return Image


def _data_format(given):
    given = K.image_data_format() if given is None else given
    if given not in ("channels_first", "channels_last"):
        raise ValueError(f"Unknown data_format: {given}, expected channels_first or channels_last")
    return given


def load_img(path, grayscale=False, color_mode="rgb", target_size=None, interpolation="nearest"):
    """A picture as a Pillow image.

    # Arguments
        path: of the file.
        grayscale: old form of color_mode="grayscale".
        color_mode: "rgb", "rgba" or "grayscale".
        target_size: (height, width) to resize to.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming".
    """
    if grayscale:
        warnings.warn('grayscale is deprecated. Please use color_mode = "grayscale"', stacklevel=2)
        color_mode = "grayscale"
    if color_mode not in MODES:
        raise ValueError(f'color_mode must be "grayscale", "rgb", or "rgba", got {color_mode!r}')
    image_module = pillow()
    with open(path, "rb") as file:
        image = image_module.open(io.BytesIO(file.read()))
    wanted = MODES[color_mode][0]
    kept = ("L", "I;16", "I") if color_mode == "grayscale" else (wanted,)
    if image.mode not in kept:
        image = image.convert(wanted)
    if target_size is not None and image.size != (target_size[1], target_size[0]):
        methods = image_module.Resampling.__members__
        if interpolation.upper() not in methods:
            raise ValueError(f"Invalid interpolation method {interpolation} specified. Supported "
                             f"methods are {', '.join(name.lower() for name in methods)}")
        image = image.resize((target_size[1], target_size[0]), methods[interpolation.upper()])
    return image


def img_to_array(img, data_format=None, dtype=None):
    """A Pillow image as an array (h, w, channels), or (channels, h, w) for channels_first.

    dtype: floatx if not given.
    """
    data_format = _data_format(data_format)
    x = np.asarray(img, dtype=dtype or K.floatx())
    if x.ndim == 2:
        x = x[..., None]
    if x.ndim != 3:
        raise ValueError(f"Unsupported image shape: {x.shape}")
    return x.transpose(2, 0, 1) if data_format == "channels_first" else x


def array_to_img(x, data_format=None, scale=True, dtype=None):
    """An array of one picture as a Pillow image.

    # Arguments
        x: (h, w, channels) or (channels, h, w) with 1, 3 or 4 channels.
        scale: stretch the values to 0 ... 255.
    """
    x = np.asarray(x, dtype=dtype or K.floatx())
    if x.ndim != 3:
        raise ValueError("Expected image array to have rank 3 (single image). Got array with "
                         f"shape: {x.shape}")
    if _data_format(data_format) == "channels_first":
        x = x.transpose(1, 2, 0)
    if scale:
        x = x - x.min()
        top = x.max()
        x = (x / top if top else x) * 255
    channels = x.shape[2]
    if channels not in (1, 3, 4):
        raise ValueError(f"Unsupported channel number: {channels}")
    if channels == 1 and x.max() > 255:
        return pillow().fromarray(x[..., 0].astype("int32"))        # mode I
    return pillow().fromarray(np.squeeze(x, -1).astype("uint8") if channels == 1
                              else x.astype("uint8"))


def save_img(path, x, data_format=None, file_format=None, scale=True, **kwargs):
    """Write an array as a picture; arguments as for `array_to_img`, kwargs: of Pillow's `save`."""
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and file_format in ("jpg", "jpeg"):
        warnings.warn("The JPG format does not support RGBA images, converting to RGB.",
                      stacklevel=2)
        image = image.convert("RGB")
    image.save(path, format="jpeg" if file_format == "jpg" else file_format, **kwargs)


def list_pictures(directory, ext=FORMATS):
    """Paths of all pictures in a folder and the folders in it."""
    endings = tuple(f".{e}" for e in ((ext,) if isinstance(ext, str) else ext))
    return [os.path.join(root, name) for root, _, names in os.walk(directory) for name in names
            if name.lower().endswith(endings)]


def pictures_of_class(directory, name, follow_links=False):
    """Pictures in the folder of a class, as paths relative to `directory`, sorted by folder."""
    start = os.path.join(directory, name)
    found = []
    for root, _, files in sorted(os.walk(start, followlinks=follow_links)):
        found += [os.path.join(name, os.path.relpath(os.path.join(root, file), start))
                  for file in sorted(files) if file.lower().endswith(FORMATS)]
    return found
