"""Settings of the backend, by Keras's path."""
from ..utils import conv_utils
from .core import cast_to_floatx, eager, symbolic
from .settings import (epsilon, floatx, image_data_format, image_dim_ordering,
                       normalize_data_format, set_epsilon, set_floatx, set_image_data_format,
                       set_image_dim_ordering)

conv_utils.normalize_data_format = normalize_data_format    # where it was before Keras 2.2.3

__all__ = ["cast_to_floatx", "eager", "epsilon", "floatx", "image_data_format",
           "image_dim_ordering", "normalize_data_format", "set_epsilon", "set_floatx",
           "set_image_data_format", "set_image_dim_ordering", "symbolic"]
