"""The passes, held against graphs written by hand: equal graphs are the same object."""
import numpy as np
import pytest

from gpukeras.devices import current
from gpukeras.devices.check import checked
from gpukeras.errors import GraphError, KernelError, ShapeError
from gpukeras.function import function
from gpukeras.graph import (Constant, Graph, Placeholder, TensorType, Variable, gradients, mark,
                            toposort)
from gpukeras.ops import broadcast, linalg, math, nn, norm, reduce, shape
from gpukeras.ops.composite import evaluate
from gpukeras.ops.fused import Fused
from gpukeras.ops.shape import Pack
from gpukeras.passes.bind import bind
from gpukeras.passes.centre import centre
from gpukeras.passes.condense import condense
from gpukeras.passes.fuse import fuse
from gpukeras.passes.pipeline import compile_graph
from gpukeras.passes.pool import Pool, pool
from gpukeras.passes.schedule import Step, Value, make_schedule
from gpukeras.passes.simplify import simplify
from gpukeras.passes.stabilise import stabilise
from gpukeras.passes.target import CUDA, HOST

X = Placeholder("float32", (4, 6), "x")
Y = Placeholder("float32", (4, 6), "y")
S = Placeholder("float32", (), "s")

SIMPLIFY = {
    "x + 0": (lambda: X + 0.0, lambda: X),
    "0 + x": (lambda: 0.0 + X, lambda: X),
    "x - 0": (lambda: X - 0.0, lambda: X),
    "x * 1": (lambda: X * 1.0, lambda: X),
    "x / 1": (lambda: X / 1.0, lambda: X),
    "x * 0": (lambda: Y + X * 0.0, lambda: Y),
    "x * zeros": (lambda: Y - X * math.zeros_like(X), lambda: Y),
    "x + -y": (lambda: X + (-Y), lambda: X - Y),
    "-(-x)": (lambda: -(-X), lambda: X),
    "x ** 2": (lambda: X ** 2, lambda: math.square(X)),
    "x ** 0.5": (lambda: X ** 0.5, lambda: math.sqrt(X)),
    "cast to itself": (lambda: math.Cast("float32")(X), lambda: X),
    "reshape twice": (lambda: broadcast.reshape(broadcast.reshape(X, (24,)), (6, 4)),
                      lambda: broadcast.reshape(X, (6, 4))),
    "reshape and back": (lambda: broadcast.reshape(broadcast.reshape(X, (24,)), (4, 6)), lambda: X),
    "transpose twice": (lambda: shape.transpose(shape.transpose(X)), lambda: X),
    "transpose into dot": (lambda: linalg.dot(shape.transpose(X), Y),
                           lambda: linalg.dot(X, Y, trans_a=True)),
    "broadcast scalar": (lambda: X * broadcast.broadcast_to(S, (4, 6)), lambda: X * S),
    "tile of a number": (lambda: shape.tile(math.ones_like(X) * 2.0, (2, 3)),
                         lambda: broadcast.broadcast_to(Constant(2.0, "float32"), (8, 18))),
    "one number joined": (lambda: shape.concat([math.zeros_like(X), math.zeros_like(X)], 1),
                          lambda: broadcast.broadcast_to(Constant(0.0, "float32"), (4, 12))),
    "sum of a constant": (lambda: reduce.sum_(math.ones_like(X) * 2.0),
                          lambda: Constant(48.0, "float32")),
    "sum of a sum": (lambda: reduce.sum_(reduce.sum_(X, 1)), lambda: reduce.sum_(X)),
    "full slice": (lambda: X[:, :], lambda: X),
    "marks": (lambda: mark(mark(X, "layer"), "other") + Y, lambda: X + Y),
    "constants": (lambda: X * (Constant(2.0, "float32") * 3.0), lambda: X * 6.0),
}


@pytest.mark.parametrize("name", SIMPLIFY)
def test_simplify(name):
    before, after = SIMPLIFY[name]
    result, = simplify(Graph((X, Y, S), (before(),))).outputs
    assert result is after()


@pytest.mark.parametrize("name", SIMPLIFY)
def test_simplify_twice_changes_nothing(name):
    once = simplify(Graph((X, Y, S), (SIMPLIFY[name][0](),)))
    assert simplify(once).outputs[0] is once.outputs[0]


