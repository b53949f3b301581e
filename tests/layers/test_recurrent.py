"""Recurrent layers: outputs, states, gradients and training of Keras 2.3.1; then what it cannot
tell."""
import json

import numpy as np
import pytest

from golden import reader
from gpukeras import backend as K
from gpukeras import layers as L
from gpukeras.models import Model, Sequential
from gpukeras.optimizers import SGD

CASES = {name: c for name, c in reader.cases("recurrent").items() if "y0" in c}
STEPS = {name: c for name, c in reader.cases("recurrent").items() if "losses" in c}


def applied(case):
    """(layer, inputs, outputs) of a golden case with its weights set."""
    K.clear_session()
    facts = case.facts
    layer = L.deserialize({"class_name": facts["class_name"], "config": facts["config"]})
    ins = [L.Input(a.shape[1:]) for a in case.list("x")]
    x = L.Masking(0.0)(ins[0]) if facts["masked"] else ins[0]
    y = layer([x, *ins[1:]]) if ins[1:] else layer(x)
    layer.set_weights(case.list("w"))
    return layer, ins, y if isinstance(y, list) else [y]


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_golden_config_shapes_and_weights(case):
    layer, _, ys = applied(case)
    assert json.loads(json.dumps(layer.get_config())) == case.facts["config"]
    assert [list(K.int_shape(y)[1:]) for y in ys] == case.facts["output_shapes"]
    assert [[w.name.split(":")[0], list(w.shape)] for w in layer.weights] == case.facts["weights"]


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_golden_outputs_states_and_gradients(case, device):
    layer, ins, ys = applied(case)
    parts = [K.sum(y * K.constant(r)) for y, r in zip(ys, case.list("r"), strict=True)]
    grads = K.gradients(sum(parts[1:], parts[0]), ins + layer.trainable_weights)
    found = K.function([*ins, K.learning_phase()], [*ys, *grads])([*case.list("x"), 0])
    expected = case.list("y") + case.list("gx") + case.list("gw")
    for got, want in zip(found, expected, strict=True):
        close(got, want)


@pytest.mark.parametrize("case", STEPS.values(), ids=list(STEPS))
def test_golden_training_steps(case, device):
    K.clear_session()
    model = Sequential.from_config(case.facts["config"])
    model.compile(SGD(0.05, momentum=0.9), "mse")
    model.set_weights(case.list("w"))
    losses = [model.train_on_batch(x, y) for x, y in zip(case["x"], case["target"], strict=True)]
    np.testing.assert_allclose(losses, case["losses"], rtol=2e-4)
    for got, want in zip(model.get_weights(), case.list("after"), strict=True):
        close(got, want)


X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")


@pytest.mark.parametrize("make", [L.LSTM, L.GRU, L.SimpleRNN])
def test_a_stateful_layer_goes_on_where_it_stopped(make):
    whole = Sequential([make(5, return_sequences=True, input_shape=(6, 3))])
    halves = Sequential([make(5, return_sequences=True, stateful=True,
                              batch_input_shape=(4, 3, 3))])
    halves.set_weights(whole.get_weights())
    want = whole.predict(X)
    for _ in range(2):
        first = halves.predict(X[:, :3], batch_size=4)
        second = halves.predict(X[:, 3:], batch_size=4)
        np.testing.assert_allclose(np.concatenate([first, second], 1), want, rtol=1e-5, atol=1e-6)
        halves.reset_states()


def test_stateful_without_a_batch_size_is_refused():
    with pytest.raises(ValueError, match="needs to know its batch size"):
        Sequential([L.LSTM(5, stateful=True, input_shape=(6, 3))])


@pytest.mark.parametrize("implementation", [1, 2])
def test_dropout_masks_are_the_same_in_every_step_and_off_in_testing(implementation):
    x = L.Input((6, 3))
    layer = L.LSTM(5, dropout=0.5, recurrent_dropout=0.5, implementation=implementation,
                   return_sequences=True)
    f = K.function([x, K.learning_phase()], [layer(x)])
    plain = L.LSTM(5, return_sequences=True)
    y = plain(x)
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(f([X, 0])[0], K.function([x], [y])([X])[0], rtol=1e-5, atol=1e-6)
    assert np.abs(f([X, 1])[0] - f([X, 1])[0]).max() > 0.01


def test_input_dropout_uses_one_mask_for_all_steps():
    # With the identity as kernel and no recurrence the output shows the mask.
    x = L.Input((6, 8))
    layer = L.SimpleRNN(8, activation="linear", dropout=0.5, use_bias=False, return_sequences=True)
    y = layer(x)
    layer.set_weights([np.eye(8), np.zeros((8, 8))])
    got, = K.function([x, K.learning_phase()], [y])([np.ones((4, 6, 8)), 1])
    assert set(np.unique(got)) == {0.0, 2.0}
    assert (got == got[:, :1]).all()


def test_encoder_decoder_passes_states_and_survives_its_config():
    source, target = L.Input((None, 3)), L.Input((None, 2))
    _, h, c = L.LSTM(5, return_state=True)(source)
    y = L.LSTM(5, return_sequences=True)(target, initial_state=[h, c])
    model = Model([source, target], L.Dense(2)(y))
    model.compile("adam", "mse")
    before = model.evaluate([X, X[:, :, :2]], X[:, :, :2], verbose=0)
    model.fit([X, X[:, :, :2]], X[:, :, :2], epochs=30, verbose=0)
    assert model.evaluate([X, X[:, :, :2]], X[:, :, :2], verbose=0) < before
    copy = Model.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict([X, X[:, :, :2]]), model.predict([X, X[:, :, :2]]))


class Minimal(L.Layer):
    """A cell as a user writes it: h' = x W + h U."""

    def __init__(self, units, **kwargs):
        self.units = self.state_size = units
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")
        self.built = True

    def call(self, inputs, states):
        h = K.dot(inputs, self.kernel) + K.dot(states[0], self.recurrent)
        return h, [h]


def test_a_users_cell_trains():
    model = Sequential([L.RNN(Minimal(4), input_shape=(None, 3)), L.Dense(1)])
    model.compile(SGD(0.01), "mse")
    target = X[:, :, 0].sum(1)
    history = model.fit(X, target, epochs=40, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0] and len(model.trainable_weights) == 4


def test_a_bidirectional_layer_reads_from_both_ends():
    x = L.Input((6, 3))
    layer = L.Bidirectional(L.SimpleRNN(4, return_sequences=True), merge_mode=None)
    model = Model(x, layer(x))
    forward, backward = layer.forward_layer, layer.backward_layer
    backward.set_weights(forward.get_weights())
    a, b = model.predict(X)
    c, d = model.predict(X[:, ::-1])
    np.testing.assert_allclose(a, d[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(b, c[:, ::-1], rtol=1e-6)


def test_bad_calls_say_what_is_wrong():
    with pytest.raises(ValueError, match="`cell` should have a `call`"):
        L.RNN("lstm")
    with pytest.raises(ValueError, match="has 2 states but was passed 1"):
        L.LSTM(5)(L.Input((6, 3)), initial_state=L.Input((5,)))
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        L.GRU(5)(L.Input((6,)))
    with pytest.raises(AttributeError, match="must be stateful"):
        L.LSTM(5).reset_states()
