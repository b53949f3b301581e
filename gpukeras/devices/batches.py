"""Batches: several runs of a schedule, each with inputs of its own, as one launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import numpy as np

from ..graph.halves import plain
from .array import DeviceArray

if TYPE_CHECKING:
    from .launcher import KernelExecutable


class Batches:
    """So many runs of an executable, captured as one graph when they come back.

    inputs: memory for the inputs of all runs, one batch after the other along axis 0; `fetch` gives
    the outputs in the same way. Neither may be a scalar.
    """

    def __init__(self, executable: KernelExecutable, times: int) -> None:
        self.executable, self.times, self._runs, self._graph = executable, times, 0, None
        self.inputs = [self._long(x) for x in executable.inputs]
        self._outputs = [self._long(y) for y in executable.outputs]
        copy = executable.driver.bind_copy
        self.calls: list[Callable[[], None]] = []
        for k in range(times):
            self.calls += [copy(place, x[k * len(place):(k + 1) * len(place)])
                           for place, x in zip(executable.inputs, self.inputs)]
            self.calls += executable.calls
            self.calls += [copy(y[k * len(made):(k + 1) * len(made)], made)
                           for made, y in zip(executable.outputs, self._outputs)]

    def _long(self, x: DeviceArray) -> DeviceArray:
        """Memory for one such array per run."""
        return self.executable.driver.empty((self.times * x.shape[0], *x.shape[1:]), x.dtype)

    def run(self, arrays: tuple = ()) -> None:
        """Run all batches, whose data are in `inputs`."""
        self._runs += 1
        self.executable.device.changes += 1
        if self._runs == 2:
            self._graph = self.executable.captured(self.calls)
        if self._graph is not None:
            self._graph.launch()
            return
        for call in self.calls:
            call()

    def fetch(self) -> list[np.ndarray]:
        """The outputs of all runs."""
        return [plain(self.executable.driver.download(y)) for y in self._outputs]
