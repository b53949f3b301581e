"""Compiles CUDA C++ to cubins with NVRTC, without CuPy, a driver or a GPU; caches them on disk.

Our own binding, because CuPy's forces -ftz and asks the current device for its architecture.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from ..config import cache_dir
from ..errors import DeviceError, KernelError
from .libraries import find_library
from .sources import module_text

OPTIONS = ("--std=c++17", "--ptxas-options=-v", "-default-device")


@dataclass(frozen=True)
class Usage:
    """What ptxas says of one kernel: registers a thread, bytes of stack, spills, shared memory."""

    registers: int
    stack_bytes: int = 0
    spill_bytes: int = 0
    shared_bytes: int = 0


@dataclass(frozen=True)
class Cubin:
    """Machine code of one architecture, and the usage of each of its kernels."""

    code: bytes
    report: dict[str, Usage]


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """libnvrtc, or None."""
    found = find_library("nvrtc")
    if found is not None:
        found.nvrtcGetErrorString.restype = ctypes.c_char_p
    return found


def missing() -> str:
    """Why nothing can be compiled here, or "" if it can."""
    if library() is None:
        return "no libnvrtc found (pip install nvidia-cuda-nvrtc, or gpukeras[cuda13])"
    return ""


@lru_cache(maxsize=1)
def version() -> tuple[int, int]:
    """(major, minor) of NVRTC. DeviceError if there is none."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _call(function: str, *args) -> None:
    lib = library()
    if lib is None:
        raise DeviceError(f"[nvrtc] {missing()}")
    status = getattr(lib, function)(*args)
    if status:
        raise KernelError(f"[nvrtc] {function}: {lib.nvrtcGetErrorString(status).decode()}")


_TARGET = re.compile(r"^// target: sm_(\d+)a$", re.M)


def target(source: str, arch: int) -> str | None:
    """What to compile a text for on a device of this architecture: "80", or "90a" if the text says
    that it uses instructions of sm_90 alone; None if it says so of another architecture."""
    only = {int(n) for n in _TARGET.findall(source)}
    if not only:
        return str(arch)
    return f"{arch}a" if only == {arch} else None


def compile_cubin(source: str, name: str, defines: tuple[tuple[str, str], ...],
                  arch: int | str) -> Cubin:
    """Machine code of a self-contained text for sm_<arch>, from the cache if it was made before.

    arch: compute capability times ten, or what `target` says. name: what compiler messages call
    the text. Raises KernelError with NVRTC's words.
    """
    text = module_text(source, tuple(defines))
    options = (*OPTIONS, f"-arch=sm_{arch}")
    key = hashlib.sha256(repr((text, options, version())).encode()).hexdigest()[:32]
    folder = Path(cache_dir()) / "cubin"
    path = folder / f"{Path(name).stem}-sm{arch}-{key}"
    cached = _read(path)
    if cached is None:
        code, log = _compile(text, name, options)
        cached = Cubin(code, parse_report(log))
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, cached)
    return cached


def _compile(text: str, name: str, options: tuple[str, ...]) -> tuple[bytes, str]:
    """(cubin, log). Raises KernelError if the text does not compile."""
    program = ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
    try:
        words = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        status = library().nvrtcCompileProgram(program, len(options), words)
        log = _fetch(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        if status:
            raise KernelError(f"[{name}] NVRTC refuses it ({options[-1]}):\n{log[:4000]}")
        return _fetch(program, "CUBIN"), log
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


def _fetch(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    out = ctypes.create_string_buffer(max(size.value, 1))
    _call(f"nvrtcGet{what}", program, out)
    return out.raw[:size.value]


_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def parse_report(log: str) -> dict[str, Usage]:
    """Usage of each kernel from the words of `ptxas -v`."""
    report: dict[str, Usage] = {}
    parts = _ENTRY.split(log)
    for name, part in zip(parts[1::2], parts[2::2]):
        used, spills, shared = _USED.search(part), _SPILLS.search(part), _SHARED.search(part)
        if used is None:
            continue
        stack, stores, loads = map(int, spills.groups()) if spills else (0, 0, 0)
        report[name] = Usage(int(used[1]), stack, stores + loads, int(shared[1]) if shared else 0)
    return report


def _read(path: Path) -> Cubin | None:
    try:
        report = json.loads(path.with_suffix(".json").read_text())
        code = path.with_suffix(".cubin").read_bytes()
    except (OSError, ValueError):
        return None
    return Cubin(code, {k: Usage(**v) for k, v in report.items()})


def _write(path: Path, cubin: Cubin) -> None:
    """Both files by rename, the report last: no process ever finds half of one."""
    report = json.dumps({k: asdict(v) for k, v in cubin.report.items()})
    for suffix, data in ((".cubin", cubin.code), (".json", report.encode())):
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as out:
            out.write(data)
        os.replace(out.name, path.with_suffix(suffix))
