"""How each op is said in ONNX (operator set 18). To add one, add one row."""
from __future__ import annotations

import functools

import numpy as np

from ..graph import Node, Placeholder, is_float
from ..graph.op import Mark
from ..ops import broadcast, elementwise, gelu, index, linalg, math, nn, reduce, scan, shape
from .onnx_graph import END, GraphWriter
from .onnx_windows import WINDOWS

OPSET = 18


def _simple(kind: str):
    return lambda writer, node, *names: writer.emit(kind, *names)


def _number(writer: GraphWriter, node: Node, value: float) -> str:
    return writer.constant(value, node.inputs[0].dtype)


def _chain(*kinds: str):
    """One-input operators one after another."""
    def write(writer, node, x):
        for kind in kinds:
            x = writer.emit(kind, x)
        return x
    return write


def _square(writer, node, x):
    return writer.emit("Mul", x, x)


def _log1p(writer, node, x):
    return writer.emit("Log", writer.emit("Add", x, _number(writer, node, 1)))


def _expm1(writer, node, x):
    return writer.emit("Sub", writer.emit("Exp", x), _number(writer, node, 1))


def _gelu(writer, node, x):
    def product(*names):
        return functools.reduce(lambda a, b: writer.emit("Mul", a, b), names)
    number = functools.partial(_number, writer, node)
    if node.op.approximate:
        bent = writer.emit("Add", x, product(x, x, x, number(gelu.CUBIC)))
        p = writer.emit("Tanh", product(bent, number(gelu.SLOPE)))
    else:
        p = writer.emit("Erf", product(x, number(gelu.ROOT_HALF)))
    return product(x, number(0.5), writer.emit("Add", p, number(1)))


def _clip(writer, node, x):
    return writer.emit("Clip", x, _number(writer, node, node.op.low),
                       _number(writer, node, node.op.high))


def _relu_grad(writer, node, gy, y):
    above = writer.emit("Greater", y, _number(writer, node, 0))
    return writer.emit("Where", above, gy, _number(writer, node, 0))


def _floor_div(writer, node, a, b):
    if is_float(node.inputs[0].dtype):
        return writer.emit("Floor", writer.emit("Div", a, b))
    exact = writer.emit("Sub", a, writer.emit("Mod", a, b))    # ONNX's division cuts toward 0
    return writer.emit("Div", exact, b)


def _mod(writer, node, a, b):
    if not is_float(node.inputs[0].dtype):
        return writer.emit("Mod", a, b)
    whole = writer.emit("Floor", writer.emit("Div", a, b))
    return writer.emit("Sub", a, writer.emit("Mul", b, whole))


def _not_equal(writer, node, a, b):
    return writer.emit("Not", writer.emit("Equal", a, b))


def _same(writer, node, x, *others):
    return writer.emit("Identity", x)


def _cast(writer, node, x):
    return writer.cast(x, node.op.dtype)


# ---- shapes

def _reshape(writer, node, x):
    unknown = [d for d in node.outputs[0].shape if d is None]
    shape = [-1 if d is None else d for d in node.outputs[0].shape]
    return writer.reshape(x, shape if len(unknown) < 2 else node.op.shape)


def _reshape_like(writer, node, x, like):
    return writer.emit("Reshape", x, writer.shape_of(like))


def _dynamic_reshape(writer, node, x, sizes):
    return writer.emit("Reshape", x, writer.cast(sizes, "int64"))


def _axes(kind: str):
    return lambda writer, node, x: writer.emit(kind, x, writer.constant(list(node.op.axes)))


def _broadcast_to(writer, node, x):
    return writer.emit("Expand", x, writer.constant(list(node.op.shape)))


def _broadcast_like(writer, node, x, like):
    return writer.emit("Expand", x, writer.shape_of(like))


def _shape(writer, node, x):
    return writer.cast(writer.shape_of(x), "int32")


def _transpose(writer, node, x):
    return writer.transpose(x, node.op.perm)


def _slice(writer, node, x):
    cut = [(axis, *s) for axis, s in enumerate(node.op.slices) if s != (None, None, None)]
    if not cut:
        return writer.emit("Identity", x)
    axes, starts, stops, steps = zip(*((axis, *_bounds(*s)) for axis, *s in cut))
    return writer.emit("Slice", x, *(writer.constant(v) for v in (starts, stops, axes, steps)))


