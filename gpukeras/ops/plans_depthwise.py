"""What depthwise convolution launches on a CUDA device: depthwise.cu."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph.types import TensorType
from .plans import BLOCKS, arithmetic, defines, grid_for
from .plans_conv import empty, launch, window_argument, zeros
from .record import In, Launch, LaunchPlan, Out, Temp
from .window import Geometry

if TYPE_CHECKING:
    from .depthwise import DepthwiseConv, DepthwiseDataGrad, DepthwiseWeightGrad

Types = tuple[TensorType, ...]


def plan_depthwise(op: "DepthwiseConv", ins: Types, outs: Types) -> LaunchPlan:
    """One thread per group of channels of y."""
    (x, w), (y,) = ins, outs
    if empty(x, w, y):
        return zeros(y)
    g = op.geometry(x.shape, w.shape)
    return LaunchPlan((launch("depthwise_fwd", g, g.images, (In(0), In(1), Out(0)), "y", x.dtype,
                              w.shape[-1]),))


def plan_depthwise_data_grad(op: "DepthwiseDataGrad", ins: Types, outs: Types) -> LaunchPlan:
    """One thread per group of channels of gx."""
    (gy, w, *like), (gx,) = ins, outs
    if empty(gy, w, gx):
        return zeros(gx)
    g = op.geometry(gy.shape, w.shape, *(t.shape for t in like))
    return LaunchPlan((launch("depthwise_bwd", g, g.images, (In(0), In(1), Out(0)), "x", gy.dtype,
                              w.shape[-1]),))


def plan_depthwise_weight_grad(op: "DepthwiseWeightGrad", ins: Types, outs: Types) -> LaunchPlan:
    """Sums over parts of the places, then the sum of the parts."""
    (x, gy), (gw,) = ins, outs
    if empty(x, gy, gw):
        return zeros(gw)
    g: Geometry = op.geometry(x.shape)
    rows, columns = g.images * g.places, gy.shape[-1]
    across = -(-columns // 32)
    splits = max(1, min(-(-2 * BLOCKS // (across * g.taps)), -(-rows // 256)))
    run = -(-rows // splits)
    splits = -(-rows // run)
    names = defines(T=x.dtype)
    sums = np.dtype(arithmetic(x.dtype)).itemsize * splits * gw.size
    window = window_argument(g._replace(channels=1), g.images, 1, "y")
    return LaunchPlan((
        Launch("depthwise_weight", (across, g.taps, splits), (32, 8),
               (In(0), In(1), Temp(0), window, np.int32(gw.shape[-1]), np.int32(g.channels),
                np.uint32(rows), np.uint32(run)), defines=names),
        Launch("depthwise_join", grid_for(gw.size), (256,),
               (Temp(0), Out(0), np.int32(gw.size), np.int32(splits)), defines=names)), (sums,))