def test_log_of_sigmoid_stays_finite():
    result, = stabilise(Graph((X,), (math.log(math.sigmoid(X)),))).outputs
    assert result is -math.softplus(-X)
    f = function([X], [math.log(math.sigmoid(X))])
    np.testing.assert_allclose(f([np.full((4, 6), -200.0)])[0], -200.0)


def test_scalars_share_two_steps():
    lr, decay, steps, total = (Variable(np.float32(v)) for v in (0.5, 0.25, 3.0, 10.0))
    weights = Variable(np.ones((4, 6), "float32"))
    mean = reduce.sum_(X) / 24.0
    rate = lr / (1.0 + decay * steps)
    updates = ((steps, steps + 1.0), (total, total + mean), (lr, lr * (1.0 - decay)),
               (weights, weights - rate * X))
    graph = Graph((X,), (mean,), updates)
    small = [s for s in compile_graph(graph, HOST).steps if s.outs[0].type.shape == ()]
    assert sorted(len(s.outs) for s in small) == [1, 1, 4]   # sum; rate; mean, steps, total, lr
    f = function([X], [mean], list(updates))
    for _ in range(2):
        assert f([np.full((4, 6), 2.0, "float32")])[0] == 2.0
    read = function([], [lr, steps, total, weights])
    values = read([])
    np.testing.assert_allclose([float(v) for v in values[:3]], [0.5 * 0.75 ** 2, 5.0, 14.0])
    np.testing.assert_allclose(values[3], 1 - 2 * (0.5 / 1.75 + 0.375 / 2.0), rtol=1e-6)


def test_centre_drops_a_bias_before_batch_normalisation():
    x, kernel = Placeholder("float32", (5, 3)), Variable(np.eye(3, 4, dtype="float32"))
    bias, gamma, beta = (Variable(np.arange(4, dtype="float32") + i) for i in range(3))
    y, mean, var = norm.batch_norm_train(linalg.dot(x, kernel) + bias, gamma, beta, 1e-3)
    loss = reduce.sum_(math.square(math.sin(y)))
    found = gradients([(loss, Constant(1.0, "float32"))], [x, kernel, bias, gamma, beta])
    graph = simplify(Graph((x,), (y, mean, var, *found)))
    small = simplify(centre(graph))
    assert small.roots[5] is broadcast.broadcast_to(Constant(0.0, "float32"), (4,))
    assert not any(isinstance(n.op, math.Add) and n.outputs[0].shape == (5, 4)
                   for n in toposort(small.roots))
    given = {v: v.initial for v in (kernel, bias, gamma, beta)}
    given[x] = np.random.default_rng(1).normal(size=(5, 3)).astype("f4")
    for got, wanted in zip(evaluate(small.roots, given), evaluate(graph.roots, given)):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    whole = norm.batch_norm_train(x + X[0, 0], *(Variable(np.ones(3, "f4")) for _ in "ab"), 1e-3)
    graph = simplify(Graph((x, X), (whole[0],)))
    assert centre(graph).roots == graph.roots                # one number for all is no bias


def test_place_in_softmax_needs_no_softmax():
    result, = stabilise(Graph((X,), (reduce.argmax(nn.softmax(X)),))).outputs
    assert result is reduce.argmax(X)
    scores = np.zeros((4, 6), "float32")
    scores[:, 3] = 1e-9                                      # too little to show in a probability
    assert function([X], [reduce.argmax(nn.softmax(X))])([scores])[0].tolist() == [3] * 4
    down = reduce.argmax(nn.softmax(X), 0)
    assert stabilise(Graph((X,), (down,))).outputs[0] is down


def adam_graph(n):
    """n weights with momentum-like updates from gradients that are sums."""
    loss = Constant(0.0, "float32")
    weights = [Variable(np.full((3 + i, 2), 0.5, "float32"), name=f"w{i}") for i in range(n)]
    for w in weights:
        loss = loss + reduce.mean(math.square(w))
    grads = gradients([(loss, Constant(1.0, "float32"))], weights)
    lr = Variable(np.float32(0.1), name="lr")
    updates = []
    for w, g in zip(weights, grads):
        m = Variable(np.zeros(w.shape, "float32"), name=f"m_{w.name}")
        new_m = m * 0.9 + mark(g, "gradient") * 0.1
        updates += [(m, new_m), (w, w - lr * new_m)]
    return weights, Graph((), (loss,), tuple(updates))


