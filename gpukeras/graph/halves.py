"""The 16-bit floats. NumPy knows float16 but not bfloat16, which is the upper half of a float32.

In memory a bfloat16 array has the dtype BFLOAT16: two bytes in a record, so that NumPy copies and
reshapes it but refuses to compute with it, rather than computing with integers unnoticed. Whoever
wants numbers says `convert` or `plain`. Where code of NumPy runs (`Op.numpy`, constants, what users
get), a bfloat16 value is a float32 array of rounded numbers.
"""
from __future__ import annotations

from typing import Any

import numpy as np

HALF = ("float16", "bfloat16")
BFLOAT16 = np.dtype([("bfloat16", "<u2")])


def numpy_dtype(dtype: Any) -> np.dtype:
    """The NumPy dtype of arrays in memory for a data type given in any form."""
    if isinstance(dtype, np.dtype):
        return BFLOAT16 if dtype.name == "bfloat16" else dtype       # that of ml_dtypes
    return BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)


def dtype_name(dtype: np.dtype) -> str:
    """The name of a data type that arrays in memory have."""
    return "bfloat16" if dtype == BFLOAT16 else dtype.name


def values_dtype(dtype: str) -> str:
    """The NumPy name of the type in which NumPy code computes a value: float32 for bfloat16."""
    return "float32" if dtype == "bfloat16" else dtype


def _upper_halves(x: np.ndarray) -> np.ndarray:
    """float32 -> the bits of the nearest bfloat16, ties to even, as uint32 with a lower half of
    zeros. NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    out = bits >> np.uint32(16)
    out &= np.uint32(1)
    out += np.uint32(0x7FFF)
    with np.errstate(over="ignore"):
        out += bits
    out &= np.uint32(0xFFFF0000)
    lost = np.isnan(x)
    if lost.any():
        out[lost] = bits[lost] & np.uint32(0xFFFF0000) | np.uint32(0x400000)
    return out


def rounded(x: Any, dtype: str) -> np.ndarray:
    """float32 numbers that `dtype`, a 16-bit float, can hold: the nearest to x, ties to even."""
    x = np.asarray(x, np.float32)
    if dtype == "bfloat16":
        return _upper_halves(np.atleast_1d(x)).view(np.float32).reshape(x.shape)
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


def plain(array: np.ndarray) -> np.ndarray:
    """An array that NumPy can compute with: float32 for bfloat16, else the array itself."""
    if array.dtype == BFLOAT16:
        return (array.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def convert(array: Any, dtype: np.dtype) -> np.ndarray:
    """An array, contiguous and of the dtype of arrays in memory `dtype`; the same if it is so."""
    array = np.asarray(array)
    if array.dtype != dtype:
        array = plain(array)
        if dtype == BFLOAT16:
            x = np.atleast_1d(np.asarray(array, np.float32))
            halves = (_upper_halves(x) >> np.uint32(16)).astype(np.uint16)
            return halves.view(BFLOAT16).reshape(array.shape)
    with np.errstate(over="ignore"):               # infinite, as on a device
        return np.asarray(array, dtype, order="C")
