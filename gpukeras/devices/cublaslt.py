"""Products with epilogues by cuBLASLt: bias, relu, gelu, their gradients, a bias' gradient.

As in cublas.py our row-major C = A B is C' = B' A' to the library, so its rows are our columns:
the bias it adds to each of its rows is ours for each column. Algorithms are asked for once per
kind of product, before any capture, and kept.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable

from ..errors import DeviceError
from ..ops.epilogue import mask_bytes
from ..ops.record import WITH_AUX, WITHOUT_BIAS, Gemm
from .cublas import COMPUTE_FLOAT32, COMPUTE_TF32, DATA_TYPES, WORKSPACE_BYTES, status_text
from .driver import GemmCall
from .libraries import find_library

# cublasLtEpilogue_t
EPILOGUE = {"bias": 4, "relu": 6, "relu mask": 134, "relu grad": 136, "relu grad sums": 152,
            "gelu": 36, "gelu aux": 164, "gelu grad": 192, "gelu grad sums": 208,
            "sums of b": 256}
# cublasLtMatmulDescAttributes_t
TRANS_A, TRANS_B, EPILOGUE_KIND, BIAS_POINTER, AUX_POINTER, AUX_LD = 3, 4, 7, 8, 11, 12
MAX_WORKSPACE = 1                # cublasLtMatmulPreferenceAttributes_t
TYPES = ("float32", "float16", "bfloat16")


class Algorithm(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t"""

    _fields_ = [("data", ctypes.c_uint64 * 8), ("workspace", ctypes.c_size_t),
                ("status", ctypes.c_int), ("waves", ctypes.c_float),
                ("reserved", ctypes.c_int * 4)]


def find_cublaslt() -> ctypes.CDLL | None:
    """The cuBLASLt library, or None."""
    return find_library("cublasLt")


class CublasLt:
    """One handle; products go to one stream and share one workspace of WORKSPACE_BYTES."""

    def __init__(self, library: Any, stream: int, workspace: int) -> None:
        self.library, self.stream, self.workspace = library, stream, workspace
        self.handle = ctypes.c_void_p()
        self._algorithms: dict[tuple, Algorithm | None] = {}
        self._check("cublasLtCreate", ctypes.byref(self.handle))

    def _check(self, function: str, *args) -> None:
        status = getattr(self.library, function)(*args)
        if status:
            raise DeviceError(f"[cublaslt] {function}: {status_text(status)}")

    def knows(self, gemm: Gemm, math: str) -> bool:
        """Has the library an algorithm for this product with its epilogue?"""
        return (gemm.epilogue in EPILOGUE and gemm.dtype in TYPES and gemm.batch == 1
                and self._algorithm(gemm, math) is not None)

    def bind(self, call: GemmCall) -> Callable[[], None]:
        """A callable that queues the product. Everything it passes is made here, once."""
        call.check()
        algorithm = self._algorithm(call, call.math)
        if algorithm is None:
            raise DeviceError(f"[gemm] cuBLASLt has no {call.epilogue!r} for a product of "
                              f"{call.dtype}, {call.m}x{call.n}x{call.k}")
        problem = _Problem(self, call, call.math, call.bias, call.aux)
        scale = (ctypes.c_float(call.alpha), ctypes.c_float(call.beta))
        pointer = ctypes.c_void_p
        args = (self.handle, problem.desc, ctypes.byref(scale[0]), pointer(call.b.ptr),
                problem.layouts[0], pointer(call.a.ptr), problem.layouts[1],
                ctypes.byref(scale[1]), pointer(call.c.ptr), problem.layouts[2],
                pointer(call.c.ptr), problem.layouts[2], ctypes.byref(algorithm.data),
                pointer(self.workspace), ctypes.c_size_t(WORKSPACE_BYTES), pointer(self.stream))
        function = self.library.cublasLtMatmul

        def gemm(_kept=(call, problem, scale, algorithm)) -> None:
            status = function(*args)
            if status:
                raise DeviceError(f"[gemm] cublasLtMatmul: {status_text(status)}")

        return gemm

    def _algorithm(self, gemm: Gemm | GemmCall, math: str) -> Algorithm | None:
        """The library's first choice, or None if it has nothing that fits."""
        key = (gemm.m, gemm.n, gemm.k, gemm.trans_a, gemm.trans_b, gemm.lda, gemm.ldb, gemm.ldc,
               gemm.dtype, gemm.epilogue, math, gemm.beta != 0)
        if key not in self._algorithms:
            self._algorithms[key] = self._ask(gemm, math)
        return self._algorithms[key]

    def _ask(self, gemm: Gemm | GemmCall, math: str) -> Algorithm | None:
        problem = _Problem(self, gemm, math, None, None)
        preference = ctypes.c_void_p()
        self._check("cublasLtMatmulPreferenceCreate", ctypes.byref(preference))
        try:
            room = ctypes.c_uint64(WORKSPACE_BYTES)
            self._check("cublasLtMatmulPreferenceSetAttribute", preference,
                        ctypes.c_int(MAX_WORKSPACE), ctypes.byref(room), ctypes.c_size_t(8))
            found, count = Algorithm(), ctypes.c_int()
            c = problem.layouts[2]
            status = self.library.cublasLtMatmulAlgoGetHeuristic(
                self.handle, problem.desc, *problem.layouts[:2], c, c, preference,
                ctypes.c_int(1), ctypes.byref(found), ctypes.byref(count))
        finally:
            self.library.cublasLtMatmulPreferenceDestroy(preference)
        return found if not status and count.value and not found.status else None

    def close(self) -> None:
        """Frees the handle."""
        if self.handle:
            self._check("cublasLtDestroy", self.handle)
            self.handle = ctypes.c_void_p()


