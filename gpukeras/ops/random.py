"""Counter-based random numbers, the same on every device.

The bits are those of numpy.random.Philox (Philox4x64-10; Salmon, Moraes, Dror, Shaw 2011) with key
(seed, salt of the op) and counter (block, 0, step, 0): on the host NumPy's own C code makes them,
cuda_kernels/random.cu makes the same ones. An element depends on seed, kind of op, step and its
index only, so a run is repeatable on any device.

`step` is an int64 scalar tensor; by default the global counter, which function() moves on after
each call. Ops take it as first input, and as second input, where sizes in `shape` are None, a
tensor that has those sizes.
"""
from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph import (Constant, Node, Op, Tensor, TensorType, Variable, as_tensor,
                     broadcast_shapes, is_float)
from ..graph.halves import values_dtype
from .broadcast import sum_like
from .math import Elementwise, cast
from .plans import THREADS, arithmetic, defines, grid_for
from .record import Expr, In, Kernel, Launch, LaunchPlan, Out

Types = tuple[TensorType, ...]

_step: Variable | None = None


def step() -> Variable:
    """The global counter of random draws. A function that reads it adds 1 after each call."""
    global _step
    if _step is None:
        _step = Variable(np.int64(0), name="random_step", trainable=False)
        _step.counts_calls = True
    return _step


def reset_step() -> None:
    """Forget the global counter; the next `step()` starts at 0."""
    global _step
    _step = None


def fresh_seed() -> int:
    """A seed from NumPy's global generator, so that np.random.seed makes a program repeatable."""
    return int(np.random.randint(1 << 31))


