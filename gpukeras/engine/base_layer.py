"""Layer and what belongs to it, by Keras's path."""
from ..layers.base import Layer
from ..layers.node import Node
from ..layers.spec import InputSpec
from ..utils.generic_utils import (has_arg, is_all_none, object_list_uid, to_list, to_snake_case,
                                   unpack_singleton)
from ..utils.layer_utils import count_params

_to_snake_case = to_snake_case


def disable_tracking(func):
    """`func` itself: attributes are looked for when they are needed, not tracked when set."""
    return func
