"""Op: the definition of an operation, all of it in one class."""
from __future__ import annotations

import itertools
from typing import Any, Callable, ClassVar, Sequence

import numpy as np

from ..errors import DtypeError, GraphError, ShapeError
from . import origin
from .tensor import Node, Tensor, intern
from .types import TensorType

Types = tuple[TensorType, ...]


def _frozen(value: Any) -> Any:
    if type(value) in (list, tuple):               # named tuples stay what they are
        return tuple(_frozen(v) for v in value)
    return value


class Op:
    """A pure function of tensors.

    A subclass gives `params` (its identity: equal class and parameters mean the same op), the
    shape rule
    `infer`, the gradient `grad`, the meaning `numpy`, and declares its CUDA kernel in `cuda`.
    Calling an op on tensors adds a node to the graph and returns its output, or a tuple of them.
    """

    params: ClassVar[tuple[str, ...]] = ()
    cuda: Any = None
    view: ClassVar[bool] = False                   # the output is input 0 under another shape
    opaque: ClassVar[tuple[int, ...]] = ()         # outputs whose bits are a library's own affair
    foldable: ClassVar[bool] = True                # constant inputs make a constant output

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        values = dict(zip(self.params, args, strict=False))
        surplus = set(kwargs) - set(self.params) or set(values) & set(kwargs)
        if len(args) > len(self.params) or surplus:
            raise TypeError(f"{type(self).__name__} takes {self.params}, got {args} and {kwargs}")
        values.update(kwargs)
        for name in self.params:
            if name not in values:
                values[name] = getattr(type(self), name)
            values[name] = _frozen(values[name])
        self.__dict__.update(values)
        # The types are part of the key since 1 == 1.0 == True in Python.
        self._key = (type(self), tuple((values[p], type(values[p])) for p in self.params))
        self._hash = hash(self._key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Op) and self._key == other._key)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        inside = ", ".join(f"{p}={getattr(self, p)!r}" for p in self.params)
        return f"{type(self).__name__}({inside})" if inside else type(self).__name__

    def __call__(self, *inputs: Tensor) -> Any:
        outputs = apply(self, inputs).outputs
        return outputs[0] if len(outputs) == 1 else outputs

    # ---- what a subclass defines

    def infer(self, *types: TensorType) -> TensorType | Types:
        """Types of the outputs. Raises ShapeError or DtypeError in the form "what: got …, expected
        …"."""
        raise NotImplementedError(f"{type(self).__name__}.infer")

    def grad(self, node: Node, *gys: Tensor | None) -> Sequence[Tensor | None]:
        """One gradient per input, or None where the output does not depend on it smoothly."""
        raise GraphError(f"{type(self).__name__} has no gradient")

    def numpy(self, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """The meaning of the op on arrays of concrete shape."""
        raise NotImplementedError(f"{type(self).__name__}.numpy")

    def host(self, ins: tuple[np.ndarray, ...], outs: tuple[np.ndarray, ...]
             ) -> Callable[[], None] | None:
        """A fast path: `run()` that fills `outs` from `ins`, arrays that stay bound for good; or
        None."""
        return None

    def flops(self, ins: Types, outs: Types) -> int:
        """Floating-point operations on tensors of these concrete types; about, for profiles."""
        return sum(t.size for t in outs)

    def static(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...] | None:
        """With all shapes known, what says the same without depending on shapes; or None."""
        return None


def where(at: origin.Origin) -> str:
    text = str(at)
    return f"\n  in {text}" if at.layer else f"\n  {text}" if text else ""


def apply(op: Op, inputs: Sequence[Tensor], at: origin.Origin | None = None) -> Node:
    """The node of `op` on `inputs`: types inferred now, so that a shape error names the user's
    line."""
    key = (op, tuple(map(id, inputs)))

    def make() -> Node:
        here = at or origin.current()
        try:
            types = op.infer(*(t.type for t in inputs))
        except (ShapeError, DtypeError) as error:
            if getattr(error, "placed", False):
                raise
            placed = type(error)(f"[{type(op).__name__}] {error}{where(here)}")
            placed.placed = True
            raise placed from None
        types = (types,) if isinstance(types, TensorType) else tuple(types)
        return Node(op, tuple(inputs), types, here)

    return intern(key, make)


_serial = itertools.count()


class Mark(Op):
    """y = x under an identity of its own, because equal nodes are one: a layer's output, a
    gradient.

    `tag` says what is marked; `serial` keeps two marks apart. Simplification removes marks.
    """

    params = ("tag", "serial")
    view = True

    def infer(self, x: TensorType) -> TensorType:
        return x

    def grad(self, node: Node, gy: Tensor) -> Sequence[Tensor]:
        return (gy,)

    def numpy(self, x: np.ndarray) -> np.ndarray:
        return x


def mark(x: Tensor, tag: str) -> Tensor:
    """A tensor equal to `x` that is no other tensor."""
    return Mark(tag, next(_serial))(x)


def unmarked(x: Tensor) -> Tensor:
    """`x` without the marks around it."""
    while isinstance(x.node.op, Mark):
        x = x.node.inputs[0]
    return x
