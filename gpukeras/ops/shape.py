"""Rearranging elements: transpose, slice, pad, concatenate, repeat, reverse, pack."""
from __future__ import annotations

from math import prod
from typing import Any, Sequence

import numpy as np

from ..errors import ShapeError
from ..graph import Node, Op, Tensor, TensorType, as_tensor
from .broadcast import expand_dims, normal_axes, reshape, squeeze, sum_
from .math import cast, common_dtype
from .plans_copy import (plan_concat, plan_pack, plan_pad, plan_repeat, plan_reverse, plan_shift,
                         plan_slice, plan_tile, plan_transpose, plan_unslice)
from .record import VIEW, Kernel


class Transpose(Op):
    """Axis i of the result is axis perm[i] of x."""

    params = ("perm",)
    cuda = Kernel("transpose.cu", plan_transpose)

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.perm) != list(range(x.ndim)):
            raise ShapeError(f"got {x} and axes {self.perm}, expected each of 0..{x.ndim - 1} once")
        return x.with_shape(x.shape[p] for p in self.perm)

    def grad(self, node: Node, gy: Tensor):
        return (transpose(gy, tuple(np.argsort(self.perm))),)

    def numpy(self, x):
        return np.ascontiguousarray(x.transpose(self.perm))

    def host(self, ins, outs):
        (x,), (y,) = ins, outs
        view = x.transpose(self.perm)
        return lambda: np.copyto(y, view)


class Slice(Op):
    """x[start:stop:step] on each axis; None stands for an open end."""

    params = ("slices",)                           # ((start, stop, step), ...) per axis, step not 0
    cuda = Kernel("copy.cu", plan_slice)

    def infer(self, x: TensorType) -> TensorType:
        sizes = [None if d is None and s != (None, None, None) else
                 d if d is None else len(range(*slice(*s).indices(d)))
                 for d, s in zip(x.shape, self.slices)]
        return x.with_shape(sizes)

    def grad(self, node: Node, gy: Tensor):
        return (SliceGrad(self.slices)(gy, node.inputs[0]),)

    def index(self) -> tuple[slice, ...]:
        return tuple(slice(*s) for s in self.slices)

    def numpy(self, x):
        return np.ascontiguousarray(x[self.index()])

    def host(self, ins, outs):
        (x,), (y,) = ins, outs
        view = x[self.index()]
        return lambda: np.copyto(y, view)


class SliceGrad(Op):
    """gy at the sliced places, zeros elsewhere, in the shape of the second input."""

    params = ("slices",)

    def infer(self, gy: TensorType, like: TensorType) -> TensorType:
        return gy.with_shape(like.shape)

    def grad(self, node: Node, gz: Tensor):
        return Slice(self.slices)(gz), None

    def static(self, gy: Tensor, like: Tensor) -> Tensor | None:
        return Unslice(self.slices, like.shape)(gy) if like.type.is_static else None

    def numpy(self, gy, like):
        return Unslice(self.slices, like.shape).numpy(gy)


class Unslice(Op):
    """gy at the sliced places of `shape`, zeros elsewhere."""

    params = ("slices", "shape")
    cuda = Kernel("copy.cu", plan_unslice)

    def infer(self, gy: TensorType) -> TensorType:
        return gy.with_shape(self.shape)

    def grad(self, node: Node, gz: Tensor):
        return (Slice(self.slices)(gz),)

    def numpy(self, gy):
        out = np.zeros(self.shape, gy.dtype)
        out[tuple(slice(*s) for s in self.slices)] = gy
        return out

    def host(self, ins, outs):
        (gy,), (y,) = ins, outs
        view = y[tuple(slice(*s) for s in self.slices)]

        def run() -> None:
            y.fill(0)
            np.copyto(view, gy)
        return run


class Pad(Op):
    """x with pads[axis] = (before, after) elements of `value` around it."""

    params = ("pads", "value")
    cuda = Kernel("copy.cu", plan_pad)
    value = 0.0

    def infer(self, x: TensorType) -> TensorType:
        if len(self.pads) != x.ndim:
            raise ShapeError(f"got {x} and pads {self.pads}, expected one pair per axis")
        return x.with_shape(None if d is None else d + a + b
                            for d, (a, b) in zip(x.shape, self.pads))

    def grad(self, node: Node, gy: Tensor):
        return (Slice(tuple((a or None, -b or None, None) for a, b in self.pads))(gy),)

    def numpy(self, x):
        return np.pad(x, self.pads, constant_values=self.value)

    def host(self, ins, outs):
        (x,), (y,) = ins, outs
        middle = y[tuple(slice(a, a + d) for d, (a, _) in zip(x.shape, self.pads))]

        def run() -> None:
            y.fill(self.value)
            np.copyto(middle, x)
        return run