def _bounds(start, stop, step):
    step = 1 if step is None else step
    if start is None:
        start = 0 if step > 0 else END
    if stop is None:
        stop = END if step > 0 else -END
    return start, stop, step


def _reverse(writer, node, x):
    axes = node.op.axes
    ends = ([-1] * len(axes), [-END] * len(axes), axes, [-1] * len(axes))
    return writer.emit("Slice", x, *(writer.constant(v) for v in ends))


def _pad(writer, node, x):
    before, after = zip(*node.op.pads)
    return writer.emit("Pad", x, writer.constant(before + after),
                       _number(writer, node, node.op.value))


def _concat(writer, node, *xs):
    return writer.emit("Concat", *xs, axis=node.op.axis)


def _shift(writer, node, first, x):
    ends = (1, END) if node.op.reverse else (0, -1)
    part = writer.emit("Slice", x, *(writer.constant([v]) for v in (*ends, node.op.axis)))
    pair = (part, first) if node.op.reverse else (first, part)
    return writer.emit("Concat", *pair, axis=node.op.axis)


def _tile(writer, node, x):
    return writer.emit("Tile", x, writer.constant(node.op.reps))


def _repeat(writer, node, x):
    """Each element n times: a new axis after it, filled, and folded in."""
    axis, n, ndim = node.op.axis, node.op.n, node.inputs[0].ndim
    wide = writer.emit("Unsqueeze", x, writer.constant([axis + 1]))
    wide = writer.emit("Tile", wide, writer.constant(
        [n if i == axis + 1 else 1 for i in range(ndim + 1)]))
    sizes = writer.emit("Mul", writer.shape_of(x), writer.constant(
        [n if i == axis else 1 for i in range(ndim)]))
    return writer.emit("Reshape", wide, sizes)


# ---- sums and products

def _reduction(kind: str):
    def write(writer, node, x):
        if node.inputs[0].dtype == "bool":
            x = writer.cast(x, "int32")
        y = writer.emit(kind, x, writer.constant(list(node.op.axes)),
                        keepdims=int(node.op.keepdims))
        same = node.outputs[0].dtype in (node.inputs[0].dtype, "int32")
        return y if same else writer.cast(y, node.outputs[0].dtype)
    return write


def _count(writer, node, x):
    sizes = writer.emit("Gather", writer.shape_of(x), writer.constant(list(node.op.axes)))
    return writer.cast(writer.emit("ReduceProd", sizes, keepdims=0), node.op.dtype)


def _arg(kind: str):
    return lambda writer, node, x: writer.emit(kind, x, axis=node.op.axis, keepdims=0)


def _cumsum(writer, node, x):
    return writer.emit("CumSum", x, writer.constant(node.op.axis), reverse=int(node.op.reverse))


def _dot(writer, node, a, b):
    rank, op = node.op.rank, node.op
    swap = (*range(rank - 2), rank - 1, rank - 2)
    a = writer.transpose(a, swap) if op.trans_a else a
    b = writer.transpose(b, swap) if op.trans_b else b
    return writer.emit("MatMul", a, b)


def _softmax(kind: str):
    return lambda writer, node, x: writer.emit(kind, x, axis=-1)


# ---- indices

def _gather(writer, node, x, idx):
    return writer.emit("Gather", x, idx, axis=0)


def _one_hot(writer, node, idx):
    column = writer.emit("Unsqueeze", idx, writer.constant([-1]))
    classes = writer.constant(np.arange(node.op.depth), node.inputs[0].dtype)
    return writer.cast(writer.emit("Equal", column, classes), node.op.dtype)


# ---- loops

