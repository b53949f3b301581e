"""Topic `layers`: outputs, gradients, weights and configs of single layers.

Facts of a case: class_name, config, input_shape, output_shape (both without batch), weights (names
and shapes), trainable / non_trainable counts.  Arrays: x, w0.. (the weights used), y (test phase),
gx and gw0.. (gradients of sum(y * r) for the trainable weights, test phase), r.  `added_loss` is
the sum of the layer's regularizers (for this x) or None.
Layers that know the learning phase also have y_train, gx_train, gw_train0.. and, for
BatchNormalization, after0.. (weights after one update in training).
"""
import numpy as np
import keras
from keras import backend as K
from keras import layers as L

from .store import Store, jittered

ACTIVATIONS = ['elu', 'softmax', 'selu', 'softplus', 'softsign', 'relu', 'tanh', 'sigmoid',
               'hard_sigmoid', 'exponential', 'linear']


def dense_cases():
    yield 'dense', L.Dense(5), (4,)
    yield 'dense_tanh_nobias', L.Dense(5, activation='tanh', use_bias=False), (4,)
    yield 'dense_rank3', L.Dense(5, activation='relu'), (3, 4)
    yield 'dense_rank4', L.Dense(2, activation='softmax'), (2, 3, 4)
    yield 'dense_all_arguments', L.Dense(
        3, activation='sigmoid', kernel_initializer='he_normal', bias_initializer='ones',
        kernel_regularizer=keras.regularizers.l1_l2(0.01, 0.02),
        bias_regularizer=keras.regularizers.l2(0.03),
        activity_regularizer=keras.regularizers.l1(0.04),
        kernel_constraint=keras.constraints.max_norm(1.5),
        bias_constraint=keras.constraints.non_neg()), (4,)
    for name in ACTIVATIONS:
        yield 'activation_' + name, L.Activation(name), (3, 4)
    yield 'flatten', L.Flatten(), (2, 3, 4)
    yield 'flatten_channels_first', L.Flatten(data_format='channels_first'), (2, 3, 4)
    yield 'reshape', L.Reshape((6, 2)), (3, 4)
    yield 'reshape_minus_one', L.Reshape((2, -1, 2)), (3, 4)
    yield 'dropout', L.Dropout(0.4), (4,)


def convolution_cases():
    yield 'conv1d', L.Conv1D(4, 3), (8, 3)
    yield ('conv1d_same_strides',
           L.Conv1D(4, 3, strides=2, padding='same', activation='relu'), (8, 3))
    yield 'conv1d_causal', L.Conv1D(4, 3, padding='causal'), (8, 3)
    yield 'conv1d_causal_dilated', L.Conv1D(4, 2, padding='causal', dilation_rate=3), (8, 3)
    yield 'conv1d_dilated', L.Conv1D(4, 3, dilation_rate=2, padding='same'), (8, 3)
    yield 'conv1d_first', L.Conv1D(4, 3, strides=2, data_format='channels_first'), (3, 8)
    yield 'conv2d', L.Conv2D(4, 3), (6, 7, 3)
    yield 'conv2d_same', L.Conv2D(4, (2, 3), padding='same', activation='tanh'), (6, 7, 3)
    yield 'conv2d_strides', L.Conv2D(4, 3, strides=(2, 3)), (6, 8, 3)
    yield ('conv2d_same_strides',
           L.Conv2D(4, 3, strides=2, padding='same', use_bias=False), (6, 7, 3))
    yield 'conv2d_same_strides_even', L.Conv2D(2, 4, strides=3, padding='same'), (7, 9, 2)
    yield 'conv2d_dilated', L.Conv2D(4, 3, dilation_rate=2), (7, 8, 3)
    yield 'conv2d_dilated_same', L.Conv2D(4, 3, dilation_rate=(2, 1), padding='same'), (7, 6, 3)
    yield 'conv2d_first', L.Conv2D(4, 3, padding='same', data_format='channels_first'), (3, 6, 5)
    yield 'conv2d_first_strides', L.Conv2D(4, (3, 2), strides=2,
                                           data_format='channels_first'), (3, 6, 5)
    yield 'conv2d_one_by_one', L.Conv2D(5, 1), (3, 4, 2)
    yield 'conv3d', L.Conv3D(3, 2), (4, 3, 4, 2)
    yield 'conv3d_same_strides', L.Conv3D(3, 3, strides=(2, 1, 2), padding='same'), (4, 3, 5, 2)
    yield 'conv3d_first', L.Conv3D(3, 2, data_format='channels_first'), (2, 4, 3, 4)
    yield 'conv3d_dilated', L.Conv3D(2, 2, dilation_rate=2), (4, 4, 5, 2)


