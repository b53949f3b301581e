"""Elementwise arithmetic. Each op has a NumPy function with `out=` and a CUDA expression, so it
can be fused. Sources of the formulas are the definitions themselves.
"""
from __future__ import annotations

from functools import partial
from typing import Any, Callable

import numpy as np

from ..graph import Constant, Tensor, TensorType, as_tensor, broadcast_shapes
from .broadcast import broadcast_like, sum_like
from .elementwise import Cast, Elementwise, cast, common_dtype, in_steps
from .host_erf import erf as host_erf
from .record import Expr


# ---- one input

class Neg(Elementwise):
    """-x"""
    ufunc, cuda = np.negative, Expr("-a")

    def grad(self, node, gy):
        return (-gy,)


class Abs(Elementwise):
    """|x|; the gradient at 0 is 0."""
    ufunc, cuda = np.abs, Expr("(a < 0 ? -a : a)")

    def grad(self, node, gy):
        return (gy * sign(node.inputs[0]),)


class Sign(Elementwise):
    """-1, 0 or 1"""
    ufunc, cuda = np.sign, Expr("(a > 0 ? 1 : a < 0 ? -1 : a)")

    def grad(self, node, gy):
        return (None,)


class Square(Elementwise):
    """x * x"""
    ufunc, cuda = np.square, Expr("a * a")

    def grad(self, node, gy):
        return (gy * (node.inputs[0] * 2),)


class Sqrt(Elementwise):
    """The square root; NaN below 0."""
    ufunc, cuda, result = np.sqrt, Expr("sqrt(a)"), "float"

    def grad(self, node, gy):
        return (gy * 0.5 / node.outputs[0],)


class Rsqrt(Elementwise):
    """1 / sqrt(x)"""
    cuda, result = Expr("rsqrt(a)"), "float"

    @in_steps
    def ufunc(out, x):
        np.sqrt(x, out=out)
        np.divide(1, out, out=out)

    def grad(self, node, gy):
        y, = node.outputs
        return (gy * (y * y * y) * -0.5,)


class Exp(Elementwise):
    """e^x"""
    ufunc, cuda, result = np.exp, Expr("exp(a)"), "float"

    def grad(self, node, gy):
        return (gy * node.outputs[0],)


class Log(Elementwise):
    """The natural logarithm."""
    ufunc, cuda, result = np.log, Expr("log(a)"), "float"

    def grad(self, node, gy):
        return (gy / node.inputs[0],)


class Log1p(Elementwise):
    """log(1 + x), exact near 0"""
    ufunc, cuda, result = np.log1p, Expr("log1p(a)"), "float"

    def grad(self, node, gy):
        return (gy / (node.inputs[0] + 1),)


class Expm1(Elementwise):
    """e^x - 1, exact near 0"""
    ufunc, cuda, result = np.expm1, Expr("expm1(a)"), "float"

    def grad(self, node, gy):
        return (gy * (node.outputs[0] + 1),)


class Sin(Elementwise):
    """sin x, x in radians"""
    ufunc, cuda, result = np.sin, Expr("sin(a)"), "float"

    def grad(self, node, gy):
        return (gy * cos(node.inputs[0]),)


class Cos(Elementwise):
    """cos x, x in radians"""
    ufunc, cuda, result = np.cos, Expr("cos(a)"), "float"

    def grad(self, node, gy):
        return (-gy * sin(node.inputs[0]),)


class Tanh(Elementwise):
    """The hyperbolic tangent."""
    ufunc, cuda, result = np.tanh, Expr("tanh(a)"), "float"

    def grad(self, node, gy):
        return (gy * (1 - square(node.outputs[0])),)


class Sigmoid(Elementwise):
    """1 / (1 + e^-x)"""
    cuda, result = Expr("(1 / (1 + exp(-a)))"), "float"

    @in_steps
    def ufunc(out, x):
        # By tanh: one call that NumPy vectorises, and no overflow at -90.
        np.multiply(x, 0.5, out=out)
        np.tanh(out, out=out)
        np.multiply(out, 0.5, out=out)
        np.add(out, 0.5, out=out)

    def grad(self, node, gy):
        y, = node.outputs
        return (gy * (y * (1 - y)),)


