"""Merge: consecutive small launches as one launch of one block.

A small training step is mostly launches of a few hundred elements, each of which costs a node of
the graph (1.6 to 2.2 us on an H200 by estimate) for next to no work. The merged kernel is made from
the kernels' own texts (merged.cuh), so its results are theirs to the bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Callable, Sequence

import numpy as np

from .array import DeviceArray
from .sources import ENTRY, expand_includes

THREADS = 256
MOST_BYTES = 80 * 1024       # that a small launch reads and writes: about 1 us for one block
MOST_BLOCKS = 32             # of a small launch: the merged kernel plays them one after the other

_C_TYPES = {"int32": "int", "int64": "long long", "uint32": "unsigned", "float32": "float",
            "uint64": "unsigned long long", "float64": "double", "bool": "bool"}
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)


@dataclass
class Prepared:
    """One launch with its memory, not yet bound.

    text: of the file, self-contained. fused: made by codegen. any_grid: it walks its elements with
    any number of blocks. where: for errors.
    """

    text: str
    file: str
    entry: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    args: Sequence
    smem: int = 0
    defines: tuple[tuple[str, str], ...] = ()
    fused: bool = False
    where: str = ""
    any_grid: bool = False

    @property
    def is_small(self) -> bool:
        """Can one block of 256 threads play it, in about the time of a launch?"""
        arrays = [a for a in self.args if isinstance(a, DeviceArray)]
        width = self.block[0]
        return (sum(a.nbytes for a in arrays) <= MOST_BYTES and not self.smem
                and prod(self.block) == THREADS and prod(self.block[2:]) == 1
                and width & (width - 1) == 0
                and (self.any_grid or self.grid[0] <= MOST_BLOCKS and prod(self.grid[1:]) == 1)
                and "extern __shared__" not in self.text and all(map(_passes, self.args)))


def _passes(arg) -> bool:
    """Can it be an argument of a merged kernel?"""
    return (arg is None or isinstance(arg, (DeviceArray, np.void))
            or arg.dtype.name in _C_TYPES)


def merge(items: list[Prepared | Callable]) -> list[Prepared | Callable]:
    """The same work with every run of at least two small launches made one."""
    merged: list[Prepared | Callable] = []
    run: list[Prepared] = []

    def close() -> None:
        merged.extend([merged_launch(run)] if len(run) > 1 else run)
        run.clear()

    for item in items:
        if isinstance(item, Prepared) and item.is_small:
            run.append(item)
            continue
        close()
        merged.append(item)
    close()
    return merged


def merged_launch(run: list[Prepared]) -> Prepared:
    """One launch that plays all launches of `run` in order."""
    spaces: dict[tuple, str] = {}
    parameters, body, args = [], [], []
    for i, item in enumerate(run):
        space = spaces.setdefault((item.text, item.defines), f"s{len(spaces)}")
        types = _parameter_types(item, space)
        names = [f"a{i}_{k}" for k in range(len(item.args))]
        parameters += [f"{t} {n}" for t, n in zip(types, names)] + [f"unsigned g{i}"]
        given = ", ".join(f"merged::Pointer{{{n}}}" if t == "void*" else n
                          for t, n in zip(types, names))
        shift = item.block[0].bit_length() - 1
        body.append(f"    for (unsigned b = 0; b < g{i}; ++b) {{\n"
                    f"        merged::enter(b, g{i}, {shift});\n"
                    f"        {space}::{item.entry}({given});\n    }}\n")
        args += [*item.args, np.uint32(1 if item.any_grid else item.grid[0])]
    kernel = (f'extern "C" __global__ __launch_bounds__({THREADS}) void merged_steps('
              f"{', '.join(parameters)}) {{\n{''.join(body)}}}\n")
    texts = [_in_namespace(text, defines, name) for (text, defines), name in spaces.items()]
    head = expand_includes('#include "merged.cuh"\n', "merged.cu")
    where = "\n".join(item.where for item in run)
    return Prepared(head + "\n".join(texts) + kernel, "merged.cu", "merged_steps", (1,), (THREADS,),
                    args, where=where)


def _in_namespace(text: str, defines: tuple[tuple[str, str], ...], name: str) -> str:
    """A kernel file as device functions in a namespace; its macros end with it."""
    body = ENTRY.sub(r"static __device__ __forceinline__ void \1(", text)
    body = body.replace("#pragma once", "")
    head = "".join(f"#define {k} {v}\n" for k, v in defines)
    macros = dict.fromkeys(_DEFINE.findall(head + body))
    tail = "".join(f"#undef {m}\n" for m in macros)
    return f"namespace {name} {{\n{head}{body}\n}}  // namespace {name}\n{tail}"


def _parameter_types(item: Prepared, space: str) -> list[str]:
    """The C type of each argument in the merged kernel; a struct's is the kernel file's own."""
    declared = None
    types = []
    for i, arg in enumerate(item.args):
        if arg is None or isinstance(arg, DeviceArray):
            types.append("void*")
        elif isinstance(arg, np.void):
            declared = declared or _declared(item)
            types.append(f"{space}::{declared[i]}")
        else:
            types.append(_C_TYPES[arg.dtype.name])
    return types


def _declared(item: Prepared) -> list[str]:
    """The type words of the entry's parameters, as its file writes them."""
    start = next(m.end() for m in ENTRY.finditer(item.text) if m.group(1) == item.entry)
    words = item.text[start:item.text.index(")", start)].split(",")
    return [" ".join(w.replace("const", "").split()[:-1]) for w in words]
