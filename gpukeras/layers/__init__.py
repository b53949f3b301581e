"""All layers by Keras's names, and the way from a config back to a layer."""
from ..legacy.interfaces import understand_old_names
from ..utils.generic_utils import deserialize_keras_object, serialize_keras_object
from .advanced_activations import *  # noqa: F401,F403
from .attention import *  # noqa: F401,F403
from .base import InputSpec, Layer
from .bidirectional import *  # noqa: F401,F403
from .convolutional import *  # noqa: F401,F403
from .convolutional_recurrent import *  # noqa: F401,F403
from .core import *  # noqa: F401,F403
from .cudnn_recurrent import *  # noqa: F401,F403
from .embeddings import *  # noqa: F401,F403
from .input_layer import Input, InputLayer
from .keras1 import *  # noqa: F401,F403
from .local import *  # noqa: F401,F403
from .merge import *  # noqa: F401,F403
from .node import Node
from .noise import *  # noqa: F401,F403
from .normalization import *  # noqa: F401,F403
from .operation import *  # noqa: F401,F403
from .pooling import *  # noqa: F401,F403
from .recurrent import *  # noqa: F401,F403
from .separable import *  # noqa: F401,F403
from .spatial import *  # noqa: F401,F403
from .wrappers import *  # noqa: F401,F403

understand_old_names({value for value in list(globals().values())
                      if isinstance(value, type) and issubclass(value, Layer)})


def serialize(layer):
    """{"class_name", "config"} of a layer."""
    return {"class_name": type(layer).__name__, "config": layer.get_config()}


_containers = {}                                   # Model and Sequential, which models/ adds


def deserialize(config, custom_objects=None):
    """The layer or model of a {"class_name", "config"} dict.

    # Raises
        ValueError: for a class that is neither ours nor in `custom_objects`.
    """
    known = {name: value for name, value in globals().items()
             if isinstance(value, type) and issubclass(value, Layer)}
    return deserialize_keras_object(config, module_objects={**known, **_containers},
                                    custom_objects=custom_objects, printable_module_name="layer")
