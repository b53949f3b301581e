"""Tensor (a value in the graph) and Node (an application of an op that makes one or more of
them)."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable
from weakref import WeakValueDictionary

from .origin import Origin
from .types import Shape, TensorType

if TYPE_CHECKING:
    from .op import Op


class Node:
    """An op applied to tensors. Equal ops on the same inputs are the same node (see `intern`)."""

    __slots__ = ("op", "inputs", "outputs", "origin", "__weakref__")

    def __init__(self, op: "Op", inputs: tuple["Tensor", ...], types: tuple[TensorType, ...],
                 origin: Origin) -> None:
        self.op = op
        self.inputs = inputs
        self.origin = origin
        self.outputs: tuple[Tensor, ...] = tuple(Tensor(self, i, t) for i, t in enumerate(types))

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(str(t.type) for t in self.inputs)})"


class Tensor:
    """A value: output `index` of `node`. `==` is identity; `K.equal` compares elements.

    The arithmetic operators build graph; ops/math.py and ops/index.py install them, being one
    floor up.
    """

    _name: str | None = None
    __array_priority__ = 1000                      # NumPy hands `array + tensor` over to the tensor
    __array_ufunc__ = None

    def __init__(self, node: Node, index: int, type: TensorType) -> None:
        self.node = node
        self.index = index
        self.type = type

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def name(self) -> str:
        return self._name or f"{type(self.node.op).__name__}:{self.index}"

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value

    def get_shape(self) -> Shape:
        """The static shape; kept because TensorFlow-era scripts call it."""
        return self.type.shape

    def __repr__(self) -> str:
        return f"<Tensor {self.name} {self.type}>"

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no value while the graph is being built, so it cannot "
                        "decide an `if`. Try: K.switch(condition, a, b), or K.eval(tensor).")

    def __len__(self) -> int:
        if not self.type.shape or self.type.shape[0] is None:
            raise TypeError(f"{self!r} has no known length. Try: K.int_shape(tensor)")
        return self.type.shape[0]

    def __iter__(self):
        # Without this, Python would call __getitem__ for ever on an unknown first axis.
        return (self[i] for i in range(len(self)))

    def __array__(self, *_args: Any, **_kwargs: Any):
        raise TypeError(f"{self!r} is symbolic and has no array. Try: K.eval(tensor)")


_nodes: WeakValueDictionary = WeakValueDictionary()


def intern(key: tuple, make: Callable[[], Node]) -> Node:
    """The living node with this key, or a new one.

    Keys hold ids of input tensors: they stay unique while the node lives, since it holds its
    inputs.
    """
    node = _nodes.get(key)
    if node is None:
        node = _nodes[key] = make()
    return node