class _Problem:
    """Descriptors of one product, freed with it. layouts: of our b, a and c."""

    def __init__(self, lt: CublasLt, gemm: Gemm | GemmCall, math: str, bias, aux) -> None:
        self.lt, self.desc, self.layouts = lt, ctypes.c_void_p(), []
        compute = COMPUTE_TF32 if gemm.dtype == "float32" and math == "tf32" else COMPUTE_FLOAT32
        lt._check("cublasLtMatmulDescCreate", ctypes.byref(self.desc), ctypes.c_int(compute),
                  ctypes.c_int(DATA_TYPES["float32"]))
        self._set(TRANS_A, ctypes.c_int32(gemm.trans_b))
        self._set(TRANS_B, ctypes.c_int32(gemm.trans_a))
        self._set(EPILOGUE_KIND, ctypes.c_uint32(EPILOGUE[gemm.epilogue]))
        if gemm.epilogue in WITH_AUX:
            mask = gemm.epilogue.startswith("relu")
            self._set(AUX_LD, ctypes.c_int64(mask_bytes(gemm.n) * 8 if mask else gemm.n))
            # asked about without memory, the library assumes the alignment of ours: 256 bytes
            self._set(AUX_POINTER, ctypes.c_void_p(aux.ptr if aux is not None else 256))
        if gemm.epilogue not in WITHOUT_BIAS:
            self._set(BIAS_POINTER, ctypes.c_void_p(bias.ptr if bias is not None else 256))
        lda = gemm.lda or (gemm.m if gemm.trans_a else gemm.k)
        ldb = gemm.ldb or (gemm.k if gemm.trans_b else gemm.n)
        for rows, columns, ld in ((gemm.k, gemm.n, ldb) if gemm.trans_b else
                                  (gemm.n, gemm.k, ldb),
                                  (gemm.m, gemm.k, lda) if gemm.trans_a else
                                  (gemm.k, gemm.m, lda),
                                  (gemm.n, gemm.m, gemm.ldc or gemm.n)):
            layout = ctypes.c_void_p()
            lt._check("cublasLtMatrixLayoutCreate", ctypes.byref(layout),
                      ctypes.c_int(DATA_TYPES[gemm.dtype]), ctypes.c_uint64(rows),
                      ctypes.c_uint64(columns), ctypes.c_int64(ld))
            self.layouts.append(layout)

    def _set(self, attribute: int, value) -> None:
        self.lt._check("cublasLtMatmulDescSetAttribute", self.desc, ctypes.c_int(attribute),
                       ctypes.byref(value), ctypes.c_size_t(ctypes.sizeof(value)))

    def __del__(self) -> None:
        if not self.lt.handle:                     # at the interpreter's end all is gone already
            return
        for layout in self.layouts:
            self.lt.library.cublasLtMatrixLayoutDestroy(layout)
        if self.desc:
            self.lt.library.cublasLtMatmulDescDestroy(self.desc)
