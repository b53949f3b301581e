"""Finds NVIDIA's shared libraries: beside CuPy, in pip's wheels, or in a CUDA toolkit."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from functools import lru_cache
from pathlib import Path


def _from_pathfinder(name: str) -> list[str]:
    """NVIDIA's own finder, which CuPy 14 installs."""
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib
        return [load_nvidia_dynamic_lib(name).abs_path]
    except Exception:                       # its errors differ by version; the next finder may know
        return []


def _from_folders(name: str) -> list[str]:
    """lib<name>.so.<major> in the wheels named nvidia-*, then in the toolkit."""
    folders = [f for entry in sys.path if entry
               for f in sorted(Path(entry).glob("nvidia/*/lib"), reverse=True)]
    for root in (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        if root:
            folders += [Path(root) / "lib64", Path(root) / "lib"]
    return [str(path) for folder in folders if folder.is_dir()
            for path in sorted(folder.glob(f"lib{name}.so*"), key=lambda p: len(p.name))
            if ".alt" not in path.name]


@lru_cache(maxsize=None)
def find_library(name: str) -> ctypes.CDLL | None:
    """The loaded library ("nvrtc", "cublas", "cublasLt"), or None if this machine has none."""
    for finder in (_from_pathfinder, _from_folders, _from_system):
        for path in finder(name):
            try:
                return ctypes.CDLL(path)
            except OSError:                 # made for another system: look further
                continue
    return None


def _from_system(name: str) -> list[str]:
    found = ctypes.util.find_library(name)
    return [found] if found else []
