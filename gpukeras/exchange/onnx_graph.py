"""Writing one ONNX graph: its nodes, constants, and the names of everything."""
from __future__ import annotations

import re
from typing import Any, Sequence

import numpy as np

from ..errors import GraphError
from ..graph import Constant, Node, Tensor, Variable, toposort
from ..graph.leaves import Leaf
from ..graph.op import where

INT64 = np.dtype("int64")
END = np.iinfo(np.int64).max                       # an open end of a Slice


class Names:
    """Names not given before; ONNX wants each result named once in a model."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def fresh(self, wish: str) -> str:
        wish = re.sub(r"[^\w./-]", "_", wish) or "x"
        name, n = wish, 1
        while name in self._used:
            name, n = f"{wish}_{n}", n + 1
        self._used.add(name)
        return name


class GraphWriter:
    """Collects the nodes of a graph. `table` maps op classes to functions (writer, node, *names)
    that write the node and return the name of its result, or a tuple of them.

    A body inside a loop is a writer of its own that shares names and constants with its `parent`.
    """

    def __init__(self, table: dict, value_of, parent: "GraphWriter | None" = None) -> None:
        self.table, self.value_of, self.parent = table, value_of, parent
        self.nodes: list = []
        self.known: dict[Tensor, str] = {}
        if parent is None:
            self.names, self.initializers = Names(), {}
            self._constants: dict[tuple, str] = {}
        else:
            self.names, self.initializers = parent.names, parent.initializers
            self._constants = parent._constants

    def emit(self, kind: str, *inputs: str, outputs: int = 1, name: str | None = None,
             **attributes: Any) -> Any:
        """Write one ONNX node; the name of its output, or their names."""
        from onnx import helper
        names = [self.names.fresh(name or kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def constant(self, value: Any, dtype: Any = INT64, wish: str = "const") -> str:
        """The name of a constant; equal ones are one."""
        value = np.ascontiguousarray(np.asarray(value, dtype))
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer(value, wish)
        return self._constants[key]

    def initializer(self, value: np.ndarray, wish: str) -> str:
        from onnx import numpy_helper
        name = self.names.fresh(wish)
        self.initializers[name] = numpy_helper.from_array(value, name)
        return name

    def array(self, t: Tensor) -> np.ndarray | None:
        """The value of a constant or a weight, which is a constant in the file; else None."""
        if isinstance(t, Constant):
            return t.value
        return self.value_of(t) if isinstance(t, Variable) else None

    def of(self, t: Tensor) -> str:
        """The name of a tensor; its node must be written."""
        if t in self.known:
            return self.known[t]
        if self.parent is not None and self.parent.has(t):
            return self.parent.of(t)
        value = self.array(t)
        if value is None:
            raise GraphError(f"{t!r} has no value in the model's outputs alone")
        wish = t.name.removesuffix(":0") if isinstance(t, Variable) else "const"
        small = isinstance(t, Constant) and value.size <= 64
        name = self.constant(value, value.dtype) if small else self.initializer(value, wish)
        root = self
        while root.parent is not None:
            root = root.parent
        root.known[t] = name
        return name

    def has(self, t: Tensor) -> bool:
        return t in self.known or self.parent is not None and self.parent.has(t)

    def write(self, roots: Sequence[Tensor]) -> list[str]:
        """Write all that the roots need; their names."""
        for node in toposort(roots):
            if isinstance(node.op, Leaf) or self.has(node.outputs[0]):
                continue
            self._write_node(node)
        return [self.of(t) for t in roots]

    def _write_node(self, node: Node) -> None:
        function = next((self.table[c] for c in type(node.op).__mro__ if c in self.table), None)
        if function is None:
            raise GraphError(f"ONNX has no operator for {node.op!r}{where(node.origin)}")
        late = getattr(function, "moves", ())          # kernels that it stores in another order
        names = ("" if i in late and self.array(t) is not None else self.of(t)
                 for i, t in enumerate(node.inputs))
        results = function(self, node, *names)
        results = (results,) if isinstance(results, str) else results
        self.known.update(zip(node.outputs, results))

    # ---- small pieces that many ops need

    def shape_of(self, name: str) -> str:
        return self.emit("Shape", name)

    def transpose(self, name: str, perm: Sequence[int]) -> str:
        perm = list(perm)
        return name if perm == sorted(perm) else self.emit("Transpose", name, perm=perm)

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        return self.emit("Reshape", name, self.constant(list(shape)))

    def cast(self, name: str, dtype: str) -> str:
        return self.emit("Cast", name, to=element_type(dtype))


def element_type(dtype: str) -> int:
    """ONNX's number of a data type."""
    from onnx import TensorProto, helper
    if dtype == "bfloat16":
        return TensorProto.BFLOAT16
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
