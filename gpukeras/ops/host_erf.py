"""The error function of arrays, which NumPy has not.

Where |x| < 1 it is Taylor's series, x * near(x^2).  Beyond, 1 - erf(|x|) = exp(-x^2) * far(t),
where t = (2.2 |x| - 5.2) / (|x| + 2) takes [1, 6] onto [-1, 1] and far, which is smooth there, is
a polynomial through values of math.erfc, made at the first use.
"""
from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

LAST = 6.0                                         # erf(6) is 1 in float64
DEGREES = {4: (9, 9), 8: (18, 22)}                 # near, far, by bytes of the type


def _far(t: float) -> float:
    x = (5.2 + 2 * t) / (2.2 - t)
    return math.exp(x * x) * math.erfc(x)


@lru_cache(None)
def _polynomials(itemsize: int) -> tuple[list[float], list[float]]:
    """Coefficients of near and far, the highest power first."""
    last, degree = DEGREES[itemsize]
    near = [2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1))
            for n in range(last, -1, -1)]
    far = np.polynomial.Chebyshev.interpolate(np.vectorize(_far), degree)
    return near, far.convert(kind=np.polynomial.Polynomial).coef[::-1].tolist()


def _horner(coefficients: list[float], x: np.ndarray) -> np.ndarray:
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y *= x
        y += x.dtype.type(c)
    return y


def erf(x: np.ndarray, out: np.ndarray) -> None:
    """out = erf(x), to 3e-7 (float32; 16-bit floats by way of it) or 3e-15 of the value."""
    shape = np.shape(x)
    x = np.atleast_1d(np.asarray(x, np.float64 if out.dtype == np.float64 else np.float32))
    near, far = _polynomials(x.dtype.itemsize)
    size = np.minimum(np.abs(x), x.dtype.type(LAST))
    y = np.copysign(1 - np.exp(-size * size) * _horner(far, (2.2 * size - 5.2) / (size + 2)), x)
    small = size < 1
    if small.any():
        kept = x[small]
        y[small] = kept * _horner(near, kept * kept)
    out[...] = y.reshape(shape)
