"""Wide: fused kernels whose threads move 16 bytes at a time.

A thread takes `width` neighbours at once, as one load or store of each operand, and reads several
such groups before it computes: by Little's law an H200 needs some 64 KB on their way per
multiprocessor for its 4.8 TB/s. Sizes in between large and small keep one element a thread, so that
no multiprocessor is idle.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence

import numpy as np

from ..graph import TensorType
from .array import DeviceArray
from .codegen import (C_TYPES, MAX_BLOCKS, MOST_STEPS, THREADS, WIDE, Program, computations, index,
                      masks_of, parameters_of, runs_of, size_type, slot_types)

GROUP = 16                   # bytes
MULTIPROCESSORS = 132        # of an H200
SMALL_BYTES = 80 * 1024      # of a launch that one block may play: merge.MOST_BYTES
LEAST = 64                   # elements
AHEAD = 32                   # bytes that a thread reads before it computes...
AHEAD_ALONE = 128            # ... and one of a small launch, which has few neighbours


class Reach(NamedTuple):
    """width: neighbours that a thread takes at once. ahead: such groups it reads before it
    computes. whole: the number of elements is a multiple of width whatever the batch size."""

    width: int
    ahead: int
    whole: bool


def reach_of(program: Program, ins: Sequence[TensorType], outs: Sequence[TensorType],
             arrays: Sequence[DeviceArray] | None = None) -> Reach | None:
    """How far the threads of a kernel reach; None: one element each.

    arrays: memory of the inputs, then of the outputs; without, it is taken to be aligned.
    """
    n = math.prod(program.shape)
    full = [t for t in ins if _is_full(t, program)]
    width = GROUP // max(t.itemsize for t in (*full, *outs))
    nbytes = sum(t.nbytes for t in (*ins, *outs))
    large = n >= MULTIPROCESSORS * THREADS * width
    if width < 2 or masks_of(program) or n < LEAST or not (large or nbytes <= SMALL_BYTES):
        return None
    if arrays is not None and any(
            a.ptr % (width * t.itemsize) for a, t in zip(arrays, (*ins, *outs))
            if _mode(t, program, width) in ("full", "row")):
        return None
    per_group = width * sum(t.itemsize for t in full) or GROUP
    ahead = max(1, min((AHEAD if large else AHEAD_ALONE) // per_group, 4))
    while ahead > 1 and (len(program.steps) * width * ahead > MOST_STEPS
                         or (ahead - 1) * THREADS * width >= n):
        ahead -= 1
    return Reach(width, ahead, math.prod(program.shape[1:]) % width == 0 and len(program.shape) > 1)


def wide_shape(n: int, reach: Reach) -> tuple[tuple[int], tuple[int], np.generic]:
    """(grid, block, last argument) for n elements."""
    count = np.uint64(n) if n >= WIDE else np.uint32(n)
    blocks = -(-n // (THREADS * reach.width * reach.ahead))
    return (max(1, min(blocks, MAX_BLOCKS)),), (THREADS,), count


def wide_body(program: Program, ins: tuple[TensorType, ...], reach: Reach) -> tuple[str, str]:
    """(parameters, text) of the kernel."""
    width, ahead = reach.width, reach.ahead
    dtypes, size = slot_types(program, ins), size_type(program)
    parameters = ", ".join(parameters_of(program, ins, dtypes) + [f"{size} n"])
    reads = [_Read(i, t, program, reach) for i, t in enumerate(ins)]
    gap = "\n                    "
    take = [line for r in reads for line in r.take]
    compute = gap.join(take + computations(program, dtypes, store="q{0}.v[k] = {1};"))
    results = [(i, C_TYPES[dtypes[slot]][0]) for i, slot in enumerate(program.outs)]
    packs = " ".join(f"Pack<{t}, {width}> q{i};" for i, t in results)
    stores = " ".join(_store(i, t, reach) for i, t in results)
    inside = "" if reach.whole else "if (e < n) "
    text = f"""    const {size} step = ({size})grid_step();
    {" ".join(line for r in reads for line in r.once)}
    for ({size} first = ({size})grid_start(); first * {width}u < n; first += {ahead}u * step) {{
        {" ".join(line for r in reads for line in r.declared)}
#pragma unroll
        for (unsigned u = 0; u < {ahead}; ++u) {{
            const {size} e = (first + u * step) * {width}u;
            if (e < n) {{
                {" ".join(line for r in reads for line in r.load)}
            }}
        }}
#pragma unroll
        for (unsigned u = 0; u < {ahead}; ++u) {{
            const {size} base = (first + u * step) * {width}u;
            if (base < n) {{
                {packs}
#pragma unroll
                for (unsigned k = 0; k < {width}; ++k) {{
                    const {size} e = base + k;
                    {inside}{{
                    {compute}
                    }}
                }}
                {stores}
            }}
        }}
    }}"""
    return parameters, text


class _Read:
    """The statements that bring one input: before the loop (`once`), for a group (`declared`,
    `load`), and for each element (`take`)."""

    def __init__(self, i: int, t: TensorType, program: Program, reach: Reach) -> None:
        self.once: list[str] = []
        self.declared: list[str] = []
        self.load: list[str] = []
        storage, kind = C_TYPES[t.dtype]
        width, mode = reach.width, _mode(t, program, reach.width)
        where = index(t.shape, program.shape)
        value = f"r{i}[u]"
        if mode == "scalar":
            self.once, self.take = [f"const {kind} v{i} = ({kind})i{i}[0];"], []
            return
        if mode == "each":
            value = f"i{i}[{where}]"
        elif mode == "one":
            self.declared = [f"{storage} r{i}[{reach.ahead}];"]
            self.load = [f"{value} = i{i}[{where}];"]
        else:
            pack = f"Pack<{storage}, {width}>"
            self.declared = [f"{pack} r{i}[{reach.ahead}];"]
            whole = f"{value} = *(const {pack}*)(i{i} + {where});"
            if mode == "full" and not reach.whole:
                whole = (f"if (n - e >= {width}u) {whole} else for (unsigned k = 0; k < {width}; "
                         f"++k) if (e + k < n) {value}.v[k] = i{i}[e + k];")
            self.load, value = [whole], f"{value}.v[k]"
        self.take = [f"const {kind} v{i} = ({kind}){value};"]


def _store(i: int, storage: str, reach: Reach) -> str:
    whole = f"*(Pack<{storage}, {reach.width}>*)(o{i} + base) = q{i};"
    if reach.whole:
        return whole
    return (f"if (n - base >= {reach.width}u) {whole} else for (unsigned k = 0; k < {reach.width}; "
            f"++k) if (base + k < n) o{i}[base + k] = q{i}.v[k];")


def _is_full(t: TensorType, program: Program) -> bool:
    return t.size == math.prod(program.shape)


def _mode(t: TensorType, program: Program, width: int) -> str:
    """How a group of `width` elements reads the input: "full" and "row" as one piece, "one" number
    for all of them, "scalar" the same number everywhere, "each" by itself."""
    if t.size == 1:
        return "scalar"
    if _is_full(t, program):
        return "full"
    read, length = runs_of(t.shape, program.shape)[-1]
    if length % width:
        return "each"
    if not read:
        return "one"
    return "row" if width * t.itemsize <= GROUP else "each"
