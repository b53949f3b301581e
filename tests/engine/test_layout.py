"""The pass that keeps images channels last: rules by hand, and whole channels_first networks."""
import numpy as np
import pytest

from gpukeras.function import function
from gpukeras.graph import Constant, Graph, Placeholder, gradients
from gpukeras.ops import broadcast, math, reduce
from gpukeras.ops.composite import evaluate
from gpukeras.ops.conv import conv
from gpukeras.ops.pool import average_pool, max_pool
from gpukeras.ops.shape import Transpose, concat, pad, transpose
from gpukeras.passes.bind import bind
from gpukeras.passes.layout import layout
from gpukeras.passes.pipeline import compile_graph
from gpukeras.passes.target import HOST

X = Placeholder("float32", (2, 5, 6, 3), "x")          # channels last
Y = Placeholder("float32", (2, 5, 6, 3), "y")
B = Placeholder("float32", (3,), "b")
MASK = Placeholder("bool", (2, 3, 5, 6), "mask")
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def first(x):
    return transpose(x, FIRST)


COLUMN = broadcast.reshape(B, (3, 1, 1))
ROW = broadcast.reshape(B, (1, 1, 1, 3))

LAYOUT = {
    "there and back": (lambda: transpose(first(X), LAST), lambda: X),
    "one input": (lambda: math.relu(first(X)), lambda: first(math.relu(X))),
    "two inputs": (lambda: first(X) * first(Y), lambda: first(X * Y)),
    "a number": (lambda: first(X) * 2.0, lambda: first(X * 2.0)),
    "bias": (lambda: first(X) + COLUMN, lambda: first(X + ROW)),
    "mask": (lambda: math.where(MASK, first(X), first(Y)),
             lambda: first(math.where(transpose(MASK, LAST), X, Y))),
    "sum over an image": (lambda: reduce.sum_(first(X), (2, 3)), lambda: reduce.sum_(X, (1, 2))),
    "sum over channels": (lambda: reduce.sum_(first(X), 1), lambda: reduce.sum_(X, 3)),
    "sum over the batch": (lambda: reduce.sum_(first(X), 0),
                           lambda: transpose(reduce.sum_(X, 0), (2, 0, 1))),
    "sum with axes kept": (lambda: reduce.sum_(first(X), (2, 3), keepdims=True),
                           lambda: broadcast.reshape(reduce.sum_(X, (1, 2), keepdims=True),
                                                     (2, 3, 1, 1))),
    "maximum": (lambda: reduce.Max((1,))(first(X)), lambda: reduce.Max((3,))(X)),
    "pad": (lambda: pad(first(X), ((0, 0), (4, 5), (1, 1), (2, 3))),
            lambda: first(pad(X, ((0, 0), (1, 1), (2, 3), (4, 5))))),
    "slice": (lambda: first(X)[:, 1:, 2:-1, ::2], lambda: first(X[:, 2:-1, ::2, 1:])),
    "concat": (lambda: concat([first(X), first(Y)], 1), lambda: first(concat([X, Y], 3))),
    "broadcast": (lambda: transpose(broadcast.broadcast_to(COLUMN, (2, 3, 5, 6)), LAST),
                  lambda: broadcast.broadcast_to(ROW, (2, 5, 6, 3))),
}
KEPT = {
    "another large input": lambda: first(X) + Placeholder("float32", (2, 3, 5, 6)),
    "another order": lambda: math.relu(transpose(X, (1, 0, 2, 3))),
    "flatten": lambda: broadcast.reshape(first(X), (2, 90)),
    "one of two concatenated": lambda: concat([first(X), Placeholder("float32", (2, 3, 5, 6))], 1),
}


@pytest.mark.parametrize("name", LAYOUT)
def test_layout(name):
    before, after = LAYOUT[name]
    result, = layout(Graph((X, Y, B, MASK), (before(),))).outputs
    assert result is after()


@pytest.mark.parametrize("name", KEPT)
def test_nothing_to_move(name):
    before = KEPT[name]()
    result, = layout(Graph((X, Y, B, MASK), (before,))).outputs
    assert result is before


@pytest.mark.parametrize("name", [*LAYOUT, *KEPT])
def test_values_stay(name):
    graph = Graph((X, Y, B, MASK), ((LAYOUT.get(name) or (KEPT[name],))[0](),))
    rng = np.random.default_rng(0)
    extra = [n for n in _leaves(graph) if n not in graph.inputs]
    given = {t: rng.standard_normal(t.shape).astype(t.dtype) if t.dtype != "bool" else
             rng.integers(0, 2, t.shape).astype(bool) for t in (*graph.inputs, *extra)}
    want, = evaluate(graph.outputs, given)
    got, = evaluate(layout(graph).outputs, given)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def _leaves(graph):
    from gpukeras.graph import toposort
    return [n.outputs[0] for n in toposort(graph.outputs)
            if not n.inputs and isinstance(n.outputs[0], Placeholder)]


def network(x, kernels, biases):
    """A channels_first network as K writes it: every op between its two transposes."""
    def image(f, t, *more):
        return first(f(transpose(t, LAST), *more))
    h = image(conv, x, kernels[0]) + broadcast.reshape(biases[0], (4, 1, 1))
    h = image(max_pool, math.relu(h), 2)
    g = image(conv, pad(h, ((0, 0), (0, 0), (1, 1), (1, 1))), kernels[1])
    g = math.tanh(g + broadcast.reshape(biases[1], (4, 1, 1)))
    h = image(average_pool, concat([h + g, g], 1), 2)
    return reduce.sum_(math.square(h))


def test_a_channels_first_network_keeps_the_transpose_of_its_input_only():
    rng = np.random.default_rng(0)
    shapes = [(2, 3, 10, 8), (3, 3, 3, 4), (3, 3, 4, 4), (4,), (4,)]
    leaves = [Placeholder("float64", s) for s in shapes]
    x, *rest = leaves
    loss = network(x, rest[:2], rest[2:])
    grads = gradients([(loss, Constant(np.float64(1)))], rest)
    arrays = [rng.standard_normal(s) for s in shapes]
    want = evaluate((loss, *grads), dict(zip(leaves, arrays)))
    got = function(leaves, [loss, *grads])(arrays)
    for a, e in zip(got, want):
        np.testing.assert_allclose(a, e, rtol=1e-10, atol=1e-10)
    graph = bind(Graph(tuple(leaves), (loss, *grads)), tuple(shapes), False)
    moves = [step for step in compile_graph(graph, HOST).steps if isinstance(step.op, Transpose)]
    assert [step.ins[0].type.shape for step in moves] == [(2, 3, 10, 8)]
