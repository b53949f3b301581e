"""Recurrent sequences: ops/rnn.py, lstm.py, gru.py. Whole sequences against the scan of a step."""
import numpy as np
from check import Case

from gpukeras.ops.gru import GruWhole, GruWholeGrad
from gpukeras.ops.lstm import LstmWhole, LstmWholeGrad
from gpukeras.ops.rnn import Gru, GruGrad, Lstm, LstmGrad, SimpleRnn, SimpleRnnGrad

rng = np.random.default_rng(8)
ALL = ("float32", "float16", "float64")
SIZES = [(3, 4, 5), (2, 1, 8), (1, 5, 33), (5, 2, 1)]       # rows, steps, units


def mask(b: int, s: int) -> np.ndarray:
    marks = rng.random((b, s)) > 0.3
    marks[0, 0] = False                            # also before anything was seen
    return marks


def weights(u: int, gates: int, columns: int = 0) -> np.ndarray:
    return rng.standard_normal((u, columns or gates * u)) / np.sqrt(u)


def lstm(b: int, s: int, u: int, *more) -> tuple:
    return ((b, s, 4 * u), weights(u, 4), (b, u), (b, u), *more)


def lstm_grad(b: int, s: int, u: int, *more) -> tuple:
    return (rng.random((b, s, 4 * u)), (b, s, u), (b, u), weights(u, 4), (b, s, u), *more)


def gru(b: int, s: int, u: int, *more) -> tuple:
    return ((b, s, 3 * u), weights(u, 3), (b, u), *more)


def gru_grad(b: int, s: int, u: int, *more) -> tuple:
    return (rng.random((b, s, 3 * u)), (b, s, u), (b, s, u), (b, u), weights(u, 3), (b, s, u),
            *more)


def simple(b: int, s: int, u: int, *more) -> tuple:
    return ((b, s, u), weights(u, 1), (b, u), *more)


def simple_grad(b: int, s: int, u: int, *more) -> tuple:
    return (rng.random((b, s, u)), weights(u, 1), (b, s, u), *more)


def whole(op: LstmWhole, b: int, s: int, f: int, u: int, *mask) -> Case:
    bias = ((4 * u,),) if op.has_bias else ()
    state = ((b, u), (b, u)) if op.has_state else ()
    return Case(op, ((b, s, f), weights(f, 1, 4 * u), weights(u, 4), *bias, *state, *mask),
                tolerance=5)


def whole_grad(op: LstmWholeGrad, b: int, s: int, f: int, u: int, *mask) -> Case:
    history, k = (s, b, u), u + f + op.has_bias
    g = (b, s, u) if op.sequence else (b, u)
    gc = ((b, u),) if op.has_gc else ()
    return Case(op, ((s, b, k), rng.random((s, 4, b, u)), history, history,
                     weights(f, 1, 4 * u), weights(u, 4), g, *gc, *mask), tolerance=10)


def gru_whole(op: GruWhole, b: int, s: int, f: int, u: int, *mask) -> Case:
    biases = ((3 * u,),) * (op.has_bias + op.two_biases)
    state = ((b, u),) if op.has_state else ()
    return Case(op, ((b, s, f), weights(f, 1, 3 * u), weights(u, 3), *biases, *state, *mask),
                tolerance=5)


def gru_whole_grad(op: GruWholeGrad, b: int, s: int, f: int, u: int, *mask) -> Case:
    history, g = (s, b, u), (b, s, u) if op.sequence else (b, u)
    return Case(op, ((s, b, f + 1 + u), rng.random((s, 3, b, u)), history, weights(f, 1, 3 * u),
                     weights(u, 3), g, *mask), tolerance=10)


