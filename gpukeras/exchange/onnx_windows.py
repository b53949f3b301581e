"""Convolution, pooling and enlarging in ONNX, whose channels come first."""
from __future__ import annotations

import numpy as np

from ..errors import GraphError
from ..graph import Node, Tensor
from ..ops import conv, depthwise, pool, upsample
from ..ops.window import resolve_pads, span
from .onnx_graph import GraphWriter


def _first(writer: GraphWriter, name: str, ndim: int) -> str:
    """(N, *S, C) -> (N, C, *S)"""
    return writer.transpose(name, (0, ndim - 1, *range(1, ndim - 1)))


def _last(writer: GraphWriter, name: str, ndim: int) -> str:
    """(N, C, *S) -> (N, *S, C)"""
    return writer.transpose(name, (0, *range(2, ndim), 1))


def _padding(pads, size, window, strides, dilation) -> dict:
    """Attributes for the padding: numbers, or Keras's "same" where sizes are known at run time."""
    pairs = resolve_pads(pads, size, window, strides, dilation)
    if isinstance(pairs, str):
        return {"auto_pad": "SAME_UPPER"}
    before, after = zip(*pairs)
    return {"pads": [*before, *after]}


def _moves_kernel(write):
    """Mark a function that stores its kernel, input 1, itself."""
    write.moves = (1,)
    return write


def _weights(writer: GraphWriter, w: Tensor, name: str, perm, shape=None) -> str:
    """The kernel with its axes moved: now if it is a weight, else by nodes."""
    value = writer.array(w)
    if value is None:
        name = writer.transpose(name, perm)
        return name if shape is None else writer.reshape(name, shape)
    value = value.transpose(perm)
    value = np.ascontiguousarray(value if shape is None else value.reshape(shape))
    return writer.initializer(value, w.name.removesuffix(":0") if w.name else "kernel")


@_moves_kernel
def _conv(writer, node: Node, x, w):
    t, kernel = node.inputs
    op, rank = node.op, t.ndim - 2
    name = _weights(writer, kernel, w, (rank + 1, rank, *range(rank)))
    y = writer.emit("Conv", _first(writer, x, t.ndim), name, kernel_shape=kernel.shape[:rank],
                    strides=op.strides, dilations=op.dilation,
                    **_padding(op.pads, t.shape[1:-1], kernel.shape[:rank], *op.how[::2]))
    return _last(writer, y, t.ndim)


@_moves_kernel
def _depthwise(writer, node: Node, x, w):
    t, kernel = node.inputs
    op, rank = node.op, t.ndim - 2
    window, (channels, each) = kernel.shape[:rank], kernel.shape[rank:]
    name = _weights(writer, kernel, w, (rank, rank + 1, *range(rank)),
                    (channels * each, 1, *window))
    y = writer.emit("Conv", _first(writer, x, t.ndim), name, kernel_shape=window, group=channels,
                    strides=op.strides, dilations=op.dilation,
                    **_padding(op.pads, t.shape[1:-1], window, *op.how[::2]))
    return _last(writer, y, t.ndim)


@_moves_kernel
def _transposed(writer, node: Node, y, w, *like):
    """ConvDataGrad: of the places beyond the last full window, output_padding makes zeros."""
    t, kernel = node.inputs[:2]
    op, rank = node.op, t.ndim - 2
    size = node.outputs[0].shape[1:-1]
    if None in size or None in t.shape[1:-1]:
        raise GraphError("ONNX needs the size of a transposed convolution's images: got "
                         f"{t.type}. Try: an Input with height and width")
    window = kernel.shape[:rank]
    pairs = resolve_pads(op.pads, size, window, op.strides, op.dilation)
    extra = [n + a + b - span(k, d) - (o - 1) * s for n, (a, b), k, d, o, s in
             zip(size, pairs, window, op.dilation, t.shape[1:-1], op.strides)]
    before, after = zip(*pairs)
    name = _weights(writer, kernel, w, (rank + 1, rank, *range(rank)))
    x = writer.emit("ConvTranspose", _first(writer, y, t.ndim), name, kernel_shape=window,
                    strides=op.strides, dilations=op.dilation, pads=[*before, *after],
                    output_padding=extra)
    return _last(writer, x, t.ndim)


def _pool(kind: str, **more):
    def write(writer, node: Node, x):
        t, op = node.inputs[0], node.op
        ones = (1,) * len(op.window)
        y = writer.emit(kind, _first(writer, x, t.ndim), kernel_shape=op.window,
                        strides=op.strides, **more,
                        **_padding(op.pads, t.shape[1:-1], op.window, op.strides, ones))
        return _last(writer, y, t.ndim)
    return write


def _upsample(writer, node: Node, x):
    t = node.inputs[0]
    scales = writer.constant([1, 1, *node.op.factors], "float32")
    y = writer.emit("Resize", _first(writer, x, t.ndim), "", scales, mode="linear",
                    coordinate_transformation_mode="asymmetric")
    return _last(writer, y, t.ndim)


WINDOWS = {conv.Conv: _conv, conv.ConvDataGrad: _transposed, depthwise.DepthwiseConv: _depthwise,
           pool.MaxPool: _pool("MaxPool"), upsample.UpsampleLinear: _upsample,
           pool.AveragePool: _pool("AveragePool", count_include_pad=0)}