class Softplus(Elementwise):
    """log(1 + e^x), without overflow"""
    cuda, result = Expr("((a > 0 ? a : 0) + log1p(exp(a > 0 ? -a : a)))"), "float"

    @in_steps
    def ufunc(out, x):
        np.logaddexp(x, 0, out=out)

    def grad(self, node, gy):
        return (gy * sigmoid(node.inputs[0]),)


class Relu(Elementwise):
    """max(x, 0); NaN stays NaN"""
    cuda = Expr("(a < 0 ? 0 : a)")

    @in_steps
    def ufunc(out, x):
        np.maximum(x, 0, out=out)

    def bind(self, out, args, scratch):
        # NumPy's maximum is three times slower against one number than against an array
        zeros = scratch(f"zeros {out.dtype}", out.shape, out.dtype)
        zeros.fill(0)
        return [partial(np.maximum, *args, zeros, out=out)]

    def grad(self, node, gy):
        return (relu_grad(gy, node.outputs[0]),)


class ReluGrad(Elementwise):
    """gy where y > 0, else 0: the gradient of relu by its output, which pooling may already have
    thinned."""
    cuda = Expr("(b > 0 ? a : 0)")

    @in_steps
    def ufunc(out, gy, y):
        np.multiply(gy, y > 0, out=out)

    def bind(self, out, args, scratch):
        gy, y = args
        above = scratch("relu above", y.shape, bool)
        one = scratch("relu one", y.shape, gy.dtype)
        return [partial(np.greater, y, np.zeros((), y.dtype), out=above),
                partial(np.copyto, one, above),            # float * bool casts slowly
                partial(np.multiply, gy, one, out=out)]

    def grad(self, node, gz):
        return relu_grad(gz, node.inputs[1]), None


class Erf(Elementwise):
    """The error function (Abramowitz and Stegun 7.1.1)."""
    cuda, result = Expr("erf(a)"), "float"

    @in_steps
    def ufunc(out, x):
        host_erf(x, out)

    def grad(self, node, gy):
        return (gy * exp(-square(node.inputs[0])) * (2 / np.sqrt(np.pi)),)


class Clip(Elementwise):
    """x limited to [low, high]; the gradient is 1 inside and on the borders, else 0."""
    params = ("low", "high")
    cuda = Expr("(a < {low} ? {low} : a > {high} ? {high} : a)")

    def numpy(self, x):
        return np.clip(x, self.low, self.high).astype(x.dtype, copy=False)

    def into(self, out, x):
        np.maximum(x, self.low, out=out)
        np.minimum(out, self.high, out=out)

    def grad(self, node, gy):
        x, = node.inputs
        return (where(logical_and(x >= self.low, x <= self.high), gy, zeros_like(gy)),)


class _Stepwise(Elementwise):
    """A function whose gradient is zero wherever it has one."""

    def grad(self, node, *gys):
        return (None,) * len(node.inputs)


class Floor(_Stepwise):
    """The largest integer not above x."""
    ufunc, cuda = np.floor, Expr("floor(a)")


class Ceil(_Stepwise):
    """The smallest integer not below x."""
    ufunc, cuda = np.ceil, Expr("ceil(a)")


class Round(_Stepwise):
    """The nearest integer, halves to the even one."""
    ufunc, cuda = np.rint, Expr("rint(a)")


class IsNan(_Stepwise):
    """True where x is not a number."""
    ufunc, cuda, result = np.isnan, Expr("(a != a)"), "bool"


class LogicalNot(_Stepwise):
    """not x"""
    ufunc, cuda, result = np.logical_not, Expr("(!a)"), "bool"


class StopGradient(Elementwise):
    """x, through which no gradient passes"""
    renames = True
    ufunc, cuda = np.positive, Expr("a")

    def into(self, out, x):
        np.copyto(out, x)

    def numpy(self, x):
        return x

    def grad(self, node, gy):
        return (None,)


class Copy(Elementwise):
    """x, in memory of its own; the planner puts it where a value is about to be overwritten"""
    ufunc, cuda = np.positive, Expr("a")

    def into(self, out, x):
        np.copyto(out, x)

    def numpy(self, x):
        return np.array(x)

    def grad(self, node, gy):
        return (gy,)


