"""Composite: an op whose meaning is a graph of other ops."""
from __future__ import annotations

import numpy as np

from ..graph import (Constant, Node, Op, Placeholder, Tensor, TensorType, constant_value,
                     gradients, rebuild, toposort)
from ..graph.halves import rounded
from ..graph.leaves import Leaf


class Composite(Op):
    """An op defined by `expand`. Type, gradient and NumPy code follow from it.

    A fast kernel is an option: declare `cuda`, override `host` or `numpy`; tests compare them with
    the
    expansion. Override `grad` only to name another Composite.
    """

    def expand(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The same values by other ops."""
        raise NotImplementedError(f"{type(self).__name__}.expand")

    def expansion(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`expand`, always as a tuple."""
        outputs = self.expand(*inputs)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)

    def infer(self, *types: TensorType) -> TensorType | tuple[TensorType, ...]:
        outs = self.expansion(*(Placeholder(t.dtype, t.shape) for t in types))
        return outs[0].type if len(outs) == 1 else tuple(t.type for t in outs)

    def grad(self, node: Node, *gys: Tensor | None):
        outs = self.expansion(*node.inputs)
        return gradients([(y, g) for y, g in zip(outs, gys) if g is not None], node.inputs)

    def numpy(self, *arrays: np.ndarray):
        values = self.run_expansion(*arrays)
        return values[0] if len(values) == 1 else values

    def run_expansion(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The values by the expansion, one op after another: the truth that kernels are held
        against."""
        inputs = [Placeholder(a.dtype.name, a.shape) for a in arrays]
        return evaluate(self.expansion(*inputs), dict(zip(inputs, arrays)))


def evaluate(outputs: tuple[Tensor, ...], given: dict[Tensor, np.ndarray]
             ) -> tuple[np.ndarray, ...]:
    """Values of `outputs` by the NumPy code of each op, without any pass; for tests and
    constants."""
    outputs = tuple(rebuild(outputs, {}, static_form))
    values = dict(given)
    for node in toposort(outputs):
        if isinstance(node.op, Leaf):
            t = node.outputs[0]
            if t not in values and isinstance(t, Constant):
                values[t] = t.value
            continue
        result = node.op.numpy(*(values[t] for t in node.inputs))
        result = result if isinstance(result, tuple) else (result,)
        values.update((t, rounded(v, t.dtype) if t.dtype == "bfloat16" else v)
                      for t, v in zip(node.outputs, result))
    return tuple(values[t] if t in values else constant_value(t) for t in outputs)


def static_form(node: Node, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """For `rebuild`: what the node becomes once shapes are known."""
    new = node.op.static(*inputs)
    return (new,) if isinstance(new, Tensor) else new