def test_pool_makes_one_update_of_many():
    weights, graph = adam_graph(5)
    pooled = pool(simplify(graph))
    assert [type(v) for v, _ in pooled.updates] == [Pool, Pool]
    assert {v.members for v, _ in pooled.updates} >= {tuple(weights)}
    packs = {n.op for _, new in pooled.updates for n in _nodes(new) if isinstance(n.op, Pack)}
    assert len(packs) == 1


def test_pool_leaves_variables_of_another_pool_alone():
    weights, graph = adam_graph(3)
    first = pool(simplify(graph))
    rest = tuple((v, new) for v, new in graph.updates if v is not weights[0])
    part = Graph((), graph.outputs, rest)
    assert all(not isinstance(v, Pool) for v, _ in pool(simplify(part)).updates if v in weights)
    assert any(isinstance(v, Pool) for v, _ in first.updates)


def test_optimizer_step_is_one_fused_step():
    _, graph = adam_graph(6)
    schedule = compile_graph(graph, CUDA)
    big = [s for s in schedule.steps if isinstance(s.op, Fused) and s.outs[0].type.size > 100]
    assert len(big) == 1
    assert all(value.root()[0].kind == "variable" for _, value in schedule.assigns)


def test_fuse_makes_one_step_of_a_chain():
    y = math.tanh(X * 2.0 + Y) * S
    schedule = make_schedule(fuse(Graph((X, Y, S), (y,))))
    assert len(schedule.steps) == 1 and isinstance(schedule.steps[0].op, Fused)


def test_fuse_closes_no_cycle():
    # a feeds a sum that feeds b; a and b share a consumer: one group would depend on itself.
    a = X * 2.0
    total = reduce.sum_(a, keepdims=True)
    b = a + total
    fused = fuse(Graph((X,), (b, a)))
    assert len(make_schedule(fused).steps) == 3
    f = function([X], [b])
    array = np.arange(24, dtype="float32").reshape(4, 6)
    np.testing.assert_allclose(f([array])[0], array * 2 + (array * 2).sum())


def test_learning_phase_folds_away():
    from gpukeras.graph import learning_phase
    y = math.where(learning_phase(), X * 2.0, X + 1.0)
    bound = simplify(bind(Graph((X,), (y,)), ((4, 6),), True))
    assert bound.outputs[0] is X * 2.0


def test_two_updates_of_one_variable_are_refused():
    v = Variable(np.zeros(3, "float32"), name="v")
    with pytest.raises(GraphError, match="v has two updates"):
        function([], [], [(v, v + 1), (v, v + 2)])


def test_missing_input_is_named():
    with pytest.raises(GraphError, match="depends on y"):
        function([X], [X + Y])([np.zeros((4, 6))])


def test_wrong_input_shape_is_refused_before_any_work():
    with pytest.raises(ShapeError, match=r"input x: got shape \(4, 5\), expected \(4, 6\)"):
        function([X], [X])([np.zeros((4, 5))])


def test_updates_are_simultaneous():
    a = Variable(np.float32(1), name="a")
    b = Variable(np.float32(2), name="b")
    before, = function([], [a], [(a, b), (b, a)])()
    assert (before, current().read(a), current().read(b)) == (1, 2, 1)


def test_check_names_the_step_that_differs():
    x, y = np.ones(3, "float32"), np.zeros(3, "float32")
    kind = TensorType("float32", (3,))
    step = Step(math.Exp(), (Value(kind, "input"),), (Value(kind, "temp"),), None)
    call = checked(step, 7, lambda: np.copyto(y, 5.0), lambda: (x,), lambda: (y,))
    with pytest.raises(KernelError, match="step 7 differs"):
        call()


def test_host_expands_composites_without_code_of_their_own():
    from gpukeras.ops.composite import Composite

    class Twice(Composite):
        def expand(self, x):
            return x + x

    assert not HOST.runs(Twice()) and not CUDA.runs(Twice())
    result, = function([X], [Twice()(X) * 3.0])([np.ones((4, 6))])
    assert (result == 6).all()


def _nodes(t):
    from gpukeras.graph import toposort
    return toposort([t])


