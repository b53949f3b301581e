"""A device that computes nothing: graphs are built, compiled, scheduled and planned, and every
value is zero.

For tests of everything above the devices, and for asking what a huge model would need.
"""
from __future__ import annotations

import numpy as np

from ..passes.target import CUDA
from .base import Device, Executable


def _zeros(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of any shape that take no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


class NullDevice(Device):
    """Shapes only. Schedules are those of the CUDA path."""

    name = "null"
    target = CUDA

    def empty(self, dtype, shape):
        return _zeros(dtype, shape)

    def part(self, storage, start, shape):
        return _zeros(storage.dtype.name, shape)

    def upload(self, storage, array):
        pass

    def download(self, storage):
        return np.zeros(storage.shape, storage.dtype)

    def load(self, schedule):
        return NullExecutable(schedule)


class NullExecutable(Executable):
    """Knows its schedule, does nothing."""

    def __init__(self, schedule) -> None:
        self.schedule = schedule

    def run(self, arrays) -> None:
        pass

    def profile(self, arrays):
        return [0.0] * len(self.schedule.steps)

    def fetch(self):
        return [np.zeros(v.type.shape, v.type.dtype) for v in self.schedule.outputs]
