"""The pass that moves work behind a pooling: graphs written by hand, and values with many ties."""
import numpy as np
import pytest

from gpukeras.function import function
from gpukeras.graph import Constant, Graph, Placeholder, gradients
from gpukeras.ops import math, reduce
from gpukeras.ops.composite import evaluate
from gpukeras.ops.conv import conv
from gpukeras.ops.pool import MaxPoolGrad, average_pool, max_pool
from gpukeras.passes.narrow import narrow
from gpukeras.passes.simplify import simplify

Z = Placeholder("float32", (2, 6, 8, 3), "z")
B = Placeholder("float32", (3,), "b")
G = Placeholder("float32", (2, 3, 4, 3), "g")
P = max_pool(Z, 2)
R = math.relu(Z)
HOW = ((2, 2), (2, 2), ((0, 0), (0, 0)))
GRAD = MaxPoolGrad(*HOW)

NARROW = {
    "relu": (lambda: max_pool(R, 2), lambda: math.relu(P)),
    "bias": (lambda: max_pool(B + Z, 2), lambda: P + B),
    "both": (lambda: max_pool(math.relu(Z + B), 2), lambda: math.relu(P + B)),
    "relu gradient": (lambda: math.relu_grad(GRAD(R, max_pool(R, 2), G), R),
                      lambda: GRAD(Z, P, math.relu_grad(G, math.relu(P)))),
    "bias gradient": (lambda: GRAD(Z + B, max_pool(Z + B, 2), G), lambda: GRAD(Z, P, G)),
    "sum of a gradient": (lambda: reduce.sum_(GRAD(Z, P, G), (0, 1, 2)),
                          lambda: reduce.sum_(G, (0, 1, 2))),
    "sum of a mean's gradient": (
        lambda: reduce.sum_(gradients([(average_pool(Z, 2), G)], [Z])[0], (1, 2)),
        lambda: reduce.sum_(G, (1, 2))),
}
KEPT = {
    "a pool that keeps the size": lambda: max_pool(R, 3, 1, "same"),
    "a bias per column": lambda: max_pool(Z + Placeholder("float32", (8, 3)), 2),
    "a mean": lambda: average_pool(R, 2),
    "a sum over rows only": lambda: reduce.sum_(GRAD(Z, P, G), (0, 1)),
    "a relu gradient of something else": lambda: math.relu_grad(GRAD(R, math.relu(P), G), Z),
}


@pytest.mark.parametrize("name", NARROW)
def test_narrow(name):
    before, after = NARROW[name]
    result, = narrow(Graph((Z, B, G), (before(),))).outputs
    assert result is after()


@pytest.mark.parametrize("name", KEPT)
def test_nothing_to_narrow(name):
    before, = simplify(Graph((Z, B, G), (KEPT[name](),))).outputs
    after, = narrow(Graph((Z, B, G), (before,))).outputs
    assert after is before


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("window, strides, pads", [(2, 2, "valid"), (3, 2, "same")])
def test_values_and_gradients_stay(ties, window, strides, pads):
    rng = np.random.default_rng(0)
    x = Placeholder("float64", (2, 9, 8, 2))
    w, b = Placeholder("float64", (3, 2, 2, 4)), Placeholder("float64", (4,))
    y = max_pool(math.relu(conv(x, w) + b), window, strides, pads)
    loss = reduce.sum_(math.square(y - 0.5))
    grads = gradients([(loss, Constant(np.float64(1)))], [x, w, b])
    shapes = [t.shape for t in (x, w, b)]
    arrays = [rng.integers(-1, 2, s).astype("float64") if ties else rng.standard_normal(s)
              for s in shapes]
    want = evaluate((loss, *grads), dict(zip((x, w, b), arrays)))
    got = function([x, w, b], [loss, *grads])(arrays)
    for a, e in zip(got, want):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-11)
