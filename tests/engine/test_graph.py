"""Nodes, leaves, origins, gradients of gradients, printing."""
import gc
import inspect

import numpy as np
import pytest

from gpukeras.errors import DtypeError, ShapeError
from gpukeras.function import function
from gpukeras.graph import (Constant, Placeholder, TensorType, Variable, broadcast_shapes,
                            gradients, layer_scope, mark, print_graph, promote)
from gpukeras.graph import tensor as tensor_module
from gpukeras.ops import broadcast, linalg, math, reduce
from gpukeras.ops.math import relu, tanh


def test_equal_ops_on_equal_inputs_are_one_node():
    x = Placeholder("float32", (None, 3))
    assert tanh(x) is tanh(x)
    assert tanh(x) is not relu(x)
    assert x * 2.0 is x * 2.0
    assert x * 0.0 is not x * -0.0
    assert mark(x, "layer") is not mark(x, "layer")


def test_dead_nodes_are_forgotten():
    x = Placeholder("float32", (7, 7))
    gc.collect()
    before = len(tensor_module._nodes)
    y = x
    for i in range(200):
        y = tanh(y + float(i))
    assert len(tensor_module._nodes) > before + 300
    del y
    gc.collect()
    assert len(tensor_module._nodes) <= before + 1


@pytest.mark.parametrize("dtypes, result", [
    (("float32", "int64"), "float32"), (("float32", "float64"), "float64"),
    (("float16", "int32"), "float16"), (("int32", "int64"), "int64"), (("bool", "int32"), "int32"),
    (("uint8", "float32"), "float32"), (("bool", "bool"), "bool")])
def test_promotion(dtypes, result):
    assert promote(*dtypes) == result


@pytest.mark.parametrize("shapes, result", [
    (((4, 1), (3,)), (4, 3)), (((None, 3), (3,)), (None, 3)), (((None, 1), (None, 5)), (None, 5)),
    (((None,), (4,)), (4,)), (((), (2, 2)), (2, 2))])
def test_broadcast_shapes(shapes, result):
    assert broadcast_shapes(*shapes) == result


def test_a_type_prints_short():
    assert str(TensorType("float32", (None, 10))) == "f32[None,10]"
    assert str(TensorType("bool", ())) == "bool[]"


def test_a_shape_error_names_op_sizes_layer_and_line():
    a, b = Placeholder("float32", (32, 8)), Placeholder("float32", (9, 4))
    with pytest.raises(ShapeError) as caught, layer_scope("dense_2"):
        linalg.dot(a, b)
    line = inspect.currentframe().f_lineno - 2
    text = str(caught.value)
    assert text.startswith("[Dot] inner sizes differ: got f32[32,8] and f32[9,4], expected")
    assert f"in dense_2 at {__file__.rsplit('/', 1)[-1]}:{line}" in text


def test_strings_and_objects_are_no_tensors():
    with pytest.raises(DtypeError, match="data of type str"):
        Constant(["a", "b"])
    with pytest.raises(DtypeError):
        Constant([[1, 2], [3]], "float32")


def test_a_tensor_has_no_truth_value():
    with pytest.raises(TypeError, match="K.switch"):
        if Placeholder("float32", ()) > 0:
            pass


def test_second_derivative_of_a_polynomial():
    x = Placeholder("float64", (5,))
    y = x ** 3.0 + 2.0 * math.square(x)
    one = math.ones_like(x)
    first, = gradients([(y, one)], [x])
    second, = gradients([(first, one)], [x])
    at = np.linspace(0.5, 2, 5)
    got = function([x], [first, second])([at])
    np.testing.assert_allclose(got[0], 3 * at ** 2 + 4 * at, rtol=1e-12)
    np.testing.assert_allclose(got[1], 6 * at + 4, rtol=1e-12)


def test_gradient_stops_where_it_is_told_and_is_none_without_a_path():
    x, y = Placeholder("float32", (3,)), Placeholder("float32", (3,))
    loss = reduce.sum_(math.stop_gradient(x) * y)
    gx, gy = gradients([(loss, Constant(1.0, "float32"))], [x, y])
    assert gx is None and gy is not None


def test_a_gradient_keeps_the_layer_of_its_forward_node():
    w = Variable(np.ones((3, 2), "float32"), name="w")
    x = Placeholder("float32", (4, 3))
    with layer_scope("dense_1"):
        y = linalg.dot(x, w)
    g, = gradients([(y, math.ones_like(y))], [w])
    assert g.node.origin.layer == "dense_1"
    assert "dense_1" in print_graph([g])


def test_unknown_sizes_become_known_when_the_function_is_called():
    x = Placeholder("float32", (None, None, 4))
    flat = broadcast.reshape(x, (-1, 4))
    loss = reduce.mean(math.square(flat))
    g, = gradients([(loss, Constant(1.0, "float32"))], [x])
    f = function([x], [loss, g])
    for shape in [(2, 3, 4), (5, 1, 4), (1, 1, 4)]:
        array = np.random.default_rng(0).normal(size=shape).astype("float32")
        value, grad = f([array])
        np.testing.assert_allclose(value, (array ** 2).mean(), rtol=1e-5)
        np.testing.assert_allclose(grad, 2 * array / array.size, rtol=1e-5)


def test_variables_copy_what_they_are_given():
    array = np.zeros(3, "float32")
    v = Variable(array)
    array[:] = 7
    assert (function([], [v * 1.0])()[0] == 0).all()


def test_specialisations_are_bounded():
    x = Placeholder("float32", (None,))
    f = function([x], [x + 1.0])
    for n in range(1, 100):
        assert f([np.zeros(n)])[0].shape == (n,)
    assert len(f._plans) <= 32
