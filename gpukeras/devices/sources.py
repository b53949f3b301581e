"""Kernel sources: where the .cu and .cuh files are, and one self-contained text from each."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from ..errors import KernelError

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([\w./]+)"[^\n]*$', re.M)


@lru_cache(maxsize=None)
def kernel_folder() -> Path:
    """The folder with the kernel files: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "cuda_kernels", package.parent / "cuda_kernels"):
        if (folder / "common.cuh").is_file():
            return folder
    raise KernelError(
        f"[kernels] no cuda_kernels folder: looked in {package} and {package.parent}, "
        "expected common.cuh in it. Try: install gpukeras again.")


def kernel_files() -> tuple[str, ...]:
    """Names of all kernel files ("pool.cu", ...), sorted; headers (.cuh) are not among them."""
    return tuple(sorted(p.name for p in kernel_folder().glob("*.cu")))


@lru_cache(maxsize=None)
def kernel_source(name: str) -> str:
    """The text of a kernel file with its own headers put in place of `#include "x.cuh"`, each once.

    `#line` marks keep compiler messages on the file and line a reader sees.
    """
    return _inline(name, set())


def _inline(name: str, seen: set[str]) -> str:
    path = kernel_folder() / name
    if not path.is_file():
        raise KernelError(f"[kernels] no such file: got {name!r}, expected one of "
                          f"{', '.join(kernel_files())} in {kernel_folder()}")
    seen.add(name)
    return expand_includes(path.read_text(encoding="utf-8"), name, seen)


def expand_includes(text: str, name: str, seen: set[str] | None = None) -> str:
    """`text` (to be called `name` in messages) with every quoted include replaced by its file."""
    seen = set() if seen is None else seen
    parts, last = [f'#line 1 "{name}"\n'], 0
    for found in _INCLUDE.finditer(text):
        parts.append(text[last:found.start()])
        line = text.count("\n", 0, found.end()) + 2
        if found.group(1) not in seen:
            parts += [_inline(found.group(1), seen), f'\n#line {line} "{name}"']
        last = found.end()
    parts.append(text[last:])
    return "".join(parts)


def module_text(text: str, defines: tuple[tuple[str, str], ...] = ()) -> str:
    """`text` preceded by its defines, as lines of the text itself.

    Not -D options: compilers read their own headers first, and those may use names such as T.
    """
    return "".join(f"#define {k} {v}\n" for k, v in defines) + text


ENTRY = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?void\s+'
    r'(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(')


def entries(text: str) -> tuple[str, ...]:
    """Names of the `extern "C" __global__` kernels in a text, in order."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)
    return tuple(ENTRY.findall(code))