class Concat(Op):
    """The inputs one after another along `axis`."""

    params = ("axis",)
    cuda = Kernel("copy.cu", plan_concat)

    def infer(self, *xs: TensorType) -> TensorType:
        axis, = normal_axes(self.axis, xs[0].ndim)
        shape = list(xs[0].shape)
        for x in xs[1:]:
            if x.ndim != len(shape) or any(
                    a != b and None not in (a, b)
                    for i, (a, b) in enumerate(zip(shape, x.shape)) if i != axis):
                raise ShapeError(f"cannot join along axis {axis}: got {', '.join(map(str, xs))}, "
                                 "expected equal sizes on all other axes")
            shape = [a if a is not None else b for a, b in zip(shape, x.shape)]
        sizes = [x.shape[axis] for x in xs]
        shape[axis] = None if None in sizes else sum(sizes)
        return xs[0].with_shape(shape)

    def grad(self, node: Node, gy: Tensor):
        return [ConcatGrad(self.axis, i)(gy, *node.inputs) for i in range(len(node.inputs))]

    def numpy(self, *xs):
        return np.concatenate(xs, self.axis)

    def host(self, ins, outs):
        y, = outs
        return lambda: np.concatenate(ins, self.axis, out=y)


class ConcatGrad(Op):
    """The part of gy that belongs to input `which` of a Concat (the inputs matter for their shapes
    only)."""

    params = ("axis", "which")

    def infer(self, gy: TensorType, *xs: TensorType) -> TensorType:
        return gy.with_shape(xs[self.which].shape)

    def grad(self, node: Node, gz: Tensor):
        zeros = [x * 0 for x in node.inputs[1:]]
        zeros[self.which] = gz
        return [Concat(self.axis)(*zeros)] + [None] * len(zeros)

    def static(self, gy: Tensor, *xs: Tensor) -> Tensor | None:
        sizes = [x.shape[self.axis] for x in xs]
        return None if None in sizes else slice_axis(gy, self.axis, *self._range(sizes))

    def numpy(self, gy, *xs):
        start, stop = self._range([x.shape[self.axis] for x in xs])
        return gy.take(range(start, stop), self.axis)

    def _range(self, sizes: Sequence[int]) -> tuple[int, int]:
        start = sum(sizes[:self.which])
        return start, start + sizes[self.which]


class Shift(Op):
    """x moved one place along `axis`; `first` (size 1 there) enters, and the last element leaves.

    reverse: moved the other way, so that `first` becomes the last one.
    """

    params = ("axis", "reverse")
    cuda = Kernel("copy.cu", plan_shift)
    reverse = False

    def infer(self, first: TensorType, x: TensorType) -> TensorType:
        wanted = tuple(1 if i == self.axis else d for i, d in enumerate(x.shape))
        fits = len(first.shape) == x.ndim and all(
            a == b or None in (a, b) for a, b in zip(first.shape, wanted))
        if not fits or first.dtype != x.dtype or x.shape[self.axis] == 0:
            raise ShapeError(f"got {first} to put before {x}, expected {x.with_shape(wanted)} and "
                             f"at least one place along axis {self.axis}")
        return x

    def grad(self, node: Node, gy: Tensor):
        ends = [(0, 1), (1, None)] if not self.reverse else [(-1, None), (0, -1)]
        g_first, g_rest = (slice_axis(gy, self.axis, *end) for end in ends)
        room = (1, 0) if self.reverse else (0, 1)
        pads = [room if i == self.axis else (0, 0) for i in range(gy.ndim)]
        return g_first, pad(g_rest, pads)

    def _parts(self, x, y) -> tuple:
        """(where `first` goes, what stays of x, where that goes)"""
        def at(part):
            return (slice(None),) * self.axis + (part,)
        if self.reverse:
            return y[at(slice(-1, None))], x[at(slice(1, None))], y[at(slice(None, -1))]
        return y[at(slice(1))], x[at(slice(None, -1))], y[at(slice(1, None))]

    def numpy(self, first, x):
        y = np.empty(x.shape, x.dtype)
        place, stays, to = self._parts(x, y)
        place[...], to[...] = first, stays
        return y

    def host(self, ins, outs):
        first, x = ins
        place, stays, to = self._parts(x, outs[0])

        def run() -> None:
            np.copyto(place, first)
            np.copyto(to, stays)
        return run


