"""Softmax, cross-entropies, batch norm and gather on the host, against torch and formulas."""
import numpy as np
import pytest

from gpukeras.errors import DtypeError, ShapeError
from gpukeras.function import function
from gpukeras.graph import Placeholder, gradients
from gpukeras.ops import index, nn, norm
from gpukeras.ops import math as m
from gpukeras.ops.broadcast import sum_

torch = pytest.importorskip("torch")
rng = np.random.default_rng(0)


def run(build, *arrays):
    """The values of build(*placeholders), and the gradients of their sum by the float inputs."""
    xs = [Placeholder(a.dtype.name, (None, *a.shape[1:])) for a in arrays]
    ys = build(*xs)
    ys = ys if isinstance(ys, tuple) else (ys,)
    wrt = [x for x in xs if x.dtype.startswith("float")]
    total = sum(sum_(y * (i + 1)) for i, y in enumerate(ys))
    ones = m.ones_like(total)
    values = function(xs, [*ys, *gradients([(total, ones)], wrt)])(list(arrays))
    return values[:len(ys)], values[len(ys):]


def torch_run(build, *arrays):
    xs = [torch.tensor(a.astype("f8"), requires_grad=True) if a.dtype.kind == "f"
          else torch.tensor(a.astype("i8")) for a in arrays]
    ys = build(*xs)
    ys = ys if isinstance(ys, tuple) else (ys,)
    sum((y * (i + 1)).sum() for i, y in enumerate(ys)).backward()
    return ([y.detach().numpy() for y in ys],
            [x.grad.numpy() for x in xs if x.is_floating_point()])


