"""A stand-in for cuBLASLt over host memory: column-major, as its documentation says."""
import ctypes
import itertools

import numpy as np
from fakes import NAMES, column_major

from gpukeras.graph.halves import convert, numpy_dtype, plain

OK, NOT_SUPPORTED = 0, 15
RELU, BIAS, D_RELU, B_GRAD, GELU, D_GELU, AUX, B_GRAD_A = 2, 4, 8, 16, 32, 64, 128, 256


def tanh_gelu(x):
    """(value, derivative) of Hendrycks and Gimpel's approximation by tanh, arXiv:1606.08415."""
    x = x.astype("f8")
    factor, cube = np.sqrt(2 / np.pi), 0.044715
    t = np.tanh(factor * (x + cube * x ** 3))
    return (x * (1 + t) / 2,
            (1 + t) / 2 + x * (1 - t * t) * factor * (1 + 3 * cube * x * x) / 2)


class FakeCublasLt:
    """`refuses`: epilogues (cublasLtEpilogue_t) that no algorithm is found for."""

    def __init__(self, refuses=(), submit=None):
        self.refuses, self.made = set(refuses), {}
        self.live, self.asked, self.calls = set(), [], []
        self.numbers = itertools.count(1000)
        self.submit = submit or (lambda run: run())

    def _new(self, to, thing):
        to._obj.value = number = next(self.numbers)
        self.made[number] = thing
        self.live.add(number)
        return OK

    def _free(self, handle):
        self.live.remove(handle.value)
        return OK

    def cublasLtCreate(self, handle):
        handle._obj.value = 88
        return OK

    def cublasLtDestroy(self, handle):
        return OK

    def cublasLtMatmulDescCreate(self, to, compute, scale):
        return self._new(to, {"compute": compute.value, "scale": scale.value})

    def cublasLtMatmulDescSetAttribute(self, desc, attribute, value, size):
        assert ctypes.sizeof(value._obj) == size.value
        self.made[desc.value][attribute.value] = value._obj.value
        return OK

    def cublasLtMatrixLayoutCreate(self, to, kind, rows, columns, ld):
        assert ld.value >= rows.value
        return self._new(to, (numpy_dtype(NAMES[kind.value]), rows.value, columns.value, ld.value))

    def cublasLtMatmulPreferenceCreate(self, to):
        return self._new(to, {})

    def cublasLtMatmulPreferenceSetAttribute(self, preference, attribute, value, size):
        self.made[preference.value][attribute.value] = value._obj.value
        return OK

    cublasLtMatmulDescDestroy = cublasLtMatrixLayoutDestroy = _free
    cublasLtMatmulPreferenceDestroy = _free

    def cublasLtMatmulAlgoGetHeuristic(self, handle, desc, a, b, c, d, preference, wanted, found,
                                       count):
        assert handle.value == 88 and self.made[preference.value][1] and wanted.value == 1
        assert self.made[desc.value].get(8, 256) % 16 == 0      # the alignment of the bias
        epilogue = self.made[desc.value][7]
        self.asked.append(epilogue)
        if epilogue in self.refuses:
            return NOT_SUPPORTED
        found._obj.data[0], count._obj.value = epilogue, 1
        return OK

    def cublasLtMatmul(self, handle, desc, alpha, a, la, b, lb, beta, c, lc, d, ld, algorithm,
                       workspace, room, stream):
        problem = self.made[desc.value]
        assert algorithm._obj[0] == problem[7] and c.value == d.value
        self.calls.append((problem[7], problem["compute"], stream.value, workspace.value))
        self.submit(lambda: self._multiply(problem, alpha._obj.value, a, self.made[la.value], b,
                                           self.made[lb.value], beta._obj.value, d,
                                           self.made[ld.value]))
        return OK

    def _multiply(self, problem, alpha, a, la, b, lb, beta, d, ld):
        def matrix(p, layout):
            dtype, rows, columns, leading = layout
            return column_major(p.value, rows, columns, leading, dtype)

        x, y, out = plain(matrix(a, la)), plain(matrix(b, lb)), matrix(d, ld)
        x = (x.T if problem[3] else x).astype("f4")
        y = (y.T if problem[4] else y).astype("f4")
        result = alpha * (x @ y) + (beta * plain(out) if beta else 0)
        out[...] = convert(self._epilogue(problem, result, x, out.dtype), out.dtype)

    def _epilogue(self, problem, result, x, dtype):
        """On the column-major result: a bias is added to every column, for each row its own."""
        kind, rows = problem[7], len(result)
        if kind & (BIAS | B_GRAD | B_GRAD_A):
            bias = column_major(problem[8], rows, 1, rows, dtype)[:, 0]
        if kind & BIAS:
            result = result + plain(bias)[:, None]
        if kind & (GELU | D_GELU):
            return self._gelu(kind, problem, result, bias if kind & B_GRAD else None, dtype)
        if kind & AUX:
            assert problem[12] % 128 == 0 and problem[12] >= rows
            bits = column_major(problem[11], problem[12] // 8, result.shape[1], problem[12] // 8,
                                np.dtype("u1"))
        if kind & RELU:
            result = np.maximum(result, 0)
            if kind & AUX:
                packed = np.packbits(result > 0, axis=0, bitorder="little")
                bits[:len(packed)] = packed
        if kind & D_RELU:
            result = result * np.unpackbits(bits, axis=0, bitorder="little")[:rows]
        if kind & B_GRAD:
            bias[...] = convert(result.sum(1), dtype)
        if kind & B_GRAD_A:
            bias[...] = convert(x.sum(1), dtype)
        return result

    def _gelu(self, kind, problem, result, bias, dtype):
        """aux: what the gelu is taken of, a matrix like the result."""
        if kind & AUX:
            assert problem[12] % 8 == 0 and problem[12] >= len(result)
            x = column_major(problem[11], *result.shape, problem[12], dtype)
        if kind & GELU:
            if kind & AUX:
                x[...] = convert(result, dtype)
            return tanh_gelu(result)[0].astype(result.dtype)
        gradient = (result * tanh_gelu(plain(x))[1]).astype(result.dtype)
        if kind & B_GRAD:
            bias[...] = convert(gradient.sum(1), dtype)
        return gradient
