"""Functions that pull a weight back into its allowed range after each update."""
from . import backend as K
from .configured import Configured, interpret
from .utils.generic_utils import deserialize_keras_object, serialize_keras_object


class Constraint(Configured):
    """Base: a weight in, the nearest allowed weight out."""

    def __call__(self, w):
        return w


class MaxNorm(Constraint):
    """Scale down each vector along `axis` whose L2 norm exceeds `max_value`.

    # Arguments
        max_value: largest norm allowed.
        axis: axis or axes of one vector: 0 for a Dense kernel (in, units), [0, 1, 2] for a Conv2D
            kernel (rows, cols, in, filters).

    Srivastava, Hinton et al. 2014, Dropout.
    """

    def __init__(self, max_value=2, axis=0):
        self.keep(max_value=max_value, axis=axis)

    def __call__(self, w):
        norms = _norms(w, self.axis)
        return w * (K.clip(norms, 0, self.max_value) / (K.epsilon() + norms))


class NonNeg(Constraint):
    """Replace negative entries by 0."""

    def __call__(self, w):
        return w * K.cast(K.greater_equal(w, 0.0), K.floatx())


class UnitNorm(Constraint):
    """Scale each vector along `axis` to L2 norm 1; axis as for MaxNorm."""

    def __init__(self, axis=0):
        self.keep(axis=axis)

    def __call__(self, w):
        return w / (K.epsilon() + _norms(w, self.axis))


class MinMaxNorm(Constraint):
    """Bring the L2 norm of each vector along `axis` into [min_value, max_value].

    # Arguments
        min_value, max_value: bounds of the norm.
        rate: how far to go at each step: 1 all the way, 0 not at all.
        axis: as for MaxNorm.
    """

    def __init__(self, min_value=0.0, max_value=1.0, rate=1.0, axis=0):
        self.keep(min_value=min_value, max_value=max_value, rate=rate, axis=axis)

    def __call__(self, w):
        norms = _norms(w, self.axis)
        wanted = (self.rate * K.clip(norms, self.min_value, self.max_value)
                  + (1 - self.rate) * norms)
        return w * (wanted / (K.epsilon() + norms))


def _norms(w, axis):
    return K.sqrt(K.sum(K.square(w), axis=axis, keepdims=True))


max_norm = maxnorm = MaxNorm
non_neg = nonneg = NonNeg
unit_norm = unitnorm = UnitNorm
min_max_norm = MinMaxNorm


def serialize(constraint):
    """{"class_name", "config"} of a constraint."""
    return serialize_keras_object(constraint)


def deserialize(config, custom_objects=None):
    """The constraint of a config."""
    return deserialize_keras_object(config, module_objects=globals(), custom_objects=custom_objects,
                                    printable_module_name="constraint")


def get(identifier):
    """The constraint for a name, a config, a callable or None."""
    return None if identifier is None else interpret(identifier, deserialize, "constraint")
