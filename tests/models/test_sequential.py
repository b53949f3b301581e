"""Stacks of layers: shapes known at once or later, adding, taking off, configs, errors."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers as L
from gpukeras.models import Model, Sequential


@pytest.fixture(autouse=True)
def fresh_session():
    K.clear_session()


def output(model, x):
    return K.function(model.inputs, model.outputs)([x])[0]


def test_shape_given_to_the_first_layer_builds_at_once():
    model = Sequential()
    model.add(L.Dense(3, input_dim=4))
    assert model.built and model.output_shape == (None, 3)
    model.add(L.Dense(2))
    assert model.input_shape == (None, 4) and model.output_shape == (None, 2)
    assert len(model._inbound_nodes) == 1
    assert [layer.name for layer in model.layers] == ["dense_1", "dense_2"]
    assert model.input_names == ["dense_1_input"] and model.output_names == ["dense_2"]


def test_deferred_build_by_shape_and_by_call():
    model = Sequential([L.Dense(3), L.Dense(2)])
    assert not model.built and model.inputs is None
    with pytest.raises(ValueError, match="not yet been built"):
        model.summary()
    model.build((None, 5))
    assert model.output_shape == (None, 2)
    assert model.get_config()["build_input_shape"] == (None, 5)
    again = Sequential.from_config(model.get_config())
    assert again.built and again.input_shape == (None, 5)
    called = Sequential([L.Dense(3)])
    assert K.int_shape(called(L.Input((7,)))) == (None, 3)
    assert called.input_shape == (None, 7)


def test_pop_takes_the_last_layer_off():
    model = Sequential([L.Dense(4, input_shape=(2,)), L.Dense(3), L.Dense(1)])
    x = np.ones((2, 2), "float32")
    model.pop()
    assert model.output_shape == (None, 3) and output(model, x).shape == (2, 3)
    model.add(L.Dense(5))
    assert output(model, x).shape == (2, 5)
    for _ in range(3):
        model.pop()
    assert model.layers == [] and not model.built
    with pytest.raises(TypeError, match="no layers"):
        model.pop()


def test_input_layer_first_survives_the_config():
    model = Sequential([L.InputLayer(input_shape=(3,)), L.Dense(2)])
    assert [layer.name for layer in model.layers] == ["dense_1"]
    again = Sequential.from_config(model.get_config())
    assert again.built and again.input_shape == (None, 3)
    again.set_weights(model.get_weights())


def test_models_and_stacks_as_layers():
    x = L.Input((4,))
    inner = Model(x, L.Dense(3)(x))
    model = Sequential([inner, Sequential([L.Dense(2, input_shape=(3,))])])
    assert model.output_shape == (None, 2) and len(model.weights) == 4
    deep = Sequential([Sequential([L.Dense(2, input_shape=(3,))]), L.Dense(1)])
    assert deep.input_shape == (None, 3)


def test_old_configs_are_bare_lists():
    config = Sequential([L.Dense(2, input_shape=(3,))]).get_config()["layers"]
    assert Sequential.from_config(config).output_shape == (None, 2)


def test_errors():
    with pytest.raises(TypeError, match="must be an instance of class Layer"):
        Sequential(["dense"])
    with pytest.raises(TypeError, match="not the class"):
        Sequential([L.Dense])
    with pytest.raises(ValueError, match="unique names"):
        Sequential([L.Dense(2, input_shape=(3,), name="d"), L.Dense(2, name="d")])
    with pytest.raises(ValueError, match="weight list of length 1"):
        Sequential([L.Dense(2, input_shape=(3,))]).set_weights([np.zeros((3, 2))])


def test_adding_many_layers_stays_cheap():
    model = Sequential([L.Dense(2, input_shape=(2,))])
    for _ in range(150):
        model.add(L.Dense(2))
    assert len(model.weights) == 302 and len(model._inbound_nodes) == 1