def pooling_cases():
    for kind in ('Max', 'Average'):
        low = kind.lower()
        one, two, three = [getattr(L, '%sPooling%dD' % (kind, n)) for n in (1, 2, 3)]
        yield low + '_pool1d', one(), (7, 3)
        yield low + '_pool1d_same', one(3, strides=2, padding='same'), (8, 3)
        yield low + '_pool1d_first', one(2, data_format='channels_first'), (3, 7)
        yield low + '_pool2d', two(), (6, 7, 2)
        yield low + '_pool2d_same', two((3, 2), strides=(2, 2), padding='same'), (5, 7, 2)
        yield low + '_pool2d_overlap', two(3, strides=1), (5, 6, 2)
        yield low + '_pool2d_first', two(2, padding='same', data_format='channels_first'), (2, 5, 6)
        yield low + '_pool3d', three(), (4, 5, 4, 2)
        yield low + '_pool3d_same', three(2, strides=(1, 2, 2), padding='same'), (3, 5, 4, 2)
        yield low + '_pool3d_first', three(2, data_format='channels_first'), (2, 4, 4, 5)
        for n, shape in ((1, (5, 3)), (2, (4, 5, 2)), (3, (3, 2, 4, 2))):
            layer = getattr(L, 'Global%sPooling%dD' % (kind, n))
            yield 'global_%s_pool%dd' % (low, n), layer(), shape
            yield 'global_%s_pool%dd_first' % (low, n), layer(data_format='channels_first'), shape


def normalization_cases():
    yield 'batch_norm', L.BatchNormalization(), (4,)
    yield 'batch_norm_rank3', L.BatchNormalization(momentum=0.9, epsilon=1e-5), (3, 4)
    yield 'batch_norm_rank4', L.BatchNormalization(momentum=0.5), (3, 4, 2)
    yield 'batch_norm_rank5', L.BatchNormalization(), (2, 3, 2, 2)
    yield 'batch_norm_axis1', L.BatchNormalization(axis=1), (3, 4, 2)
    yield 'batch_norm_axis2', L.BatchNormalization(axis=2), (3, 4, 2)
    yield 'batch_norm_axis1_rank3', L.BatchNormalization(axis=1), (3, 4)
    yield 'batch_norm_no_scale', L.BatchNormalization(scale=False), (3, 4, 2)
    yield 'batch_norm_no_center', L.BatchNormalization(center=False), (4,)
    yield 'batch_norm_neither', L.BatchNormalization(center=False, scale=False), (4,)


def added_loss(layer, x_in, x):
    if not layer.losses:
        return None
    terms = K.function([x_in, K.learning_phase()], list(layer.losses))([x, 0])
    return float(np.sum(terms))


def record(store, name, layer, shape):
    rng = np.random.RandomState(sum(map(ord, name)))
    x_in = L.Input(shape)
    y_out = layer(x_in)
    layer.set_weights(jittered(layer.get_weights(), rng))
    before = layer.get_weights()
    x = rng.uniform(-2, 2, (3,) + shape).astype('float32')
    r_shape = (3,) + tuple(keras.models.Model(x_in, y_out).output_shape[1:])
    r = rng.uniform(-1, 1, r_shape).astype('float32')
    grads = K.gradients(K.sum(y_out * K.constant(r)), [x_in] + layer.trainable_weights)
    run = K.function([x_in, K.learning_phase()], [y_out] + grads)
    arrays = {'x': x, 'w': before}
    deterministic = not isinstance(layer, L.Dropout)
    got = run([x, 0])
    arrays.update(y=got[0], r=r, gx=got[1], gw=got[2:])
    if isinstance(layer, L.BatchNormalization):
        update = K.function([x_in, K.learning_phase()], [y_out] + grads, updates=layer.updates)
        got = update([x, 1])
        arrays.update(y_train=got[0], gx_train=got[1], gw_train=got[2:], after=layer.get_weights())
    facts = {
        'class_name': type(layer).__name__, 'config': layer.get_config(),
        'input_shape': shape, 'output_shape': layer.compute_output_shape((None,) + shape)[1:],
        'weights': [[w.name.split(':')[0], K.int_shape(w)] for w in layer.weights],
        'trainable': len(layer.trainable_weights),
        'uses_learning_phase': bool(getattr(y_out, '_uses_learning_phase', False)),
        'deterministic': deterministic,
        'added_loss': added_loss(layer, x_in, x),
    }
    store.add(name, facts, **arrays)


def generate():
    store = Store('layers')
    for family in (dense_cases, convolution_cases, pooling_cases, normalization_cases):
        for name, layer, shape in family():
            record(store, name, layer, shape)
    store.write()
