"""Layers under the policies of mixed precision, against values of Keras 2.3.1 in float32."""
import json

import numpy as np
import pytest
from cases import CASES

from golden import reader
from gpukeras import backend as K
from gpukeras import layers as L
from gpukeras import mixed_precision
from gpukeras.graph.halves import HALF

GOLDEN = {name: case for name, case in reader.cases("layers").items()
          if case.facts["deterministic"]}
POLICIES = ["mixed_float16", "mixed_bfloat16"]
# the unit of the type's last place, times what sums of a hundred products and a chain of a few ops
# make of it
ERROR = {"mixed_float16": 8 * 2.0 ** -11, "mixed_bfloat16": 8 * 2.0 ** -8}
# rounding makes two elements of a window equal: the gradient may take the other one
TIES = ("max_pool", "global_max_pool")


@pytest.fixture(params=POLICIES)
def policy(request):
    mixed_precision.set_global_policy(request.param)
    yield mixed_precision.global_policy()
    mixed_precision.set_global_policy(None)


def near(got, want, policy, what):
    got, want = got.astype("f8"), want.astype("f8")
    error = np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-6 * want.size)
    assert error <= ERROR[policy.name], f"{what}: relative error {error:.1e}"


@pytest.mark.parametrize("name", GOLDEN)
def test_outputs_and_gradients_are_near_those_of_float32(name, policy, device):
    case = GOLDEN[name]
    K.clear_session()
    config = {**case.facts["config"], "dtype": policy.name}
    layer = L.deserialize({"class_name": case.facts["class_name"], "config": config})
    x = L.Input(tuple(case.facts["input_shape"]))
    y = layer(x)
    layer.set_weights(case.list("w"))
    assert {w.dtype for w in layer.weights} <= {"float32"}
    assert K.dtype(y) == policy.compute_dtype
    loss = K.sum(K.cast(y, "float32") * K.constant(case["r"]))
    gradients = K.gradients(loss, [x, *layer.trainable_weights])
    assert all(K.dtype(g) == "float32" for g in gradients)
    run = K.function([x, K.learning_phase()], [y, *gradients])
    found = run([case["x"], 0])
    near(found[0], case["y"], policy, "output")
    if name.startswith(TIES):
        return
    for i, (got, want) in enumerate(zip(found[1:], [case["gx"], *case.list("gw")], strict=True)):
        near(got, want, policy, f"gradient {i}")


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_every_layer_computes_in_the_type_of_its_policy(case, policy):
    layer = case.new()
    given, y = case.apply(layer)
    inner = [part for part in layer._sublayers() if part.weights] or [layer]
    assert {w.dtype for w in layer.weights} <= {"float32"}
    if all(part.dtype_policy.is_mixed for part in inner):
        assert K.dtype(y) == policy.compute_dtype
    loss = K.sum(K.cast(y, "float32"))
    weights = layer.trainable_weights
    run = K.function([*given, K.learning_phase()], [y, *K.gradients(loss, weights)],
                     updates=layer.updates)
    for phase in (0, 1):
        found = run([*case.inputs(), phase])
        assert all(np.isfinite(value).all() for value in found)
        assert all(value.dtype == "float32" for value in found[1:])


def test_a_policy_of_a_single_layer():
    x = L.Input((4,))
    dense = L.Dense(3, dtype=mixed_precision.Policy("mixed_bfloat16"))
    assert (dense.dtype, dense.compute_dtype) == ("float32", "bfloat16")
    softmax = L.Activation("softmax", dtype="float32")
    y = dense(x)
    z = softmax(y)
    assert (K.dtype(y), K.dtype(z)) == ("bfloat16", "float32")
    again = L.deserialize(json.loads(json.dumps(L.serialize(dense))))
    assert again.dtype_policy == dense.dtype_policy
    assert L.Dense(1).dtype_policy.name == K.floatx()


def test_a_layer_of_a_user_reads_its_weights_in_the_type_of_computation(policy):
    class Scale(L.Layer):
        def build(self, input_shape):
            self.factors = [self.add_weight("a", (1,), initializer="ones"),
                            self.add_weight("b", (1,), initializer="ones")]
            self.count = self.add_weight("count", (), initializer="zeros", trainable=False)
            super().build(input_shape)

        def call(self, x):
            assert {K.dtype(f) for f in self.factors} == {K.dtype(x)} == {policy.compute_dtype}
            self.add_update(K.update_add(self.count, 1.0), x)
            return x * self.factors[0] + self.factors[1]

    layer = Scale()
    x = L.Input((2,))
    y = layer(x)
    assert all(K.is_variable(f) and K.dtype(f) == "float32" for f in layer.factors)
    assert len(layer.get_updates_for(x)) == 1
    K.function([x], [y], updates=layer.updates)([np.zeros((1, 2))])
    assert [float(w.sum()) for w in layer.get_weights()] == [1, 1, 1]


def test_words_keep_their_numbers(policy):
    """float16 has no 4099; a table is indexed by what was given."""
    layer = L.Embedding(5000, 2)
    x = L.Input((1,))
    y, = K.function([x], [layer(x)])([[[4099.0]]])
    np.testing.assert_allclose(y.reshape(-1), layer.get_weights()[0][4099], rtol=2.0 ** -8)


@pytest.mark.parametrize("bad", ["mixed_float32", "mixed"])
def test_unknown_policies_are_refused(bad):
    with pytest.raises(ValueError, match="mixed_float16, mixed_bfloat16"):
        mixed_precision.Policy(bad)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_every_layer_in_bfloat16(case):
    K.set_floatx("bfloat16")
    try:
        layer = case.new()
        given, y = case.apply(layer)
        run = K.function([*given, K.learning_phase()],
                         [y, *K.gradients(K.sum(y), layer.trainable_weights)])
        assert K.dtype(y) == "bfloat16"
        for phase in (0, 1):
            assert all(np.isfinite(v).all() for v in run([*case.inputs(), phase]))
    finally:
        K.set_floatx("float32")


@pytest.mark.parametrize("dtype", HALF)
def test_a_float_type_for_everything(dtype):
    K.set_floatx(dtype)
    try:
        x = L.Input((3,))
        layer = L.Dense(2)
        y = layer(x)
        value, = K.function([x], [y])([np.ones((1, 3))])
        assert K.dtype(layer.kernel) == K.dtype(y) == dtype
        want = layer.get_weights()[0].astype("f8").sum(0)
        np.testing.assert_allclose(value[0], want, atol=0.02)
    finally:
        K.set_floatx("float32")
