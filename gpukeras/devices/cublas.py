"""cuBLAS matrix products by our own ctypes binding, because CuPy refuses cuBLAS during capture.

cuBLAS thinks column-major. Our row-major C = A B is, read column-major, C' = B' A': the operands
swap places, m and n swap, and the transpose flags and leading dimensions go along unchanged.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable

from ..errors import DeviceError, KernelError
from .driver import GemmCall
from .libraries import find_library

# cudaDataType and cublasComputeType_t
DATA_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
COMPUTE_FLOAT32, COMPUTE_FLOAT64, COMPUTE_TF32 = 68, 70, 77
DEFAULT_ALGORITHM = -1
WORKSPACE_BYTES = 32 << 20       # what cuBLAS wants on Hopper; ours, else it allocates per graph

_STATUS = {1: "not initialised", 3: "allocation failed", 7: "invalid value",
           8: "architecture mismatch", 11: "mapping error", 13: "execution failed",
           14: "internal error", 15: "not supported"}


def status_text(status: int) -> str:
    """What a cublasStatus_t means."""
    return _STATUS.get(status, f"status {status}")


def find_cublas() -> ctypes.CDLL | None:
    """The cuBLAS library, or None."""
    return find_library("cublas")


class Cublas:
    """One handle on one stream, with a workspace that stays put.

    Sums are kept in float32, or float64 for that. The 16-bit floats run on tensor cores, and so do
    float32 products whose call says `math="tf32"` (mantissas of 10 bits).
    Call every shape once before capturing it: the first call may load code.
    """

    def __init__(self, library: Any, stream: int, workspace: int):
        self.library = library
        self.handle = ctypes.c_void_p()
        self._check("cublasCreate_v2", ctypes.byref(self.handle))
        self._check("cublasSetStream_v2", self.handle, ctypes.c_void_p(stream))
        if workspace:
            self._check("cublasSetWorkspace_v2", self.handle, ctypes.c_void_p(workspace),
                        ctypes.c_size_t(WORKSPACE_BYTES))

    def _check(self, function: str, *args) -> None:
        status = getattr(self.library, function)(*args)
        if status:
            raise DeviceError(f"[cublas] {function}: {status_text(status)}")

    def bind(self, call: GemmCall) -> Callable[[], None]:
        """A callable that queues the product. All argument objects are made here, once."""
        call.check()
        if call.dtype not in DATA_TYPES:
            raise KernelError(f"[gemm] got dtype {call.dtype}, expected one of "
                              f"{', '.join(DATA_TYPES)}")
        if call.batch > 1:
            function, name = self.library.cublasGemmStridedBatchedEx, "cublasGemmStridedBatchedEx"
        else:
            function, name = self.library.cublasGemmEx, "cublasGemmEx"
        args = self.arguments(call)

        def gemm(_kept=call) -> None:      # the arrays live as long as their addresses are used
            status = function(*args)
            if status:
                raise DeviceError(f"[gemm] {name}: {status_text(status)}")

        return gemm

    def arguments(self, call: GemmCall) -> tuple:
        """The ctypes arguments of cublasGemmEx, or with a batch of cublasGemmStridedBatchedEx."""
        integer, pointer, long = ctypes.c_int, ctypes.c_void_p, ctypes.c_longlong
        kind = integer(DATA_TYPES[call.dtype])
        scale = ctypes.c_double if call.dtype == "float64" else ctypes.c_float
        lda, ldb, ldc = call.leading
        batched = call.batch > 1

        def operand(array, ld: int, stride: int) -> tuple:
            base = (pointer(array.ptr), kind, integer(ld))
            return (*base, long(stride)) if batched else base

        return (self.handle, integer(call.trans_b), integer(call.trans_a),
                integer(call.n), integer(call.m), integer(call.k),
                ctypes.byref(scale(call.alpha)),
                *operand(call.b, ldb, call.stride_b), *operand(call.a, lda, call.stride_a),
                ctypes.byref(scale(call.beta)), *operand(call.c, ldc, call.stride_c),
                *((integer(call.batch),) if batched else ()),
                integer(_compute(call)), integer(DEFAULT_ALGORITHM))

    def close(self) -> None:
        """Frees the handle."""
        if self.handle:
            self._check("cublasDestroy_v2", self.handle)
            self.handle = ctypes.c_void_p()


def _compute(call: GemmCall) -> int:
    """cublasComputeType_t: what sums are kept in."""
    if call.dtype == "float64":
        return COMPUTE_FLOAT64
    return COMPUTE_TF32 if call.dtype == "float32" and call.math == "tf32" else COMPUTE_FLOAT32
