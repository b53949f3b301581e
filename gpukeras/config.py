"""Every setting, read at the moment it is used (a script may set it after the import).

`math`, `deterministic` and `winograd` are attributes to set: `gpukeras.config.math = "tf32"`. They
count for what is compiled from then on; functions that have run keep what they had.
"""
from __future__ import annotations

import os

# How float32 matrix products and convolutions are computed on a GPU: "float32", or "tf32" for
# tensor cores that read 10 bits of the mantissas and add up in float32. Empty: GPUKERAS_MATH, whose
# default is "float32", because a script that says float32 shall get it; mixed precision is the
# other way to the tensor cores. Of no effect on the CPU.
math: str = ""
MATH = ("float32", "tf32")

# Large 3x3 and 5x5 convolutions in float32 on the CPU by Winograd's algorithm: twice as fast, with
# an error of about 5e-7 of the result's spread instead of 2e-7.  False: plain sums.
winograd: bool = True

# False lets kernels add with atomics where that is faster, as in the gradient of Embedding: results
# then differ in the last bits from run to run. Of no effect on the CPU. "across devices" gives the
# same bits on any number of devices and processes too: a batch is always cut into the same parts.
deterministic: bool | str = True

FLAGS = {
    "GPUKERAS_DEVICE": ("", "cpu, gpu or emu (the CUDA path on the CPU); empty: what is there"),
    "GPUKERAS_DEBUG": ("0", "1 a line a function, 2 its steps, 3 each pass, 4 fused kernels"),
    "GPUKERAS_CHECK": ("0", "1 runs every step on NumPy as well and names the first that differs"),
    "GPUKERAS_REPLAY": ("1", "0 launches every step itself instead of replaying a captured graph"),
    "GPUKERAS_MATH": ("float32", "float32 or tf32: precision of float32 products on a GPU"),
    "GPUKERAS_THREADS": ("", "threads of the host's team; empty: the CPUs this process may use"),
    "GPUKERAS_VIRTUAL_DEVICES": ("", "GPUs that multi_gpu_model shall find; empty: those there"),
    "GPUKERAS_CACHE": ("", "folder of compiled kernels; empty: ~/.cache/gpukeras"),
}


def flag(name: str) -> str:
    """The value of one of FLAGS, as text."""
    return os.environ.get(name, FLAGS[name][0])


def number(name: str) -> int:
    """The value of a flag that is a number; a word that is none counts as 0."""
    text = flag(name)
    return int(text) if text.strip().isdigit() else 0


def math_mode() -> str:
    """"float32" or "tf32": `math`, or else GPUKERAS_MATH. Raises ValueError for anything else."""
    mode = math or flag("GPUKERAS_MATH").strip().lower()
    if mode not in MATH:
        raise ValueError(f"config.math or GPUKERAS_MATH: got {mode!r}, expected float32 or tf32")
    return mode


def across_devices() -> bool:
    """Whether results must not depend on the number of devices. Raises ValueError for a value of
    `deterministic` that means nothing."""
    if deterministic not in (True, False, "across devices"):
        raise ValueError(f"config.deterministic: got {deterministic!r}, expected True, False or "
                         "'across devices'")
    return deterministic == "across devices"


def cache_dir() -> str:
    """Folder of compiled kernels; made if missing."""
    path = flag("GPUKERAS_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "gpukeras")
    os.makedirs(path, exist_ok=True)
    return path