def _scan(writer: GraphWriter, node: Node, *names: str):
    """ONNX's Scan carries states and collects; states after each step are collected too."""
    from onnx import helper
    op, body = node.op, node.op.body
    seqs, states, consts = body.split(names)
    inner = GraphWriter(writer.table, writer.value_of, writer)
    slices_in, states_in, consts_in = body.split(body.inputs)
    inner.known.update(zip(consts_in, consts))
    given = []
    for t in (*states_in, *slices_in):
        inner.known[t] = writer.names.fresh(t.name or "slice")
        given.append(_value_info(inner.known[t], t))
    results = inner.write(body.outputs)
    n = len(states)
    kept = [i for i in range(n) if op.keep[i]]
    ends = results[:n] + [results[i] for i in kept] + results[n:]
    ends = [inner.emit("Identity", name, name="step") for name in ends]
    types = list(body.outputs[:n]) + [body.outputs[i] for i in kept] + list(body.outputs[n:])
    graph = helper.make_graph(inner.nodes, writer.names.fresh("body"), given,
                              [_value_info(name, t) for name, t in zip(ends, types)])
    way = int(op.reverse)
    outs = writer.emit("Scan", *states, *seqs, outputs=len(ends), body=graph,
                       num_scan_inputs=len(seqs), scan_input_directions=[way] * len(seqs),
                       scan_output_directions=[way] * (len(ends) - n))
    outs = (outs,) if isinstance(outs, str) else outs
    collected = dict(zip(kept, outs[n:]))
    return tuple(collected.get(i, outs[i]) for i in range(n)) + tuple(outs[n + len(kept):])


def _value_info(name: str, t: Placeholder):
    from onnx import helper

    from .onnx_graph import element_type
    return helper.make_tensor_value_info(name, element_type(t.dtype), [None] * t.ndim)


TABLE = {
    Mark: _same, math.StopGradient: _same, math.Copy: _same, elementwise.Cast: _cast,
    math.Square: _square, math.Rsqrt: _chain("Sqrt", "Reciprocal"), math.Log1p: _log1p,
    math.Expm1: _expm1, math.Clip: _clip, math.ReluGrad: _relu_grad, math.NotEqual: _not_equal,
    math.FloorDiv: _floor_div, math.Mod: _mod, gelu.Gelu: _gelu,
    broadcast.Reshape: _reshape, broadcast.ReshapeLike: _reshape_like,
    broadcast.DynamicReshape: _dynamic_reshape, broadcast.ExpandDims: _axes("Unsqueeze"),
    broadcast.Squeeze: _axes("Squeeze"), broadcast.BroadcastTo: _broadcast_to,
    broadcast.BroadcastLike: _broadcast_like, broadcast.Shape: _shape,
    shape.Transpose: _transpose, shape.Slice: _slice, shape.Reverse: _reverse, shape.Pad: _pad,
    shape.Concat: _concat, shape.Shift: _shift, shape.Tile: _tile, shape.Repeat: _repeat,
    broadcast.Sum: _reduction("ReduceSum"), reduce.Max: _reduction("ReduceMax"),
    reduce.Min: _reduction("ReduceMin"), reduce.Prod: _reduction("ReduceProd"),
    reduce.Count: _count, reduce.ArgMax: _arg("ArgMax"), reduce.ArgMin: _arg("ArgMin"),
    reduce.CumSum: _cumsum, linalg.Dot: _dot, nn.Softmax: _softmax("Softmax"),
    nn.LogSoftmax: _softmax("LogSoftmax"), index.Gather: _gather, index.OneHot: _one_hot,
    scan.Scan: _scan, **WINDOWS,
}
TABLE.update({getattr(math, name): _simple(kind) for name, kind in {
    "Neg": "Neg", "Abs": "Abs", "Sign": "Sign", "Sqrt": "Sqrt", "Exp": "Exp", "Log": "Log",
    "Sin": "Sin", "Cos": "Cos", "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Softplus": "Softplus",
    "Relu": "Relu", "Erf": "Erf", "Floor": "Floor", "Ceil": "Ceil", "Round": "Round",
    "IsNan": "IsNaN", "LogicalNot": "Not", "Add": "Add", "Sub": "Sub", "Mul": "Mul", "Div": "Div",
    "Pow": "Pow", "Maximum": "Max", "Minimum": "Min", "Equal": "Equal", "Less": "Less",
    "LessEqual": "LessOrEqual", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual",
    "LogicalAnd": "And", "LogicalOr": "Or", "Where": "Where"}.items()})
