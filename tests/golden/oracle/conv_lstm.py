"""Topic `conv_lstm`: ConvLSTM2D and the cuDNN layers' plain twins, facts as in `more_layers`.

Arrays also: state0.. (the last states, where `return_state` is set).
"""
import numpy as np
from keras import backend as K
from keras import layers as L

from .store import Store, jittered

SEQUENCE, FIRST = (3, 5, 6, 2), (3, 2, 5, 6)


def cases():
    yield 'plain', L.ConvLSTM2D(3, 2), SEQUENCE
    yield 'same_sequences', L.ConvLSTM2D(2, 3, padding='same', return_sequences=True), SEQUENCE
    yield 'strides', L.ConvLSTM2D(2, (2, 3), strides=(2, 1), recurrent_activation='sigmoid',
                                  use_bias=False), SEQUENCE
    yield 'dilated', L.ConvLSTM2D(2, 2, dilation_rate=2, activation='relu'), SEQUENCE
    yield 'first', L.ConvLSTM2D(2, 2, data_format='channels_first', return_sequences=True), FIRST
    yield 'backwards', L.ConvLSTM2D(2, 2, go_backwards=True, return_sequences=True), SEQUENCE
    yield 'states', L.ConvLSTM2D(2, 2, return_state=True), SEQUENCE
    yield 'dropout', L.ConvLSTM2D(2, 2, dropout=0.3, recurrent_dropout=0.2), SEQUENCE


def record(store, name, layer, shape):
    rng = np.random.RandomState(sum(map(ord, name)))
    x_in = L.Input(shape)
    outputs = layer(x_in)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    y = outputs[0]
    layer.set_weights(jittered(layer.get_weights(), rng))
    x = rng.uniform(-1, 1, (2,) + shape).astype('float32')
    r = rng.uniform(-1, 1, (2,) + K.int_shape(y)[1:]).astype('float32')
    grads = K.gradients(K.sum(y * K.constant(r)), [x_in] + layer.trainable_weights)
    got = K.function([x_in, K.learning_phase()], outputs + grads)([x, 0])
    n = len(outputs)
    store.add(name, {
        'class_name': type(layer).__name__, 'config': layer.get_config(), 'input_shape': shape,
        'output_shape': K.int_shape(y)[1:],
        'weights': [[w.name.split(':')[0], K.int_shape(w)] for w in layer.weights]},
        x=x, w=layer.get_weights(), y=got[0], state=got[1:n], r=r, gx=got[n], gw=got[n + 1:])


def generate():
    store = Store('conv_lstm')
    for name, layer, shape in cases():
        record(store, name, layer, shape)
    store.write()
