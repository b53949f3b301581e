"""Launch plans of the recurrent layers: a whole sequence in one launch, or step by step."""
from __future__ import annotations

import numpy as np

from ..graph import Op, TensorType
from .plans import THREADS, arithmetic, defines, grid_for
from .record import Fill, Gemm, In, Launch, LaunchPlan, Out, Temp

Types = tuple[TensorType, ...]

ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "hard_sigmoid": "HardSigmoid", "relu": "Relu",
               "linear": "Linear"}
SHARED = 227 * 1024                # bytes a block may have on sm_90, the most of any device
MULTIPROCESSORS = 132
REGISTERS = 65536


def in_one_launch(units: int, gates: int, rows: int, itemsize: int, spare: int, most_rows: int
                  ) -> tuple[int, int, int, int] | None:
    """(threads, weights in registers, rows a block, shared bytes) of a sequence kernel, or None
    if the recurrent weights fit no multiprocessor.

    spare: elements of shared memory for one row besides the weights; most_rows: a block can walk.
    """
    threads = -(-gates * units // 32) * 32
    if threads > 1024:
        return None
    rows_a_block = max(1, min(most_rows, -(-rows // MULTIPROCESSORS)))
    free = min(255, REGISTERS // threads // 8 * 8) - 48 - 8 * rows_a_block
    kept = max(0, min(units // 4 * 4, free * 4 // itemsize // 4 * 4, 96))
    weights = -(-(units - kept) * gates * units // 4) * 4
    shared = (weights + rows_a_block * spare) * itemsize
    return (threads, kept, rows_a_block, shared) if shared <= SHARED else None


def sequence_plan(entry: str, op: Op, x: TensorType, gates: int, spare: int, refs: tuple,
                  by_step: LaunchPlan) -> LaunchPlan:
    """One launch over all steps of x (B, S, gates U), or `by_step` where that fits no block."""
    rows, steps, width = x.shape
    units = width // gates
    shape = in_one_launch(units, gates, rows, np.dtype(arithmetic(x.dtype)).itemsize, spare,
                          4 if gates == 1 else gates)
    if shape is None:
        return by_step
    threads, kept, rows_a_block, shared = shape
    names = (*activation_defines(op, x.dtype), ("U", str(units)), ("KREG", str(kept)),
             ("ROWS", str(rows_a_block)), ("THREADS", str(threads)))
    args = (*refs, np.int32(rows), np.int32(steps), np.int32(op.reverse))
    launch = Launch(entry, (-(-rows // rows_a_block),), (threads,), args, shared, names)
    return LaunchPlan((launch,), otherwise=by_step)


def activation_defines(op: Op, dtype: str) -> tuple:
    """T, ACT, RACT, and RESET_AFTER where the op has it."""
    after = (("RESET_AFTER", str(int(op.reset_after))),) if hasattr(op, "reset_after") else ()
    return (*defines(T=dtype), ("ACT", ACTIVATIONS[op.activation]),
            ("RACT", ACTIVATIONS[op.recurrent_activation]), *after)


def cell_defines(op: Op, dtype: str) -> tuple:
    """As for a sequence kernel; the sizes only have to be there."""
    return (*activation_defines(op, dtype), ("U", "4"), ("KREG", "4"), ("ROWS", "1"),
            ("THREADS", "128"))


def padded(units: int) -> int:
    """Units rounded up to what one vector load reads."""
    return -(-units // 4) * 4


def walk(op: Op, steps: int, backwards: bool = False):
    """(step, the step walked before it or None) in the order of walking, or from the last one."""
    order = list(range(steps))[::-1 if op.reverse else 1]
    pairs = list(zip(order, [None, *order]))
    return pairs[::-1] if backwards else pairs


class Rows:
    """The rows of one time step inside a (B, S, width) tensor."""

    def __init__(self, ref, steps: int, width: int, itemsize: int) -> None:
        self.ref, self.steps, self.width, self.itemsize = ref, steps, width, itemsize

    @property
    def stride(self) -> int:
        """Elements from one row of the batch to the next."""
        return self.steps * self.width

    def at(self, step: int):
        """A reference to the first row."""
        return type(self.ref)(self.ref.index, self.ref.offset + step * self.width * self.itemsize)


# ------------------------------------------------------------------------------ LSTM

def plan_lstm(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    """xw, r, h0, c0[, mask] -> h, c, gates."""
    xw = ins[0]
    width = xw.shape[2]
    units, mask = width // 4, In(4) if len(ins) > 4 else None
    if not xw.size:
        return LaunchPlan(())
    refs = (In(0), In(1), In(2), In(3), mask, Out(0), Out(1), Out(2))
    return sequence_plan("lstm_fwd", op, xw, 4, padded(units) + width, refs,
                         lstm_by_step(op, xw, mask))


def lstm_by_step(op: Op, xw: TensorType, mask: In | None) -> LaunchPlan:
    """A GEMM and a cell a step."""
    rows, steps, width = xw.shape
    units, size = width // 4, xw.itemsize
    x, h, c, gates = (Rows(ref, steps, w, size) for ref, w in (
        (In(0), width), (Out(0), units), (Out(1), units), (Out(2), width)))
    marks = mask and Rows(mask, steps, 1, 1)
    names, calls = cell_defines(op, xw.dtype), []
    for s, before in walk(op, steps):
        first = before is None
        h_before, c_before = (In(2), In(3)) if first else (h.at(before), c.at(before))
        stride = units if first else h.stride
        calls += [
            Gemm(h_before, In(1), Temp(0), rows, width, units, dtype=xw.dtype, lda=stride),
            Launch("lstm_cell_fwd", grid_for(rows * units), (THREADS,), (
                x.at(s), Temp(0), h_before, c_before, marks and marks.at(s), h.at(s), c.at(s),
                gates.at(s), np.int32(rows), np.int32(units), np.int32(steps), np.int64(stride)),
                defines=names)]
    return LaunchPlan(tuple(calls), (rows * width * size,))


def plan_lstm_grad(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    """gates, c, c0, r, gh[, gc][, mask] -> gz, gh0, gc0."""
    gates = ins[0]
    if not gates.size:
        return LaunchPlan(())
    more = In(5) if op.has_gc else None
    mask = In(5 + op.has_gc) if len(ins) > 5 + op.has_gc else None
    refs = (In(0), In(1), In(2), In(3), In(4), more, mask, Out(0), Out(1), Out(2))
    return sequence_plan("lstm_bwd", op, gates, 4, 2 * gates.shape[2], refs,
                         lstm_grad_by_step(op, gates, more, mask))


def lstm_grad_by_step(op: Op, gates: TensorType, more: In | None, mask: In | None) -> LaunchPlan:
    """A cell and a GEMM a step, from the last one; the state's gradients lie in the outputs."""
    rows, steps, width = gates.shape
    units, size = width // 4, gates.itemsize
    y, c, gh, gz = (Rows(ref, steps, w, size) for ref, w in (
        (In(0), width), (In(1), units), (In(4), units), (Out(0), width)))
    gc, marks = more and Rows(more, steps, units, size), mask and Rows(mask, steps, 1, 1)
    nbytes = rows * units * size
    calls: list = [Fill(Out(1), nbytes), Fill(Out(2), nbytes)]
    for s, before in walk(op, steps, backwards=True):
        c_before = In(2) if before is None else c.at(before)
        stride = units if before is None else c.stride
        calls += [
            Launch("lstm_cell_bwd", grid_for(rows * units), (THREADS,), (
                y.at(s), c.at(s), c_before, gh.at(s), gc and gc.at(s), marks and marks.at(s),
                Out(1), Out(2), gz.at(s), np.int32(rows), np.int32(units), np.int32(steps),
                np.int64(stride)), defines=cell_defines(op, gates.dtype)),
            Gemm(gz.at(s), In(3), Out(1), rows, units, width, trans_b=True, beta=1.0,
                 dtype=gates.dtype, lda=gz.stride)]
    return LaunchPlan(tuple(calls))


# ------------------------------------------------------------------------------ GRU

def plan_gru(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    """xw, r, h0[, bias][, mask] -> h, gates, inner."""
    xw = ins[0]
    if not xw.size:
        return LaunchPlan(())
    bias = In(3) if op.has_bias else None
    mask = In(3 + op.has_bias) if len(ins) > 3 + op.has_bias else None
    width = xw.shape[2]
    refs = (In(0), In(1), In(2), bias, mask, Out(0), Out(1), Out(2))
    return sequence_plan("gru_fwd", op, xw, 3, 2 * padded(width // 3) + width, refs,
                         gru_by_step(op, xw, bias, mask))


def gru_by_step(op: Op, xw: TensorType, bias: In | None, mask: In | None) -> LaunchPlan:
    """One or two GEMMs and two cells a step."""
    rows, steps, width = xw.shape
    units, size = width // 3, xw.itemsize
    x, h, gates, inner = (Rows(ref, steps, w, size) for ref, w in (
        (In(0), width), (Out(0), units), (Out(1), width), (Out(2), units)))
    marks = mask and Rows(mask, steps, 1, 1)
    names, calls = cell_defines(op, xw.dtype), []
    wide = width if op.reset_after else 2 * units
    for s, before in walk(op, steps):
        h_before, stride = (In(2), units) if before is None else (h.at(before), h.stride)
        tail = (np.int32(rows), np.int32(units), np.int32(steps), np.int64(stride))
        calls += [
            Gemm(h_before, In(1), Temp(0), rows, wide, units, dtype=xw.dtype, lda=stride,
                 ldb=width),
            Launch("gru_cell_gates", grid_for(rows * units), (THREADS,), (
                x.at(s), Temp(0), bias, h_before, gates.at(s), inner.at(s), *tail), defines=names)]
        if not op.reset_after:
            calls.append(Gemm(inner.at(s), In(1, 2 * units * size), Temp(1), rows, units, units,
                              dtype=xw.dtype, lda=inner.stride, ldb=width))
        calls.append(Launch("gru_cell_state", grid_for(rows * units), (THREADS,), (
            x.at(s), None if op.reset_after else Temp(1), bias, inner.at(s), h_before,
            marks and marks.at(s), gates.at(s), h.at(s), *tail), defines=names))
    return LaunchPlan(tuple(calls), (rows * width * size, rows * units * size))


def plan_gru_grad(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    """gates, inner, h, h0, r, gh[, mask] -> gz, gi, gh0."""
    gates = ins[0]
    if not gates.size:
        return LaunchPlan(())
    mask = In(6) if len(ins) > 6 else None
    refs = (In(0), In(1), In(2), In(3), In(4), In(5), mask, Out(0), Out(1), Out(2))
    return sequence_plan("gru_bwd", op, gates, 3, 2 * gates.shape[2], refs,
                         gru_grad_by_step(op, gates, mask))


def gru_grad_by_step(op: Op, gates: TensorType, mask: In | None) -> LaunchPlan:
    """Cells and GEMMs from the last step on; the state's gradient lies in the last output."""
    rows, steps, width = gates.shape
    units, size = width // 3, gates.itemsize
    y, inner, h, gh, gz, gi = (Rows(ref, steps, w, size) for ref, w in (
        (In(0), width), (In(1), units), (In(2), units), (In(5), units), (Out(0), width),
        (Out(1), units)))
    marks = mask and Rows(mask, steps, 1, 1)
    names, threads = cell_defines(op, gates.dtype), (THREADS,)
    grid, keep = grid_for(rows * units), Out(2)
    calls: list = [Fill(keep, rows * units * size)]

    def back(grads, columns: int, first: int, lda: int, to, beta: float = 1.0) -> Gemm:
        """to += grads times the transposed columns of r from `first` on."""
        return Gemm(grads, In(4, first * size), to, rows, units, columns, trans_b=True, beta=beta,
                    dtype=gates.dtype, lda=lda, ldb=width)

    for s, before in walk(op, steps, backwards=True):
        h_before, stride = (In(3), units) if before is None else (h.at(before), h.stride)
        on = marks and marks.at(s)
        tail = (np.int32(rows), np.int32(units), np.int32(steps), np.int64(stride))
        calls.append(Launch("gru_cell_bwd", grid, threads, (
            y.at(s), inner.at(s), h_before, gh.at(s), on, keep, gz.at(s), gi.at(s), *tail),
            defines=names))
        if op.reset_after:
            calls.append(back(gi.at(s), units, 2 * units, gi.stride, keep))
        else:
            third = Out(0, gz.at(s).offset + 2 * units * size)
            calls += [back(third, units, 2 * units, gz.stride, Temp(0), 0.0),
                      Launch("gru_cell_reset_bwd", grid, threads, (
                          Temp(0), y.at(s), h_before, on, keep, gz.at(s), *tail), defines=names)]
        calls.append(back(gz.at(s), 2 * units, 0, gz.stride, keep))
    return LaunchPlan(tuple(calls), (rows * units * size,))


# ------------------------------------------------------------------------------ SimpleRNN

def plan_simple_rnn(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    """xw, r, h0[, mask] -> h, y."""
    xw = ins[0]
    if not xw.size:
        return LaunchPlan(())
    rows, steps, units = xw.shape
    mask, size = In(3) if len(ins) > 3 else None, xw.itemsize
    x, h, y = (Rows(ref, steps, units, size) for ref in (In(0), Out(0), Out(1)))
    marks = mask and Rows(mask, steps, 1, 1)
    calls: list = []
    for s, before in walk(op, steps):
        h_before, stride = (In(2), units) if before is None else (h.at(before), h.stride)
        calls += [
            Gemm(h_before, In(1), Temp(0), rows, units, units, dtype=xw.dtype, lda=stride),
            Launch("simple_rnn_cell_fwd", grid_for(rows * units), (THREADS,), (
                x.at(s), Temp(0), h_before, marks and marks.at(s), h.at(s), y.at(s),
                np.int32(rows), np.int32(units), np.int32(steps), np.int64(stride)),
                defines=cell_defines(op, xw.dtype))]
    by_step = LaunchPlan(tuple(calls), (rows * units * size,))
    refs = (In(0), In(1), In(2), mask, Out(0), Out(1))
    return sequence_plan("simple_rnn_fwd", op, xw, 1, 2 * padded(units), refs, by_step)


def plan_simple_rnn_grad(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    """y, r, gh[, mask] -> gz, gh0."""
    y_type = ins[0]
    if not y_type.size:
        return LaunchPlan(())
    rows, steps, units = y_type.shape
    mask, size = In(3) if len(ins) > 3 else None, y_type.itemsize
    y, gh, gz = (Rows(ref, steps, units, size) for ref in (In(0), In(2), Out(0)))
    marks = mask and Rows(mask, steps, 1, 1)
    calls: list = [Fill(Out(1), rows * units * size)]
    for s, _ in walk(op, steps, backwards=True):
        calls += [
            Launch("simple_rnn_cell_bwd", grid_for(rows * units), (THREADS,), (
                y.at(s), gh.at(s), marks and marks.at(s), Out(1), gz.at(s), np.int32(rows),
                np.int32(units), np.int32(steps)), defines=cell_defines(op, y_type.dtype)),
            Gemm(gz.at(s), In(1), Out(1), rows, units, units, trans_b=True, beta=1.0,
                 dtype=y_type.dtype, lda=gz.stride)]
    refs = (In(0), In(1), In(2), mask, Out(0), Out(1))
    return sequence_plan("simple_rnn_bwd", op, y_type, 1, 2 * padded(units), refs,
                         LaunchPlan(tuple(calls)))
