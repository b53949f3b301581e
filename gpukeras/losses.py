"""Losses: functions of (y_true, y_pred), and classes that add a reduction and sample weights.

Unless a docstring says otherwise they reduce the last axis: (batch, ..., n) -> (batch, ...).
"""
import math

from . import backend as K
from .configured import Configured
from .graph import layer_scope
from .utils.generic_utils import deserialize_keras_object, serialize_keras_object
from .weighting import Reduction, compute_weighted_loss


class Loss(Configured):
    """Base of the loss classes: `call` gives a value per element, `__call__` weighs and reduces.

    # Arguments
        reduction: "sum_over_batch_size", "sum" or "none".
        name: optional name of the loss.
    """

    def __init__(self, reduction=Reduction.SUM_OVER_BATCH_SIZE, name=None):
        Reduction.validate(reduction)
        self.keep(reduction=reduction, name=name)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The loss of a batch.

        # Arguments
            y_true, y_pred: tensors (batch, ...).
            sample_weight: None, or weights (batch,) or what broadcasts to the values of `call`.
        """
        with layer_scope(self.name or type(self).__name__):
            losses = self.call(y_true, y_pred)
            return compute_weighted_loss(losses, sample_weight, reduction=self.reduction)

    def call(self, y_true, y_pred):
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred)")


class LossFunctionWrapper(Loss):
    """A Loss out of `fn(y_true, y_pred, **kwargs)`; the keywords are part of the config."""

    def __init__(self, fn, reduction=Reduction.SUM_OVER_BATCH_SIZE, name=None, **kwargs):
        super().__init__(reduction=reduction, name=name)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true, y_pred):
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self):
        plain = {name: K.eval(x) if K.is_tensor(x) else x for name, x in self._fn_kwargs.items()}
        return {**super().get_config(), **plain}


def _same_type(y_true, y_pred):
    """Both as tensors, the target in the type of the prediction."""
    if not K.is_tensor(y_pred):
        y_pred = K.constant(y_pred)
    if not K.is_tensor(y_true):
        y_true = K.constant(y_true, dtype=K.dtype(y_pred))
    return K.cast(y_true, K.dtype(y_pred)), y_pred


def mean_squared_error(y_true, y_pred):
    """mean (y_pred - y_true)^2"""
    y_true, y_pred = _same_type(y_true, y_pred)
    return K.mean(K.square(y_pred - y_true), axis=-1)


def mean_absolute_error(y_true, y_pred):
    """mean abs(y_pred - y_true)"""
    y_true, y_pred = _same_type(y_true, y_pred)
    return K.mean(K.abs(y_pred - y_true), axis=-1)


def mean_absolute_percentage_error(y_true, y_pred):
    """100 * mean abs(y_true - y_pred) / max(abs(y_true), epsilon)"""
    y_true, y_pred = _same_type(y_true, y_pred)
    size = K.maximum(K.abs(y_true), K.epsilon())
    return 100.0 * K.mean(K.abs((y_true - y_pred) / size), axis=-1)


def mean_squared_logarithmic_error(y_true, y_pred):
    """mean (log(y_pred + 1) - log(y_true + 1))^2, both at least epsilon"""
    y_true, y_pred = _same_type(y_true, y_pred)
    log_pred = K.log(K.maximum(y_pred, K.epsilon()) + 1.0)
    log_true = K.log(K.maximum(y_true, K.epsilon()) + 1.0)
    return K.mean(K.square(log_pred - log_true), axis=-1)


def squared_hinge(y_true, y_pred):
    """mean max(1 - y_true * y_pred, 0)^2; targets -1 and 1, or all of them 0 and 1"""
    y_true, y_pred = _same_type(y_true, y_pred)
    margin = 1.0 - _maybe_convert_labels(y_true) * y_pred
    return K.mean(K.square(K.maximum(margin, 0.0)), axis=-1)


def hinge(y_true, y_pred):
    """mean max(1 - y_true * y_pred, 0); targets -1 and 1, or all of them 0 and 1"""
    y_true, y_pred = _same_type(y_true, y_pred)
    margin = 1.0 - _maybe_convert_labels(y_true) * y_pred
    return K.mean(K.maximum(margin, 0.0), axis=-1)


def categorical_hinge(y_true, y_pred):
    """max(0, 1 + max((1 - y_true) * y_pred) - sum(y_true * y_pred)); one-hot targets"""
    y_true, y_pred = _same_type(y_true, y_pred)
    right = K.sum(y_true * y_pred, axis=-1)
    wrong = K.max((1.0 - y_true) * y_pred, axis=-1)
    return K.maximum(0.0, wrong - right + 1.0)


def logcosh(y_true, y_pred):
    """mean log(cosh(x)) with x = y_pred - y_true: x^2 / 2 near 0, abs(x) - log 2 far from it"""
    y_true, y_pred = _same_type(y_true, y_pred)
    x = y_pred - y_true
    return K.mean(x + K.softplus(-2.0 * x) - math.log(2.0), axis=-1)


def huber_loss(y_true, y_pred, delta=1.0):
    """e^2 / 2 where e = abs(y_pred - y_true) <= delta, else delta * e - delta^2 / 2.

    Same shape as the inputs: nothing is averaged here.
    """
    y_true, y_pred = _same_type(y_true, y_pred)
    e = K.abs(y_pred - y_true)
    small = K.minimum(e, delta)
    return 0.5 * K.square(small) + delta * (e - small)


def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0):
    """-sum y_true * log(y_pred)

    # Arguments
        from_logits: y_pred are scores before the softmax.
        label_smoothing: a in [0, 1); targets become y * (1 - a) + a / number of classes.
    """
    y_true, y_pred = _same_type(y_true, y_pred)
    if label_smoothing:
        classes = K.int_shape(y_true)[1] or K.int_shape(y_pred)[1]
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / classes
    return K.categorical_crossentropy(y_true, y_pred, from_logits=from_logits)


def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, axis=-1):
    """-log of the predicted probability of the true class.

    y_true (batch, ...) or (batch, ..., 1) of class numbers, y_pred (batch, ..., classes).
    """
    return K.sparse_categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0):
    """mean -(y_true * log(y_pred) + (1 - y_true) * log(1 - y_pred))

    # Arguments
        from_logits: y_pred are scores before the sigmoid.
        label_smoothing: a in [0, 1); targets become y * (1 - a) + a / 2.
    """
    y_true, y_pred = _same_type(y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return K.mean(K.binary_crossentropy(y_true, y_pred, from_logits=from_logits), axis=-1)


def kullback_leibler_divergence(y_true, y_pred):
    """sum y_true * log(y_true / y_pred), both within [epsilon, 1]"""
    y_true, y_pred = _same_type(y_true, y_pred)
    y_true = K.clip(y_true, K.epsilon(), 1)
    y_pred = K.clip(y_pred, K.epsilon(), 1)
    return K.sum(y_true * K.log(y_true / y_pred), axis=-1)


def poisson(y_true, y_pred):
    """mean (y_pred - y_true * log(y_pred + epsilon))"""
    y_true, y_pred = _same_type(y_true, y_pred)
    return K.mean(y_pred - y_true * K.log(y_pred + K.epsilon()), axis=-1)


def cosine_proximity(y_true, y_pred, axis=-1):
    """Minus the cosine of the angle between target and prediction along `axis`"""
    y_true, y_pred = _same_type(y_true, y_pred)
    return -K.sum(K.l2_normalize(y_true, axis=axis) * K.l2_normalize(y_pred, axis=axis), axis=axis)


def _maybe_convert_labels(y_true):
    """Targets that are all 0 or 1 as -1 and 1; others as they are."""
    is_binary = K.all(K.equal(y_true * (1.0 - y_true), 0.0))
    return K.switch(is_binary, 2.0 * y_true - 1.0, y_true)


_OVER_BATCH = Reduction.SUM_OVER_BATCH_SIZE


def _loss_class(class_name, fn):
    """The Loss class of a function without arguments of its own."""
    def __init__(self, reduction=_OVER_BATCH, name=fn.__name__):
        LossFunctionWrapper.__init__(self, fn, reduction=reduction, name=name)

    doc = f"{fn.__doc__}\n\n    `{fn.__name__}` as a class: reduced and with sample weights."
    return type(class_name, (LossFunctionWrapper,),
                {"__init__": __init__, "__doc__": doc, "__module__": __name__})


MeanSquaredError = _loss_class("MeanSquaredError", mean_squared_error)
MeanAbsoluteError = _loss_class("MeanAbsoluteError", mean_absolute_error)
MeanAbsolutePercentageError = _loss_class("MeanAbsolutePercentageError",
                                          mean_absolute_percentage_error)
MeanSquaredLogarithmicError = _loss_class("MeanSquaredLogarithmicError",
                                          mean_squared_logarithmic_error)
Hinge = _loss_class("Hinge", hinge)
SquaredHinge = _loss_class("SquaredHinge", squared_hinge)
CategoricalHinge = _loss_class("CategoricalHinge", categorical_hinge)
Poisson = _loss_class("Poisson", poisson)
LogCosh = _loss_class("LogCosh", logcosh)
KLDivergence = _loss_class("KLDivergence", kullback_leibler_divergence)


class BinaryCrossentropy(LossFunctionWrapper):
    """`binary_crossentropy` as a class."""

    def __init__(self, from_logits=False, label_smoothing=0, reduction=_OVER_BATCH,
                 name="binary_crossentropy"):
        super().__init__(binary_crossentropy, reduction=reduction, name=name,
                         from_logits=from_logits, label_smoothing=label_smoothing)
        self.from_logits = from_logits


class CategoricalCrossentropy(LossFunctionWrapper):
    """`categorical_crossentropy` as a class."""

    def __init__(self, from_logits=False, label_smoothing=0, reduction=_OVER_BATCH,
                 name="categorical_crossentropy"):
        super().__init__(categorical_crossentropy, reduction=reduction, name=name,
                         from_logits=from_logits, label_smoothing=label_smoothing)


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """`sparse_categorical_crossentropy` as a class."""

    def __init__(self, from_logits=False, reduction=_OVER_BATCH,
                 name="sparse_categorical_crossentropy"):
        super().__init__(sparse_categorical_crossentropy, reduction=reduction, name=name,
                         from_logits=from_logits)


class Huber(LossFunctionWrapper):
    """`huber_loss` as a class."""

    def __init__(self, delta=1.0, reduction=_OVER_BATCH, name="huber_loss"):
        super().__init__(huber_loss, reduction=reduction, name=name, delta=delta)


mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kullback_leibler_divergence
cosine = cosine_similarity = cosine_proximity


def is_categorical_crossentropy(loss):
    """True for categorical_crossentropy in any form: function, class instance, or name."""
    return (isinstance(loss, CategoricalCrossentropy)
            or getattr(loss, "fn", loss) in (categorical_crossentropy, "categorical_crossentropy")
            or getattr(loss, "__name__", None) == "categorical_crossentropy")


def serialize(loss):
    """The name of a loss function, or {"class_name", "config"} of a Loss."""
    return serialize_keras_object(loss)


def deserialize(name, custom_objects=None):
    """The loss of a name or config."""
    return deserialize_keras_object(name, module_objects=globals(), custom_objects=custom_objects,
                                    printable_module_name="loss function")


def get(identifier):
    """The loss for a name, a config, a callable (as it is) or None.

    # Raises
        ValueError: for a name that is not known, or anything else.
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, dict)):
        return deserialize(identifier)
    if callable(identifier):
        return identifier
    raise ValueError(f"Could not interpret loss function identifier: {identifier!r}; expected a "
                     "name, a config, a function or a Loss.")
