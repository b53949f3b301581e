"""Model files of Keras 3 (.keras and .h5) and of tf_keras (.keras), with inputs and predictions.

    some/bin/python tests/golden/generate_keras3.py            (pip install keras jax tf_keras)
"""
import os
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
os.environ['KERAS_BACKEND'] = 'jax'
import numpy as np  # noqa: E402

K = tf = None

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'keras3')


def picture_layers(L):
    """Layers for (batch, 6, 6, 2)."""
    return [L.Conv2D(3, 3, padding='same', activation='hard_sigmoid'), L.DepthwiseConv2D(3),
            L.SeparableConv2D(3, 2), L.Conv2DTranspose(2, 3, strides=2), L.BatchNormalization(),
            L.LayerNormalization(), L.MaxPooling2D(2), L.AveragePooling2D(3, padding='same'),
            L.GlobalMaxPooling2D(), L.GlobalAveragePooling2D(), L.UpSampling2D(2),
            L.UpSampling2D(2, interpolation='bilinear'), L.ZeroPadding2D(1), L.Cropping2D(1),
            L.Flatten(), L.Reshape((12, 6)), L.Permute((3, 1, 2)), L.SpatialDropout2D(.2),
            L.LeakyReLU(), L.PReLU(), L.ELU(.5), L.ReLU(1.), L.Softmax(), L.GaussianNoise(.1),
            L.GaussianDropout(.1), L.AlphaDropout(.1), L.Dropout(.1), L.Activation('gelu'),
            L.Activation('swish'), L.Activation('mish'), L.Activation('relu6'),
            L.Activation('leaky_relu'), L.Activation('log_softmax'), L.ActivityRegularization(.1)]


def sequence_layers(L):
    """Layers for (batch, 5, 4)."""
    return [L.Dense(3, activation='selu', use_bias=False), L.Conv1D(3, 2, padding='causal'),
            L.SeparableConv1D(3, 2), L.LSTM(3), L.GRU(3, return_sequences=True),
            L.GRU(2, reset_after=False), L.SimpleRNN(3), L.LSTM(2, recurrent_activation=(
                'hard_sigmoid'), go_backwards=True), L.RNN([L.LSTMCell(2), L.GRUCell(3)]),
            L.Bidirectional(L.LSTM(2, return_sequences=True)),
            L.Bidirectional(L.GRU(2), merge_mode='sum'), L.TimeDistributed(L.Dense(2)),
            L.MaxPooling1D(2), L.AveragePooling1D(2), L.GlobalMaxPooling1D(),
            L.GlobalAveragePooling1D(), L.UpSampling1D(2), L.ZeroPadding1D(1), L.Cropping1D(1),
            L.Masking(.5), L.SpatialDropout1D(.1)]


def volume_layers(L):
    """Layers for (batch, 4, 4, 4, 1)."""
    return [L.Conv3D(2, 2), L.Conv3DTranspose(2, 2), L.MaxPooling3D(2), L.AveragePooling3D(2),
            L.GlobalMaxPooling3D(), L.GlobalAveragePooling3D(), L.UpSampling3D(2),
            L.ZeroPadding3D(1), L.Cropping3D(1), L.ConvLSTM2D(2, 2)]


def zoo(keras):
    L = keras.layers
    picture, sequence = L.Input((6, 6, 2), name='picture'), L.Input((5, 4), name='sequence')
    volume, words = L.Input((4, 4, 4, 1), name='volume'), L.Input((5,), name='words')
    outputs = [layer(x) for x, layers in ((picture, picture_layers(L)),
                                          (sequence, sequence_layers(L)),
                                          (volume, volume_layers(L))) for layer in layers]
    outputs.append(L.Embedding(7, 3)(words))
    outputs.append(L.RepeatVector(3)(words))
    a, b = L.Dense(3)(sequence), L.Dense(3)(sequence)
    outputs += [make([a, b]) for make in (L.Add(), L.Subtract(), L.Multiply(), L.Average(),
                                          L.Maximum(), L.Minimum(), L.Concatenate(axis=1),
                                          L.Dot(axes=2), L.Attention(), L.AdditiveAttention())]
    outputs.append(L.MultiHeadAttention(2, 3)(a, b))
    return keras.Model([picture, sequence, volume, words], outputs)


def nested(keras):
    """Models in models, shared layers, several outputs, a frozen layer."""
    L = keras.layers
    left, right = L.Input((4,), name='left'), L.Input((4,), name='right')
    shared = L.Dense(3, activation='tanh')
    inner_in = L.Input((3,))
    inner = keras.Model(inner_in, [L.Dense(2)(inner_in), L.BatchNormalization()(inner_in)])
    stack = keras.Sequential([L.Input((3,)), L.Dense(3), L.Dropout(.5), L.Dense(2)])
    p, q = inner(shared(left))
    r, s = inner(shared(right))
    x = L.Concatenate()([p, q, r, s, stack(shared(left)), stack(q)])
    frozen = L.Dense(3, name='frozen')
    frozen.trainable = False
    return keras.Model([left, right], [L.Dense(2, activation='softmax')(x), frozen(x)])


