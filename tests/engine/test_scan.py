"""The general loop: values and gradients against a loop written out, on the host and the emulated
device."""
import numpy as np
import pytest

from gpukeras.errors import ShapeError
from gpukeras.function import function
from gpukeras.graph import (Constant, Graph, Placeholder, Variable, gradients, learning_phase,
                            toposort)
from gpukeras.ops import broadcast, linalg, math, reduce
from gpukeras.ops.composite import evaluate
from gpukeras.ops.scan import Scan, last, scan
from gpukeras.passes.bind import bind

RNG = np.random.default_rng(7)
W = RNG.normal(size=(3, 4)).astype("float32")
U = (RNG.normal(size=(4, 4)) * 0.4).astype("float32")
X = RNG.normal(size=(5, 2, 3)).astype("float32")
S = RNG.normal(size=(2, 4)).astype("float32")


def rnn(dtype="float32", reverse=False, steps=None):
    """A simple recurrent net over (T, B, 3) with states (B, 4); its loss and gradients."""
    x, s = Placeholder(dtype, (steps, None, 3), "x"), Placeholder(dtype, (None, 4), "s")
    w, u = Variable(W.astype(dtype), name="w"), Variable(U.astype(dtype), name="u")

    def step(slices, states):
        h = math.tanh(linalg.dot(slices[0], w) + linalg.dot(states[0], u))
        return [h], [h * h]

    states, squares = scan(step, [x], [s], reverse)
    loss = reduce.mean(squares[0]) + reduce.sum_(math.square(last(states[0], reverse)))
    grads = gradients([(loss, Constant(1.0, dtype))], [w, u, x, s])
    return x, s, [loss, *grads], (w, u)


def torch_rnn(reverse):
    torch = pytest.importorskip("torch")
    w, u, x, s = (torch.tensor(a, requires_grad=True) for a in (W, U, X, S))
    h, squares = s, []
    for t in range(len(X))[::-1 if reverse else 1]:
        h = torch.tanh(x[t] @ w + h @ u)
        squares.append(h * h)
    loss = torch.stack(squares).mean() + (h * h).sum()
    loss.backward()
    return [loss.detach().numpy()] + [t.grad.numpy() for t in (w, u, x, s)]


