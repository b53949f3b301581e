"""Model files of tf.keras in TensorFlow 1.15 and of tf_keras 2.21, with inputs and predictions.

    oracle/bin/python tests/golden/generate_tf_keras.py tf1        (see generate.py)
    some/bin/python tests/golden/generate_tf_keras.py tf2          (pip install tf_keras)

Every file was trained for one step, so that it has a state of the optimizer.
"""
import os
import sys

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
import numpy as np  # noqa: E402

DIALECT = sys.argv[1]
if DIALECT == 'tf1':
    from tensorflow import keras
else:
    import tf_keras as keras
L = keras.layers
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'tf_keras')


def cnn():
    return keras.Sequential([
        L.Conv2D(3, 3, padding='same', input_shape=(6, 6, 1),
                 kernel_regularizer=keras.regularizers.l2(.01)),
        L.BatchNormalization(), L.Activation('relu'), L.MaxPooling2D(2), L.Dropout(.2),
        L.Flatten(), L.Dense(5, activation='softmax',
                             kernel_constraint=keras.constraints.max_norm(2.))])


def branches():
    a, b = L.Input((4,), name='left'), L.Input((3, 2), name='right')
    shared = L.Dense(4, activation='tanh', kernel_initializer='orthogonal')
    narrow = L.Dense(4)(L.Flatten()(b))
    inner = keras.Sequential([L.Dense(4, input_shape=(4,)), L.BatchNormalization()])
    x = L.concatenate([shared(a), shared(narrow), inner(narrow)])
    return keras.Model([a, b], [L.Dense(3, activation='softmax', name='kind')(x),
                                L.Dense(1, name='size')(L.add([shared(a), narrow]))])


def rnn():
    return keras.Sequential([
        L.Embedding(9, 4, input_length=6), L.Bidirectional(L.LSTM(3, return_sequences=True)),
        L.TimeDistributed(L.Dense(4)), L.GRU(3), L.Dense(1, activation='sigmoid')])


def many():
    x = image = L.Input((8, 8, 4))
    for layer in (L.DepthwiseConv2D(3), L.SeparableConv2D(5, 3, padding='same'), L.LeakyReLU(.2),
                  L.PReLU(), L.UpSampling2D(2), L.ZeroPadding2D(1), L.Cropping2D(1),
                  L.Conv2DTranspose(3, 3, strides=2), L.ReLU(6.), L.SpatialDropout2D(.1),
                  L.GlobalAveragePooling2D(), L.Reshape((3, 1)), L.Conv1D(2, 2),
                  L.Permute((2, 1)), L.GlobalMaxPooling1D(), L.ELU(), L.RepeatVector(2),
                  L.SimpleRNN(3), L.GaussianNoise(.1), L.Softmax()):
        x = layer(x)
    return keras.Model(image, x)


CASES = {'cnn': (cnn, 'categorical_crossentropy', ['accuracy'], keras.optimizers.Adam),
         'branches': (branches, {'kind': 'categorical_crossentropy', 'size': 'mse'},
                      {'kind': 'accuracy'},
                      lambda rate: keras.optimizers.SGD(rate, momentum=.9)),
         'rnn': (rnn, 'binary_crossentropy', ['binary_accuracy'], keras.optimizers.RMSprop),
         'many': (many, keras.losses.MeanSquaredError(), None, keras.optimizers.Adam)}


def main():
    rng = np.random.RandomState(0)
    for name, (build, loss, metrics, optimizer) in sorted(CASES.items()):
        keras.backend.clear_session()
        model = build()
        model.compile(optimizer=optimizer(.001), loss=loss, metrics=metrics)
        shapes = [tuple(d or 6 for d in x.shape[1:]) for x in model.inputs]
        x = [rng.uniform(0, 1, (4,) + shape).astype('float32') for shape in shapes]
        if name == 'rnn':
            x = [np.floor(9 * x[0])]
        y = [rng.uniform(0, 1, (4,) + tuple(out.shape[1:])).astype('float32')
             for out in model.outputs]
        model.train_on_batch(x if len(x) > 1 else x[0], y if len(y) > 1 else y[0])
        path = os.path.join(FOLDER, '%s_%s' % (DIALECT, name))
        model.save(path + '.h5')
        p = model.predict(x if len(x) > 1 else x[0])
        p = p if isinstance(p, list) else [p]
        np.savez_compressed(path + '.npz', **dict([('x%d' % i, a) for i, a in enumerate(x)]
                                                  + [('p%d' % i, a) for i, a in enumerate(p)]))


if __name__ == '__main__':
    main()
