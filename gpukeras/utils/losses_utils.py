"""Weighted reductions of losses, by Keras's path."""
from .. import backend as K
from ..weighting import (Reduction, broadcast_weights, compute_weighted_loss,
                         squeeze_or_expand_dimensions)


def reduce_weighted_loss(weighted_losses, reduction=Reduction.SUM_OVER_BATCH_SIZE):
    """Losses that are weighted already, reduced; reduction: a name from `Reduction`."""
    if reduction == Reduction.NONE:
        return weighted_losses
    mean = reduction == Reduction.SUM_OVER_BATCH_SIZE
    return K.mean(weighted_losses) if mean else K.sum(weighted_losses)
