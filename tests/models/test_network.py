"""Graphs of layers: order, sharing, nesting, configs, losses and updates of each call, errors."""
import gc
import json

import numpy as np
import pytest

from golden import reader
from gpukeras import backend as K
from gpukeras import layers as L
from gpukeras.graph import Tensor
from gpukeras.models import Model, Sequential, clone_model, model_from_json


@pytest.fixture(autouse=True)
def fresh_session():
    K.clear_session()


def outputs(model, *arrays):
    return K.function(model.inputs, model.outputs)(list(arrays))


def golden_models():
    """(class name, config) of every model in the golden files."""
    for topic, key in (("text", "config"), ("training", "model")):
        for name, case in reader.cases(topic).items():
            if isinstance(case.facts.get(key), dict) and "class_name" in case.facts:
                yield pytest.param(case.facts["class_name"], case.facts[key], id=name)


@pytest.mark.parametrize("class_name, config", list(golden_models()))
def test_config_is_that_of_keras(class_name, config):
    model = L.deserialize({"class_name": class_name, "config": config})
    assert json.loads(model.to_json())["config"] == config
    assert [layer.name for layer in model.layers] == [
        entry["config"]["name"] for entry in config["layers"]]


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in
                                  reader.cases("text").items() if name.startswith("summary")])
def test_summary_is_that_of_keras(case, capsys):
    facts = case.facts
    model = L.deserialize({"class_name": facts["class_name"], "config": facts["config"]})
    for name in facts["frozen"]:
        model.get_layer(name).trainable = False
    for key, options in (("default", {}), ("wide", {"line_length": 100}),
                         ("positions", {"line_length": 80, "positions": [.25, .6, .8, 1.]})):
        lines = []
        model.summary(print_fn=lines.append, **options)
        assert lines == facts["lines"][key]
    model.summary()
    # Keras prints the value that the last print returned, None, after the table
    assert capsys.readouterr().out.split() == facts["printed"].split()


def test_shared_layer_has_one_weight_and_two_nodes():
    a, b = L.Input((4,)), L.Input((4,))
    shared = L.Dense(3)
    model = Model([a, b], L.subtract([shared(a), shared(b)]))
    assert len(model.weights) == 2 and len(shared._inbound_nodes) == 2
    x, z = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    kernel, _ = shared.get_weights()
    np.testing.assert_allclose(outputs(model, x, z)[0], (x - z) @ kernel, rtol=1e-4, atol=1e-5)
    with pytest.raises(AttributeError, match="multiple inbound nodes"):
        shared.output
    assert shared.get_input_at(1) is b and shared.output_shape == (None, 3)


def test_equal_calls_keep_their_own_history():
    x = L.Input((3,))
    layer = L.Activation("relu")
    first, second = layer(x), layer(x)
    assert first is not second
    assert [t._keras_history[1] for t in (first, second)] == [0, 1]


def test_layers_are_sorted_by_distance_from_the_outputs():
    late, early = L.Input((2,), name="late"), L.Input((2,), name="early")
    h = L.Dense(2, name="h2")(L.Dense(2, name="h1")(early))
    model = Model([late, early], L.add([h, late], name="sum"))
    assert [layer.name for layer in model.layers] == ["early", "h1", "h2", "late", "sum"]


def test_model_called_on_new_inputs_uses_the_same_weights():
    inner = Sequential([L.Dense(3, activation="tanh", input_shape=(4,)), L.Dense(2)])
    x = L.Input((4,))
    outer = Model(x, L.Dense(1, use_bias=False)(inner(x)))
    assert [layer.name for layer in outer.layers] == [x._keras_history[0].name, inner.name,
                                                      "dense_3"]
    assert len(outer.trainable_weights) == 5
    data = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
    hidden, = outputs(inner, data)
    np.testing.assert_allclose(outputs(outer, data)[0], hidden @ outer.get_weights()[-1],
                               rtol=1e-4, atol=1e-6)
    config = json.loads(outer.to_json())["config"]
    assert config["layers"][2]["inbound_nodes"] == [[["sequential_1", 1, 0, {}]]]
    again = Model.from_config(config)
    again.set_weights(outer.get_weights())
    np.testing.assert_array_equal(outputs(again, data)[0], outputs(outer, data)[0])


