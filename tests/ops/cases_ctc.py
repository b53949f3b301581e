"""Connectionist temporal classification: ops/ctc.py."""
import numpy as np
from check import Case

from gpukeras.ops.ctc import Ctc, CtcBeam, CtcGrad, CtcGreedy


def batch(b: int, t: int, c: int, most: int, seed: int = 0) -> tuple:
    """log probabilities, labels with repeats, frames, counts: every row has a path."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((b, t, c))
    log_probs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    labels = rng.integers(0, min(c - 1, 3), (b, most)).astype("i4")
    counts = rng.integers(0, most + 1, b).astype("i4")
    repeats = (labels[:, 1:] == labels[:, :-1]).sum(1)
    frames = np.minimum(counts + repeats + rng.integers(0, t, b), t).astype("i4")
    return log_probs, labels, frames, counts


G = np.array([0.5, -2.0, 1.0])

CASES = [
    *(Case(Ctc(), batch(3, t, c, most)) for t, c, most in ((1, 2, 1), (12, 5, 3), (33, 31, 8))),
    Case(Ctc(), batch(1, 40, 4, 18)),              # more states than a warp has threads
    Case(Ctc(), batch(0, 5, 4, 2)),
    *(Case(CtcGrad(), (*batch(3, t, c, most), G), grad=False)
      for t, c, most in ((1, 2, 1), (12, 5, 3), (33, 31, 8))),
    Case(CtcGrad(), (*batch(1, 40, 4, 18), G[:1]), grad=False, dtypes=("float32", "float64")),
    *(Case(CtcGreedy(), (batch(b, t, c, 2)[0], batch(b, t, c, 2)[2]), grad=False)
      for b, t, c in ((0, 5, 4), (1, 1, 2), (5, 40, 4), (3, 7, 33))),
    Case(CtcBeam(4, 2, False), (batch(3, 9, 4, 2)[0], batch(3, 9, 4, 2)[2]), grad=False),
]
