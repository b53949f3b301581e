"""Devices: the only place that knows where arrays live. CuPy is imported here alone, at first
use."""
from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from . import dlpack
from .array import DeviceArray
from .base import Device, Executable
from .choose import Choice, choose
from .host import HostDevice
from .inlet import Inlet

_current: Device | None = None
_wanted = 0                                        # number of the GPU to use, if there are several


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
    return KernelDevice(CudaDriver(_number()))


def prefer(number: int) -> None:
    """Which of the GPUs that CUDA_VISIBLE_DEVICES leaves this process shall use: as many processes
    as there are get one each, more share them. Values on another one move when they are next used.
    """
    global _wanted
    _wanted = number
    driver = getattr(_current, "driver", None)
    if driver is not None and hasattr(driver, "device") and driver.device.id != _number():
        use(None)


def _number() -> int:
    if not _wanted:
        return 0
    return _wanted % importlib.import_module("cupy").cuda.runtime.getDeviceCount()


def release() -> int:
    """Give the device's unused memory back to the system; how many bytes."""
    return _current.release() if _current is not None else 0


def adopt(x: Any) -> Any:
    """An array of another library as the current device reads it without a copy, see `dlpack`."""
    return x if isinstance(x, np.ndarray) else dlpack.adopt(x, current())


def on_host(x: Any) -> Any:
    """`adopt`, then a copy in the computer's memory of what is on a GPU."""
    x = adopt(x)
    return x.driver.download(x) if isinstance(x, DeviceArray) else x


def use(device: Device | None) -> Device | None:
    """Makes `device` the current one (None: choose anew at the next use); returns the old one.

    Values of variables move when they are next used.
    """
    global _current
    old, _current = _current, device
    return old


__all__ = ["Device", "DeviceArray", "Executable", "HostDevice", "Inlet", "adopt", "current", "make",
           "on_host", "prefer", "release", "use"]