def classifier(labels, weights=None):
    """(inputs, outputs) of a loss, its gradient and the number of hits."""
    scores = X * 1.0
    if labels.ndim == 1:
        rows, place = nn.sparse_softmax_cross_entropy(scores, labels), labels
    else:
        rows, place = nn.softmax_cross_entropy(scores, labels), reduce.argmax(labels)
    loss = reduce.mean(rows if weights is None else rows * weights)
    hits = reduce.mean(math.cast(math.equal(place, reduce.argmax(nn.softmax(scores))), "float32"))
    gradient, = gradients([(loss, Constant(1.0, "float32"))], [X])
    return [X, labels], [loss, gradient, hits]


@pytest.mark.parametrize("labels", [Placeholder("float32", (4, 6)), Placeholder("int64", (4,))],
                         ids=["one-hot", "classes"])
def test_condense_makes_two_launches_of_a_small_classifier(labels):
    inputs, outputs = classifier(labels)
    graph = stabilise(simplify(Graph(tuple(inputs), tuple(outputs))))
    small = condense(graph, CUDA)
    kinds = {type(n.op).__name__ for n in toposort(small.roots)}
    assert kinds & {"CrossEntropySum", "SparseCrossEntropySum"}
    assert kinds & {"MatchCount", "LabelCount"}
    assert not kinds & {"SoftmaxCrossEntropy", "SparseSoftmaxCrossEntropy", "ArgMax", "Equal",
                        "SoftmaxCrossEntropyGrad", "SparseSoftmaxCrossEntropyGrad"}
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 6, 4)
    given = {X: rng.normal(size=(4, 6)).astype("f4"),
             labels: classes if labels.ndim == 1 else np.eye(6, dtype="f4")[classes]}
    for got, wanted in zip(evaluate(small.roots, given), evaluate(graph.roots, given)):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    assert condense(graph, HOST) is graph


def walks_rows_once(graph, given, *kept):
    """Condensed, the graph has one op for losses, gradient and hits, and the same values."""
    small = condense(graph, CUDA)
    kinds = [type(n.op).__name__ for n in toposort(small.roots)]
    rows = [k for k in kinds if k in ("CrossEntropyRows", "SparseCrossEntropyRows")]
    gone = ("SoftmaxCrossEntropy", "SparseSoftmaxCrossEntropy", "SoftmaxCrossEntropyGrad", "Equal",
            "SparseSoftmaxCrossEntropyGrad", "CrossEntropySum", "ArgMax")
    assert len(rows) == 1 and not set(kinds) & set(gone) - set(kept)
    for got, wanted in zip(evaluate(small.roots, given), evaluate(graph.roots, given)):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
def test_condense_walks_the_rows_of_weighted_and_of_wide_losses_once(sparse):
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 6, 4)
    weights = Placeholder("float32", (4,))
    labels = Placeholder(*(("int64", (4,)) if sparse else ("float32", (4, 6))))
    inputs, outputs = classifier(labels, weights)
    graph = stabilise(simplify(Graph((*inputs, weights), tuple(outputs[:2]))))
    given = {X: rng.normal(size=(4, 6)).astype("f4"), weights: rng.random(4).astype("f4"),
             labels: classes if sparse else np.eye(6, dtype="f4")[classes]}
    walks_rows_once(graph, given)

    wide = Placeholder("float32", (8, 500))
    labels = Placeholder(*(("int64", (8,)) if sparse else ("float32", (8, 500))))
    loss = nn.sparse_softmax_cross_entropy if sparse else nn.softmax_cross_entropy
    place = labels if sparse else reduce.argmax(labels)
    losses = loss(wide, labels)
    hits = math.cast(math.equal(place, reduce.argmax(wide)), "float32")
    gradient, = gradients([(reduce.sum_(losses), Constant(1.0, "float32"))], [wide])
    graph = simplify(Graph((wide, labels), (reduce.sum_(losses), gradient, hits)))
    classes = rng.integers(0, 500, 8)
    walks_rows_once(graph, {wide: rng.normal(size=(8, 500)).astype("f4"),
                            labels: classes if sparse else np.eye(500, dtype="f4")[classes]})


def test_condense_leaves_a_loss_without_its_gradient_alone():
    labels = Placeholder("float32", (8, 500))
    wide = Placeholder("float32", (8, 500))
    graph = simplify(Graph((wide, labels), (nn.softmax_cross_entropy(wide, labels),)))
    assert condense(graph, CUDA).roots == graph.roots

