"""Penalties on weights and outputs, added to the loss."""
from . import backend as K
from .configured import Configured, interpret
from .utils.generic_utils import deserialize_keras_object, serialize_keras_object


class Regularizer(Configured):
    """Base: a weight in, its penalty (a scalar) out."""

    def __call__(self, x):
        return 0.0


class L1L2(Regularizer):
    """l1 * sum(abs(x)) + l2 * sum(x ** 2)"""

    def __init__(self, l1=0.0, l2=0.0):
        self.l1 = K.cast_to_floatx(l1)
        self.l2 = K.cast_to_floatx(l2)

    def __call__(self, x):
        if not self.l1 and not self.l2:
            return K.constant(0.0)
        penalty = 0.0
        if self.l1:
            penalty += K.sum(self.l1 * K.abs(x))
        if self.l2:
            penalty += K.sum(self.l2 * K.square(x))
        return penalty

    def get_config(self):
        return {"l1": float(self.l1), "l2": float(self.l2)}


def l1(l=0.01):
    """l * sum(abs(x))"""
    return L1L2(l1=l)


def l2(l=0.01):
    """l * sum(x ** 2)"""
    return L1L2(l2=l)


def l1_l2(l1=0.01, l2=0.01):
    """l1 * sum(abs(x)) + l2 * sum(x ** 2)"""
    return L1L2(l1=l1, l2=l2)


def serialize(regularizer):
    """{"class_name", "config"} of a regularizer."""
    return serialize_keras_object(regularizer)


def deserialize(config, custom_objects=None):
    """The regularizer of a config."""
    return deserialize_keras_object(config, module_objects=globals(), custom_objects=custom_objects,
                                    printable_module_name="regularizer")


def get(identifier):
    """The regularizer for a name, a config, a callable or None."""
    return None if identifier is None else interpret(identifier, deserialize, "regularizer")