# ---- two inputs

class _Binary(Elementwise):
    """Two inputs; `partials` gives the gradients before broadcasting is undone."""

    def grad(self, node, gy):
        a, b = node.inputs
        ga, gb = self.partials(gy, a, b, node.outputs[0])
        return sum_like(ga, a), sum_like(gb, b)


class Add(_Binary):
    """a + b"""
    ufunc, cuda = np.add, Expr("a + b")

    def partials(self, gy, a, b, y):
        return gy, gy


class Sub(_Binary):
    """a - b"""
    ufunc, cuda = np.subtract, Expr("a - b")

    def partials(self, gy, a, b, y):
        return gy, -gy


class Mul(_Binary):
    """a * b"""
    ufunc, cuda = np.multiply, Expr("a * b")

    def partials(self, gy, a, b, y):
        return gy * b, gy * a


class Div(_Binary):
    """a / b"""
    ufunc, cuda, result = np.divide, Expr("a / b"), "float"

    def partials(self, gy, a, b, y):
        return gy / b, -gy * (y / b)


class Pow(_Binary):
    """a ** b; the gradient by b needs a > 0"""
    ufunc, cuda = np.power, Expr("pow(a, b)")

    def partials(self, gy, a, b, y):
        positive = a > 0
        log_a = log(where(positive, a, ones_like(a)))
        return gy * b * a ** (b - 1), gy * where(positive, y * log_a, zeros_like(y))


class _Extreme(_Binary):
    """NumPy's maximum and minimum are three times slower against one number than against an array,
    so numbers are spread out first."""

    def bind(self, out, args, scratch):
        args, calls = list(args), []
        for i, a in enumerate(args):
            if a.size == 1 < out.size:
                args[i] = scratch(f"spread {i}", out.shape, a.dtype)
                calls.append(partial(np.copyto, args[i], a))
        return calls + super().bind(out, args, scratch)


class Maximum(_Extreme):
    """The larger one; at a tie the gradient goes to a, as in TensorFlow."""
    ufunc, cuda = np.maximum, Expr("(a > b || a != a ? a : b)")

    def partials(self, gy, a, b, y):
        return _choose(gy, a >= b)


class Minimum(_Extreme):
    """The smaller one; at a tie the gradient goes to a, as in TensorFlow."""
    ufunc, cuda = np.minimum, Expr("(a < b || a != a ? a : b)")

    def partials(self, gy, a, b, y):
        return _choose(gy, a <= b)


def _choose(gy, first):
    zero = zeros_like(gy)
    return where(first, gy, zero), where(first, zero, gy)


class FloorDiv(_Stepwise):
    """floor(a / b)"""
    ufunc, cuda = np.floor_divide, Expr("floor_div(a, b)")


class Mod(_Stepwise):
    """a - b * floor(a / b), with the sign of b"""
    ufunc, cuda = np.mod, Expr("floor_mod(a, b)")


class _Compare(_Stepwise):
    """Two inputs, a truth value."""
    result = "bool"


class Equal(_Compare):
    """a == b"""
    ufunc, cuda = np.equal, Expr("a == b")


class NotEqual(_Compare):
    """a != b"""
    ufunc, cuda = np.not_equal, Expr("a != b")


class Less(_Compare):
    """a < b"""
    ufunc, cuda = np.less, Expr("a < b")


class LessEqual(_Compare):
    """a <= b"""
    ufunc, cuda = np.less_equal, Expr("a <= b")


class Greater(_Compare):
    """a > b"""
    ufunc, cuda = np.greater, Expr("a > b")


class GreaterEqual(_Compare):
    """a >= b"""
    ufunc, cuda = np.greater_equal, Expr("a >= b")


class LogicalAnd(_Compare):
    """a and b"""
    ufunc, cuda = np.logical_and, Expr("(a && b)")


class LogicalOr(_Compare):
    """a or b"""
    ufunc, cuda = np.logical_or, Expr("(a || b)")


# ---- choosing

