"""Target: what a pass may know of the device it compiles for."""
from __future__ import annotations

from dataclasses import dataclass

from ..graph import Op
from ..ops.composite import Composite


@dataclass(frozen=True)
class Target:
    """`kernels` True: the device runs the CUDA records of ops; False: it runs their NumPy code."""

    name: str
    kernels: bool

    def runs(self, op: Op) -> bool:
        """Whether the device has code of its own for this op; a Composite it does not run is
        expanded."""
        if not isinstance(op, Composite):
            return True
        if self.kernels:
            return op.cuda is not None
        own = type(op)
        return own.numpy is not Composite.numpy or own.host is not Op.host


HOST = Target("host", kernels=False)
CUDA = Target("cuda", kernels=True)
