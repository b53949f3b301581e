"""Connectionist temporal classification.   Graves, Fernandez, Gomez, Schmidhuber 2006.

log_probs (B, T, C), the last class is the blank; labels (B, L) integers;
input_length (B,) frames in use; label_length (B,) labels in use, of which blanks (C - 1 and above)
at the end count as none. The states of a row are its labels with blanks before, between and after
them: S = 2 L + 1.
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
        given = np.arange(most) < np.clip(label_length, 0, most)[:, None]
        used = np.logical_and.accumulate(given & (labels < classes - 1), 1)
        self.count = used.sum(1)
        bad = (used & (labels < 0)) | (given & ~used & (labels < classes - 1))
        if bad.any():
            raise ShapeError(f"CTC label out of range: got {labels[bad][0]} in "
                             f"{labels[bad.any(1)][0].tolist()}, expected 0 to {classes - 2}, and "
                             f"blanks ({classes - 1} and above) at the end only")
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

    Infinite where no path exists (more labels than frames). On CUDA a bad label gives NaN.
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


# ------------------------------------------------------------------------------ decoding

class CtcGreedy(Op):
    """The best class of every frame, repeats merged, blanks left out.

    scores (B, T, C), frames (B,) -> labels (B, T) int64 padded with -1, -sum of the best scores
    (B, 1)
    """

    cuda = Kernel("ctc.cu", lambda op, ins, outs: _plan_greedy(ins))

    def infer(self, scores: TensorType, frames: TensorType) -> Types:
        _check(scores, TensorType("int32", (scores.shape[0], 0)), frames)
        batch, time = scores.shape[:2]
        return TensorType("int64", (batch, time)), scores.with_shape((batch, 1))

    def grad(self, node: Node, *gys):
        return None, None

    def numpy(self, scores, frames):
        batch, time, classes = scores.shape
        inside = np.arange(time) < frames[:, None]
        best = scores.argmax(-1) if classes else np.zeros((batch, time), "int64")
        total = np.where(inside, scores.max(-1), 0).sum(-1, keepdims=True)
        before = np.concatenate([np.full((batch, 1), -1), best[:, :-1]], 1)
        kept = inside & (best != classes - 1) & (best != before)
        out = np.full((batch, time), -1)
        rows, frame = np.nonzero(kept)
        out[rows, kept.cumsum(1)[rows, frame] - 1] = best[rows, frame]
        return out, (-total).astype(scores.dtype)


def _plan_greedy(ins: Types) -> LaunchPlan:
    batch, time, classes = ins[0].shape
    if not batch:
        return LaunchPlan(())
    args = (In(0), In(1), Out(0), Out(1), *map(np.int32, (batch, time, classes)))
    return LaunchPlan((Launch("ctc_greedy", (-(-batch // 4),), (32, 4), args,
                              defines=defines(T=ins[0].dtype)),))


class CtcBeam(Op):
    """The `paths` best label sequences by prefix beam search of width `beam`; on the host only.

    scores (B, T, C), frames (B,) -> paths times labels (B, T) int64 padded with -1, then their log
    probabilities (B, paths). merge: equal neighbours in a result become one (TensorFlow's option).
    A narrow beam may find better sequences than TensorFlow's, which gives up the extensions of a
    prefix that another one pushes out of the beam in the same frame.
    Graves 2012, Supervised Sequence Labelling, section 7.5.
    """

    params = ("beam", "paths", "merge")
    foldable = False

    def infer(self, scores: TensorType, frames: TensorType) -> Types:
        _check(scores, TensorType("int32", (scores.shape[0], 0)), frames)
        if not 1 <= self.paths <= self.beam:
            raise ShapeError(f"top_paths: got {self.paths}, expected 1 to the beam width "
                             f"{self.beam}")
        batch, time = scores.shape[:2]
        labels = TensorType("int64", (batch, time))
        return (labels,) * self.paths + (scores.with_shape((batch, self.paths)),)

    def grad(self, node: Node, *gys):
        return None, None

    def numpy(self, scores, frames):
        batch, time, _ = scores.shape
        labels = np.full((self.paths, batch, time), -1)
        total = np.full((batch, self.paths), _NEVER)
        wide = scores.astype("float64")
        for b in range(batch):
            found = _beam_search(wide[b, :frames[b]], self.beam)[:self.paths]
            for k, (prefix, score) in enumerate(found):
                if self.merge:
                    prefix = [c for i, c in enumerate(prefix) if not i or c != prefix[i - 1]]
                labels[k, b, :len(prefix)] = prefix
                total[b, k] = score
        return (*labels, total.astype(scores.dtype))


def _beam_search(scores: np.ndarray, width: int) -> list[tuple[tuple[int, ...], float]]:
    """(labels, log probability) of the best prefixes, best first."""
    scores = scores - scores.max(-1, keepdims=True)
    log_probs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    prefixes: list[tuple[int, ...]] = [()]
    blank, label = np.zeros(1), np.full(1, _NEVER)       # paths that end in a blank, in the label
    for y in log_probs:
        total = np.logaddexp(blank, label)
        last = np.array([p[-1] if p else -1 for p in prefixes])
        place = {p: k for k, p in enumerate(prefixes)}
        more = total[:, None] + y[:-1]                   # every prefix longer by every class
        again = np.flatnonzero(last >= 0)
        more[again, last[again]] = blank[again] + y[last[again]]
        stay = np.where(last >= 0, label + y[last], _NEVER)
        for k, p in enumerate(prefixes):
            parent = place.get(p[:-1]) if p else None
            if parent is not None:                       # the longer prefix is in the beam already
                stay[k] = np.logaddexp(stay[k], more[parent, p[-1]])
                more[parent, p[-1]] = _NEVER
        ends = np.concatenate([total + y[-1], np.full(more.size, _NEVER)])
        labels = np.concatenate([stay, more.reshape(-1)])
        value = np.logaddexp(ends, labels)
        best = value.argsort(kind="stable")[::-1][:width]
        best = best[value[best] > _NEVER]
        old, classes = len(prefixes), more.shape[1]
        prefixes = [prefixes[i] if i < old else
                    prefixes[(i - old) // classes] + (int((i - old) % classes),) for i in best]
        blank, label = ends[best], labels[best]
    return list(zip(prefixes, np.logaddexp(blank, label)))


def ctc_greedy(scores: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """(labels (B, T) padded with -1, -sum of the best scores (B, 1)) of the best path."""
    return CtcGreedy()(scores, cast(as_tensor(frames), "int32"))


def ctc_beam(scores: Tensor, frames: Tensor, beam: int, paths: int, merge: bool = False
             ) -> tuple[list[Tensor], Tensor]:
    """(`paths` tensors of labels (B, T) padded with -1, log probabilities (B, paths))."""
    outs = CtcBeam(int(beam), int(paths), bool(merge))(scores, cast(as_tensor(frames), "int32"))
    return list(outs[:-1]), outs[-1]