class Where(Elementwise):
    """b where the condition a holds, else c"""

    cuda = Expr("(a ? b : c)")

    def cast_inputs(self, inputs):
        condition = cast(as_tensor(inputs[0]), "bool")
        return (condition,) + common_dtype(inputs[1:])

    def infer(self, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
        return TensorType(a.dtype, broadcast_shapes(condition.shape, a.shape, b.shape))

    def static(self, condition, a, b):
        value = getattr(condition, "value", None)
        if value is None or value.ndim or a.shape != b.shape:
            return None
        return a if value else b                   # how the learning phase folds away

    def numpy(self, condition, a, b):
        return np.where(condition, a, b)

    def into(self, out, condition, a, b):
        if out is b or not (out is a or np.may_share_memory(out, a)):
            np.copyto(out, b)
            np.copyto(out, a, where=condition)
        else:
            np.copyto(out, np.where(condition, a, b))

    def grad(self, node, gy):
        condition, a, b = node.inputs
        zero = zeros_like(gy)
        ga, gb = where(condition, gy, zero), where(condition, zero, gy)
        return None, sum_like(ga, a), sum_like(gb, b)


# ---- functions

def _function(op_class: type[Elementwise]) -> Callable[..., Tensor]:
    op = op_class()

    def call(*inputs: Any) -> Tensor:
        return op(*inputs)
    call.__doc__ = op_class.__doc__
    return call


neg, abs_, sign, square, sqrt, rsqrt = map(_function, (Neg, Abs, Sign, Square, Sqrt, Rsqrt))
exp, log, log1p, expm1, sin, cos = map(_function, (Exp, Log, Log1p, Expm1, Sin, Cos))
tanh, sigmoid, softplus, relu, relu_grad = map(_function, (Tanh, Sigmoid, Softplus, Relu, ReluGrad))
erf, floor, ceil, round_, is_nan = map(_function, (Erf, Floor, Ceil, Round, IsNan))
stop_gradient, logical_not = map(_function, (StopGradient, LogicalNot))
add, sub, mul, div, pow_ = map(_function, (Add, Sub, Mul, Div, Pow))
maximum, minimum, floor_div, mod = map(_function, (Maximum, Minimum, FloorDiv, Mod))
equal, not_equal, less, less_equal = map(_function, (Equal, NotEqual, Less, LessEqual))
greater, greater_equal = map(_function, (Greater, GreaterEqual))
logical_and, logical_or, where = map(_function, (LogicalAnd, LogicalOr, Where))


def clip(x: Tensor, low: Any, high: Any) -> Tensor:
    """x limited to [low, high]; the gradient is 1 inside and on the borders, else 0."""
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        inside = logical_and(x >= low, x <= high)
        return where(inside, x, stop_gradient(minimum(maximum(x, low), high)))
    return Clip(float(low), float(high))(x)


def full_like(x: Tensor, value: float) -> Tensor:
    """A tensor of x's shape and type that holds `value` everywhere."""
    return broadcast_like(Constant(value, x.dtype), x) if x.ndim else Constant(value, x.dtype)


def zeros_like(x: Tensor) -> Tensor:
    return full_like(x, 0)


def ones_like(x: Tensor) -> Tensor:
    return full_like(x, 1)


def _install_operators() -> None:
    """Python's operators on tensors; `==` stays identity, as in the Keras 2 days."""
    binary = {"add": add, "sub": sub, "mul": mul, "truediv": div, "floordiv": floor_div, "mod": mod,
              "pow": pow_, "and": logical_and, "or": logical_or}
    for name, function in binary.items():
        setattr(Tensor, f"__{name}__", lambda a, b, f=function: f(a, b))
        setattr(Tensor, f"__r{name}__", lambda a, b, f=function: f(b, a))
    compare = {"lt": less, "le": less_equal, "gt": greater, "ge": greater_equal}
    for name, function in compare.items():
        setattr(Tensor, f"__{name}__", lambda a, b, f=function: f(a, b))
    for name, function in {"neg": neg, "abs": abs_, "invert": logical_not}.items():
        setattr(Tensor, f"__{name}__", lambda a, f=function: f(a))


_install_operators()
