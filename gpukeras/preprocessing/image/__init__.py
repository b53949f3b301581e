"""Images as arrays: loading, random changes, batches from arrays, folders and tables."""
from .files import array_to_img, img_to_array, list_pictures, load_img, save_img
from .generator import ImageDataGenerator
from .iterators import DataFrameIterator, DirectoryIterator, Iterator, NumpyArrayIterator
from .transforms import (apply_affine_transform, apply_brightness_shift, apply_channel_shift,
                         flip_axis, random_brightness, random_channel_shift, random_rotation,
                         random_shear, random_shift, random_zoom)

__all__ = ["DataFrameIterator", "DirectoryIterator", "ImageDataGenerator", "Iterator",
           "NumpyArrayIterator", "apply_affine_transform", "apply_brightness_shift",
           "apply_channel_shift", "array_to_img", "flip_axis", "img_to_array", "list_pictures",
           "load_img", "random_brightness", "random_channel_shift", "random_rotation",
           "random_shear", "random_shift", "random_zoom", "save_img"]
