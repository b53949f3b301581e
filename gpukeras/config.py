"""Every environment flag, read at the moment it is used (a script may set it after the import)."""
from __future__ import annotations

import os

FLAGS = {
    "GPUKERAS_DEVICE": ("", "cpu, gpu or emu (the CUDA path on the CPU); empty: what is there"),
    "GPUKERAS_DEBUG": ("0", "1 a line a compiled function, 2 its steps, bytes, flops, 3 each pass"),
    "GPUKERAS_CHECK": ("0", "1 runs every step on NumPy as well and names the first that differs"),
    "GPUKERAS_REPLAY": ("1", "0 launches every step itself instead of replaying a captured graph"),
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


def cache_dir() -> str:
    """Folder of compiled kernels; made if missing."""
    path = flag("GPUKERAS_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "gpukeras")
    os.makedirs(path, exist_ok=True)
    return path
