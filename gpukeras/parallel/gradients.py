"""Averaging gradients over all ranks, inside the training step."""
from math import prod

import numpy as np

from .. import backend as K
from ..graph import Op
from ..ops.broadcast import reshape
from ..ops.shape import concat, slice_axis
from .communicator import current


class AllReduce(Op):
    """The mean of x over all ranks. A side effect as ops go: every rank must run it.

    compression: "none", or "fp16" to round what is sent to float16 first.
    """

    params = ("compression",)
    foldable = False

    def infer(self, x):
        return x

    def numpy(self, x):
        group = current()
        total = np.array(x, order="C")
        if self.compression == "fp16":       # rounded to float16; summed in float32 by MPI
            total = total.astype("float16").astype(x.dtype)
        group.allreduce(total)
        return total / x.dtype.type(group.size)


def average_gradients(grads, compression="none"):
    """Each gradient as its mean over all ranks; one message for all of a data type."""
    if current().size == 1:
        return grads
    averaged = list(grads)
    for dtype in dict.fromkeys(K.dtype(g) for g in grads):
        own = [i for i, g in enumerate(grads) if K.dtype(g) == dtype]
        flat = concat([reshape(grads[i], (-1,)) for i in own], 0)
        mean, start = AllReduce(compression)(flat), 0
        for i in own:
            shape = K.int_shape(grads[i])
            averaged[i] = reshape(slice_axis(mean, 0, start, start + prod(shape)), shape)
            start += prod(shape)
    return averaged