class Tile(Op):
    """x laid side by side reps[axis] times."""

    params = ("reps",)
    cuda = Kernel("copy.cu", plan_tile)

    def infer(self, x: TensorType) -> TensorType:
        if len(self.reps) != x.ndim:
            raise ShapeError(f"got {x} and {self.reps}, expected one count per axis")
        return x.with_shape(None if d is None else d * r for d, r in zip(x.shape, self.reps))

    def grad(self, node: Node, gy: Tensor):
        g = gy
        for axis, r in enumerate(self.reps):
            if r != 1:
                g = _fold(g, axis, r, node.inputs[0].shape[axis], outer=True)
        return (g,)

    def numpy(self, x):
        return np.tile(x, self.reps)


class Repeat(Op):
    """Each element of x `n` times in a row along `axis`."""

    params = ("n", "axis")
    cuda = Kernel("copy.cu", plan_repeat)

    def infer(self, x: TensorType) -> TensorType:
        shape = list(x.shape)
        if shape[self.axis] is not None:
            shape[self.axis] *= self.n
        return x.with_shape(shape)

    def grad(self, node: Node, gy: Tensor):
        return (_fold(gy, self.axis, self.n, node.inputs[0].shape[self.axis], outer=False),)

    def numpy(self, x):
        return np.repeat(x, self.n, self.axis)


def _fold(g: Tensor, axis: int, n: int, size: int | None, outer: bool) -> Tensor:
    """The sum of the n copies of each element along `axis`; `outer`: copies are whole blocks."""
    if outer and size is None:
        raise ShapeError(f"the gradient of tile needs a known size at axis {axis}: got {g.type}")
    parts = [slice_axis(g, axis, i * size, (i + 1) * size) if outer else _strided(g, axis, i, n)
             for i in range(n)]
    total = parts[0]
    for p in parts[1:]:
        total = total + p
    return total


def _strided(g: Tensor, axis: int, start: int, step: int) -> Tensor:
    slices = [(None, None, None)] * g.ndim
    slices[axis] = (start, None, step)
    return Slice(tuple(slices))(g)


class Reverse(Op):
    """x with the order of elements along `axes` turned around."""

    params = ("axes",)
    cuda = Kernel("copy.cu", plan_reverse)

    def infer(self, x: TensorType) -> TensorType:
        normal_axes(self.axes, x.ndim)
        return x

    def grad(self, node: Node, gy: Tensor):
        return (Reverse(self.axes)(gy),)

    def numpy(self, x):
        return np.ascontiguousarray(np.flip(x, self.axes))

    def host(self, ins, outs):
        (x,), (y,) = ins, outs
        view = np.flip(x, self.axes)
        return lambda: np.copyto(y, view)


PACK_ALIGN = 32                                    # elements: a GPU memory line of float32


class Pack(Op):
    """The inputs flattened into one vector, each at a multiple of PACK_ALIGN; the gaps hold
    anything finite.

    The planner lets the inputs be computed in place inside the vector, so packing costs nothing.
    """

    align = PACK_ALIGN
    cuda = Kernel("copy.cu", plan_pack)

    def infer(self, *xs: TensorType) -> TensorType:
        return TensorType(xs[0].dtype, (pack_offsets(xs)[-1],))

    def numpy(self, *xs):
        offsets = pack_offsets(xs)
        out = np.zeros(offsets[-1], xs[0].dtype)
        for x, offset in zip(xs, offsets):
            out[offset:offset + x.size] = x.reshape(-1)
        return out


class Part(Op):
    """The elements of a vector from `start` on, in a shape; they stay where they are."""

    params = ("start", "shape")
    view = True
    cuda = VIEW

    def infer(self, x: TensorType) -> TensorType:
        end = self.start + prod(self.shape)
        if x.ndim != 1 or (x.shape[0] is not None and end > x.shape[0]):
            raise ShapeError(f"got {x}, expected a vector of at least {end} elements")
        return x.with_shape(self.shape)

    def grad(self, node: Node, gy: Tensor):
        x, = node.inputs
        size = prod(self.shape)
        return (pad(reshape(gy, (size,)), [(self.start, x.shape[0] - self.start - size)]),)

    def numpy(self, x):
        return x[self.start:self.start + prod(self.shape)].reshape(self.shape)


