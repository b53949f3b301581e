"""Keras's `utils`."""
from . import conv_utils, data_utils, generic_utils, io_utils, np_utils
from .data_utils import get_file
from .generic_utils import (CustomObjectScope, Progbar, custom_object_scope,
                            deserialize_keras_object, get_custom_objects, serialize_keras_object)
from .np_utils import normalize, to_categorical
