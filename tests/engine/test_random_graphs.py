"""Random graphs: the compiled function must equal the ops evaluated one by one, without any pass.

This is the net under fusing, pooling, packing, in-place updates and the memory plan.
"""
import numpy as np
import pytest

from gpukeras.devices import current
from gpukeras.function import function
from gpukeras.graph import Constant, Placeholder, Variable, gradients, mark
from gpukeras.ops import broadcast, linalg, math, reduce, shape
from gpukeras.ops.composite import evaluate

UNARY = [math.tanh, math.relu, math.square, math.neg, math.sigmoid, lambda t: t * 0.5 + 1.0,
         lambda t: math.clip(t, -0.5, 0.5), math.abs_]
BINARY = [math.add, math.sub, math.mul, math.maximum,
          lambda a, b: math.where(a > b, a, b * 0.1)]


def grow(rng, tensors, n):
    """Add n random ops to a list of tensors of shapes (4, 6), (6,), () and (4, 1)."""
    for _ in range(n):
        a, b = (tensors[rng.integers(len(tensors))] for _ in range(2))
        kind = rng.integers(7)
        if kind <= 1:
            new = UNARY[rng.integers(len(UNARY))](a)
        elif kind <= 3:
            new = BINARY[rng.integers(len(BINARY))](a, b)
        elif kind == 4 and a.ndim:
            axis = int(rng.integers(a.ndim))
            new = reduce.mean(a, axis, keepdims=bool(rng.integers(2)) or a.shape == (4, 6))
        elif kind == 5 and a.shape == (4, 6):
            new = math.tanh(linalg.dot(linalg.dot(a, shape.transpose(tensors[0])), a))
        elif kind == 6 and a.shape == (4, 6):
            new = broadcast.reshape(shape.reverse(broadcast.reshape(a, (6, 4)), 0), (4, 6))
        else:
            continue
        if new.shape in ((4, 6), (6,), (), (4, 1)):
            tensors.append(new)
    return tensors


def build(seed):
    rng = np.random.default_rng(seed)
    x = Placeholder("float32", (None, 6), "x")
    weights = [Variable(rng.normal(size=s).astype("float32"), name=f"w{i}")
               for i, s in enumerate([(4, 6), (6,), (4, 6), (6,), ()])]
    xs = math.add(x, weights[0])                   # shape (4, 6) from here on
    tensors = grow(rng, [xs, *weights], int(rng.integers(5, 40)))
    loss = reduce.mean(math.tanh(tensors[-1])) + reduce.mean(math.square(xs))
    grads = gradients([(loss, Constant(1.0, "float32"))], weights)
    updates = []
    for w, g in zip(weights, grads):
        if g is None:
            continue
        g = mark(g, "gradient")
        slot = Variable(np.zeros(w.shape, "float32"), name=f"slot_{w.name}")
        new_slot = 0.9 * slot + 0.1 * math.square(g)
        updates += [(slot, new_slot), (w, w - 0.1 * g / (math.sqrt(new_slot) + 1e-3))]
    if rng.integers(2):                            # an update that reads what others overwrite
        extra = Variable(np.zeros((6,), "float32"), name="extra")
        updates.append((extra, weights[1] * 1.0))
    picks = [tensors[rng.integers(len(tensors))] for _ in range(3)]
    return x, [loss, *picks], updates


@pytest.mark.parametrize("seed", range(60))
def test_compiled_function_equals_ops_one_by_one(seed):
    x, outputs, updates = build(seed)
    compiled = function([x], outputs, updates)
    rng = np.random.default_rng(1000 + seed)
    roots = [*outputs, *(new for _, new in updates)]
    variables = {v for v, _ in updates} | {v for t in roots for v in _variables(t)}
    for _ in range(3):
        array = rng.normal(size=(4, 6)).astype("float32")
        given = {v: current().read(v) for v in variables}
        given[x] = array
        expected = evaluate(tuple(roots), given)
        got = compiled([array])
        for a, b in zip(got, expected):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
        for (v, _), b in zip(updates, expected[len(outputs):]):
            np.testing.assert_allclose(current().read(v), b, rtol=2e-5, atol=2e-5, err_msg=v.name)


def _variables(t):
    from gpukeras.graph import toposort
    return [n.outputs[0] for n in toposort([t]) if isinstance(n.outputs[0], Variable)]
