"""Metric functions: (y_true, y_pred) -> one value per sample. The losses serve as metrics, too."""
from .. import backend as K
from .. import losses


def accuracy(y_true, y_pred):
    """1 where y_true == y_pred, else 0; same shape"""
    return K.cast(K.equal(y_true, y_pred), K.floatx())


def binary_accuracy(y_true, y_pred, threshold=0.5):
    """Share of the last axis where y_pred on its side of `threshold` equals y_true (0 or 1)"""
    if threshold == 0.5:
        y_pred = K.round(y_pred)                             # half to even: 0.5 counts as 0
    else:
        y_pred = K.cast(K.greater(y_pred, threshold), K.dtype(y_pred))
    return K.mean(K.equal(y_true, y_pred), axis=-1)


def categorical_accuracy(y_true, y_pred):
    """1 where both have their largest value of the last axis at the same place, else 0"""
    return K.cast(K.equal(K.argmax(y_true, axis=-1), K.argmax(y_pred, axis=-1)), K.floatx())


def sparse_categorical_accuracy(y_true, y_pred):
    """1 where class y_true has the largest score.  y_true (batch, ...) or (batch, ..., 1)"""
    if K.ndim(y_true) == K.ndim(y_pred):
        y_true = K.squeeze(y_true, -1)
    predicted = K.cast(K.argmax(y_pred, axis=-1), K.dtype(y_true))
    return K.cast(K.equal(y_true, predicted), K.floatx())


def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """1 where the class of one-hot y_true is among the k with the largest scores; (batch, n)"""
    return K.cast(K.in_top_k(y_pred, K.argmax(y_true, axis=-1), k), K.floatx())


def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5):
    """1 where class y_true, (batch,) or (batch, 1), is among the k with the largest scores"""
    return K.cast(K.in_top_k(y_pred, K.cast(K.flatten(y_true), "int32"), k), K.floatx())


def cosine_proximity(y_true, y_pred, axis=-1):
    """The cosine of the angle between target and prediction along `axis`"""
    return -losses.cosine_proximity(y_true, y_pred, axis=axis)
