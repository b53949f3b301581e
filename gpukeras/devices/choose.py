"""Which device to use, decided at first use from the environment as it is then.

A script may set CUDA_VISIBLE_DEVICES after importing keras; Keras scripts write '/gpu:0' there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Callable, MutableMapping

from ..config import flag
from ..errors import DeviceError

_NUMBER = re.compile(r"(?:/?(?:device:)?gpu:)?(-?\d+)", re.I)
_IDENTITY = re.compile(r"(?:GPU|MIG)-[0-9a-fA-F][-0-9a-fA-F/]*")


@dataclass(frozen=True)
class Choice:
    """name: "cpu", "cuda" or "emu". reason: why, to be printed as one line by whoever uses it."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"gpukeras: using the {self.name.upper()} device ({self.reason})"


def choose(environ: MutableMapping[str, str] | None = None,
           probe: Callable[[], str] | None = None) -> Choice:
    """The device for this process.

    probe() says why CuPy finds no GPU, or "". Rewrites CUDA_VISIBLE_DEVICES to plain numbers before
    CUDA reads it. Raises DeviceError for GPUKERAS_DEVICE=gpu without a GPU, and for unknown names.
    """
    environ = os.environ if environ is None else environ
    wanted = environ.get("GPUKERAS_DEVICE", flag("GPUKERAS_DEVICE")).strip().lower()
    if wanted in ("cpu", "emu"):
        return Choice(wanted, f"GPUKERAS_DEVICE={wanted}")
    if wanted not in ("", "gpu", "cuda"):
        raise DeviceError(f"GPUKERAS_DEVICE: got {wanted!r}, expected cpu, gpu, emu or nothing")
    problem = _visible(environ) or (probe or no_gpu)()
    if not problem:
        return Choice("cuda", f"GPUKERAS_DEVICE={wanted}" if wanted else "a GPU is there")
    if wanted:
        raise DeviceError(f"GPUKERAS_DEVICE={wanted}, but there is no usable GPU: {problem}. "
                          "Try: GPUKERAS_DEVICE=cpu")
    return Choice("cpu", problem)


def _visible(environ: MutableMapping[str, str]) -> str:
    """Why CUDA_VISIBLE_DEVICES leaves no device, or ""."""
    text = environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return ""
    kept = []
    for word in filter(None, (w.strip() for w in text.split(","))):
        number = _NUMBER.fullmatch(word)
        if number and int(number[1]) < 0:
            break                           # as CUDA does: nothing after an invalid number counts
        if not number and not _IDENTITY.fullmatch(word):
            return (f"CUDA_VISIBLE_DEVICES={text!r} is not a list of devices such as 0,1 or "
                    "/gpu:0")
        kept.append(number[1] if number else word)
    if not kept:
        return f"CUDA_VISIBLE_DEVICES={text!r} lists no device"
    environ["CUDA_VISIBLE_DEVICES"] = ",".join(kept)
    return ""


def no_gpu() -> str:
    """Why CuPy finds no GPU here, or "" if it finds one."""
    try:
        import cupy
    except ImportError as error:
        if getattr(error, "name", "") == "cupy":
            return "CuPy is not installed; for a GPU: pip install gpukeras[cuda13]"
        return f"CuPy cannot be imported: {error}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:              # CuPy's own classes, which differ by version
        return f"no usable NVIDIA driver: {str(error).splitlines()[0]}"
    return "" if count else "the driver finds no GPU"