CASES = [
    *(Case(Lstm(), lstm(*size), tolerance=3) for size in SIZES),
    Case(Lstm("relu", "hard_sigmoid", True), lstm(2, 3, 4, mask(2, 3)), dtypes=ALL, tolerance=3),
    Case(Lstm("linear", "sigmoid"), lstm(2, 3, 6, mask(2, 3)), tolerance=3),
    Case(LstmGrad(), lstm_grad(3, 4, 5), dtypes=ALL, tolerance=3),
    Case(LstmGrad(reverse=True, has_gc=True), lstm_grad(2, 3, 8, (2, 3, 8), mask(2, 3)),
         tolerance=3),
    Case(LstmGrad(has_gc=True), lstm_grad(2, 4, 3, (2, 4, 3)), tolerance=3),
    *(whole(LstmWhole(keep=keep, sequence=keep), b, s, 3, u)
      for b, s, u in SIZES for keep in (False, True)),
    whole(LstmWhole(reverse=True, keep=True, has_state=True), 3, 6, 2, 4, mask(3, 6)),
    whole(LstmWhole("relu", "hard_sigmoid", sequence=True, has_bias=False), 3, 6, 2, 4, mask(3, 6)),
    whole(LstmWhole(sequence=True), 70, 50, 3, 8),              # several chunks of steps
    whole(LstmWhole(keep=True), 102, 2, 4, 101),    # products in parts
    *(whole_grad(LstmWholeGrad(sequence=sequence, inputs=sequence), b, s, 3, u)
      for b, s, u in SIZES for sequence in (False, True)),
    whole_grad(LstmWholeGrad(reverse=True, sequence=True, has_gc=True, has_state=True,
                             inputs=True), 3, 6, 2, 4, mask(3, 6)),
    whole_grad(LstmWholeGrad("relu", "hard_sigmoid", has_gc=True, has_bias=False), 3, 6, 2, 4,
               mask(3, 6)),
    whole_grad(LstmWholeGrad(weights=False, inputs=True, sequence=True), 70, 50, 3, 8),
    whole_grad(LstmWholeGrad(inputs=True), 102, 2, 4, 101),
    *(Case(Gru(reset_after=after), gru(*size), tolerance=3)
      for after in (False, True) for size in SIZES),
    *(Case(Gru("tanh", "hard_sigmoid", True, after, True), gru(2, 3, 4, (12,), mask(2, 3)),
           dtypes=ALL, tolerance=3) for after in (False, True)),
    *(Case(GruGrad(reset_after=after), gru_grad(3, 4, 5), dtypes=ALL, tolerance=3)
      for after in (False, True)),
    *(Case(GruGrad(reverse=True, reset_after=after), gru_grad(2, 3, 8, mask(2, 3)), tolerance=3)
      for after in (False, True)),
    *(gru_whole(GruWhole(reset_after=after, two_biases=after, keep=True, sequence=after), b, s, 3,
                u) for b, s, u in SIZES for after in (False, True)),
    gru_whole(GruWhole(reverse=True, keep=True, has_state=True), 3, 6, 2, 4, mask(3, 6)),
    gru_whole(GruWhole("relu", "hard_sigmoid", reset_after=True, sequence=True, has_bias=False), 3,
              6, 2, 4, mask(3, 6)),
    gru_whole(GruWhole(sequence=True, two_biases=True), 70, 50, 3, 9),      # several chunks
    *(gru_whole_grad(GruWholeGrad(reset_after=after, two_biases=after, sequence=sequence,
                                  inputs=sequence), b, s, 3, u)
      for b, s, u in SIZES for sequence in (False, True) for after in (False, True)),
    *(gru_whole_grad(GruWholeGrad(act, ract, True, after, True, after, True, inputs=True), 3, 6, 2,
                     4, mask(3, 6)) for act, ract in (("tanh", "sigmoid"), ("relu", "hard_sigmoid"))
      for after in (False, True)),
    gru_whole_grad(GruWholeGrad(weights=False, inputs=True, sequence=True), 70, 50, 3, 9),
    *(Case(SimpleRnn(), simple(*size), tolerance=3) for size in SIZES),
    Case(SimpleRnn("sigmoid", True), simple(2, 3, 6, mask(2, 3)), dtypes=ALL, tolerance=3),
    *(Case(SimpleRnnGrad(), simple_grad(*size), tolerance=3) for size in SIZES),
    Case(SimpleRnnGrad("sigmoid", True), simple_grad(2, 3, 6, mask(2, 3)), dtypes=ALL, tolerance=3),
]
