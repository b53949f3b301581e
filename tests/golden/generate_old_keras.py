"""Model files of Keras 1.2.2, 2.0.5, 2.1.6 and 2.2.4, with predictions and the next training step.

    pip install --target old --no-deps keras==1.2.2 theano==1.0.5 six pyyaml    (beside the oracle)
    PYTHONPATH=old KERAS_BACKEND=theano oracle/bin/python tests/golden/generate_old_keras.py

Every file was saved after two training steps; `next0`... are the weights after a third one.
"""
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('THEANO_FLAGS', 'cxx=,optimizer=fast_compile,device=cpu,floatX=float32')
import numpy as np  # noqa: E402
import keras  # noqa: E402
from keras import layers as L, optimizers as O  # noqa: E402
from keras.models import Model, Sequential  # noqa: E402

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'old_keras')
FIRST = keras.__version__.startswith('1')


def cnn():
    if FIRST:
        conv = L.Convolution2D(3, 3, 2, dim_ordering='tf', input_shape=(6, 5, 2), name='z_conv')
        pool = L.MaxPooling2D((2, 2), dim_ordering='tf')
    else:
        conv = L.Conv2D(3, (3, 2), input_shape=(6, 5, 2), name='z_conv')
        pool = L.MaxPooling2D((2, 2))
    return Sequential([conv, L.BatchNormalization(axis=-1), L.Activation('relu'), pool, L.Flatten(),
                       L.Dense(3, activation='softmax', name='a_dense')])


def rnn():
    return Sequential([L.LSTM(3, return_sequences=True, input_shape=(4, 2)),
                       L.GRU(3), L.Dense(2)])


def wrapped():
    x = L.Input(shape=(4, 3))
    y = L.Bidirectional(L.LSTM(2, return_sequences=True))(x)
    y = L.TimeDistributed(L.Dense(3, activation='tanh'))(y)
    z = L.Conv1D(3, 2)(y) if not FIRST else L.Convolution1D(3, 2)(y)
    out = L.Dense(2)(L.GlobalMaxPooling1D()(z))
    return Model(input=x, output=out) if FIRST else Model(x, out)


CASES = [('cnn', cnn, lambda: O.Adam(lr=.01)), ('cnn', cnn, lambda: O.SGD(.1, momentum=.9)),
         ('cnn', cnn, lambda: O.RMSprop(lr=.01)), ('rnn', rnn, lambda: O.Adadelta()),
         ('rnn', rnn, lambda: O.Adamax()), ('rnn', rnn, lambda: O.Adagrad(lr=.05)),
         ('rnn', rnn, lambda: O.RMSprop(lr=.01)), ('wrapped', wrapped, lambda: O.Adam(lr=.01))]


def main():
    rng = np.random.RandomState(4)
    backend = keras.backend.backend()
    for name, build, optimizer in CASES:
        model, optimizer = build(), optimizer()
        model.set_weights([w + rng.uniform(.05, .4, w.shape) for w in model.get_weights()])
        model.compile(optimizer, 'mse')
        x = rng.uniform(-1, 1, (5,) + model.input_shape[1:]).astype('float32')
        y = rng.uniform(0, 1, (5,) + model.output_shape[1:]).astype('float32')
        for _ in range(2):
            model.train_on_batch(x, y)
        case = '%s_%s_%s_%s' % (keras.__version__.replace('.', ''), backend, name,
                                type(optimizer).__name__.lower())
        path = os.path.join(FOLDER, case)
        model.save(path + '.h5')
        found = {'x': x, 'y': y, 'p': model.predict(x)}
        model.train_on_batch(x, y)
        np.savez_compressed(path + '.npz', after=model.predict(x), **found)
        print(case)


if __name__ == '__main__':
    main()
