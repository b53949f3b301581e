"""K.rnn, map_fn and the folds against loops written in NumPy."""
import numpy as np
import pytest

from gpukeras import backend as K

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 6, 3)).astype("float32")
H0 = RNG.normal(size=(4, 5)).astype("float32")
W = RNG.normal(size=(3, 5)).astype("float32")
U = (RNG.normal(size=(5, 5)) * 0.3).astype("float32")


def numpy_rnn(x, mask=None, backwards=False):
    """(last output, outputs, last state) of h = tanh(x W + h U), output 2 h."""
    h, out, outs = H0, np.zeros_like(H0), []
    for t in range(x.shape[1])[::-1 if backwards else 1]:
        new = np.tanh(x[:, t] @ W + h @ U)
        keep = np.ones((len(x), 1), bool) if mask is None else mask[:, t:t + 1]
        out, h = np.where(keep, 2 * new, out), np.where(keep, new, h)
        outs.append(out)
    return out, np.stack(outs, 1), h


def run(mask=None, **options):
    x, h0 = K.placeholder((None, options.pop("steps", None), 3)), K.placeholder((None, 5))
    w, u = K.constant(W), K.variable(U)

    def step(inputs, states):
        h = K.tanh(K.dot(inputs, states[1]) + K.dot(states[0], u))
        return 2.0 * h, [h]

    m = None if mask is None else K.placeholder((None, None))
    last, outputs, states = K.rnn(step, x, [h0], mask=m, constants=[w], **options)
    given = [X, H0] + ([] if mask is None else [mask])
    f = K.function([x, h0] + ([] if m is None else [m]), [last, outputs, *states])
    return f(given)


MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0], [0] * 6], bool)


@pytest.mark.parametrize("options", [{}, {"go_backwards": True}, {"unroll": True, "steps": 6}])
@pytest.mark.parametrize("mask", [None, MASK])
def test_rnn(options, mask):
    want = numpy_rnn(X, mask, options.get("go_backwards", False))
    for got, expected in zip(run(mask, **options), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_unrolling_an_unknown_length_is_refused():
    with pytest.raises(ValueError, match="known number of time steps"):
        run(unroll=True)


def test_gradients_pass_through_the_mask():
    x, m = K.placeholder((None, 6, 3)), K.placeholder((None, 6))
    u = K.variable(U)

    def step(inputs, states):
        h = K.tanh(K.dot(inputs, K.constant(W)) + K.dot(states[0], u))
        return h, [h]

    last, _, _ = K.rnn(step, x, [K.zeros((4, 5))], mask=m)
    gx, = K.gradients(K.sum(last), [x])
    got, = K.function([x, m], [gx])([X, MASK])
    assert np.abs(got[MASK]).min() > 0 and not got[~MASK].any()


def test_map_and_folds():
    e = K.constant(np.arange(1.0, 7.0).reshape(3, 2))
    np.testing.assert_allclose(K.eval(K.map_fn(lambda v: K.sum(v * v), e)), [5, 25, 61])
    np.testing.assert_allclose(K.eval(K.foldl(lambda acc, v: acc * 2.0 + v, e)), [15, 22])
    np.testing.assert_allclose(K.eval(K.foldr(lambda acc, v: acc * 2.0 + v, e)), [27, 34])
    start = K.constant([100.0, 200.0])
    np.testing.assert_allclose(K.eval(K.foldl(lambda acc, v: acc - v, e, start)), [91, 188])
