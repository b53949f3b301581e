"""What cuBLASLt's epilogues do, on the emulated device."""

from __future__ import annotations

import numpy as np

from ...errors import DeviceError
from ...graph.halves import convert, plain
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
    if call.epilogue in ("bias", "relu", "relu mask"):
        c = c + np.asarray(plain(host_view(call.bias)), c.dtype).reshape(-1)[:call.n]
        if call.epilogue != "bias":
            c = np.maximum(c, 0)
        if call.epilogue == "relu mask":
            bits = np.zeros((call.m, mask_row(call.n) * 8), bool)
            bits[:, :call.n] = c > 0
            _write(call.aux, np.packbits(bits, axis=1, bitorder="little"))
        return c
    rows = host_view(call.aux).reshape(call.m, -1)
    c = c * np.unpackbits(rows, axis=1, bitorder="little")[:, :call.n]
    if call.epilogue == "relu grad sums":
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
    needs = [("bias", call.bias, call.n * item, call.epilogue != "relu grad"),
             ("aux", call.aux, call.m * mask_row(call.n),
              call.epilogue in ("relu mask", "relu grad", "relu grad sums"))]
    for name, array, nbytes, wanted in needs:
        if wanted and (array is None or array.nbytes < nbytes):
            raise DeviceError(f"[gemm] epilogue {call.epilogue!r}: got {name} {array!r}, "
                              f"expected {nbytes} bytes")


def _write(array: DeviceArray, values: np.ndarray) -> None:
    to = host_view(array).reshape(-1)
    to[:values.size] = convert(values.reshape(-1), to.dtype)
