"""What cuBLASLt's epilogues do, on the emulated device."""

from __future__ import annotations

import numpy as np

from ...errors import DeviceError
from ...graph.halves import convert, plain
from ...ops import gelu
from ...ops.record import WITH_AUX, WITHOUT_BIAS
from ..array import DeviceArray
from ..driver import GemmCall
from .memory import host_view


def apply_epilogue(call: GemmCall, c: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product c after its epilogue, not yet rounded; bias and aux are written where they are
    results. Sums are taken before rounding."""
    check_epilogue(call)
    if call.epilogue == "sums of b":
        _write(call.bias, b.sum(0))
        return c
    if call.epilogue in ("bias", "relu", "relu mask", "gelu", "gelu aux"):
        c = c + np.asarray(plain(host_view(call.bias)), c.dtype).reshape(-1)[:call.n]
        if call.epilogue == "gelu aux":
            _write(call.aux, c)
        if call.epilogue.startswith("gelu"):
            return c * gelu.probability(c, approximate=True)
        if call.epilogue != "bias":
            c = np.maximum(c, 0)
        if call.epilogue == "relu mask":
            bits = np.zeros((call.m, mask_row(call.n) * 8), bool)
            bits[:, :call.n] = c > 0
            _write(call.aux, np.packbits(bits, axis=1, bitorder="little"))
        return c
    if call.epilogue.startswith("gelu"):
        x = np.asarray(plain(host_view(call.aux)), c.dtype).reshape(-1)[:c.size]
        c = c * gelu.slope(x.reshape(c.shape), approximate=True)
    else:
        rows = host_view(call.aux).reshape(call.m, -1)
        c = c * np.unpackbits(rows, axis=1, bitorder="little")[:, :call.n]
    if call.epilogue.endswith("sums"):
        _write(call.bias, c.sum(0))
    return c


def mask_row(columns: int) -> int:
    return -(-columns // 128) * 16


def check_epilogue(call: GemmCall) -> None:
    """Raises DeviceError for what cuBLASLt refuses, or where memory is too small."""
    if call.batch != 1 or call.dtype == "float64":
        raise DeviceError(f"[gemm] no epilogue {call.epilogue!r} for batch {call.batch} of "
                          f"{call.dtype}: expected one product of float32 or 16-bit floats")
    item = call.c.dtype.itemsize
    row = call.n * item if call.epilogue.startswith("gelu") else mask_row(call.n)
    needs = [("bias", call.bias, call.n * item, call.epilogue not in WITHOUT_BIAS),
             ("aux", call.aux, call.m * row, call.epilogue in WITH_AUX)]
    if call.n % 8 and call.epilogue in WITH_AUX and call.epilogue.startswith("gelu"):
        raise DeviceError(f"[gemm] epilogue {call.epilogue!r}: got rows of {call.n} elements in "
                          "aux, expected a multiple of 8")
    for name, array, nbytes, wanted in needs:
        if wanted and (array is None or array.nbytes < nbytes):
            raise DeviceError(f"[gemm] epilogue {call.epilogue!r}: got {name} {array!r}, "
                              f"expected {nbytes} bytes")


def _write(array: DeviceArray, values: np.ndarray) -> None:
    to = host_view(array).reshape(-1)
    to[:values.size] = convert(values.reshape(-1), to.dtype)
