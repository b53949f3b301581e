"""Files that name what nobody has given: weights and graph load, a list says what is missing."""
import json

import numpy as np
import pytest

from gpukeras import initializers, optimizers
from gpukeras import backend as K
from gpukeras.compat.doctor import doctor
from gpukeras.layers import (LSTM, Activation, Conv2D, Dense, Dropout, Flatten,
                             GlobalAveragePooling2D, Input, Lambda, Layer, MaxPooling2D, add)
from gpukeras.layers.missing import stand_ins
from gpukeras.models import Model, Sequential, load_model, model_from_json


class Scale(Layer):
    def __init__(self, by=1., **kwargs):
        super().__init__(**kwargs)
        self.keep(by=by)

    def build(self, input_shape):
        self.factor = self.add_weight("factor", (input_shape[-1],), initializer="ones")
        super().build(input_shape)

    def call(self, x):
        return self.by * self.factor * x


class Widen(Layer):
    """Doubles the last axis: its output's shape is not that of its input."""

    def call(self, x):
        return K.concatenate([x, x])


class ToRows(Layer):
    """(batch, h, w, c) -> (batch, h, w * c)"""

    def call(self, x):
        _, h, w, c = K.int_shape(x)
        return K.reshape(x, (-1, h, w * c))


class Halves(Layer):
    def call(self, x):
        return [x[:, :2], x[:, 2:]]