@pytest.mark.parametrize("reverse", [False, True])
def test_values_and_gradients_equal_torch(device, reverse):
    x, s, outputs, _ = rnn(reverse=reverse)
    f = function([x, s], outputs)
    for _ in range(3):                             # the third run replays the captured graph
        for got, want in zip(f([X, S]), torch_rnn(reverse), strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_gradient_along_a_direction_in_float64():
    x, s, (loss, *grads), (w, u) = rnn("float64")
    at = {x: X.astype("float64"), s: S.astype("float64"), w: w.initial, u: u.initial}
    got = evaluate(tuple(grads), at)
    for t, g in zip([w, u, x, s], got, strict=True):
        d, eps = RNG.normal(size=g.shape), 1e-6
        up, = evaluate((loss,), {**at, t: at[t] + eps * d})
        down, = evaluate((loss,), {**at, t: at[t] - eps * d})
        np.testing.assert_allclose((up - down) / (2 * eps), (g * d).sum(), rtol=1e-6)


def test_states_that_change_places(device):
    x = Placeholder("float32", (None, 2), "x")
    a, b = Placeholder("float32", (2,), "a"), Placeholder("float32", (2,), "b")

    def swap(slices, states):
        return [states[1] + slices[0], states[0]], []

    (first, second), _ = scan(swap, [x], [a, b])
    loss = reduce.sum_(first * Constant(np.arange(1, 7).reshape(3, 2), "float32"))
    ga, gb = gradients([(loss, Constant(1.0, "float32"))], [a, b])
    f = function([x, a, b], [first, second, ga, gb])
    xs = np.array([[1, 2], [3, 4], [5, 6]], "float32")
    p, q = np.array([10, 20], "float32"), np.array([100, 200], "float32")
    got = f([xs, p, q])
    np.testing.assert_array_equal(got[0], [q + xs[0], p + xs[1], q + xs[0] + xs[2]])
    np.testing.assert_array_equal(got[1], [p, q + xs[0], p + xs[1]])
    np.testing.assert_array_equal(got[2], [3, 4])
    np.testing.assert_array_equal(got[3], [6, 8])


def test_learning_phase_reaches_into_the_body():
    x, s = Placeholder("float32", (None, 2)), Placeholder("float32", (2,))

    def step(slices, states):
        return [math.where(learning_phase(), states[0] + slices[0], states[0] - slices[0])], []

    (h,), _ = scan(step, [x], [s])
    ones, zero = np.ones((3, 2)), np.zeros(2)
    for phase, sign in [(True, 1), (False, -1)]:
        got, = function([x, s], [last(h)], learning_phase=phase)([ones, zero])
        np.testing.assert_array_equal(got, [3 * sign, 3 * sign])


def test_a_new_length_is_a_new_specialisation_of_the_same_function():
    x, s, outputs, _ = rnn()
    f = function([x, s], outputs[:1])
    for steps in (1, 4, 5):
        want = evaluate(tuple(outputs[:1]), {x: X[:steps], s: S, **_values(outputs)})[0]
        np.testing.assert_allclose(f([X[:steps], S])[0], want, rtol=1e-5)


def test_a_state_that_changes_its_shape_is_refused():
    x, s = Placeholder("float32", (None, 2)), Placeholder("float32", (3,))
    with pytest.raises(ShapeError, match="a state changes its type"):
        scan(lambda xs, ss: ([xs[0]], []), [x], [s])


def _values(outputs):
    from gpukeras.graph import toposort
    return {n.outputs[0]: n.outputs[0].initial for t in outputs for n in toposort([t])
            if isinstance(n.outputs[0], Variable)}


def test_what_is_the_same_in_every_step_is_computed_once():
    x, s = Placeholder("float32", (None, None, 4)), Placeholder("float32", (None, 4))
    w = Variable(U, name="w")

    def step(slices, states):
        heavy = linalg.dot(w, w) * 2.0             # depends on no step
        return [math.tanh(slices[0] + linalg.dot(states[0], heavy))], []

    (h,), _ = scan(step, [x], [s])
    graph = bind(Graph((x, s), (h,)), ((6, 2, 4), (2, 4)), False)
    loop = next(n for n in toposort(graph.roots) if isinstance(n.op, Scan))
    inner = [n.op for n in toposort(loop.op.body.outputs) if isinstance(n.op, linalg.Dot)]
    assert len(inner) == 1
    assert len([n for n in toposort(graph.roots) if isinstance(n.op, linalg.Dot)]) == 1


def test_views_of_what_a_step_reads(device):
    """A mask (T, B) seen as (B, 1) in the step, and weights (4, 4) given as a vector of 16."""
    x, on = Placeholder("float32", (None, 2, 4)), Placeholder("bool", (None, 2))
    flat, s = Placeholder("float32", (16,)), Placeholder("float32", (2, 4))

    def step(slices, states):
        new = math.tanh(slices[0] + linalg.dot(states[0], broadcast.reshape(flat, (4, 4))))
        return [math.where(broadcast.expand_dims(slices[1], 1), new, states[0])], []

    (h,), _ = scan(step, [x, on], [s])
    f = function([x, on, flat, s], [h])
    xs = RNG.normal(size=(5, 2, 4)).astype("float32")
    mask = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0]], bool)
    state, want = S[:, :4], []
    for t in range(5):
        state = np.where(mask[t][:, None], np.tanh(xs[t] + state @ U), state)
        want.append(state)
    for _ in range(3):
        np.testing.assert_allclose(f([xs, mask, U.reshape(-1), S])[0], want, rtol=1e-5, atol=1e-6)
