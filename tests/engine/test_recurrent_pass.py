"""The pass `recurrent`: same values as without it, wherever it finds a layer."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices, layers
from gpukeras.devices.host import HostDevice
from gpukeras.ops.gru import GruWhole, GruWholeGrad
from gpukeras.ops.lstm import LstmWhole, LstmWholeGrad
from gpukeras.ops.rnn import Gru, GruGrad, Lstm, LstmGrad
from gpukeras.passes import recurrent


@pytest.fixture(autouse=True)
def on_the_host():
    first = devices.use(HostDevice())              # whose pass it is
    yield
    devices.use(first)


def last(x):
    return layers.LSTM(5)(x)


def last_without_bias(x):
    return layers.LSTM(5, use_bias=False)(x)


def all_steps(x):
    return layers.LSTM(5, return_sequences=True)(x)


def all_steps_and_states(x):
    h, last_h, last_c = layers.LSTM(5, return_sequences=True, return_state=True)(x)
    return K.sum(h, 1) + last_h * 2 + K.square(last_c)


def last_cell(x):
    return K.tanh(layers.LSTM(5, return_state=True)(x)[2])


def stacked(x):
    return layers.LSTM(4)(layers.LSTM(5, return_sequences=True)(x))


def backwards(x):
    return layers.LSTM(5, go_backwards=True)(x)


def both_ways(x):
    return layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)


def with_mask(x):
    return layers.LSTM(5, return_sequences=True)(layers.Masking()(x))


def other_activations(x):
    return layers.LSTM(5, activation="relu", recurrent_activation="hard_sigmoid")(x)


def encoder_and_decoder(x):
    _, h, c = layers.LSTM(5, return_state=True)(x)
    return layers.LSTM(5, return_sequences=True)(x, initial_state=[h, c])


def frozen(x):
    layer = layers.LSTM(5)
    layer.trainable = False
    return layer(layers.Dense(4)(x))


def shared(x):
    layer = layers.LSTM(5)
    return layer(x) + layer(x * 2)


def with_dropout(x):
    return layers.LSTM(5, dropout=0.5, implementation=2)(x)


def gru(x):
    return layers.GRU(5)(x)


def gru_all_steps(x):
    return layers.GRU(5, return_sequences=True)(x)


def gru_reset_after(x):
    h, state = layers.GRU(5, reset_after=True, return_sequences=True, return_state=True)(x)
    return K.sum(h, 1) + K.square(state)


def gru_backwards(x):
    return layers.GRU(5, reset_after=True, go_backwards=True)(x)


def gru_without_bias(x):
    return layers.GRU(5, use_bias=False, recurrent_activation="hard_sigmoid")(x)


def gru_stacked_both_ways(x):
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True, reset_after=True))(x)
    return layers.GRU(5, return_sequences=True)(layers.Masking()(x))


def gru_with_state(x):
    _, h = layers.GRU(5, return_state=True)(x)
    return layers.GRU(5, return_sequences=True)(x, initial_state=h)


def gru_frozen(x):
    layer = layers.GRU(5)
    layer.trainable = False
    return layer(layers.Dense(4)(x))


GRUS = [gru, gru_all_steps, gru_reset_after, gru_backwards, gru_without_bias,
        gru_stacked_both_ways, gru_with_state, gru_frozen]
MODELS = [last, last_without_bias, all_steps, all_steps_and_states, last_cell, stacked, backwards,
          both_ways, with_mask, other_activations, encoder_and_decoder, frozen, shared,
          with_dropout, *GRUS]


def run(model, found, wrt_inputs=True):
    """Values and gradients of a model with fixed weights; `found` gets the ops of the schedule."""
    K.clear_session()
    x = layers.Input((7, 3))
    y = model(x)
    rng = np.random.default_rng(1)
    loss = K.sum(K.square(y - K.constant(rng.normal(size=K.int_shape(y)[1:]))))
    weights = _variables([loss])
    for w in weights:
        K.set_value(w, rng.normal(size=K.int_shape(w)) * 0.5)
    grads = K.gradients(loss, [*([x] if wrt_inputs else []), *weights])
    f = K.function([x], [y, *grads])
    data = np.random.default_rng(2).normal(size=(6, 7, 3)).astype("float32")
    data[1, :3] = data[2, 5:] = 0
    first, again = f([data]), f([data])
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    found += [type(s.op) for plan in f._plans.values() for s in plan[0].steps]
    return first


def _variables(tensors):
    from gpukeras.graph import Variable, toposort
    return [t for n in toposort(tensors) for t in n.outputs
            if isinstance(t, Variable) and t.ndim and t.dtype == "float32"]


@pytest.mark.parametrize("wrt_inputs", [False, True])
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_values_are_those_without_the_pass(model, wrt_inputs, monkeypatch):
    fused, plain = [], []
    got = run(model, fused, wrt_inputs)
    monkeypatch.setattr(recurrent, "_read", lambda *args: None)
    want = run(model, plain, wrt_inputs)
    ops, old = (({GruWhole, GruWholeGrad}, {Gru, GruGrad}) if model in GRUS else
                ({LstmWhole, LstmWholeGrad}, {Lstm, LstmGrad}))
    assert ops <= set(fused) and not old & set(fused)
    assert old <= set(plain)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def test_what_it_does_not_know_it_leaves_alone():
    """The gradient by the cells of all steps, say."""
    x = layers.Input((7, 3))
    cell = layers.LSTMCell(5)
    cell.build((None, 3))
    zeros = K.zeros((6, 5))
    h, c, _ = Lstm()(cell.project(x, None), cell.recurrent_kernel, zeros, zeros)
    f = K.function([x], K.gradients(K.sum(h * c), [x, cell.kernel]))
    data = np.random.default_rng(2).normal(size=(6, 7, 3)).astype("float32")
    got = f([data])
    (schedule, _), = f._plans.values()
    assert {Lstm, LstmGrad} <= {type(s.op) for s in schedule.steps}
    assert all(np.abs(g).max() > 0 for g in got)
