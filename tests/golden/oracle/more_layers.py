"""Topic `more_layers`: the layers that topic `layers` leaves out, except the recurrent ones.

Facts as in `layers`, with lists of shapes, as some layers have several inputs.  Arrays: x0.., w0..,
y and mask (test phase), r, gx0.. and gw0.. (gradients of sum(y * r)).
"""
import numpy as np
from keras import backend as K
from keras import layers as L

from .store import Store, jittered

IMAGE, VOLUME, SEQUENCE, VECTOR = (6, 7, 3), (4, 5, 4, 2), (8, 3), (4,)
FIRST = {'data_format': 'channels_first'}


def core_cases():
    yield 'permute', L.Permute((2, 1)), [SEQUENCE]
    yield 'permute_rank4', L.Permute((3, 1, 2)), [IMAGE]
    yield 'repeat_vector', L.RepeatVector(3), [VECTOR]
    yield 'activity_regularization', L.ActivityRegularization(0.1, 0.2), [VECTOR]
    yield 'masking', L.Masking(1.0), [SEQUENCE]
    yield 'leaky_relu', L.LeakyReLU(0.2), [SEQUENCE]
    yield 'prelu', L.PReLU(), [SEQUENCE]
    yield 'prelu_shared', L.PReLU(shared_axes=[1, 2]), [IMAGE]
    yield 'elu', L.ELU(0.7), [SEQUENCE]
    yield 'thresholded_relu', L.ThresholdedReLU(0.5), [SEQUENCE]
    yield 'softmax', L.Softmax(), [SEQUENCE]
    yield 'softmax_axis1', L.Softmax(axis=1), [SEQUENCE]
    yield 'relu', L.ReLU(1.5, 0.1, 0.25), [SEQUENCE]
    yield 'relu_plain', L.ReLU(), [SEQUENCE]
    yield 'spatial_dropout2d', L.SpatialDropout2D(0.3), [IMAGE]
    yield 'gaussian_noise', L.GaussianNoise(0.3), [VECTOR]
    yield 'gaussian_dropout', L.GaussianDropout(0.3), [VECTOR]
    yield 'alpha_dropout', L.AlphaDropout(0.3, seed=1), [VECTOR]


def merge_cases():
    for name in ('Add', 'Multiply', 'Average', 'Maximum', 'Minimum'):
        yield name.lower(), getattr(L, name)(), [SEQUENCE] * 3
    yield 'subtract', L.Subtract(), [SEQUENCE] * 2
    yield 'add_broadcast', L.Add(), [SEQUENCE, (3,)]
    yield 'multiply_broadcast', L.Multiply(), [(8, 1), SEQUENCE]
    yield 'concatenate', L.Concatenate(), [SEQUENCE, (8, 2)]
    yield 'concatenate_axis1', L.Concatenate(axis=1), [SEQUENCE, (2, 3)]
    yield 'dot', L.Dot(1), [SEQUENCE, (8, 2)]
    yield 'dot_vectors', L.Dot(-1), [VECTOR] * 2
    yield 'dot_normalized', L.Dot(2, normalize=True), [SEQUENCE, (5, 3)]
    yield 'dot_pair', L.Dot((2, 1)), [SEQUENCE, (3, 4)]


def spatial_cases():
    yield 'cropping1d', L.Cropping1D((1, 2)), [SEQUENCE]
    yield 'cropping2d', L.Cropping2D(((1, 2), (0, 3))), [IMAGE]
    yield 'cropping2d_first', L.Cropping2D((1, 2), **FIRST), [(3, 6, 7)]
    yield 'cropping3d', L.Cropping3D(1), [VOLUME]
    yield 'zero_padding1d', L.ZeroPadding1D((1, 3)), [SEQUENCE]
    yield 'zero_padding2d', L.ZeroPadding2D(((1, 2), (0, 3))), [IMAGE]
    yield 'zero_padding2d_first', L.ZeroPadding2D((1, 2), **FIRST), [(3, 6, 7)]
    yield 'zero_padding3d', L.ZeroPadding3D((1, 0, 2)), [VOLUME]
    yield 'up_sampling1d', L.UpSampling1D(3), [SEQUENCE]
    yield 'up_sampling2d', L.UpSampling2D((2, 3)), [IMAGE]
    yield 'up_sampling2d_first', L.UpSampling2D(2, **FIRST), [(3, 4, 5)]
    yield 'up_sampling2d_bilinear', L.UpSampling2D((2, 3), interpolation='bilinear'), [IMAGE]
    yield 'up_sampling3d', L.UpSampling3D((2, 1, 2)), [VOLUME]


