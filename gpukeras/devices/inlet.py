"""Inlet: batches travel to the device while it computes on those before."""

from __future__ import annotations

from collections import deque
from typing import Any, Sequence

import numpy as np

from ..graph.halves import convert
from .array import DeviceArray
from .driver import Driver


class Inlet:
    """Two buffers on the device for batches on their way.

    `send` copies a batch into pinned memory and lets a stream of its own carry it into the free
    buffer; `receive` moves the oldest batch that was sent into the inputs of a step, which costs
    the step a copy on the device. Events keep the order: a buffer is read after it was filled, and
    filled again after it was read.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._buffers: list[list[DeviceArray]] = [[], []]
        self._read: list[Any] = [None, None]       # fences behind the last reading of each
        self._sent: deque[tuple[int, list[DeviceArray], Any]] = deque()
        self._next = 0

    def forget(self) -> None:
        """What was sent and not received is of no use any more; its memory is when it arrived."""
        while self._sent:
            self.driver.wait(self._sent.popleft()[2], sending=False)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be sent."""
        return len(self._sent) < 2

    def send(self, arrays: Sequence[np.ndarray], dtypes: Sequence[np.dtype]) -> None:
        """Start a batch on its way, in these types; at most two may be on theirs."""
        if not self.has_room:
            raise RuntimeError("[inlet] got a third batch, expected `receive` first")
        i, self._next = self._next, 1 - self._next
        arrays = [convert(x, dtype) for x, dtype in zip(arrays, dtypes)]
        self._make_room(i, arrays)
        if self._read[i] is not None:
            self.driver.wait(self._read[i], sending=True)
        views = []
        for buffer, x in zip(self._buffers[i], arrays):
            views.append(buffer.view(x.dtype, x.shape, 0))
            self.driver.send(views[-1], x)
        self._sent.append((i, views, self.driver.fence(sending=True)))

    def receive(self, places: Sequence[DeviceArray]) -> None:
        """Put the oldest batch sent where a step reads its inputs."""
        i, views, arrived = self._sent.popleft()
        self.driver.wait(arrived, sending=False)
        for place, view in zip(places, views):
            self.driver.copy(place, view)
        self._read[i] = self.driver.fence(sending=False)

    def _make_room(self, i: int, arrays: Sequence[np.ndarray]) -> None:
        have = self._buffers[i]
        if len(have) == len(arrays) and all(b.nbytes >= x.nbytes for b, x in zip(have, arrays)):
            return
        self.driver.synchronize()                  # larger than all before: the old ones may go
        self._buffers[i] = [self.driver.alloc(max(x.nbytes, 1)) for x in arrays]
        self._read[i] = None
