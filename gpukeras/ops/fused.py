"""Fused: several elementwise ops as one."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..graph import Op, TensorType
from ..graph.halves import values_dtype
from .host_fused import bind_fused


class FusedStep(NamedTuple):
    """An elementwise op and the slots it reads."""

    op: Op
    args: tuple[int, ...]


class Fused(Op):
    """A straight-line program of elementwise ops over broadcast inputs; all results have `shape`.

    Slots are numbered: inputs first, then `constants`, then one per step; `outs` are the slots
    returned.
    constants: ((data type name, Python number), ...).
    """

    params = ("n_inputs", "constants", "steps", "outs", "shape")

    def slot_types(self, *types: TensorType) -> list[TensorType]:
        """The type of every slot, each input with its own (narrow) shape."""
        slots = list(types) + [TensorType(d, ()) for d, _ in self.constants]
        for step in self.steps:
            slots.append(step.op.infer(*(slots[a] for a in step.args)))
        return slots

    def infer(self, *types: TensorType):
        slots = self.slot_types(*types)
        outs = tuple(slots[o].with_shape(self.shape) for o in self.outs)
        return outs if len(outs) > 1 else outs[0]

    def slot_values(self, arrays) -> list[np.ndarray]:
        """The array of every slot, each in its own (narrow) shape."""
        slots = list(arrays) + [np.asarray(v, values_dtype(d)) for d, v in self.constants]
        for op, args in self.steps:
            slots.append(op.numpy(*(slots[a] for a in args)))
        return slots

    def numpy(self, *arrays):
        slots = self.slot_values(arrays)
        outs = tuple(np.broadcast_to(slots[o], self.shape) for o in self.outs)
        return outs if len(outs) > 1 else outs[0]

    def host(self, ins, outs):
        return bind_fused(self, ins, outs)

    def flops(self, ins, outs):
        return outs[0].size * sum(not getattr(s.op, "renames", False) for s in self.steps)

    def __repr__(self) -> str:
        return f"Fused({'+'.join(type(s.op).__name__ for s in self.steps)})"
