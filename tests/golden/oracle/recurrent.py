"""Topic `recurrent`: recurrent layers with their options.

Facts as in `more_layers`, and `masked` when the input passes a Masking(0) layer first.  Arrays:
x0..
(sequence, then initial states), w0.., y0.. (outputs), r0.., gx0.. and gw0.. (gradients of the sum
of
y * r over all outputs); for `steps_...` cases losses and weights after 20 steps of SGD.
"""
import numpy as np
import keras
from keras import backend as K
from keras import layers as L

from .store import Store, jittered

T, D, U = 5, 3, 4


def layer_cases():
    """(name, layer, number of initial states, masked)"""
    for cls in (L.LSTM, L.GRU, L.SimpleRNN):
        n, states = cls.__name__.lower(), 2 if cls is L.LSTM else 1
        yield n, cls(U), 0, False
        yield n + '_sequences', cls(U, return_sequences=True), 0, False
        yield n + '_state', cls(U, return_state=True), 0, False
        yield n + '_all', cls(U, return_sequences=True, return_state=True), states, False
        yield n + '_masked', cls(U, return_sequences=True, return_state=True), 0, True
        yield n + '_backwards', cls(U, return_sequences=True, go_backwards=True), 0, True
        yield n + '_unrolled', cls(U, unroll=True), 0, True
        yield n + '_no_bias', cls(U, use_bias=False, activation='relu'), 0, False
        yield n + '_regularized', cls(U, kernel_regularizer='l2', recurrent_regularizer='l1',
                                      bias_constraint='non_neg'), 0, False
    yield 'lstm_1', L.LSTM(U, implementation=1, recurrent_activation='hard_sigmoid'), 0, True
    yield 'lstm_softsign', L.LSTM(U, activation='softsign', unit_forget_bias=False), 0, False
    yield 'gru_1', L.GRU(U, implementation=1, recurrent_activation='hard_sigmoid'), 0, True
    yield 'gru_after', L.GRU(U, reset_after=True, return_sequences=True), 1, True
    yield 'gru_after_no_bias', L.GRU(U, reset_after=True, use_bias=False), 0, False
    yield 'gru_after_1', L.GRU(U, reset_after=True, implementation=1), 0, False
    yield 'rnn_cell', L.RNN(L.GRUCell(U), return_sequences=True), 0, True
    yield 'stacked', L.RNN([L.LSTMCell(U), L.GRUCell(3), L.SimpleRNNCell(2)],
                           return_state=True), 0, True
    for mode in ('concat', 'sum', 'mul', 'ave', None):
        yield ('bidirectional_%s' % mode,
               L.Bidirectional(L.LSTM(U, return_sequences=True), merge_mode=mode), 0, mode == 'sum')
    yield 'bidirectional_last', L.Bidirectional(L.GRU(U)), 0, True
    yield ('bidirectional_state', L.Bidirectional(L.LSTM(U, return_state=True)), 4, False)


def inputs_for(layer, states, masked):
    ins = [L.Input((T, D))] + [L.Input((U,)) for _ in range(states)]
    x = L.Masking(0.)(ins[0]) if masked else ins[0]
    y = layer([x] + ins[1:]) if states else layer(x)
    return ins, y if isinstance(y, list) else [y]


def sequence(rng, batch=3):
    """Numbers without zeros, but for some whole time steps that a Masking layer finds."""
    x = rng.uniform(0.2, 2, (batch, T, D)) * rng.choice([-1, 1], (batch, T, D))
    x[0, 0] = x[0, 3] = x[1, 4] = 0
    return np.round(x, 2).astype('float32')


def record(store, name, layer, states, masked):
    rng = np.random.RandomState(sum(map(ord, name)))
    ins, ys = inputs_for(layer, states, masked)
    layer.set_weights(jittered(layer.get_weights(), rng))
    arrays = [sequence(rng)] + [rng.uniform(-1, 1, (3, U)).astype('float32')
                                for _ in range(states)]
    rs = [rng.uniform(-1, 1, (3,) + K.int_shape(y)[1:]).astype('float32') for y in ys]
    loss = sum(K.sum(y * K.constant(r)) for y, r in zip(ys, rs))
    grads = K.gradients(loss, ins + layer.trainable_weights)
    got = K.function(ins + [K.learning_phase()], ys + grads)(arrays + [0])
    n, k = len(ys), len(ys) + len(ins)
    store.add(name, {
        'class_name': type(layer).__name__, 'config': layer.get_config(), 'masked': masked,
        'output_shapes': [K.int_shape(y)[1:] for y in ys],
        'weights': [[w.name.split(':')[0], K.int_shape(w)] for w in layer.weights]},
        x=arrays, w=layer.get_weights(), y=got[:n], r=rs, gx=got[n:k], gw=got[k:])


def step_cases():
    yield 'steps_lstm', [L.Masking(0., input_shape=(T, D)), L.LSTM(U), L.Dense(1)]
    yield 'steps_gru', [L.GRU(U, input_shape=(T, D), return_sequences=True),
                        L.GRU(3, reset_after=True), L.Dense(1)]
    yield 'steps_bidirectional', [L.Bidirectional(L.LSTM(U), input_shape=(T, D)), L.Dense(1)]
    yield 'steps_rnn', [L.SimpleRNN(U, input_shape=(T, D), recurrent_constraint='max_norm'),
                        L.Dense(1)]


def record_steps(store, name, layers):
    rng = np.random.RandomState(len(name))
    model = keras.models.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), 'mse')
    model.set_weights(jittered(model.get_weights(), rng))
    x, y = [sequence(rng, 8) for _ in range(20)], rng.uniform(-1, 1, (20, 8, 1)).astype('float32')
    before = model.get_weights()
    losses = [model.train_on_batch(a, b) for a, b in zip(x, y)]
    store.add(name, {'config': model.get_config()}, x=np.array(x), target=y, w=before,
              losses=np.array(losses), after=model.get_weights())


def generate():
    store = Store('recurrent')
    for name, layer, states, masked in layer_cases():
        record(store, name, layer, states, masked)
    for name, layers in step_cases():
        record_steps(store, name, layers)
    store.write()
