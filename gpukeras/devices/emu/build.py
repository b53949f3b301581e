"""Compiles kernels and the runtime with g++, once: shared objects stay in the cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from ...config import cache_dir
from ...errors import DeviceError, KernelError
from ..sources import entries, module_text

HERE = Path(__file__).resolve().parent
FLAGS = ("-std=c++20", "-O1", "-gdwarf-4", "-g1", "-fPIC", "-w",
         "-fno-strict-aliasing", "-fvisibility=hidden", "-fno-exceptions", "-fwrapv", "-fno-weak",
         "-ffp-contract=off")
CHECKS = {"": (), "memory": ("-fsanitize=thread",), "races": ("-fsanitize=thread",)}

_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:__align__\s*\(\s*\w+\s*\)\s*|alignas\s*\(\s*\w+\s*\)\s*)?"
    r"([\w:<>,\s]+?)\s*(?:__align__\s*\(\s*\w+\s*\)\s*)?\b(\w+)\s*\[\s*\]\s*;")


@lru_cache(maxsize=1)
def compiler() -> tuple[str, str]:
    """(command, version) of the C++ compiler: CXX, else g++. DeviceError if there is none."""
    command = os.environ.get("CXX", "g++")
    try:
        version = subprocess.check_output([command, "-dumpfullversion"], text=True).strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise DeviceError(f"[emu] no C++ compiler: {command} gave {error}; expected g++ 10 or "
                          "newer. Try: install g++, or set CXX.") from error
    return command, version


@lru_cache(maxsize=1)
def _headers_digest() -> str:
    digest = hashlib.sha256(" ".join(compiler()).encode())
    for path in sorted(HERE.glob("*.h")) + sorted(HERE.glob("*.cpp")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def translate(text: str, defines: tuple[tuple[str, str], ...]) -> str:
    """CUDA C++ as C++: dynamic shared arrays become pointers, every kernel is exported."""
    exports = "\n".join(f"EMU_EXPORT({name})" for name in entries(text))
    body = _DYNAMIC.sub(lambda m: f"{m[1]}* {m[2]} = EMU_DYNAMIC({m[1]});", text)
    return f'#include "cuda_host.h"\n{module_text(body, defines)}\n{exports}\n'


def shared_object(source: str, name: str, options: tuple[str, ...]) -> str:
    """Path of the compiled `source`, from the cache if it was compiled before."""
    key = hashlib.sha256("\0".join((source, _headers_digest()) + options).encode()).hexdigest()[:32]
    folder = Path(cache_dir()) / "emu"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(name).stem}-{key}.so"
    if path.exists():
        return str(path)
    # Compiled and linked apart: linking must not see -fsanitize, whose library we stand in for.
    with tempfile.TemporaryDirectory(dir=folder) as work:
        made, unit = os.path.join(work, "unit.so"), os.path.join(work, "unit.o")
        command = [compiler()[0], *FLAGS, *options, "-I", str(HERE)]
        done = subprocess.run([*command, "-c", "-x", "c++", "-", "-o", unit],
                              input=source.encode(), capture_output=True)
        if done.returncode:
            words = done.stderr.decode(errors="replace")[:3000]
            raise KernelError(f"[{name}] does not compile for the emulator:\n{words}")
        subprocess.run([compiler()[0], "-shared", unit, "-o", made], check=True)
        os.replace(made, path)      # two processes may race: both made the same file
    return str(path)


@lru_cache(maxsize=1)
def runtime() -> ctypes.CDLL:
    """The runtime library; built on first use (about a second)."""
    parts = ("runtime.cpp", "checker.cpp", "async.cpp", "wgmma.cpp")
    source = "\n".join(f'#include "{HERE / part}"' for part in parts)
    library = ctypes.CDLL(shared_object(source, "runtime", ("-O2", "-fvisibility=default")),
                          ctypes.RTLD_GLOBAL)
    library.emu_run.argtypes = [ctypes.c_void_p]
    library.emu_set_ranges.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    library.emu_counters.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def line_of(path: str, base: int, pc: int) -> str:
    """ "pool.cu:57" for an address in a shared object, or "" if addr2line is not there."""
    try:
        words = subprocess.check_output(["addr2line", "-e", path, hex(pc - base - 1)], text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    place = words.split()[0] if words.split() else ""
    return "" if "?" in place else place.rsplit("/", 1)[-1]
