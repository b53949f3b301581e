"""Rearranging and reshaping: ops/shape.py and ops/broadcast.py."""
import numpy as np
from check import SIZES, Case

from gpukeras.ops.broadcast import (BroadcastLike, BroadcastTo, DynamicReshape, ExpandDims, Reshape,
                                    ReshapeLike, Shape, Squeeze)
from gpukeras.ops.shape import (Concat, ConcatGrad, Pack, Pad, Part, Repeat, Reverse, Shift, Slice,
                                SliceGrad, Tile, Transpose, Unslice)

FULL = (None, None, None)
ALL = ("float32", "float16", "float64")

CASES = [
    *(Case(Transpose((1, 0)), ((n, 33),)) for n in SIZES),
    Case(Transpose((1, 0)), ((33, 70),), dtypes=ALL, batch=True),
    Case(Transpose((0, 2, 1)), ((3, 33, 40),)),
    Case(Transpose((0, 3, 1, 2)), ((2, 9, 7, 12),)),
    Case(Transpose((2, 1, 0)), ((5, 6, 7),)),
    Case(Transpose((3, 1, 4, 0, 2)), ((2, 3, 4, 5, 3),)),
    Case(Transpose((1, 0)), (np.arange(12).reshape(3, 4),), grad=False),
    *(Case(Slice(((None, None, -1), (1, 7, 2))), ((n, 9),)) for n in SIZES),
    Case(Slice((FULL, (-3, None, None), (4, 1, -1))), ((3, 4, 5),), batch=True),
    Case(SliceGrad((FULL, (1, 3, None))), ((4, 2), (4, 5))),
    Case(Unslice((FULL, (5, None, -2)), (4, 6)), ((4, 3),)),
    *(Case(Pad(((1, 2), (0, 3)), 0.0), ((n, 5),)) for n in SIZES),
    Case(Pad(((0, 1), (2, 0)), 1.5), ((3, 5),), dtypes=ALL, batch=True),
    *(Case(Concat(1), ((n, 2), (n, 31), (n, 1))) for n in SIZES),
    Case(Concat(0), ((3, 4), (0, 4), (2, 4))),
    Case(Concat(2), ((2, 3, 4), (2, 3, 5)), batch=True),
    Case(ConcatGrad(1, 1), ((3, 7), (3, 2), (3, 5))),
    *(Case(Shift(axis, reverse), (first, (3, 5, 33)))
      for axis, first in ((1, (3, 1, 33)), (2, (3, 5, 1))) for reverse in (False, True)),
    Case(Shift(0), ((1, 4), (1, 4))),
    Case(Tile((2, 3)), ((4, 5),)),
    Case(Tile((1, 2, 1)), ((2, 33, 3),), batch=True),
    Case(Repeat(3, 1), ((2, 11, 5),)),
    Case(Repeat(2, 0), ((33,),)),
    *(Case(Reverse((0,)), ((n,),)) for n in SIZES),
    Case(Reverse((0, 2)), ((3, 4, 5),)),
    Case(Pack(), ((3, 4), (33,), ()), grad=False),
    Case(Part(5, (2, 3)), ((13,),)),
    Case(Reshape((6, -1)), ((4, 9),)),
    Case(ReshapeLike(), ((4, 9), (6, 6))),
    Case(DynamicReshape((2, 6)), ((3, 4), np.array([2, 6], "int32"))),
    Case(ExpandDims((0, 2)), ((3, 4),), batch=True),
    Case(Squeeze((0, 2)), ((1, 3, 1),)),
    Case(BroadcastTo((4, 3, 5)), ((3, 1),)),
    Case(BroadcastLike(), ((3, 1), (4, 3, 5))),
    Case(Shape(), ((3, 4),), grad=False),
]
