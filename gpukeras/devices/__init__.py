"""Devices: the only place that knows where arrays live. CuPy is imported here alone, at first
use."""
from __future__ import annotations

from .base import Device, Executable
from .host import HostDevice

_current: Device | None = None


def current() -> Device:
    """The device in use; chosen at the first call."""
    global _current
    if _current is None:
        _current = HostDevice()
    return _current


__all__ = ["Device", "Executable", "HostDevice", "current"]
