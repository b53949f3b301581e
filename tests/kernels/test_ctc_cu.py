"""ctc.cu against torch's ctc_loss: repeats, empty labels, short rows, rows without a path."""
import numpy as np
import pytest
from check import prove

from gpukeras.ops.ctc import Ctc, CtcGrad, CtcGreedy

BUDGETS = {"ctc_fwd": 96, "ctc_bwd": 128, "ctc_greedy": 64}
VARIANTS = [(("T", t),) for t in ("float", "double", "float16")]


def rows(t, c, labels, frames, counts, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((len(labels), t, c)) * 2
    log_probs = (scores - np.log(np.exp(scores).sum(-1, keepdims=True))).astype("f4")
    return (log_probs, *(np.array(a, "i4") for a in (labels, frames, counts)))


ROWS = [rows(6, 4, [[0, 1], [2, 2], [1, 0]], [6, 5, 4], [2, 2, 1]),
        rows(20, 5, [[0, 0, 0, 3, 3, 1]], [20], [6]),
        rows(5, 3, [[0, 1], [1, 1]], [5, 1], [0, 1]),
        rows(80, 30, np.arange(2 * 20).reshape(2, 20) % 29, [80, 61], [20, 17])]


# the blanks at the ends of the labels, and numbers above, stand for no labels
ENDED = rows(9, 5, [[0, 1, 4], [2, 9, 4], [4, 4, 4], [1, 2, 3], [3, 4, 1]], [9, 8, 9, 9, 7],
             [3, 3, 2, 3, 2])
CASES = [(case, case[3]) for case in ROWS] + [(ENDED, np.array([2, 1, 0, 3, 1]))]


@pytest.mark.parametrize("case, used", CASES, ids=lambda x: str(x[0].shape))
def test_agrees_with_torch(case, used):
    torch = pytest.importorskip("torch")
    log_probs, labels, frames, _ = case
    blank = log_probs.shape[2] - 1
    t = torch.tensor(log_probs, dtype=torch.float64, requires_grad=True)
    want = torch.nn.functional.ctc_loss(t.transpose(0, 1), *(torch.tensor(a, dtype=torch.int64)
                                                            for a in (labels, frames, used)),
                                        blank=blank, reduction="none")
    g = np.linspace(-1, 2, len(labels)).astype("f4")
    loss, = prove(Ctc(), *case, entries=["ctc_fwd"])
    np.testing.assert_allclose(loss, want.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(Ctc().numpy(*case), want.detach(), rtol=1e-5, atol=1e-5)
    gx, = prove(CtcGrad(), *case, g, entries=["ctc_bwd"])
    # torch's gradient is by the scores, as if a softmax stood before: add its part
    inside = np.arange(log_probs.shape[1])[:, None] < frames[:, None, None]
    by_scores = gx + np.exp(log_probs) * g[:, None, None] * inside
    want.backward(torch.tensor(g, dtype=torch.float64))
    np.testing.assert_allclose(by_scores, t.grad, atol=1e-5)


def test_a_row_without_a_path_is_infinite_and_without_gradient():
    case = rows(2, 4, [[0, 0], [0, 1]], [2, 2], [2, 2])      # 0 0 needs a blank between
    loss, = prove(Ctc(), *case, entries=["ctc_fwd"])
    assert np.isinf(loss[0]) and np.isfinite(loss[1])
    gx, = prove(CtcGrad(), *case, np.ones(2, "f4"), entries=["ctc_bwd"])
    assert (gx[0] == 0).all() and (gx[1] != 0).any()


@pytest.mark.parametrize("labels", [[-1, 1], [3, 1]])        # 3 is the blank
def test_a_bad_label_makes_its_row_nan(labels):
    case = rows(4, 4, [labels, [0, 1]], [4, 4], [2, 2])
    loss, = prove(Ctc(), *case, entries=["ctc_fwd"])
    gx, = prove(CtcGrad(), *case, np.ones(2, "f4"), entries=["ctc_bwd"])
    assert np.isnan(loss[0]) and np.isfinite(loss[1])
    assert np.isnan(gx[0]).all() and np.isfinite(gx[1]).all()


def test_the_best_path_merges_repeats_and_drops_blanks():
    path = [[0, 0, 3, 0, 1, 1], [3, 3, 2, 2, 3, 2]]
    scores = np.eye(4, dtype="f4")[path]
    labels, score = prove(CtcGreedy(), scores, np.array([6, 5], "i4"), entries=["ctc_greedy"])
    np.testing.assert_array_equal(labels, [[0, 0, 1, -1, -1, -1], [2, -1, -1, -1, -1, -1]])
    np.testing.assert_array_equal(score, [[-6], [-5]])
