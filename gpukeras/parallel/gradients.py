"""Averaging gradients over all ranks, inside the training step."""
from math import prod

import numpy as np

from .. import backend as K
from ..graph import Op
from ..graph.halves import BFLOAT16, convert, plain
from ..ops.broadcast import reshape
from ..ops.shape import concat, slice_axis
from .communicator import current


class RankMean(Op):
    """The mean of x over all ranks. A side effect as ops go: every rank must run it.

    compression: "none", or "fp16" or "bf16", in which gradients travel with half the bytes; they
    are added in float32.
    """

    params = ("compression",)
    foldable = False

    def infer(self, x):
        return x

    def numpy(self, x):
        group = current()
        total = np.array(x, order="C")
        if self.compression == "none" or x.dtype != np.float32:
            group.allreduce(total)
        else:
            total = _halved_sum(group, total.reshape(-1), _HALVES[self.compression])
            total = total.reshape(x.shape)
        return total / x.dtype.type(group.size)


_HALVES = {"fp16": np.dtype("float16"), "bf16": BFLOAT16}


def _halved_sum(group, flat, half):
    """The sum of vectors that travel as 16-bit floats: each rank adds up a part of it and sends
    that to all. Two roundings; no sum is taken in 16 bits."""
    each = -(-flat.size // group.size)
    padded = np.zeros(each * group.size, np.float32)
    padded[:flat.size] = flat
    came = plain(group.alltoall(convert(padded, half).reshape(group.size, each)))
    whole = np.empty(padded.size, half)
    group.start_gather(convert(came.astype(np.float32).sum(0), half), whole)()
    return plain(whole)[:flat.size].astype(np.float32)


def average_gradients(grads, compression="none"):
    """Each gradient as its mean over all ranks; one message for all of a data type."""
    if current().size == 1:
        return grads
    averaged = list(grads)
    for dtype in dict.fromkeys(K.dtype(g) for g in grads):
        own = [i for i, g in enumerate(grads) if K.dtype(g) == dtype]
        flat = concat([reshape(grads[i], (-1,)) for i in own], 0)
        mean, start = RankMean(compression)(flat), 0
        for i in own:
            shape = K.int_shape(grads[i])
            averaged[i] = reshape(slice_axis(mean, 0, start, start + prod(shape)), shape)
            start += prod(shape)
    return averaged
