"""Connectionist temporal classification.   Graves, Fernandez, Gomez, Schmidhuber 2006.

log_probs (B, T, C), the last class is the blank; labels (B, L) integers below C - 1;
input_length (B,) frames in use; label_length (B,) labels in use. The states of a row are its labels
with blanks before, between and after them: S = 2 L + 1.
"""
from __future__ import annotations

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph import Node, Op, Tensor, TensorType, as_tensor, is_float
from .math import cast
from .nn import log_softmax
from .plans import defines
from .record import Fill, In, Kernel, Launch, LaunchPlan, Out, Temp

Types = tuple[TensorType, ...]

_NEVER = -np.inf                                   # the logarithm of an impossible state


def _check(log_probs: TensorType, labels: TensorType, *lengths: TensorType) -> None:
    if not is_float(log_probs.dtype) or log_probs.ndim != 3:
        raise ShapeError(f"got {log_probs}, expected floats of shape (batch, time, classes)")
    if labels.dtype != "int32" or labels.ndim != 2:
        raise DtypeError(f"labels: got {labels}, expected int32 of shape (batch, labels)")
    for length in lengths:
        if length.dtype != "int32" or length.ndim != 1:
            raise DtypeError(f"lengths: got {length}, expected int32 of shape (batch,)")
    sizes = {t.shape[0] for t in (log_probs, labels, *lengths)} - {None}
    if len(sizes) > 1:
        raise ShapeError(f"batch sizes differ: got {log_probs}, labels {labels} and lengths "
                         f"{', '.join(map(str, lengths))}")


# ------------------------------------------------------------------------------ NumPy