def test_updates_belong_to_the_model_that_makes_the_call():
    inner = Sequential([L.BatchNormalization(input_shape=(3,))])
    x = L.Input((3,))
    outer = Model(x, inner(x))
    assert len(inner.updates) == 2 and len(outer.updates) == 2
    assert not {id(new) for _, new in inner.updates} & {id(new) for _, new in outer.updates}
    data = np.random.default_rng(2).normal(3, 2, (50, 3)).astype("float32")
    K.function([x, K.learning_phase()], outer.outputs, updates=outer.updates)([data, 1])
    np.testing.assert_allclose(inner.get_weights()[2], 0.01 * data.mean(0), rtol=1e-4)
    inner.layers[0].trainable = False
    assert outer.updates == [] and inner.updates == []
    inner.layers[0].trainable = True
    outer.trainable = False
    assert outer.updates == [] and len(inner.updates) == 2


def test_losses_of_a_nested_model_are_those_of_its_call():
    inner = Sequential([L.Dense(2, kernel_regularizer="l2", activity_regularizer="l2",
                                input_shape=(3,))])
    x = L.Input((3,))
    outer = Model(x, inner(x))
    assert len(inner.losses) == 2 and len(outer.losses) == 2
    data = np.ones((4, 3), "float32")
    y, *losses = K.function([x], [outer.outputs[0], *outer.losses])([data])
    kernel = inner.get_weights()[0]
    np.testing.assert_allclose(sorted(losses), sorted([0.01 * np.square(kernel).sum(),
                                                       0.01 * np.square(y).sum()]), rtol=1e-4)


def test_frozen_weights_move_without_changing_their_order():
    model = Sequential([L.Dense(3, input_shape=(2,)), L.BatchNormalization(), L.Dense(1)])
    names = [w.name.split("/")[1].split(":")[0] for w in model.weights]
    assert names == ["kernel", "bias", "gamma", "beta", "kernel", "bias",
                     "moving_mean", "moving_variance"]
    by_layer = model.get_weights()
    assert [w.shape for w in by_layer] == [(2, 3), (3,), (3,), (3,), (3,), (3,), (3, 1), (1,)]
    model.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == 8


def test_masks_follow_the_graph():
    x = L.Input((4, 2))
    y = L.Activation("relu")(L.Masking()(x))
    model = Model(x, L.GlobalAveragePooling1D()(y))
    data = np.array([[[1, 2], [3, 4], [0, 0], [0, 0]]], "float32")
    np.testing.assert_allclose(outputs(model, data)[0], [[2, 3]])
    other = L.Input((4, 2))
    again = Model(other, model(other))
    np.testing.assert_allclose(outputs(again, data)[0], [[2, 3]])
    with pytest.raises(TypeError, match="flatten_1 does not support masking"):
        L.Flatten()(y)


def test_clone_has_equal_config_and_weights_of_its_own():
    a, b = L.Input((4,), name="a"), L.Input((4,), name="b")
    shared = Sequential([L.Dense(3, input_shape=(4,))], name="shared")
    model = Model([a, b], L.concatenate([shared(a), shared(b)]))
    twin = clone_model(model)
    assert twin.get_config() == model.get_config()
    assert not {id(w) for w in twin.weights} & {id(w) for w in model.weights}
    twin.set_weights(model.get_weights())
    data = np.random.default_rng(3).normal(size=(2, 5, 4)).astype("float32")
    np.testing.assert_array_equal(outputs(twin, *data)[0], outputs(model, *data)[0])


def test_to_json_round_trip_of_custom_layers():
    class Scale(L.Layer):
        def __init__(self, by, **kwargs):
            super().__init__(**kwargs)
            self.keep(by=by)

        def build(self, input_shape):
            self.offset = self.add_weight("offset", (input_shape[-1],), initializer="ones")
            super().build(input_shape)

        def call(self, x):
            return x * self.by + self.offset

    model = Sequential([Scale(2, input_shape=(3,))])
    again = model_from_json(model.to_json(), custom_objects={"Scale": Scale})
    np.testing.assert_allclose(outputs(again, np.ones((1, 3), "float32"))[0], [[3, 3, 3]])
    with pytest.raises(ValueError, match="Unknown layer: Scale"):
        model_from_json(model.to_json())


def test_subclassed_model_finds_its_layers():
    class Net(Model):
        def __init__(self):
            super().__init__(name="net")
            self.first = L.Dense(3)
            self.rest = [L.Dense(2), L.Dense(1)]

        def call(self, x):
            for layer in (self.first, *self.rest):
                x = layer(x)
            return x

    net = Net()
    x = L.Input((4,))
    y = net(x)
    assert K.int_shape(y) == (None, 1)
    assert [layer.name for layer in net.layers] == ["dense_1", "dense_2", "dense_3"]
    assert len(net.trainable_weights) == 6