class Twos(initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return K.constant(2., shape=shape)


class Own(optimizers.SGD):
    pass


def double(x):
    return 2 * x


def off(y_true, y_pred):
    return K.mean(y_true - y_pred)


def in_row(*layers):
    return Sequential(list(layers))


def pair():
    x = Input((4,))
    a, b = Halves(name="own")(Dense(4)(x))
    return Model(x, Dense(3)(add([a, b])))


KNOWN = {f.__name__: f for f in (Scale, Widen, ToRows, Halves, Twos, Own, double, off)}
# models with an unknown layer `own`, whose output's shape follows from the layers behind it
MODELS = {
    "dense": lambda: in_row(Dense(3, input_shape=(5,)), Scale(2., name="own"), Dense(2)),
    "wider_dense": lambda: in_row(Dense(3, input_shape=(5,)), Widen(name="own"), Dense(2)),
    "wider_later": lambda: in_row(Dense(3, input_shape=(5,)), Widen(name="own"), Dropout(.1),
                                  Activation("relu"), Dense(2)),
    "wider_conv": lambda: in_row(Conv2D(3, 3, input_shape=(6, 6, 1)), Widen(name="own"),
                                 MaxPooling2D(), Conv2D(2, 1), GlobalAveragePooling2D()),
    "pooled": lambda: in_row(Conv2D(3, 3, input_shape=(6, 6, 1)), Widen(name="own"),
                             GlobalAveragePooling2D(), Dense(2)),
    "flattened": lambda: in_row(Conv2D(3, 3, input_shape=(6, 6, 1)), Scale(name="own"), Flatten(),
                                Dense(2)),
    "wider_flattened": lambda: in_row(Conv2D(3, 3, input_shape=(6, 6, 1)), Widen(name="own"),
                                      Flatten(), Dense(2)),
    "other_rank": lambda: in_row(Conv2D(3, 3, input_shape=(6, 6, 1)), ToRows(name="own"), LSTM(2)),
    "two_outputs": pair,
    "first": lambda: in_row(Scale(name="own", input_shape=(3,)), Dense(2)),
}


def saved(model, path, loss="mse", metrics=None, optimizer="adam"):
    """The model, after a step of training, and the path of its file."""
    model.compile(optimizer, loss, metrics=metrics)
    shape = model.input_shape[1:]
    model.train_on_batch(np.ones((2, *shape)), np.ones((2, *model.output_shape[1:])))
    model.save(path)
    return model


def loaded(path, match, **kwargs):
    with pytest.warns(UserWarning, match=match):
        return load_model(path, **kwargs)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:Error in loading the saved optimizer")
def test_weights_and_graph_load_without_a_layer_class(name, tmp_path):
    model = saved(MODELS[name](), tmp_path / "a.h5")
    cls = type(model.get_layer("own")).__name__
    found = loaded(tmp_path / "a.h5", rf"the layer class {cls} \(of own\).*Give it: load_model\("
                                      rf"path, custom_objects=\{{'{cls}': ...\}}\)")
    assert found.missing_objects == [("layer class", cls)]
    assert json.dumps(found.get_config()) == json.dumps(model.get_config())
    for a, b in zip(found.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = np.random.RandomState(0).rand(2, *model.input_shape[1:])
    for use in (found.predict, lambda x: found.fit(x, np.ones((2, 2)), verbose=0)):
        with pytest.raises(ValueError, match=rf"layer own: the layer class {cls} is not known"):
            use(x) if name != "two_outputs" else found.predict(x)
    before = model.layers[0]
    if name != "first":                            # what lies before it can be used
        np.testing.assert_array_equal(Model(found.input, found.layers[
            model.layers.index(before)].output).predict(x),
            Model(model.input, before.output).predict(x))
    found.save(tmp_path / "b.h5")                  # and nothing is lost on the way
    again = load_model(tmp_path / "b.h5", custom_objects=KNOWN)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_the_state_of_the_optimizer_stays(tmp_path):
    model = saved(MODELS["dense"](), tmp_path / "a.h5")
    found = loaded(tmp_path / "a.h5", "Scale")
    for a, b in zip(found.optimizer.get_weights(), model.optimizer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_pieces_of_layers_are_stood_in_for(tmp_path):
    model = saved(in_row(Dense(3, input_shape=(5,), kernel_initializer=Twos()), Dense(2)),
                  tmp_path / "a.h5")
    found = loaded(tmp_path / "a.h5", "the initializer Twos")
    x = np.ones((2, 5))
    np.testing.assert_array_equal(found.predict(x), model.predict(x))     # as it is not needed
    assert found.get_config() == model.get_config()
    saved(in_row(Dense(3, input_shape=(5,)), Dense(2, activation=double)), tmp_path / "b.h5")
    found = loaded(tmp_path / "b.h5", "the activation function double")
    with pytest.raises(ValueError, match="the activation function double is not known"):
        found.predict(x)
    assert np.isfinite(Model(found.input, found.layers[0].output).predict(x)).all()
    assert found.layers[1].get_config()["activation"] == "double"


def test_unknown_metrics_are_left_out_and_others_stay(tmp_path):
    model = saved(MODELS["dense"](), tmp_path / "a.h5", metrics=["mae", off])
    found = loaded(tmp_path / "a.h5", "the metric function off",
                   custom_objects={"Scale": Scale})
    assert found.metrics_names == ["loss", "mae"] and model.metrics_names[-1] == "off"
    found.train_on_batch(np.ones((2, 5)), np.ones((2, 2)))


@pytest.mark.parametrize("what, match", [
    ({"loss": off}, "Unknown loss function: off"),
    ({"optimizer": Own()}, "Unknown optimizer: Own")])
def test_without_loss_or_optimizer_a_model_is_not_compiled_but_predicts(what, match, tmp_path):
    model = saved(in_row(Dense(2, input_shape=(3,))), tmp_path / "a.h5", **what)
    found = loaded(tmp_path / "a.h5", match)
    assert not getattr(found, "optimizer", None)
    np.testing.assert_array_equal(found.predict(np.ones((1, 3))), model.predict(np.ones((1, 3))))
    assert found.missing_objects[0][1] in ("off", "Own")


def test_lambdas_without_their_function_are_stood_in_for(tmp_path):
    def odd(x):
        yield x

    named = in_row(Dense(3, input_shape=(5,)), Lambda(double, name="own"), Dense(2))
    entry = named.layers[1].get_config
    named.layers[1].get_config = lambda: {**entry(), "function": "double",
                                          "function_type": "function"}
    saved(named, tmp_path / "a.h5")
    found = loaded(tmp_path / "a.h5", "the function of own")
    with pytest.raises(ValueError, match=r"(?s)layer own: Unknown function in Lambda layer: double"
                                         r".*custom_objects=\{'own': function\}"):
        found.predict(np.ones((1, 5)))
    again = load_model(tmp_path / "a.h5", custom_objects={"double": double})
    np.testing.assert_array_equal(again.predict(np.ones((1, 5))), named.predict(np.ones((1, 5))))


def test_weights_of_an_unknown_layer_are_read_into_a_model_from_json(tmp_path):
    model = MODELS["dense"]()
    model.save_weights(tmp_path / "w.h5")
    with pytest.raises(ValueError, match="Unknown layer: Scale"):         # as in Keras
        model_from_json(model.to_json())
    with stand_ins() as missing:
        found = model_from_json(model.to_json())
    assert str(missing) == "the layer class Scale (of own)"
    for by_name in (False, True):
        found.load_weights(tmp_path / "w.h5", by_name=by_name)
        for a, b in zip(found.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_cannot_be_guessed_is_an_error_that_says_so(tmp_path):
    x = Input((6,))
    model = Model(x, add([Widen(name="own")(Dense(3)(x)), x]))
    model.save(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="(?s)could only be guessed: the layer class Widen"):
        load_model(tmp_path / "a.h5")


def test_doctor_lists_what_is_missing(tmp_path, capsys):
    saved(MODELS["dense"](), tmp_path / "a.h5", metrics=[off])
    assert doctor(tmp_path / "a.h5") == 1
    out = capsys.readouterr().out
    assert "missing:       layer class Scale" in out
    assert "missing:       metric function off" in out
    assert "predicts:      no: layer own: the layer class Scale is not known" in out


def test_nothing_is_missing_when_all_is_given(tmp_path, recwarn):
    saved(MODELS["dense"](), tmp_path / "a.h5", metrics=[off])
    assert load_model(tmp_path / "a.h5", custom_objects=KNOWN).missing_objects == []
    assert not recwarn.list
