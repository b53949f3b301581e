"""Recurrent layers by one op for the whole sequence give what the loop over the cell gives."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers
from gpukeras.layers import rnn
from gpukeras.ops.rnn import Gru, Lstm, SimpleRnn

CASES = [
    (layers.LSTM, {}),
    (layers.LSTM, {"activation": "relu", "recurrent_activation": "hard_sigmoid"}),
    (layers.GRU, {}), (layers.GRU, {"reset_after": True}),
    (layers.GRU, {"reset_after": True, "use_bias": False}), (layers.GRU, {"use_bias": False}),
    (layers.SimpleRNN, {}), (layers.SimpleRNN, {"activation": "linear", "use_bias": False}),
]


def run(cls, options, masked, backwards, initial):
    """(outputs, states, gradients by input and weights), the number of whole-sequence ops."""
    K.clear_session()
    x = layers.Input((None, 3))
    inside = layers.Masking()(x) if masked else x
    layer = cls(4, return_sequences=True, return_state=True, go_backwards=backwards,
                **options)
    count = 2 if cls is layers.LSTM else 1
    first = [layers.Input((4,)) for _ in range(count)] if initial else []
    outs = layer(inside, initial_state=first or None)
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=w.shape) * 0.5 for w in layer.get_weights()])
    loss = K.sum(outs[0] * K.constant(rng.normal(size=(2, 5, 4)))) + K.sum(K.square(outs[-1]))
    grads = K.gradients(loss, [x, *first, *layer.trainable_weights])
    data = rng.normal(size=(2, 5, 3)).astype("f4")
    data[0, :2] = data[1, 3:] = 0
    return K.function([x, *first], [*outs, *grads])(
        [data, *(rng.normal(size=(2, 4)) for _ in first)])


@pytest.mark.parametrize("masked, backwards, initial", [
    (False, False, False), (True, False, False), (False, True, True), (True, True, False)])
@pytest.mark.parametrize("cls, options", CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_the_op_gives_what_the_cells_give(cls, options, masked, backwards, initial, monkeypatch):
    fast = run(cls, options, masked, backwards, initial)
    monkeypatch.setattr(rnn, "whole_sequence", lambda *args: None)
    slow = run(cls, options, masked, backwards, initial)
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options, whole", [
    ({}, True), ({"dropout": 0.3}, True), ({"unroll": True}, True),
    ({"recurrent_dropout": 0.3}, False), ({"activation": "softplus"}, False),
    ({"activation": lambda x: K.tanh(x)}, False)])
def test_what_the_op_does_not_know_is_left_to_the_cells(options, whole, monkeypatch):
    made = []
    for op in (Lstm, Gru, SimpleRnn):
        call = op.__call__
        monkeypatch.setattr(op, "__call__",
                            lambda self, *a, c=call: made.append(self) or c(self, *a))
    for cls in (layers.LSTM, layers.GRU, layers.SimpleRNN):
        cls(4, **options)(layers.Input((5, 3)))
    kinds = {type(op) for op in made}
    assert kinds == ({Lstm, Gru, SimpleRnn} if whole else set())
