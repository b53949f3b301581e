"""The metrics that are the mean of a function over all batches."""
from .. import backend as K
from ..losses import (binary_crossentropy, categorical_crossentropy, categorical_hinge, hinge,
                      kullback_leibler_divergence, logcosh, mean_absolute_error,
                      mean_absolute_percentage_error, mean_squared_error,
                      mean_squared_logarithmic_error, poisson, sparse_categorical_crossentropy,
                      squared_hinge)
from ..weighting import squeeze_or_expand_dimensions
from .base import Mean, MeanMetricWrapper, as_type
from .functions import (accuracy, binary_accuracy, categorical_accuracy, cosine_proximity,
                        sparse_categorical_accuracy, sparse_top_k_categorical_accuracy,
                        top_k_categorical_accuracy)


def _mean_class(class_name, fn, name=None):
    """The metric class of a function without arguments of its own."""
    def __init__(self, name=name or fn.__name__, dtype=None):
        MeanMetricWrapper.__init__(self, fn, name, dtype=dtype)

    doc = f"{fn.__doc__}\n\n    The mean of `{fn.__name__}` over all batches."
    return type(class_name, (MeanMetricWrapper,),
                {"__init__": __init__, "__doc__": doc, "__module__": __name__})


Accuracy = _mean_class("Accuracy", accuracy)
CategoricalAccuracy = _mean_class("CategoricalAccuracy", categorical_accuracy)
SparseCategoricalAccuracy = _mean_class("SparseCategoricalAccuracy", sparse_categorical_accuracy)
MeanSquaredError = _mean_class("MeanSquaredError", mean_squared_error)
MeanAbsoluteError = _mean_class("MeanAbsoluteError", mean_absolute_error)
MeanAbsolutePercentageError = _mean_class("MeanAbsolutePercentageError",
                                          mean_absolute_percentage_error)
MeanSquaredLogarithmicError = _mean_class("MeanSquaredLogarithmicError",
                                          mean_squared_logarithmic_error)
Hinge = _mean_class("Hinge", hinge)
SquaredHinge = _mean_class("SquaredHinge", squared_hinge)
CategoricalHinge = _mean_class("CategoricalHinge", categorical_hinge)
LogCoshError = _mean_class("LogCoshError", logcosh)
Poisson = _mean_class("Poisson", poisson)
KLDivergence = _mean_class("KLDivergence", kullback_leibler_divergence)


class BinaryAccuracy(MeanMetricWrapper):
    """Mean of `binary_accuracy`."""

    def __init__(self, name="binary_accuracy", dtype=None, threshold=0.5):
        super().__init__(binary_accuracy, name, dtype=dtype, threshold=threshold)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """Mean of `top_k_categorical_accuracy`."""

    def __init__(self, k=5, name="top_k_categorical_accuracy", dtype=None):
        super().__init__(top_k_categorical_accuracy, name, dtype=dtype, k=k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """Mean of `sparse_top_k_categorical_accuracy`."""

    def __init__(self, k=5, name="sparse_top_k_categorical_accuracy", dtype=None):
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype=dtype, k=k)


class CosineSimilarity(MeanMetricWrapper):
    """Mean of `cosine_proximity`."""

    def __init__(self, name="cosine_similarity", dtype=None, axis=-1):
        super().__init__(cosine_proximity, name, dtype=dtype, axis=axis)


class BinaryCrossentropy(MeanMetricWrapper):
    """Mean of `binary_crossentropy`."""

    def __init__(self, name="binary_crossentropy", dtype=None, from_logits=False,
                 label_smoothing=0):
        super().__init__(binary_crossentropy, name, dtype=dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing)


class CategoricalCrossentropy(MeanMetricWrapper):
    """Mean of `categorical_crossentropy`."""

    def __init__(self, name="categorical_crossentropy", dtype=None, from_logits=False,
                 label_smoothing=0):
        super().__init__(categorical_crossentropy, name, dtype=dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing)


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """Mean of `sparse_categorical_crossentropy`."""

    def __init__(self, name="sparse_categorical_crossentropy", dtype=None, from_logits=False,
                 axis=-1):
        super().__init__(sparse_categorical_crossentropy, name, dtype=dtype,
                         from_logits=from_logits, axis=axis)


class RootMeanSquaredError(Mean):
    """sqrt of the mean of (y_pred - y_true)^2 over all elements."""

    def __init__(self, name="root_mean_squared_error", dtype=None):
        super().__init__(name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = as_type(y_true, self.dtype), as_type(y_pred, self.dtype)
        y_pred, y_true = squeeze_or_expand_dimensions(y_pred, y_true)
        return super().update_state(K.square(y_pred - y_true), sample_weight=sample_weight)

    def result(self):
        return K.sqrt(self.total / self.count)
