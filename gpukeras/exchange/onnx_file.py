"""A model as an ONNX file: what `predict` computes, for any batch size.

The graph is the model's own at test time, simplified, op by op; recurrent layers become ONNX's
Scan. Weights are in the file.
"""
from __future__ import annotations

import os

from ..backend import get_value
from ..errors import GraphError
from ..graph import Graph, Tensor, rebuild
from ..ops.composite import Composite
from ..ops.nn import LogSoftmax, Softmax
from ..ops.scan import Body, Scan
from ..passes.bind import bind
from ..passes.simplify import simplify
from ..utils.io_utils import atomic_write
from .onnx_graph import GraphWriter, element_type
from .onnx_ops import OPSET, TABLE

_KEPT = (Softmax, LogSoftmax)                      # composites that ONNX has


def export_onnx(model, path):
    """Write a model as ONNX (operator set 18); needs the package onnx.

    Inputs and outputs have the names of their layers; sizes that the model leaves open stay open.

    # Raises
        ImportError: without the package onnx.
        ValueError: the model is not built, or has an op that ONNX lacks (it is named).
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("ONNX files need the package onnx. Try: pip install onnx") from None
    if not getattr(model, "outputs", None):
        raise ValueError(f"{model.name} is not built: its inputs and outputs are not known. Try: "
                         "build it by Model(inputs, outputs), or train it on data first")
    try:
        proto = _model_proto(model)
    except GraphError as error:
        raise ValueError(f"cannot write {model.name} to {os.fspath(path)!r}: {error}") from None
    onnx.checker.check_model(proto)
    with atomic_write(path) as part:
        onnx.save(proto, part)


def _model_proto(model):
    from onnx import helper
    graph = bind(Graph(tuple(model.inputs), tuple(model.outputs)),
                 [t.shape for t in model.inputs], False)
    graph = _opened(simplify(_opened(graph)))
    writer = GraphWriter(TABLE, get_value)
    given = []
    for t, name in zip(graph.inputs, model.input_names):
        writer.known[t] = writer.names.fresh(name)
        given.append(_described(writer.known[t], t))
    results = writer.write(graph.outputs)
    ends = []
    for t, name, wish in zip(graph.outputs, results, model.output_names):
        ends.append(_described(writer.emit("Identity", name, name=wish), t))
    proto = helper.make_graph(writer.nodes, model.name, given, ends,
                              list(writer.initializers.values()))
    return helper.make_model(proto, producer_name="gpukeras", ir_version=8,
                             opset_imports=[helper.make_opsetid("", OPSET)])


def _described(name: str, t: Tensor):
    """An input or output with its type; open sizes get names, the first of all is the batch."""
    from onnx import helper
    sizes = [("batch" if i == 0 else f"{name}_{i}") if d is None else d
             for i, d in enumerate(t.shape)]
    return helper.make_tensor_value_info(name, element_type(t.dtype), sizes)


def _opened(graph: Graph) -> Graph:
    """Composites that ONNX does not have are opened, also inside of loops."""
    def visit(node, inputs):
        if isinstance(node.op, Scan):
            body = node.op.body
            inner = _opened(body.graph)
            if inner.outputs == body.outputs:
                return None
            body = Body(body.inputs, inner.outputs, body.n_seqs, body.n_states)
            outs = Scan(body, node.op.keep, node.op.reverse)(*inputs)
            return (outs,) if isinstance(outs, Tensor) else outs
        if not isinstance(node.op, Composite) or isinstance(node.op, _KEPT):
            return None
        return tuple(rebuild(node.op.expansion(*inputs), {t: t for t in inputs}, visit))
    return graph.with_roots(rebuild(graph.roots, {}, visit))