def agree(ours, theirs, arrays, tolerance=2e-5):
    for got, want in zip(run(ours, *arrays), torch_run(theirs, *arrays), strict=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def normal(*shape):
    return rng.standard_normal(shape).astype("f4")


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_over_any_axis(axis):
    x, w = normal(4, 5, 6), normal(4, 5, 6)
    agree(lambda x, w: nn.softmax(x, axis) * w, lambda x, w: torch.softmax(x, axis) * w, (x, w))
    agree(lambda x, w: nn.log_softmax(x, axis) * w,
          lambda x, w: torch.log_softmax(x, axis) * w, (x, w))


def test_cross_entropies_of_logits():
    functional = torch.nn.functional
    x, t = normal(7, 10) * 20, rng.dirichlet(np.ones(10), 7).astype("f4")
    agree(nn.softmax_cross_entropy,
          lambda x, t: functional.cross_entropy(x, t, reduction="none"), (x, t), 1e-4)
    labels = rng.integers(0, 10, 7).astype("i4")
    agree(nn.sparse_softmax_cross_entropy,
          lambda x, t: functional.cross_entropy(x, t, reduction="none"), (x, labels))
    agree(nn.sigmoid_cross_entropy,
          lambda x, t: functional.binary_cross_entropy_with_logits(x, t, reduction="none"),
          (x * 5, t))


def test_scores_of_any_size_stay_finite():
    x = np.array([[1e4, 0.0, -1e4]], "f4")
    loss, = run(lambda x: nn.sparse_softmax_cross_entropy(x, np.array([2])), x)[0]
    assert loss == 2e4
    x = np.array([[1e4, -1e4]], "f4")
    loss, = run(lambda x: nn.sigmoid_cross_entropy(x, np.array([[0.0, 1.0]], "f4")), x)[0]
    np.testing.assert_array_equal(loss, [[1e4, 1e4]])


def test_log_of_softmax_is_stabilised():
    x = Placeholder("float32", (1, 2))
    y, = function([x], [m.log(nn.softmax(x))])([np.array([[0, 200]], "f4")])
    np.testing.assert_array_equal(y, [[-200, 0]])


def test_a_label_outside_shows_as_nan():
    loss, = run(lambda x: nn.sparse_softmax_cross_entropy(x, np.array([0, 3, -1])),
                normal(3, 3))[0]
    np.testing.assert_array_equal(np.isnan(loss), [False, True, True])


@pytest.mark.parametrize("shape", [(16, 5), (3, 6, 5, 4), (700, 3)])
def test_batch_norm_with_the_gradient_through_its_statistics(shape):
    c = shape[-1]
    arrays = normal(*shape) * 3 + 2, normal(c), normal(c)

    def ours(x, gamma, beta):
        gamma, beta = (v[:c] for v in (gamma, beta))
        y, mean, var = norm.batch_norm_train(x, gamma, beta, 1e-3)
        return m.sin(y), mean, var

    def theirs(x, gamma, beta):
        axes = tuple(range(x.ndim - 1))
        y = torch.nn.functional.batch_norm(x.movedim(-1, 1), None, None, gamma, beta, True,
                                           eps=1e-3).movedim(1, -1)
        return torch.sin(y), x.mean(axes), x.var(axes, unbiased=False)
    agree(ours, theirs, arrays, 2e-4)


def test_batch_norm_with_given_statistics():
    c = 5
    arrays = normal(6, 4, c), normal(c), normal(c), normal(c), normal(c) ** 2
    agree(lambda x, g, b, mean, var: norm.batch_norm_infer(x, g[:c], b[:c], mean[:c], var[:c], .1),
          lambda x, g, b, mean, var: (x - mean) / torch.sqrt(var + .1) * g + b, arrays)


def test_half_precision_activations_keep_float32_statistics():
    x = Placeholder("float16", (None, 3))
    gamma, beta = (Placeholder("float32", (3,)) for _ in range(2))
    y, mean, var = norm.batch_norm_train(x, gamma, beta, 1e-3)
    assert (y.dtype, mean.dtype, var.dtype) == ("float16", "float32", "float32")
    data = (rng.standard_normal((400, 3)) + 30).astype("f2")
    out = function([x, gamma, beta], [y, mean, var])([data, np.ones(3, "f4"), np.zeros(3, "f4")])
    wide = data.astype("f8")
    np.testing.assert_allclose(out[1], wide.mean(0), rtol=1e-5)
    np.testing.assert_allclose(out[2], wide.var(0), rtol=1e-4)
    np.testing.assert_allclose(out[0], (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-3),
                               atol=4e-3)


def test_gather_and_its_gradient():
    table, idx = normal(9, 4), rng.integers(0, 9, (6, 5)).astype("i4")
    agree(lambda x, i: m.sin(index.gather(x, i)),
          lambda x, i: torch.sin(torch.nn.functional.embedding(i, x)), (table, idx))


def test_gather_says_which_index_is_outside():
    x, i = Placeholder("float32", (4, 2)), Placeholder("int32", (None,))
    f = function([x, i], [index.gather(x, i)])
    with pytest.raises(ShapeError, match="got 7, expected 0 to 3"):
        f([np.zeros((4, 2), "f4"), np.array([0, 7], "i4")])


def test_in_top_k_counts_ties_and_refuses_what_is_not_finite():
    scores = np.array([[.1, .5, .4], [.5, .5, .2], [np.nan, .1, .2], [.3, .2, .1], [1, 2, 3]], "f4")
    classes = np.array([2, 1, 0, 2, 5], "i4")
    s, c = Placeholder("float32", (None, 3)), Placeholder("int32", (None,))
    f = function([s, c], [index.in_top_k(s, c, k) for k in (1, 2)])
    one, two = f([scores, classes])
    np.testing.assert_array_equal(one, [False, True, False, False, False])
    np.testing.assert_array_equal(two, [True, True, False, False, False])


@pytest.mark.parametrize("build, error, words", [
    (lambda x, i: nn.softmax_cross_entropy(x, i), ShapeError, "expected two tensors of one type"),
    (lambda x, i: index.Gather()(x, x), DtypeError, "expected integers"),
    (lambda x, i: nn.Softmax()(i), DtypeError, "expected floats"),
    (lambda x, i: norm.batch_norm_train(x, x, x, 1e-3), ShapeError, r"expected f32\[3\]"),
    (lambda x, i: nn.SparseSoftmaxCrossEntropy()(x, x), DtypeError, "expected integers")])
def test_errors_say_what_was_expected(build, error, words):
    with pytest.raises(error, match=words):
        build(Placeholder("float32", (None, 3)), Placeholder("int32", (None,)))
