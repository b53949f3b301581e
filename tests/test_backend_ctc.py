"""K.ctc_*: against the sum over all paths, listed one by one."""
import itertools
from collections import defaultdict

import numpy as np
import pytest

from gpukeras import backend as K

RNG = np.random.RandomState(2)
TIME, CLASSES = 5, 4


def probabilities(*shape):
    p = np.exp(RNG.normal(size=shape) * 1.5)
    return (p / p.sum(-1, keepdims=True)).astype("float32")


def collapse(path):
    return tuple(c for i, c in enumerate(path)
                 if c != CLASSES - 1 and (i == 0 or c != path[i - 1]))


def sequences(p):
    """Label sequence -> probability, over all paths through the frames of p."""
    found = defaultdict(float)
    for path in itertools.product(range(CLASSES), repeat=len(p)):
        found[collapse(path)] += float(np.prod([p[t, c] for t, c in enumerate(path)], dtype="f8"))
    return found


def test_cost_is_the_sum_over_all_paths():
    p = probabilities(3, TIME, CLASSES)
    labels = np.array([[0, 1, 1], [2, 0, 0], [1, 0, 0]], "int32")
    frames, counts = np.array([[5], [4], [3]]), np.array([[3], [1], [2]])
    t, x, n, m = (K.placeholder(shape=(None,) + a.shape[1:], dtype=a.dtype.name)
                  for a in (labels, p, frames, counts))
    cost = K.ctc_batch_cost(t, x, n, m)
    gradient, = K.gradients(cost, [x])
    got, slope = K.function([t, x, n, m], [cost, gradient])([labels, p, frames, counts])
    assert got.shape == (3, 1)

    def by_hand(rows):
        return [-np.log(sequences((r / r.sum(-1, keepdims=True))[:n[0]])[tuple(a[:m[0]])])
                for r, a, n, m in zip(rows, labels, frames, counts, strict=True)]

    np.testing.assert_allclose(got[:, 0], by_hand(p), rtol=1e-4)
    h, direction = 1e-4, RNG.normal(size=p.shape)
    slopes = (np.sum(by_hand(p + h * direction)) - np.sum(by_hand(p - h * direction))) / (2 * h)
    np.testing.assert_allclose((slope * direction).sum(), slopes, rtol=1e-3)


@pytest.mark.parametrize("frames", [[5, 5], [3, 1]])
def test_wide_beam_finds_the_likeliest_sequences(frames):
    p = probabilities(2, TIME, CLASSES)
    (first, second, third), scores = K.ctc_decode(K.constant(p), K.constant(frames, "int32"),
                                                  greedy=False, beam_width=1000, top_paths=3)
    got = K.function([], [first, second, third, scores])([])
    for b, n in enumerate(frames):
        wanted = sorted(sequences(p[b, :n]).items(), key=lambda item: -item[1])[:3]
        for i, (labels, probability) in enumerate(wanted):
            assert got[i][b].tolist() == list(labels) + [-1] * (TIME - len(labels))
            np.testing.assert_allclose(got[3][b, i], np.log(probability), rtol=1e-4)


def test_narrow_beam_loses_probability_only():
    p = probabilities(1, TIME, CLASSES)
    full = sequences(p[0])
    paths, scores = K.ctc_decode(K.constant(p), K.constant([TIME], "int32"), greedy=False,
                                 beam_width=4, top_paths=4)
    *paths, scores = K.function([], [*paths, scores])([])
    for path, score in zip(paths, scores[0], strict=True):
        assert score <= np.log(full[tuple(c for c in path[0] if c >= 0)]) + 1e-5


def test_greedy():
    # best classes 1 1 - 1 0 | 2 2 2 - - of which three frames count
    p = np.full((2, TIME, CLASSES), 0.1, "float32")
    for b, row in enumerate([[1, 1, 3, 1, 0], [2, 2, 2, 3, 3]]):
        p[b, np.arange(TIME), row] = 0.7
    (labels,), scores = K.ctc_decode(K.constant(p), K.constant([5, 3], "int32"))
    labels, scores = K.function([], [labels, scores])([])
    assert labels.tolist() == [[1, 1, 0, -1, -1], [2, -1, -1, -1, -1]]
    np.testing.assert_allclose(scores, [[-5 * np.log(0.7)], [-3 * np.log(0.7)]], rtol=1e-5)


def test_merge_repeated():
    p = np.full((1, 3, 3), 0.05, "float32")
    p[0, np.arange(3), [0, 2, 0]] = 0.9                      # 0 blank 0
    arguments = K.constant(p), K.constant([3], "int32")
    for merge, wanted in ((False, [0, 0, -1]), (True, [0, -1, -1])):
        (labels,), _ = K.ctc_decode(*arguments, greedy=False, beam_width=9, merge_repeated=merge)
        assert K.eval(labels).tolist() == [wanted]