def raw_words(seed: int, salt: int, step: int, blocks: int, first: int = 0) -> np.ndarray:
    """4 * blocks uint64: the random bits of blocks first, first + 1, ..."""
    mask = (1 << 64) - 1
    key = np.array([seed & mask, salt & mask], np.uint64)
    counter = np.array([first, 0, int(step) & mask, 0], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(4 * blocks)


class _Random(Op):
    """An op on (step[, like]); `draw(step, start, n)` gives n elements from `start` on."""

    foldable = False
    chunk = 1 << 14                                # elements drawn at a time, for the cache
    salt: int
    shape: tuple
    seed: int
    dtype = "float32"
    entry: str

    def infer(self, step: TensorType, like: TensorType | None = None) -> TensorType:
        if step.dtype != "int64" or step.ndim:
            raise DtypeError(f"step: got {step}, expected i64[]")
        return TensorType(self.dtype, self._shape(like))

    def _shape(self, like: Any) -> tuple:
        if None not in self.shape:
            return self.shape
        if like is None or len(like.shape) != len(self.shape):
            raise ShapeError(f"sizes are unknown: got {self.shape} and {like}, expected a tensor "
                             "of the same rank to take them from")
        return tuple(a if a is not None else b for a, b in zip(self.shape, like.shape))

    def static(self, step: Tensor, like: Tensor | None = None) -> Tensor | None:
        if like is None:
            return None
        shape = self._shape(like)
        if None in shape:
            return None
        values = {name: getattr(self, name) for name in self.params}
        return type(self)(**{**values, "shape": shape})(step)

    def grad(self, node: Node, gy: Tensor):
        return (None,) * len(node.inputs)

    def numpy(self, step, like=None):
        out = np.empty(self._shape(like), values_dtype(self.dtype))
        self._fill(int(step), out.reshape(-1))
        return out

    def host(self, ins, outs):
        counter, flat = ins[0], outs[0].reshape(-1)
        return lambda: self._fill(int(counter), flat)

    def _fill(self, step: int, flat: np.ndarray) -> None:
        for start in range(0, flat.size, self.chunk):
            part = flat[start:start + self.chunk]
            part[...] = self.draw(step, start, part.size)

    def draw(self, step: int, start: int, n: int) -> np.ndarray:
        """start is a multiple of 16."""
        raise NotImplementedError

    def bits(self, step: int, start: int, n: int) -> np.ndarray:
        """Random integers for n elements: 64 bits each for float64, 16 for bool, else 32."""
        per_block, kind = {"float64": (4, "u8"), "bool": (16, "u2")}.get(self.dtype, (8, "u4"))
        words = raw_words(self.seed, self.salt, step, -(-n // per_block), start // per_block)
        return words.view(kind)[:n]

    def open_unit(self, step: int, start: int, n: int) -> np.ndarray:
        """n numbers in (0, 1), float64."""
        bits = self.bits(step, start, n)
        if self.dtype == "float64":
            return ((bits >> np.uint64(12)).astype("float64") + 0.5) * 2.0 ** -52
        return (bits.astype("float64") + 0.5) * 2.0 ** -32

    def scalars(self) -> tuple[np.generic, ...]:
        """The arguments of the kernel after (step, y, n, seed, salt)."""
        raise NotImplementedError

    def plan(self, ins: Types, outs: Types) -> LaunchPlan:
        y, = outs
        if not y.size:
            return LaunchPlan(())
        per_block = 16 if y.dtype == "bool" else 4 if y.dtype == "float64" else 8
        mask = (1 << 64) - 1
        args = (In(0), Out(0), np.int64(y.size), np.uint64(self.seed & mask), np.uint64(self.salt),
                *self.scalars())
        names = () if y.dtype == "bool" else defines(T=y.dtype)
        return LaunchPlan((Launch(self.entry, grid_for(-(-y.size // per_block)), (THREADS,), args,
                                  defines=names),))

    cuda = Kernel("random.cu", lambda op, ins, outs: op.plan(ins, outs))


class RandomUniform(_Random):
    """Uniform numbers in [low, high), of 24 random bits (float64: 53)."""

    params = ("shape", "low", "high", "seed", "dtype")
    salt, entry = 1, "random_uniform_fwd"

    def draw(self, step, start, n):
        work = arithmetic(self.dtype)
        low, span = self.scalars()
        bits = self.bits(step, start, n)
        if work == "float64":
            u = (bits >> np.uint64(11)) * 2.0 ** -53
        else:
            u = (bits >> np.uint32(8)).astype("float32")
            u *= np.float32(2.0 ** -24)
        u *= span
        u += low
        return u.astype(values_dtype(self.dtype), copy=False)

    def scalars(self):
        kind = np.dtype(arithmetic(self.dtype)).type
        return kind(self.low), kind(self.high - self.low)


class RandomNormal(_Random):
    """Normal numbers by Box and Muller 1958, in double, then rounded."""

    params = ("shape", "mean", "stddev", "seed", "dtype")
    salt, entry = 2, "random_normal_fwd"

    def draw(self, step, start, n):
        u = self.open_unit(step, start, n + n % 2)
        radius = np.sqrt(-2.0 * np.log(u[0::2]))
        angle = 6.283185307179586 * u[1::2]
        u[0::2] = radius * np.cos(angle) * self.stddev + self.mean
        u[1::2] = radius * np.sin(angle) * self.stddev + self.mean
        return _rounded(u[:n], self.dtype)

    def scalars(self):
        return np.float64(self.mean), np.float64(self.stddev)


class TruncatedNormal(_Random):
    """Normal numbers within two standard deviations of the mean, by inverting the distribution.

    One uniform number makes one normal number: no rejection, so an element depends on its own bits.
    """

    params = ("shape", "mean", "stddev", "seed", "dtype")
    salt, entry = 3, "truncated_normal_fwd"
    p_low, p_span = 0.022750131948179195, 0.9544997361036416       # P(z < -2), P(-2 < z < 2)

    def draw(self, step, start, n):
        p = self.open_unit(step, start, n) * self.p_span + self.p_low
        return _rounded(normal_quantile(p) * self.stddev + self.mean, self.dtype)

    def scalars(self):
        return tuple(map(np.float64, (self.mean, self.stddev, self.p_low, self.p_span)))


def _rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """Rounded as the kernels do: first to the arithmetic type, then to `dtype`."""
    return x.astype(arithmetic(dtype), copy=False).astype(values_dtype(dtype), copy=False)


# Wichura 1988, algorithm AS 241 (PPND16): central part, then tails, numerator and denominator.
_A = (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
      13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080)
_B = (5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
      5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0)
_C = (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
      1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550,
      4.63033784615654529590, 1.42343711074968357734)
_D = (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
      1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940,
      2.05319162663775882187, 1.0)


def normal_quantile(p: np.ndarray) -> np.ndarray:
    """z with P(normal < z) = p, for 1e-10 < p < 1 - 1e-10, relative error 1e-16."""
    q = p - 0.5
    r = 0.180625 - q * q
    z = _poly(_A, r) * q / _poly(_B, r)
    tail = np.flatnonzero(np.abs(q) > 0.425)
    side = q[tail]
    r = np.sqrt(-np.log(np.where(side < 0, p[tail], 1.0 - p[tail]))) - 1.6
    z[tail] = np.copysign(_poly(_C, r) / _poly(_D, r), side)
    return z


def _poly(k: tuple[float, ...], r: np.ndarray) -> np.ndarray:
    total = np.full_like(r, k[0])
    for c in k[1:]:
        total *= r
        total += c
    return total


class RandomMask(_Random):
    """True with probability 1 - rate, in steps of 2**-16; 16 random bits an element."""

    params = ("shape", "rate", "seed")
    salt, entry = 4, "random_mask_fwd"
    dtype = "bool"
    chunk = 1 << 17

    @property
    def threshold(self) -> int:
        return round(self.rate * 65536)

    def draw(self, step, start, n):
        return self.bits(step, start, n) >= self.threshold

    def scalars(self):
        return (np.uint32(self.threshold),)


class MaskBits(Elementwise):
    """RandomMask as part of a fused kernel, which makes it again wherever it is needed.

    (step, key) -> bool: key (2,) holds the seed and a 0, data rather than text, so that all masks
    of a shape share a kernel. threshold: an element is true where its 16 bits are not below it.
    """

    params = ("shape", "threshold")
    cuda = Expr("mask_bit(e, (u64)a, (u64)b, {threshold})")            # e: the element's number

    def cast_inputs(self, inputs):
        return inputs

    def infer(self, step: TensorType, key: TensorType) -> TensorType:
        return TensorType("bool", self.shape)

    def numpy(self, step, key):
        seed = int(key[0]) & (1 << 64) - 1
        return RandomMask(self.shape, self.threshold / 65536, seed).numpy(step)

    def host(self, ins, outs):
        return None                                # RandomMask draws there


def mask_bits(mask: RandomMask, step: Tensor) -> Tensor:
    """The same booleans, elementwise."""
    seed = mask.seed & (1 << 64) - 1
    key = Constant(np.array([seed, 0], "uint64").view("int64"))
    return MaskBits(mask.shape, mask.threshold)(step, key)


class Dropout(Elementwise):
    """x * scale where the mask is true, else 0 (NaN stays NaN). The gradient uses the same mask."""

    params = ("scale",)
    cuda = Expr("b * (a ? {scale} : 0)")           # {scale} takes the type of the last input

    def cast_inputs(self, inputs):
        return inputs

    def infer(self, mask: TensorType, x: TensorType) -> TensorType:
        if not is_float(x.dtype) or mask.dtype != "bool":
            raise DtypeError(f"got mask {mask} and {x}, expected booleans and floats")
        return x.with_shape(broadcast_shapes(mask.shape, x.shape))

    def numpy(self, mask, x):
        return np.multiply(x, mask, dtype=x.dtype) * x.dtype.type(self.scale)

    def into(self, out, mask, x):
        np.multiply(x, mask, out=out)
        np.multiply(out, out.dtype.type(self.scale), out=out)

    def grad(self, node: Node, gy: Tensor):
        mask, x = node.inputs
        return None, sum_like(Dropout(self.scale)(mask, gy), x)


# ------------------------------------------------------------------------------ functions

Sizes = Sequence[int | None]


def _inputs(shape: Sizes, like: Tensor | None, at: Any) -> tuple[Tensor, ...]:
    at = step() if at is None else as_tensor(at, "int64")
    at = cast(at, "int64")
    return (at,) if None not in shape or like is None else (at, like)


def _shape(shape: Sizes) -> tuple:
    return tuple(None if d is None else int(d) for d in shape)


def random_uniform(shape: Sizes, low: float = 0.0, high: float = 1.0, dtype: str = "float32",
                   seed: int | None = None, step: Any = None, like: Tensor | None = None) -> Tensor:
    """Uniform numbers in [low, high). seed None: drawn from np.random; step None: the counter."""
    seed = fresh_seed() if seed is None else int(seed)
    op = RandomUniform(_shape(shape), float(low), float(high), seed, dtype)
    return op(*_inputs(shape, like, step))


def random_normal(shape: Sizes, mean: float = 0.0, stddev: float = 1.0, dtype: str = "float32",
                  seed: int | None = None, step: Any = None, like: Tensor | None = None) -> Tensor:
    """Normal numbers. seed None: drawn from np.random; step None: the global counter."""
    seed = fresh_seed() if seed is None else int(seed)
    op = RandomNormal(_shape(shape), float(mean), float(stddev), seed, dtype)
    return op(*_inputs(shape, like, step))


def truncated_normal(shape: Sizes, mean: float = 0.0, stddev: float = 1.0, dtype: str = "float32",
                     seed: int | None = None, step: Any = None,
                     like: Tensor | None = None) -> Tensor:
    """Normal numbers within two standard deviations of the mean."""
    seed = fresh_seed() if seed is None else int(seed)
    op = TruncatedNormal(_shape(shape), float(mean), float(stddev), seed, dtype)
    return op(*_inputs(shape, like, step))


def random_mask(shape: Sizes, rate: float, seed: int | None = None, step: Any = None,
                like: Tensor | None = None) -> Tensor:
    """Booleans, false with probability `rate`."""
    seed = fresh_seed() if seed is None else int(seed)
    return RandomMask(_shape(shape), float(rate), seed)(*_inputs(shape, like, step))


def random_binomial(shape: Sizes, p: float = 0.0, dtype: str = "float32", seed: int | None = None,
                    step: Any = None, like: Tensor | None = None) -> Tensor:
    """1 with probability p, else 0."""
    return cast(random_mask(shape, 1.0 - p, seed, step, like), dtype)


def dropout(x: Tensor, rate: float, seed: int | None = None, noise_shape: Sizes | None = None,
            step: Any = None) -> Tensor:
    """x with elements set to 0 with probability `rate`, the others divided by 1 - rate.

    noise_shape: the shape of the mask; 1 where elements share their fate, None for x's own size.
    """
    if not 0 <= rate < 1:
        raise ShapeError(f"dropout rate: got {rate}, expected 0 <= rate < 1")
    shape = x.shape if noise_shape is None else tuple(
        d if n is None else n for n, d in zip(_shape(noise_shape), x.shape, strict=True))
    mask = random_mask(shape, rate, seed, step, like=x)
    return Dropout(1.0 / (1.0 - rate))(mask, x)