def operations(keras):
    """What Keras 3 puts between layers for Python's operators and keras.ops."""
    from keras import ops
    L = keras.layers
    x = L.Input((6,))
    y = L.Dense(6)(x / 255. * 2. - 1.)
    z = ops.concatenate([y, ops.mean(y, axis=1, keepdims=True), -y[:, :2]], axis=-1)
    return keras.Model(x, ops.maximum(ops.reshape(z, (-1, 3, 3)), ops.exp(-ops.square(1. - x[
        :, :3]))[:, None, :]))


def tensorflow_operations(keras):
    """What tf.keras puts between layers for Python's operators and TensorFlow's functions."""
    import tensorflow as tf
    L = keras.layers
    x = L.Input((6,))
    y = L.Dense(6)(x / 255. * 2. - 1.)
    z = tf.concat([y, tf.reduce_mean(y, axis=1, keepdims=True), -y[:, :2]], axis=-1)
    w = tf.maximum(tf.reshape(z, (-1, 3, 3)), tf.exp(-tf.square(1. - x[:, :3]))[:, None, :])
    w = w + tf.nn.relu(w)
    return keras.Model(x, tf.stack([w, 3. / (2. + w)], axis=1))


def stack(keras):
    L = keras.layers
    return keras.Sequential([L.Input((5, 4)), L.LSTM(4, return_sequences=True), L.GRU(3),
                             L.Dense(2, activation='softmax', kernel_regularizer='l2')])


def lambdas(keras):
    import tensorflow
    globals().update(tf=tensorflow, K=keras.backend)    # not in a closure, which holds values only
    L = keras.layers
    x = L.Input((12,))
    return keras.Model(x, [L.Lambda(lambda x: x ** 2 + 1.)(x),
                           L.Lambda(lambda x, k=2: x[:, 1:] * k if k else x)(x),
                           L.Lambda(lambda x: x / 2., output_shape=(12,))(x)] + (
        [L.Lambda(lambda t: tf.reduce_sum(t, axis=1, keepdims=True))(x),
         L.Lambda(lambda t: K.l2_normalize(t, axis=1))(x)]
        if keras.__name__ == 'tf_keras' else []))


def main():
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import keras
    import tf_keras
    os.makedirs(FOLDER, exist_ok=True)
    for name, library, build, endings in (
            ('k3_zoo', keras, zoo, ('keras', 'h5')), ('k3_nested', keras, nested, ('keras', 'h5')),
            ('k3_operations', keras, operations, ('keras',)),
            ('k3_stack', keras, stack, ('keras', 'h5', 'weights.h5')),
            ('k3_lambdas', keras, lambdas, ('keras', 'h5')),
            ('tf2_stack', tf_keras, stack, ('keras',)),
            ('tf2_nested', tf_keras, nested, ('keras',)), ('tf2_zoo', tf_keras, zoo, ('keras',)),
            ('tf2_operations', tf_keras, tensorflow_operations, ('keras', 'h5')),
            ('tf2_lambdas', tf_keras, lambdas, ('keras', 'h5'))):
        library.utils.set_random_seed(3)
        rng = np.random.RandomState(3)
        model = build(library)
        model.set_weights([(w + rng.uniform(0.05, 0.4, w.shape)).astype(w.dtype)
                           for w in model.get_weights()])
        x = [rng.uniform(0, 1, (3,) + tuple(i.shape[1:])).astype('float32') for i in model.inputs]
        x = [np.floor(7 * a) if i.name.startswith('words') else a
             for i, a in zip(model.inputs, x)]
        if 'stack' in name or 'nested' in name:
            model.compile(library.optimizers.Adam(1e-3), 'mse', metrics=[['mae']] * len(
                model.outputs) if len(model.outputs) > 1 else ['mae'])
            fed = x if len(x) > 1 else x[0]
            model.train_on_batch(fed, model.predict(fed, verbose=0))
        p = model.predict(x if len(x) > 1 else x[0], verbose=0)
        p = p if isinstance(p, list) else [p]
        for ending in endings:
            if ending == 'weights.h5':
                model.save_weights(os.path.join(FOLDER, name + '.weights.h5'))
            else:
                model.save(os.path.join(FOLDER, name + '.' + ending))
        np.savez_compressed(os.path.join(FOLDER, name + '.npz'),
                            **{'x%d' % i: a for i, a in enumerate(x)},
                            **{'p%d' % i: np.asarray(a) for i, a in enumerate(p)})
        print(name, len(model.weights), len(p))


if __name__ == '__main__':
    main()
