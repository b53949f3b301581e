"""How losses and metric values of elements meet sample weights and become one number."""
from . import backend as K


class Reduction:
    """Names of the ways to reduce weighted values.

    none: keep them; sum: their sum; sum_over_batch_size: their sum divided by the number of
    elements (not by the sum of weights, so a zero weight lowers the value); weighted_mean (metrics
    only): divided by the sum of weights.
    """

    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"
    WEIGHTED_MEAN = "weighted_mean"

    @classmethod
    def all(cls):
        return (cls.NONE, cls.SUM, cls.SUM_OVER_BATCH_SIZE)

    @classmethod
    def validate(cls, key):
        if key not in cls.all():
            raise ValueError(f"Invalid Reduction Key {key!r}: expected one of "
                             f"{', '.join(cls.all())}.")


def squeeze_or_expand_dimensions(y_pred, y_true=None, sample_weight=None):
    """Drop or add one last axis of size 1 so that ranks agree.

    Returns (y_pred, y_true), or (y_pred, y_true, sample_weight) if there is a weight.
    """
    if y_true is not None:
        extra = K.ndim(y_pred) - K.ndim(y_true)
        if extra == 1 and K.int_shape(y_pred)[-1] == 1:
            y_pred = K.squeeze(y_pred, -1)
        elif extra == -1 and K.int_shape(y_true)[-1] == 1:
            y_true = K.squeeze(y_true, -1)
    if sample_weight is None:
        return y_pred, y_true
    if K.ndim(y_pred) == 0 and K.ndim(sample_weight) == 1:
        y_pred = K.expand_dims(y_pred)             # one value of the batch for all its weights
    elif K.ndim(sample_weight) == K.ndim(y_pred) + 1:
        sample_weight = K.squeeze(sample_weight, -1)
    elif 0 < K.ndim(sample_weight) == K.ndim(y_pred) - 1:
        sample_weight = K.expand_dims(sample_weight, -1)
    return y_pred, y_true, sample_weight


def broadcast_weights(values, sample_weight):
    """`sample_weight` in the shape of `values`.

    # Raises
        ValueError: if some axis of the weight is neither 1 nor as long as that of the values.
    """
    shape, wanted = K.int_shape(sample_weight), K.int_shape(values)
    if shape == wanted:
        return sample_weight
    fits = len(shape) <= len(wanted) and all(
        w is None or v is None or w in (1, v) for w, v in zip(shape, wanted, strict=False))
    if not fits:
        raise ValueError(f"weights can not be broadcast to values: got weights of shape {shape} "
                         f"for values of shape {wanted}, expected each axis to be 1 or equal. Try: "
                         "one weight per sample, shape (samples,).")
    for _ in range(len(wanted) - len(shape)):
        sample_weight = K.expand_dims(sample_weight, -1)
    return sample_weight * K.ones_like(values, dtype=K.dtype(sample_weight))


def weigh(values, sample_weight):
    """(values * weights, weights in the shape of values); without weights (values, None)."""
    if sample_weight is None:
        return values, None
    sample_weight = K.cast(_tensor(sample_weight), K.dtype(values))
    values, _, sample_weight = squeeze_or_expand_dimensions(values, sample_weight=sample_weight)
    sample_weight = broadcast_weights(values, sample_weight)
    return values * sample_weight, sample_weight


def compute_weighted_loss(losses, sample_weight=None, reduction=Reduction.SUM_OVER_BATCH_SIZE,
                          name=None):
    """Losses times weights, reduced.

    # Arguments
        losses: tensor (batch, ...).
        sample_weight: None, a scalar, or (batch, ...), one axis more or less than `losses`.
        reduction: a name from `Reduction`.
    """
    Reduction.validate(reduction)
    losses, _ = weigh(losses, sample_weight)
    if reduction == Reduction.SUM:
        return K.sum(losses)
    return K.mean(losses) if reduction == Reduction.SUM_OVER_BATCH_SIZE else losses


def _tensor(x):
    return x if K.is_tensor(x) else K.constant(x)
