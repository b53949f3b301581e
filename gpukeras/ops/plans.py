"""What launch plans share: C types, grids, the launch of one row per warp or block."""
from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from ..errors import DtypeError
from .record import Launch, Ref

THREADS = 256
BLOCKS = 264                                       # two a multiprocessor on an H200
WARP_ROW = 1024                                    # longest row that one warp handles alone

_C_TYPES = {"float16": "float16", "bfloat16": "bfloat16", "float32": "float", "float64": "double",
            "int8": "signed char", "int16": "short", "int32": "int", "int64": "long long",
            "uint8": "unsigned char", "uint16": "unsigned short", "uint32": "unsigned",
            "uint64": "unsigned long long", "bool": "bool"}


def c_type(dtype: str) -> str:
    """The C name that kernels use for a data type."""
    if dtype not in _C_TYPES:
        raise DtypeError(f"no CUDA kernels for data type {dtype}: expected one of "
                         f"{', '.join(_C_TYPES)}")
    return _C_TYPES[dtype]


def arithmetic(dtype: str) -> str:
    """The type in which kernels compute on `dtype`: float32 for the 16-bit floats, else itself."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def defines(**dtypes: str) -> tuple[tuple[str, str], ...]:
    """defines(T="float32") is (("T", "float"),)."""
    return tuple((name, c_type(dtype)) for name, dtype in dtypes.items())


def grid_for(n: int, threads: int = THREADS) -> tuple[int]:
    """Blocks for n threads."""
    return (max(-(-n // threads), 1),)


def row_launch(entry: str, refs: tuple[Ref, ...], rows: int, columns: int,
               names: tuple[tuple[str, str], ...]) -> Launch:
    """A kernel over the rows of a matrix, written with row.cuh."""
    args = (*refs, np.int64(rows), np.int32(columns))
    if columns <= WARP_ROW:
        return Launch(entry, grid_for(rows, 8), (32, 8), args, defines=names)
    return Launch(entry, (rows,), (THREADS,), args, defines=(*names, ("BLOCK_ROW", "1")))


def column_block(columns: int) -> tuple[int, int]:
    """(columns, rows) of a block of THREADS over a matrix: few lanes idle however narrow it is."""
    p = min(32, 1 << max(columns - 1, 0).bit_length())
    return p, THREADS // p


def matrix_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) of a tensor seen as rows along its last axis."""
    return prod(shape[:-1]), shape[-1]


DIVISION = np.dtype([("d", "u4"), ("mul", "u4"), ("shift", "u4")])      # Div of division.cuh


@lru_cache(maxsize=4096)
def division(d: int) -> tuple[int, int, int]:
    """(d, mul, shift) with q // d == ((q * mul >> 32) + q) >> shift for all 0 <= q < 2**31."""
    d = max(d, 1)
    shift = (d - 1).bit_length()
    return d, ((1 << 32) * ((1 << shift) - d)) // d + 1, shift