class _States:
    """The extended labels of a batch and the recursions over them, in float64."""

    def __init__(self, log_probs, labels, input_length, label_length) -> None:
        batch, self.time, classes = log_probs.shape
        most = labels.shape[1]
        self.frames = np.clip(input_length, 0, self.time)
        self.count = np.clip(label_length, 0, most)
        used = np.arange(most) < self.count[:, None]
        bad = used & ((labels < 0) | (labels >= classes - 1))
        if bad.any():
            raise ShapeError(f"CTC label out of range: got {labels[bad][0]}, expected 0 to "
                             f"{classes - 2} (class {classes - 1} is the blank)")
        self.states = np.full((batch, 2 * most + 1), classes - 1)
        self.states[:, 1::2] = np.where(used, labels, classes - 1)
        self.valid = np.arange(2 * most + 1) < 2 * self.count[:, None] + 1
        # a blank may be left out between two different labels
        self.skip = np.zeros(self.states.shape, bool)
        self.skip[:, 3::2] = (self.states[:, 3::2] != self.states[:, 1:-2:2]) & used[:, 1:]
        picked = np.take_along_axis(log_probs.astype("float64"), self.states[:, None, :], 2)
        self.emit = np.where(self.valid[:, None, :], picked, _NEVER)

    def _inside(self, t: int) -> np.ndarray:
        return (t < self.frames)[:, None]

    def alpha(self) -> np.ndarray:
        """(B, T, S): log of the probability of all paths to a state, its own frame included."""
        out = np.full(self.emit.shape, _NEVER)
        a = np.full(self.states.shape, _NEVER)
        a[:, :2] = 0
        for t in range(self.time):
            if t:
                a = self._step(a, self.skip)
            a = a + self.emit[:, t]
            out[:, t] = np.where(self._inside(t), a, _NEVER)
        return out

    def beta(self) -> np.ndarray:
        """(B, T, S): log of the probability of all ways from a state to the end, frame excluded."""
        out = np.full(self.emit.shape, _NEVER)
        rows = np.arange(len(self.states))
        last = np.full(self.states.shape, _NEVER)
        last[rows, 2 * self.count] = 0
        last[rows, np.maximum(2 * self.count - 1, 0)] = 0
        ahead = np.zeros(self.skip.shape, bool)
        ahead[:, :-2] = self.skip[:, 2:]
        b = last
        for t in range(self.time - 1, -1, -1):
            if t + 1 < self.time:
                moved = self._step((b + self.emit[:, t + 1])[:, ::-1], ahead[:, ::-1])[:, ::-1]
                b = np.where((t + 1 < self.frames)[:, None], moved, last)
            out[:, t] = np.where(self._inside(t) & self.valid, b, _NEVER)
        return out

    @staticmethod
    def _step(a: np.ndarray, skip: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            total = a.copy()
            total[:, 1:] = np.logaddexp(total[:, 1:], a[:, :-1])
            total[:, 2:] = np.logaddexp(total[:, 2:], np.where(skip[:, 2:], a[:, :-2], _NEVER))
        return total

    def loss(self, alpha: np.ndarray) -> np.ndarray:
        """-log of the probability of all paths to the end; infinite if there is none."""
        rows = np.arange(len(self.states))
        end = alpha[rows, np.maximum(self.frames - 1, 0)] if self.time else np.full(
            self.states.shape, _NEVER)
        total = np.where(self.count > 0, np.logaddexp(
            end[rows, 2 * self.count], end[rows, np.maximum(2 * self.count - 1, 0)]), end[:, 0])
        nothing = (self.frames == 0) & (self.count == 0)
        return np.where(nothing, 0.0, -total)


# ------------------------------------------------------------------------------ plans

def _launch(entry: str, ins: Types, refs: tuple) -> Launch:
    _, time, classes = ins[0].shape
    most = ins[1].shape[1]
    states = 2 * most + 1
    threads = min(1024, -(-states // 32) * 32)
    # two rows of states in double, one more and the links between equal labels going backwards
    smem = states * 8 * 2 if entry == "ctc_fwd" else states * (8 * 3 + 4)
    return Launch(entry, (ins[0].shape[0],), (threads,),
                  (*refs, *map(np.int32, (time, classes, most))), smem, defines(T=ins[0].dtype))


def plan_ctc(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    if not ins[0].shape[0]:
        return LaunchPlan(())
    return LaunchPlan((_launch("ctc_fwd", ins, (*map(In, range(4)), Out(0))),))


def plan_ctc_grad(op: Op, ins: Types, outs: Types) -> LaunchPlan:
    y, = outs
    if not y.size:
        return LaunchPlan(())
    batch, time, _ = ins[0].shape
    alpha = batch * time * (2 * ins[1].shape[1] + 1) * 8
    refs = (*map(In, range(5)), Temp(0), Out(0))
    return LaunchPlan((Fill(Out(0), y.nbytes), _launch("ctc_bwd", ins, refs)), (alpha,))


# ------------------------------------------------------------------------------ ops

class Ctc(Op):
    """loss = -log(sum of the probabilities of all paths that collapse to the labels), (B,).

    Infinite where no path exists (more labels than frames). On CUDA a label outside gives NaN.
    """

    cuda = Kernel("ctc.cu", plan_ctc)

    def infer(self, log_probs, labels, input_length, label_length):
        _check(log_probs, labels, input_length, label_length)
        return log_probs.with_shape(log_probs.shape[:1])

    def grad(self, node: Node, gy: Tensor):
        return (CtcGrad()(*node.inputs, gy), None, None, None)

    def numpy(self, log_probs, labels, input_length, label_length):
        states = _States(log_probs, labels, input_length, label_length)
        return states.loss(states.alpha()).astype(log_probs.dtype)


class CtcGrad(Op):
    """gx[b, t, c] = -g[b] * P(class c at frame t | labels): the gradient by the log probabilities.

    Zero where the loss is infinite.
    """

    cuda = Kernel("ctc.cu", plan_ctc_grad)

    def infer(self, log_probs, labels, input_length, label_length, g):
        _check(log_probs, labels, input_length, label_length)
        if g != log_probs.with_shape(log_probs.shape[:1]):
            raise ShapeError(f"got {g}, expected {log_probs.with_shape(log_probs.shape[:1])}")
        return log_probs

    def numpy(self, log_probs, labels, input_length, label_length, g):
        states = _States(log_probs, labels, input_length, label_length)
        alpha = states.alpha()
        loss = states.loss(alpha)
        possible = np.isfinite(loss)
        shift = np.where(possible, loss, 0.0)[:, None, None]
        with np.errstate(invalid="ignore"):
            share = np.exp(alpha + states.beta() + shift) * possible[:, None, None]
        share = np.where(states.valid[:, None, :], share, 0.0) * g[:, None, None]
        out = np.zeros(log_probs.shape)
        rows = np.arange(len(out))
        for s in range(share.shape[2]):
            out[rows, :, states.states[:, s]] -= share[:, :, s]
        return out.astype(log_probs.dtype)


def ctc_loss(scores: Tensor, labels: Tensor, input_length: Tensor,
             label_length: Tensor) -> Tensor:
    """CTC loss of scores (B, T, C), which a softmax turns into probabilities; blank is C - 1."""
    integers = (cast(as_tensor(t), "int32") for t in (labels, input_length, label_length))
    return Ctc()(log_softmax(scores), *integers)
