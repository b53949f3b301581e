"""Lower: on the host a 16-bit float is a float32 that was rounded.

NumPy computes with float16 one element at a time and with bfloat16 not at all. What the tensor
cores do is fast there: products and sums of 16-bit numbers in float32. So every op runs in float32,
and its result is rounded where a device would write it to memory as 16 bits: behind every op that
is not elementwise, and behind a chain of elementwise ones. Inputs, variables and outputs keep their
types.
"""
from __future__ import annotations

from ..graph import Constant, Graph, Mark, Node, Op, Tensor, apply, toposort
from ..graph.halves import HALF
from ..graph.leaves import Leaf
from ..ops import broadcast as b
from ..ops import math as m
from ..ops import shape as s
from ..ops.halves import ROUND, LoadBfloat16, StoreBfloat16
from ..ops.pool import MaxPool
from ..ops.scan import Scan
from .rules import is_elementwise

# of rounded numbers these make nothing but rounded numbers
_KEEPS = (Mark, b.BroadcastTo, b.Reshape, m.Relu, m.ReluGrad, m.Neg, m.Abs, m.Sign, m.Maximum,
          m.Minimum, m.Copy, m.StopGradient, m.Where, MaxPool, s.Transpose, s.Slice, s.Concat,
          s.Pad, s.Tile, s.Repeat, s.Reverse, s.Pack, s.Shift)


def lower(graph: Graph) -> Graph:
    """f(x:f16) -> round(f(cast(x, float32)))"""
    order = toposort(graph.roots)
    if not any(t.dtype in HALF for n in order for t in (*n.outputs, *n.inputs)):
        return graph
    walk = _Lowering()
    for node in order:
        walk.visit(node)
    return graph.with_roots(walk.stored(t) for t in graph.roots)


class _Lowering:
    """What stands for each tensor: `now[t]`, float32 for 16-bit ones, which may not be rounded yet
    unless it is in `exact`."""

    def __init__(self) -> None:
        self.now: dict[Tensor, Tensor] = {}
        self.exact: set[Tensor] = set()

    def visit(self, node: Node) -> None:
        if isinstance(node.op, Leaf):
            for t in node.outputs:
                self.now[t] = _loaded(t) if t.dtype in HALF else t
                self.exact.add(t)
            return
        if not any(t.dtype in HALF for t in (*node.inputs, *node.outputs)):
            self._put(node, apply(node.op, self._of(node, self.now.get), node.origin).outputs)
            return
        if isinstance(node.op, Scan):              # its body is lowered when it is compiled
            made = apply(node.op, self._of(node, self.stored), node.origin).outputs
            self._put(node, [_loaded(t) if t.dtype in HALF else t for t in made])
            self.exact.update(node.outputs)
            return
        chain = is_elementwise(node.op)
        inputs = self._of(node, self.now.get if chain else self.rounded)
        made = apply(_in_float32(node.op), inputs, node.origin).outputs
        self._put(node, [m.cast(y, "float32") if old.dtype in HALF else y
                         for old, y in zip(node.outputs, made)])
        for t in node.outputs:
            if t.dtype in HALF:
                if isinstance(node.op, m.Cast):    # who asks for a rounding gets it
                    self.now[t] = ROUND[t.dtype](self.now[t])
                    self.exact.add(t)
                elif isinstance(node.op, _KEEPS) and all(
                        u in self.exact or not chain for u in node.inputs if u.dtype in HALF):
                    self.exact.add(t)
                elif not chain:
                    self.rounded(t)

    def _of(self, node: Node, how) -> tuple[Tensor, ...]:
        return tuple(how(t) for t in node.inputs)

    def _put(self, node: Node, made) -> None:
        self.now.update(zip(node.outputs, made))

    def rounded(self, t: Tensor) -> Tensor:
        """What stands for `t`, rounded if it is a 16-bit float."""
        if t.dtype in HALF and t not in self.exact:
            self.exact.add(t)
            self.now[t] = ROUND[t.dtype](self.now[t])
        return self.now[t]

    def stored(self, t: Tensor) -> Tensor:
        """`t` in its own type."""
        if t.dtype not in HALF:
            return self.now[t]
        return (StoreBfloat16()(self.now[t]) if t.dtype == "bfloat16"
                else m.cast(self.now[t], "float16"))


def _loaded(t: Tensor) -> Tensor:
    if isinstance(t, Constant):
        return Constant(t.value, "float32")
    return LoadBfloat16()(t) if t.dtype == "bfloat16" else m.cast(t, "float32")


def _in_float32(op: Op) -> Op:
    """The op with float32 where it names a 16-bit type."""
    if getattr(op, "dtype", None) not in HALF or "dtype" not in op.params:
        return op
    return type(op)(**{**{p: getattr(op, p) for p in op.params}, "dtype": "float32"})
