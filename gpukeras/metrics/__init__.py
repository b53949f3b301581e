"""Metrics: functions of (y_true, y_pred), and objects that gather them over many batches."""
from ..losses import (binary_crossentropy, categorical_crossentropy, categorical_hinge, hinge,
                      kullback_leibler_divergence, logcosh, mean_absolute_error,
                      mean_absolute_percentage_error, mean_squared_error,
                      mean_squared_logarithmic_error, poisson, sparse_categorical_crossentropy,
                      squared_hinge)
from ..utils.generic_utils import deserialize_keras_object, serialize_keras_object
from .base import Mean, MeanMetricWrapper, Metric, Reduce, Sum
from .confusion import (AUC, FalseNegatives, FalsePositives, MeanIoU, Precision, Recall,
                        SensitivityAtSpecificity, SensitivitySpecificityBase,
                        SpecificityAtSensitivity, TrueNegatives, TruePositives,
                        _ConfusionMatrixConditionCount)
from .functions import (accuracy, binary_accuracy, categorical_accuracy, cosine_proximity,
                        sparse_categorical_accuracy, sparse_top_k_categorical_accuracy,
                        top_k_categorical_accuracy)
from .means import (Accuracy, BinaryAccuracy, BinaryCrossentropy, CategoricalAccuracy,
                    CategoricalCrossentropy, CategoricalHinge, CosineSimilarity, Hinge,
                    KLDivergence, LogCoshError, MeanAbsoluteError,
                    MeanAbsolutePercentageError, MeanSquaredError,
                    MeanSquaredLogarithmicError, Poisson, RootMeanSquaredError,
                    SparseCategoricalAccuracy, SparseCategoricalCrossentropy,
                    SparseTopKCategoricalAccuracy, SquaredHinge, TopKCategoricalAccuracy)

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
cosine = cosine_similarity = cosine_proximity

__all__ = [name for name, thing in list(globals().items()) if callable(thing) and name[0] != "_"]


def clone_metric(metric):
    """A metric with the same arguments and fresh state; what is no Metric is returned as it is."""
    return type(metric).from_config(metric.get_config()) if isinstance(metric, Metric) else metric


def clone_metrics(metrics):
    """The same for a list, or for a dict whose values are metrics or lists of them."""
    if isinstance(metrics, dict):
        return {name: clone_metrics(m) if isinstance(m, (list, dict)) else clone_metric(m)
                for name, m in metrics.items()}
    return None if metrics is None else [clone_metric(m) for m in metrics]


def serialize(metric):
    """The name of a metric function, or {"class_name", "config"} of a Metric."""
    return serialize_keras_object(metric)


def deserialize(config, custom_objects=None):
    """The metric of a name or config."""
    return deserialize_keras_object(config, module_objects=globals(), custom_objects=custom_objects,
                                    printable_module_name="metric function")


def get(identifier):
    """The metric for a name, a config or a callable (as it is).

    # Raises
        ValueError: for a name that is not known, or anything else.
    """
    if isinstance(identifier, (str, dict)):
        return deserialize(identifier)
    if callable(identifier):
        return identifier
    raise ValueError(f"Could not interpret metric function identifier: {identifier!r}; expected a "
                     "name, a config, a function or a Metric.")
