"""FusedSums: elementwise ops as one kernel that also adds up columns of what it computes."""
from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from ..graph import TensorType
from .fused import Fused
from .plans import arithmetic, column_block
from .record import In, Kernel, Launch, LaunchPlan, Out, Temp, Tickets

BLOCKS = 528                                       # four a multiprocessor on an H200
_DEPTH = 8                                         # least elements a thread goes through


class Slices(NamedTuple):
    """How a matrix is cut for its column sums: blocks of `block` threads, (tiles, slices) many."""

    rows: int
    block: tuple[int, int]
    tiles: int
    slices: int


def slices_of(size: int, columns: int) -> Slices:
    rows, block = size // columns, column_block(columns)
    tiles = -(-columns // block[0])
    slices = max(min(BLOCKS // tiles, rows // (block[1] * _DEPTH)), 1)
    return Slices(rows, block, tiles, slices)


def plan_fused_sums(op: "FusedSums", ins: tuple, outs: tuple) -> LaunchPlan:
    """One launch. The block that comes last of a tile adds up what the others left in scratch.

    Its entry is named when codegen writes the text: inputs, outputs, scratch, tickets, rows.
    """
    cut = slices_of(op.size, op.columns)
    refs = (*(In(i) for i in range(len(ins))), *(Out(i) for i in range(len(outs))))
    if cut.slices == 1:
        more, temps = (None, None), ()
    else:
        work = np.dtype(arithmetic(outs[-1].dtype)).itemsize
        more = (Temp(0), Tickets(cut.tiles))
        temps = (len(op.sums) * cut.slices * op.columns * work,)
    size = np.uint64 if op.size >= 1 << 31 else np.uint32
    return LaunchPlan((Launch("fused", (cut.tiles, cut.slices), cut.block,
                              (*refs, *more, size(cut.rows))),), temps)


class FusedSums(Fused):
    """Fused, and sums over all rows of some of its slots seen as (rows, columns) matrices.

    The results are those of Fused, in the order of `outs`, then a vector of `columns` numbers for
    each slot in `sums`, in the data type of the slot. All those slots are of one arithmetic type.
    """

    params = ("n_inputs", "constants", "steps", "outs", "shape", "sums", "columns")
    cuda = Kernel("fused.cu", plan_fused_sums)

    @property
    def size(self) -> int:
        """Elements of the matrix."""
        return prod(self.shape)

    def infer(self, *types: TensorType):
        slots = self.slot_types(*types)
        outs = [slots[o].with_shape(self.shape) for o in self.outs]
        outs += [slots[o].with_shape((self.columns,)) for o in self.sums]
        return tuple(outs) if len(outs) > 1 else outs[0]

    def numpy(self, *arrays):
        slots = self.slot_values(arrays)
        wide = [np.broadcast_to(slots[o], self.shape) for o in (*self.outs, *self.sums)]
        n = len(self.outs)
        outs = wide[:n] + [a.reshape(-1, self.columns).sum(0, dtype=a.dtype) for a in wide[n:]]
        return tuple(outs) if len(outs) > 1 else outs[0]

    def host(self, ins, outs):
        return None

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}; {len(self.sums)} sums)"