def pack_offsets(xs: Sequence[Any]) -> list[int]:
    """Where each of the tensors starts in a Pack, in elements, and at the end the length of the
    whole."""
    offsets = [0]
    for x in xs:
        offsets.append(offsets[-1] + -(-prod(x.shape) // PACK_ALIGN) * PACK_ALIGN)
    return offsets


# ---- functions

def transpose(x: Tensor, perm: Sequence[int] | None = None) -> Tensor:
    """x with permuted axes; None reverses their order."""
    perm = range(x.ndim)[::-1] if perm is None else perm
    perm = tuple(int(p) % max(x.ndim, 1) for p in perm)
    return x if perm == tuple(range(x.ndim)) else Transpose(perm)(x)


def slice_axis(x: Tensor, axis: int, start: int | None, stop: int | None) -> Tensor:
    """x[start:stop] along one axis."""
    slices = [(None, None, None)] * x.ndim
    slices[axis] = (start, stop, None)
    return Slice(tuple(slices))(x)


def pad(x: Tensor, pads: Sequence[Sequence[int]], value: float = 0.0) -> Tensor:
    """x with (before, after) extra elements of `value` on each axis."""
    pads = tuple((int(a), int(b)) for a, b in pads)
    return Pad(pads, float(value))(x) if any(a or b for a, b in pads) else x


def concat(xs: Sequence[Any], axis: int = -1) -> Tensor:
    """The tensors joined along an axis."""
    xs = common_dtype(xs)
    return Concat(normal_axes(axis, xs[0].ndim)[0])(*xs) if len(xs) > 1 else xs[0]


def shift(first: Tensor, x: Tensor, axis: int, reverse: bool = False) -> Tensor:
    """x moved one place along an axis, with `first` in the place that becomes free."""
    return Shift(normal_axes(axis, x.ndim)[0], bool(reverse))(first, x)


def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors joined along a new axis."""
    xs = common_dtype(xs)
    axis = axis % (xs[0].ndim + 1)
    return concat([expand_dims(x, axis) for x in xs], axis)


def tile(x: Tensor, reps: Sequence[int]) -> Tensor:
    reps = tuple(int(r) for r in reps)
    return Tile(reps)(x) if any(r != 1 for r in reps) else x


def repeat(x: Tensor, n: int, axis: int) -> Tensor:
    return Repeat(int(n), normal_axes(axis, x.ndim)[0])(x) if n != 1 else x


def reverse(x: Tensor, axes: int | Sequence[int]) -> Tensor:
    axes = normal_axes(axes, x.ndim)
    return Reverse(axes)(x) if axes else x


def pack(xs: Sequence[Tensor]) -> Tensor:
    """The tensors flattened into one aligned vector."""
    return Pack()(*xs)


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key] for integers, slices, None and ... as in NumPy; other tensors as index need
    K.gather."""
    key = key if isinstance(key, tuple) else (key,)
    if any(isinstance(k, (Tensor, list, np.ndarray)) for k in key):
        raise ShapeError(f"index of type {type(key[0]).__name__}: expected integers and slices. "
                         "Try: K.gather(x, indices)")
    used = sum(k is not None and k is not Ellipsis for k in key)
    if used > x.ndim:
        raise ShapeError(f"too many indices: got {used} for {x.type}")
    at = key.index(Ellipsis) if Ellipsis in key else len(key)
    key = key[:at] + (slice(None),) * (x.ndim - used) + key[at + 1:]
    slices: list = []
    drop: list[int] = []
    new: list[int] = []
    for k in key:
        if k is None:
            new.append(len(slices) - len(drop) + len(new))
        elif isinstance(k, slice):
            slices.append((k.start, k.stop, k.step))
        else:
            size, k = x.shape[len(slices)], int(k)
            if size is not None and not -size <= k < size:
                raise ShapeError(f"index {k} is out of range for axis {len(slices)} of {x.type}")
            drop.append(len(slices))
            slices.append((k, k + 1 if k != -1 else None, None))
    if any(s != (None, None, None) for s in slices):
        x = Slice(tuple(slices))(x)
    x = squeeze(x, drop) if drop else x
    return expand_dims(x, new) if new else x


Tensor.__getitem__ = getitem


def flatten(x: Tensor) -> Tensor:
    """All elements as one vector."""
    return reshape(x, (-1,))


def any_(x: Tensor, axes=None, keepdims: bool = False) -> Tensor:
    """True where some element over the axes is true."""
    return sum_(cast(cast(as_tensor(x), "bool"), "int32"), axes, keepdims) > 0
