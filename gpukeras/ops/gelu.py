"""GELU: x * P(X <= x) for a normal X, exactly or by tanh.

One op each for the value and its gradient, so that the gradient needs x alone, and so that a
product before them can take them in (ops/epilogue.py).  Hendrycks, Gimpel 2016, arXiv:1606.08415.
"""
from __future__ import annotations

import numpy as np

from ..graph import Node, Tensor, gradients
from . import math as m
from .elementwise import Elementwise
from .record import Expr

ROOT_HALF = 0.7071067811865476
DENSITY_AT_0 = 0.3989422804014327                  # 1 / sqrt(2 pi)
SLOPE, CUBIC = 0.7978845608028654, 0.044715        # tanh form: SLOPE is sqrt(2 / pi)


def probability(x: np.ndarray, approximate: bool) -> np.ndarray:
    """P(X <= x)"""
    if approximate:
        return 0.5 * (1 + np.tanh(SLOPE * (x + CUBIC * x * x * x)))
    return 0.5 * (1 + m.Erf.ufunc(x * x.dtype.type(ROOT_HALF)))


def slope(x: np.ndarray, approximate: bool) -> np.ndarray:
    """The derivative of gelu at x."""
    p = probability(x, approximate)
    if approximate:                                # p = sigmoid(2 u): p' = 2 u' p (1 - p)
        return p + 2 * x * p * (1 - p) * SLOPE * (1 + 3 * CUBIC * x * x)
    return p + x * DENSITY_AT_0 * np.exp(-0.5 * x * x)


def _slope(x: Tensor, approximate: bool) -> Tensor:
    """`slope` as a graph: second derivatives follow from it."""
    if approximate:
        p = 0.5 * (1.0 + m.tanh(SLOPE * (x + CUBIC * x * x * x)))
        return p + 2.0 * x * p * (1.0 - p) * (SLOPE * (1.0 + 3 * CUBIC * x * x))
    return 0.5 * (1.0 + m.erf(x * ROOT_HALF)) + x * DENSITY_AT_0 * m.exp(-0.5 * x * x)


class Gelu(Elementwise):
    """x * P(X <= x); `approximate`: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))"""

    params = ("approximate",)
    cuda, result = Expr("gelu(a, {approximate} != 0)"), "float"

    def numpy(self, x):
        return x * probability(x, self.approximate)

    def into(self, out, x):
        np.multiply(x, probability(x, self.approximate), out=out)

    def grad(self, node: Node, gy: Tensor):
        return (GeluGrad(self.approximate)(gy, node.inputs[0]),)


class GeluGrad(Elementwise):
    """gy times the derivative of gelu at x."""

    params = ("approximate",)
    cuda, result = Expr("a * gelu_slope(b, {approximate} != 0)"), "float"

    def numpy(self, gy, x):
        return gy * slope(x, self.approximate)

    def into(self, out, gy, x):
        np.multiply(gy, slope(x, self.approximate), out=out)

    def grad(self, node: Node, gz: Tensor):
        gy, x = node.inputs
        second, = gradients([(_slope(x, self.approximate), gz * gy)], [x])
        return GeluGrad(self.approximate)(gz, x), second


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x * P(X <= x) for a normal X."""
    return Gelu(bool(approximate))(x)