def test_building_models_does_not_grow_memory():
    def build():
        inner = Sequential([L.Conv2D(2, 3, input_shape=(6, 6, 1)), L.BatchNormalization(),
                            L.Flatten(), L.Dropout(0.5), L.Dense(3, kernel_regularizer="l2")])
        x = L.Input((6, 6, 1))
        return len(Model(x, inner(x)).updates)

    def living():
        gc.collect()
        return sum(issubclass(type(item), Tensor) for item in gc.get_objects())

    build()
    before = living()
    for _ in range(20):
        build()
    assert living() <= before


def test_subclassed_model_has_the_losses_and_updates_of_its_layers():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.norm = L.BatchNormalization()
            self.dense = L.Dense(1, kernel_initializer="ones", kernel_regularizer="l2",
                                 activity_regularizer="l1")

        def call(self, x):
            return self.dense(self.norm(x))

    net = Net()
    net.compile("sgd", "mse")
    data = np.random.default_rng(4).normal(2, 3, (40, 3)).astype("float32")
    loss = net.train_on_batch(data, np.zeros((40, 1)))
    np.testing.assert_allclose(net.norm.get_weights()[2], 0.01 * data.mean(0), rtol=1e-4)
    assert len(net.updates) == 2 and len(net.losses) == 2 and loss > 1
    net(L.Input((3,)))                             # another call leaves the model's own alone
    assert len(net.updates) == 2 and len(net.losses) == 2


def test_stateful_predict_goes_on_from_batch_to_batch():
    model = Sequential([L.LSTM(3, stateful=True, batch_input_shape=(2, 4, 1))])
    x = np.random.default_rng(5).normal(size=(4, 4, 1))
    x[2:] = x[:2]
    first = model.predict(x, batch_size=2)
    assert np.abs(first[:2] - first[2:]).max() > 1e-3
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x, batch_size=2), first)


def test_errors_say_what_and_where():
    x = L.Input((3,))
    with pytest.raises(ValueError, match="Graph disconnected"):
        Model(L.Input((3,)), L.Dense(1)(x))
    with pytest.raises(ValueError, match='"d" is used 2 times'):
        Model(x, L.Dense(1, name="d")(L.Dense(2, name="d")(x)))
    with pytest.raises(ValueError, match="Try: put the K functions"):
        Model(x, K.square(L.Dense(2)(x)))
    with pytest.raises(ValueError, match="made outside of a layer"):
        Model(x, L.Dense(1)(K.square(x)))
    with pytest.raises(ValueError, match="No such layer: dens_1. Did you mean 'dense_"):
        Model(x, L.Dense(1)(x)).get_layer("dens_1")
    with pytest.raises(TypeError, match="InputLayer"):
        y = L.Dense(1)(x)
        Model(y, L.Dense(1)(y))


def test_a_star_import_brings_the_names_that_load_late():
    names = {}
    exec("from gpukeras.models import *", names)
    assert {"Model", "Sequential", "load_model", "save_model", "model_from_json"} <= set(names)


def test_a_layer_saved_without_its_arguments_says_so():
    class Scale(L.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

    with pytest.raises(TypeError, match="saved without its own arguments. Try: self.keep"):
        Scale.from_config(Scale(2.0).get_config())


def test_a_negative_number_of_units_is_refused():
    with pytest.raises(ValueError, match=r"cannot have the shape \(4, -3\)"):
        L.Dense(-3)(L.Input((4,)))


def test_a_model_takes_inputs_of_any_rank_that_its_layers_take():
    inner = Sequential([L.Dense(6, input_dim=4), L.Reshape((3, 2))])
    x = L.Input((1, 4))
    model = Model(x, inner(x))
    assert model.output_shape == (None, 3, 2)
    kernel, bias = inner.get_weights()
    data = np.random.RandomState(0).randn(5, 1, 4).astype("float32")
    np.testing.assert_allclose(model.predict(data), (data @ kernel + bias).reshape(5, 3, 2),
                               rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="expects 1 inputs, but it received 2"):
        inner([x, x])
    with pytest.raises(ValueError, match="in conv2d_1 at"):
        Sequential([L.Conv2D(2, 3, input_shape=(8, 8, 3))])(L.Input((8, 8)))
