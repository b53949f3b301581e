"""Devices: the only place that knows where arrays live. CuPy is imported here alone, at first
use."""
from __future__ import annotations

import sys

from .base import Device, Executable
from .choose import Choice, choose
from .host import HostDevice

_current: Device | None = None


def current() -> Device:
    """The device in use. The first call chooses it, and says so on stderr unless it was named."""
    global _current
    if _current is None:
        choice = choose()
        _current = make(choice)
        if not choice.reason.startswith("GPUKERAS_DEVICE"):
            print(choice, file=sys.stderr)
    return _current


def make(choice: Choice) -> Device:
    """A new device of the chosen kind."""
    if choice.name == "cpu":
        return HostDevice()
    from .launcher import KernelDevice
    if choice.name == "emu":
        from .emu import EmuDriver
        return KernelDevice(EmuDriver())
    from .cuda import CudaDriver
    return KernelDevice(CudaDriver())


def release() -> int:
    """Give the device's unused memory back to the system; how many bytes."""
    return _current.release() if _current is not None else 0


def use(device: Device | None) -> Device | None:
    """Makes `device` the current one (None: choose anew at the next use); returns the old one.

    Values of variables move when they are next used.
    """
    global _current
    old, _current = _current, device
    return old


__all__ = ["Device", "Executable", "HostDevice", "current", "make", "release", "use"]
