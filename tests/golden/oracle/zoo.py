"""Topic `zoo`: one model file, zoo.h5, with a layer of every class that needs no GPU and no code.

Every output is one layer applied to an input of its rank.  Arrays: the inputs x0.. in the order of
the model, outputs y0...
"""
import os

import numpy as np
import keras
from keras import layers as L

from . import conv_lstm, layers, more_layers
from .store import FOLDER, Store, jittered

KEEP = ('dense_all_arguments', 'activation_selu', 'flatten_channels_first', 'reshape_minus_one',
        'dropout', 'conv1d_causal_dilated', 'conv2d_same_strides_even', 'conv2d_first',
        'conv3d_same_strides', 'max_pool1d_same', 'max_pool2d', 'max_pool3d_first',
        'average_pool1d', 'average_pool2d_same', 'average_pool3d_same', 'global_max_pool1d',
        'global_max_pool2d', 'global_max_pool3d', 'global_average_pool1d',
        'global_average_pool2d_first', 'global_average_pool3d', 'batch_norm_axis1',
        'batch_norm_rank5')
RECURRENT = (lambda: L.SimpleRNN(2), lambda: L.GRU(2, reset_after=True, return_sequences=True),
             lambda: L.LSTM(2, go_backwards=True, implementation=1),
             lambda: L.Bidirectional(L.GRU(2, activation='relu'), merge_mode='ave'),
             lambda: L.RNN([L.LSTMCell(2), L.GRUCell(3)]))


def every():
    """(layer, shapes of its inputs)"""
    for family in (layers.dense_cases, layers.convolution_cases, layers.pooling_cases,
                   layers.normalization_cases):
        for name, layer, shape in family():
            if name in KEEP:
                yield layer, [shape]
    for family in (more_layers.core_cases, more_layers.merge_cases, more_layers.spatial_cases,
                   more_layers.convolution_cases, more_layers.other_cases):
        for name, layer, shapes in family():
            yield layer, shapes
    for name, layer, shape in conv_lstm.cases():
        if name == 'strides':
            yield layer, [shape]
    yield L.SpatialDropout1D(0.2), [(8, 3)]
    yield L.SpatialDropout3D(0.2), [(4, 5, 4, 2)]
    for make in RECURRENT:
        yield make(), [(8, 3)]


def generate():
    rng = np.random.RandomState(5)
    inputs, arrays, outputs = {}, [], []
    for layer, shapes in every():
        used, seen = [], {}
        for shape in shapes:
            seen[shape] = seen.get(shape, -1) + 1
            key = (shape, seen[shape], isinstance(layer, L.Embedding))
            if key not in inputs:
                inputs[key] = L.Input(shape)
                arrays.append(rng.randint(0, 5, (2,) + shape) if key[2]
                              else rng.uniform(-2, 2, (2,) + shape))
            used.append(inputs[key])
        outputs.append(layer(used if len(used) > 1 else used[0]))
    model = keras.models.Model(list(inputs.values()), outputs)
    model.set_weights(jittered(model.get_weights(), rng))
    model.save(os.path.join(FOLDER, 'zoo.h5'))
    store = Store('zoo')
    arrays = [a.astype('float32') for a in arrays]
    store.add('zoo', {'layers': len(model.layers),
                      'classes': sorted({type(layer).__name__ for layer in model.layers})},
              x=arrays, y=model.predict(arrays))
    store.write()