def convolution_cases():
    yield 'separable_conv1d', L.SeparableConv1D(4, 3, depth_multiplier=2), [SEQUENCE]
    yield 'separable_conv2d', L.SeparableConv2D(4, 3, depth_multiplier=2, padding='same'), [IMAGE]
    yield 'separable_conv2d_dilated', L.SeparableConv2D(4, 2, dilation_rate=2), [IMAGE]
    yield 'separable_conv2d_first', L.SeparableConv2D(4, 3, strides=2, **FIRST), [(3, 6, 7)]
    yield 'depthwise_conv2d', L.DepthwiseConv2D(3, depth_multiplier=2), [IMAGE]
    yield 'depthwise_conv2d_strides', L.DepthwiseConv2D((2, 3), strides=2, padding='same',
                                                        activation='tanh'), [IMAGE]
    yield 'conv2d_transpose', L.Conv2DTranspose(4, 3), [IMAGE]
    yield 'conv2d_transpose_same', L.Conv2DTranspose(4, (3, 2), strides=2, padding='same'), [IMAGE]
    yield 'conv2d_transpose_padded', L.Conv2DTranspose(4, 3, strides=(2, 3),
                                                       output_padding=(1, 2)), [IMAGE]
    yield 'conv2d_transpose_dilated', L.Conv2DTranspose(2, 3, dilation_rate=2), [IMAGE]
    yield 'conv2d_transpose_first', L.Conv2DTranspose(4, 3, strides=2, **FIRST), [(3, 4, 5)]
    yield 'conv3d_transpose', L.Conv3DTranspose(3, 2, strides=(1, 2, 2), padding='same'), [VOLUME]
    yield 'locally_connected1d', L.LocallyConnected1D(4, 3, strides=2), [SEQUENCE]
    yield 'locally_connected2d', L.LocallyConnected2D(2, (3, 2), strides=(1, 2)), [IMAGE]
    yield 'locally_connected2d_first', L.LocallyConnected2D(2, 2, **FIRST), [(3, 5, 4)]


def other_cases():
    yield 'embedding', L.Embedding(5, 3), [(4,)]
    yield 'embedding_mask', L.Embedding(5, 3, mask_zero=True, input_length=4), [(4,)]
    yield 'maxout_dense', L.MaxoutDense(3, nb_feature=2), [VECTOR]
    yield 'highway', L.Highway(activation='tanh'), [VECTOR]
    yield 'time_distributed', L.TimeDistributed(L.Dense(2, activation='tanh')), [SEQUENCE]
    yield 'time_distributed_conv', L.TimeDistributed(L.Conv2D(2, 3)), [(2,) + IMAGE]


def record(store, name, layer, shapes):
    rng = np.random.RandomState(sum(map(ord, name)))
    integers = isinstance(layer, L.Embedding)
    ins = [L.Input(shape) for shape in shapes]
    y = layer(ins if len(ins) > 1 else ins[0])
    layer.set_weights(jittered(layer.get_weights(), rng))
    arrays = [np.round(rng.uniform(-2, 2, (3,) + shape), 1).astype('float32') for shape in shapes]
    if integers:
        arrays = [rng.randint(0, layer.input_dim, a.shape).astype('float32') for a in arrays]
    r = rng.uniform(-1, 1, (3,) + K.int_shape(y)[1:]).astype('float32')
    wrt = ([] if integers else ins) + layer.trainable_weights
    # K.gradients of an embedding is sparse and cannot be fetched as it is
    loss = K.sum(y * K.constant(r))
    grads = [K.zeros_like(v) + g for v, g in zip(wrt, K.gradients(loss, wrt))] if wrt else []
    mask = layer.compute_mask(ins if len(ins) > 1 else ins[0], [None] * len(ins)
                              if len(ins) > 1 else None)
    got = K.function(ins + [K.learning_phase()], [y] + grads + ([] if mask is None else [mask]))(
        arrays + [0])
    gx = got[1:1 + len(wrt) - len(layer.trainable_weights)]
    store.add(name, {
        'class_name': type(layer).__name__, 'config': layer.get_config(),
        'input_shapes': shapes, 'output_shape': K.int_shape(y)[1:],
        'weights': [[w.name.split(':')[0], K.int_shape(w)] for w in layer.weights],
        'trainable': len(layer.trainable_weights)},
        x=arrays, w=layer.get_weights(), y=got[0], r=r, gx=gx,
        gw=got[1 + len(gx):1 + len(wrt)], mask=None if mask is None else got[-1])


def generate():
    store = Store('more_layers')
    for family in (core_cases, merge_cases, spatial_cases, convolution_cases, other_cases):
        for name, layer, shapes in family():
            record(store, name, layer, shapes)
    store.write()
