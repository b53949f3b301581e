"""Collectives: what the programs of several replicas tell each other, as ops.

Each replica computes with its own rows of the batch. `AllReduce` and `AllGather` stand where a
value of all rows is needed, `Exchange` is several of them at once. With one participant they are
the identity, which is what their NumPy code says; whoever runs replicas gives them their meaning.

`TakeRows` and `RandomRows` are a replica's part of what is the same everywhere; the number of its
first row is an input, so that replicas of equal size share one program.
"""
from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import ShapeError
from ..graph import Constant, Node, Op, Tensor, TensorType
from .composite import Composite
from .index import gather
from .shape import transpose

Types = tuple[TensorType, ...]


class Part(NamedTuple):
    """One value of an exchange. kind "sum": all replicas' values are added; "gather": they are put
    one after the other along `axis`, `size` rows in all."""

    kind: str
    axis: int = 0
    size: int = 0

    def whole(self, part: TensorType) -> TensorType:
        """The type of the result."""
        if self.kind == "sum":
            return part
        return part.with_shape(self.size if i == self.axis else d
                               for i, d in enumerate(part.shape))


class Collective(Op):
    """An op that every replica must come to."""

    foldable = False

    def grad(self, node: Node, *gys):
        raise NotImplementedError("collectives are put in after gradients are taken")


class AllReduce(Collective):
    """The sum of x over all replicas, the same bits on each of them."""

    part = Part("sum")

    def infer(self, x: TensorType) -> TensorType:
        return x

    def numpy(self, x):
        return x


class AllGather(Collective):
    """The x of all replicas, one after the other along `axis`: `size` rows in all."""

    params = ("axis", "size")

    @property
    def part(self) -> Part:
        return Part("gather", self.axis, self.size)

    def infer(self, x: TensorType) -> TensorType:
        return self.part.whole(x)

    def numpy(self, x):
        return _alone(self.part, x)


class Exchange(Collective):
    """Several sums and gathers at once, which do not depend on each other; one per input."""

    params = ("parts",)

    def infer(self, *xs: TensorType) -> Types:
        return tuple(part.whole(x) for part, x in zip(self.parts, xs, strict=True))

    def numpy(self, *xs):
        values = tuple(_alone(part, x) for part, x in zip(self.parts, xs, strict=True))
        return values[0] if len(values) == 1 else values


def _alone(part: Part, x: np.ndarray) -> np.ndarray:
    if part.kind == "gather" and x.shape[part.axis] != part.size:
        raise ShapeError(f"got {x.shape[part.axis]} rows of {part.size}, and nobody to ask for "
                         "the others: a replica's program runs in a team only")
    return x


# ------------------------------------------------------------------------------ parts

class TakeRows(Composite):
    """`rows` rows of x along `axis`, from row `first` on.   (x, int64 scalar)"""

    params = ("axis", "rows")

    def infer(self, x: TensorType, first: TensorType) -> TensorType:
        return x.with_shape(self.rows if i == self.axis else d for i, d in enumerate(x.shape))

    def expand(self, x: Tensor, first: Tensor) -> Tensor:
        rows = first + Constant(np.arange(self.rows, dtype="int64"))
        if not self.axis:
            return gather(x, rows)
        perm = (self.axis, *(i for i in range(x.ndim) if i != self.axis))
        return transpose(gather(transpose(x, perm), rows), tuple(np.argsort(perm)))

    def numpy(self, x, first):
        return np.ascontiguousarray(x[self._index(first)])

    def host(self, ins, outs):
        (x, first), (y,) = ins, outs
        return lambda: np.copyto(y, x[self._index(first)])

    def _index(self, first) -> tuple[slice, ...]:
        at = int(first)
        return (slice(None),) * self.axis + (slice(at, at + self.rows),)


class RandomRows(Composite):
    """`rows` rows, from row `first` on, of what the random op `draw` gives.

    (step, int64 scalar) -> (rows, *draw.shape[1:]). An element depends on its place in the whole,
    so the masks of a batch do not depend on how it was cut.
    """

    params = ("draw", "rows")

    def infer(self, step: TensorType, first: TensorType) -> TensorType:
        return TensorType(self.draw.dtype, (self.rows, *self.draw.shape[1:]))

    def expand(self, step: Tensor, first: Tensor) -> Tensor:
        return TakeRows(0, self.rows)(self.draw(step), first)

    def numpy(self, step, first):
        out = np.empty((self.rows, *self.draw.shape[1:]), self.draw.dtype)
        self._fill(int(step), int(first), out.reshape(-1))
        return out

    def host(self, ins, outs):
        (step, first), flat = ins, outs[0].reshape(-1)
        return lambda: self._fill(int(step), int(first), flat)

    def _fill(self, step: int, first: int, flat: np.ndarray) -> None:
        start = first * prod(self.draw.shape[1:])
        end, chunk = start + flat.size, self.draw.chunk
        for at in range(start - start % 16, end, chunk):      # draws begin at multiples of 16
            a, b = max(at, start), min(at + chunk, end)
            flat[a - start:b - start] = self.draw.draw(step, at, b - at)[a - at:]
