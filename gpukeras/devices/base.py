"""Device: where values live and schedules run."""
from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any, Sequence

import numpy as np

from ..errors import ShapeError
from ..graph import Tensor, Variable, toposort
from ..graph.halves import plain, values_dtype
from ..ops.composite import evaluate
from ..passes.pool import Pool
from ..passes.schedule import Schedule
from ..passes.target import Target


_serial = itertools.count()


class Executable(ABC):
    """A schedule loaded on a device, ready to run again and again."""

    schedule: Schedule

    @abstractmethod
    def run(self, arrays: Sequence[np.ndarray]) -> None:
        """Copy the inputs in and do all steps; results stay on the device."""

    def repeat(self, times: int) -> None:
        """So many runs of what has no inputs."""
        for _ in range(times):
            self.run(())

    @abstractmethod
    def fetch(self) -> list[np.ndarray]:
        """The outputs of the last run, as new NumPy arrays."""

    @abstractmethod
    def profile(self, arrays: Sequence[np.ndarray]) -> list[float]:
        """As `run`, one step after the other; how many seconds each step of `schedule` took."""


class Device(ABC):
    """Holds the values of variables and loads schedules. `generation` grows when a variable moves
    in memory, which is when loaded schedules must be loaded again; no two devices share one."""

    name: str
    target: Target

    def __init__(self) -> None:
        self.generation = next(_serial) << 32
        self.changes = 0                           # times that variables were written or updated

    # ---- what a device defines

    @abstractmethod
    def empty(self, dtype: str, shape: tuple[int, ...]) -> Any:
        """Memory for an array, filled with zeros."""

    @abstractmethod
    def part(self, storage: Any, start: int, shape: tuple[int, ...]) -> Any:
        """A view of a vector from element `start` on."""

    @abstractmethod
    def upload(self, storage: Any, array: np.ndarray) -> None:
        """Copy from NumPy."""

    @abstractmethod
    def download(self, storage: Any) -> np.ndarray:
        """A new NumPy array with the values."""

    @abstractmethod
    def load(self, schedule: Schedule) -> Executable:
        """Make a schedule ready to run."""

    def adopt(self, x: Any) -> Any:
        """The storage of another library's array on this device, without a copy; None if this
        device cannot read it where it is."""
        return None

    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""

    def release(self) -> int:
        """Give memory that nobody uses back to the system; how many bytes."""
        return 0

    # ---- variables

    def storage(self, variable: Variable) -> Any:
        """The memory of a variable; made and filled at the first use. A value that another device
        holds moves here."""
        if variable.storage is None or variable.device is not self:
            if isinstance(variable, Pool):
                self._gather(variable)
            else:
                value = (initial_array(variable, self) if variable.storage is None
                         else variable.device.download(variable.storage))
                variable.storage = self.empty(variable.dtype, variable.shape)
                self.upload(variable.storage, value)
            variable.device = self
        return variable.storage

    def _gather(self, pool: Pool) -> None:
        """Move the members of a pool side by side."""
        pool.storage = self.empty(pool.dtype, pool.shape)
        for v, start in zip(pool.members, pool.offsets):
            place = self.part(pool.storage, start, v.shape)
            self.upload(place, self.download(self.storage(v)))
            v.storage = place
        self.generation += 1

    def read(self, variable: Variable) -> np.ndarray:
        """The present value of a variable."""
        return plain(self.download(self.storage(variable)))

    def write(self, variable: Variable, value: Any) -> None:
        """Give a variable a new value of the same shape."""
        array = np.asarray(plain(np.asarray(value)), values_dtype(variable.dtype))
        if array.shape != variable.shape:
            raise ShapeError(f"cannot set {variable.name}: got a value of shape {array.shape}, "
                             f"expected {variable.shape}")
        self.upload(self.storage(variable), array)
        self.changes += 1


def initial_array(variable: Variable, device: Device) -> np.ndarray:
    """The value a variable starts with. Tensors are evaluated by NumPy, so that every device
    starts alike."""
    initial = variable.initial
    if isinstance(initial, Tensor):
        given = {v: device.read(v) for v in _variables_of(initial)}
        initial, = evaluate((initial,), given)
    elif callable(initial):
        initial = initial()
    array = np.asarray(initial, values_dtype(variable.dtype))
    if array.shape != variable.shape:
        raise ShapeError(f"initial value of {variable.name}: got shape {array.shape}, "
                         f"expected {variable.shape}")
    return array


def _variables_of(t: Tensor) -> list[Variable]:
    return [n.outputs[0] for n in toposort([t]) if isinstance(n.outputs[0], Variable)]
