"""Topic `files`: model and weight files as Keras 2.3.1 writes them, with expected predictions."""
import os

import h5py
import numpy as np
import keras
from keras import backend as K
from keras import layers as L

from .store import FOLDER, Store


def cnn():
    return keras.Sequential([
        L.Conv2D(3, 3, padding='same', input_shape=(6, 6, 1),
                 kernel_regularizer=keras.regularizers.l2(0.01)),
        L.BatchNormalization(), L.Activation('relu'), L.MaxPooling2D(2), L.Dropout(0.2),
        L.Conv2D(4, 2, activation='elu', kernel_initializer='he_normal'), L.Flatten(),
        L.Dense(5, activation='softmax', kernel_constraint=keras.constraints.max_norm(2.))],
        name='small_cnn')


def branches():
    a, b = L.Input((4,), name='left'), L.Input((3, 2), name='right')
    shared = L.Dense(4, activation='tanh', name='shared')
    flat = L.Dense(4, name='narrow')(L.Flatten()(b))
    first, second = shared(a), shared(flat)
    total = L.add([first, second], name='total')
    both = L.concatenate([first, total], name='both')
    return keras.models.Model([a, b], [L.Dense(3, activation='softmax', name='kind')(both),
                                       L.Dense(1, name='size')(total)], name='branches')


def nested():
    inner = keras.Sequential([L.Dense(4, input_shape=(3,)), L.BatchNormalization()], name='inner')
    return keras.Sequential([L.Dense(3, input_shape=(5,), activation='relu'), inner, L.Dense(2)])


MODELS = {
    'cnn_adam': (cnn, 'categorical_crossentropy', keras.optimizers.Adam, {'lr': .01},
                 ['accuracy']),
    'branches_rmsprop': (branches, {'kind': 'categorical_crossentropy', 'size': 'mse'},
                         keras.optimizers.RMSprop, {'lr': .01, 'rho': .8},
                         {'kind': 'accuracy'}),
    'nested_sgd': (nested, 'mse', keras.optimizers.SGD, {'lr': .05, 'momentum': .9}, None)}


def layout(path):
    """Every group and data set of the file with its attributes' names and shapes."""
    found = {}
    with h5py.File(path, 'r') as file:
        def note(name, item):
            shape = list(item.shape) if isinstance(item, h5py.Dataset) else None
            found[name] = {'shape': shape, 'dtype': str(getattr(item, 'dtype', '')),
                           'attributes': sorted(item.attrs)}
        found['/'] = {'shape': None, 'dtype': '', 'attributes': sorted(file.attrs)}
        file.visititems(note)
    return found


def generate():
    store = Store('files')
    for name, (build, loss, optimizer, arguments, metrics) in sorted(MODELS.items()):
        K.clear_session()
        np.random.seed(5)
        rng = np.random.RandomState(6)
        model = build()
        model.compile(optimizer(**arguments), loss, metrics=metrics)
        shapes = [K.int_shape(t)[1:] for t in model.inputs]
        x = [rng.uniform(-1, 1, (12,) + s).astype('float32') for s in shapes]
        y = [rng.uniform(0, 1, (12,) + K.int_shape(t)[1:]).astype('float32')
             for t in model.outputs]
        y = [v / v.sum(-1, keepdims=True) if v.shape[-1] > 2 else v for v in y]
        for _ in range(4):
            model.train_on_batch(x, y)
        full, weights = name + '.h5', name + '_weights.h5'
        model.save(os.path.join(FOLDER, full))
        model.save_weights(os.path.join(FOLDER, weights))
        predictions = model.predict(x)
        facts = {'file': full, 'weights_file': weights, 'config': model.get_config(),
                 'class_name': type(model).__name__, 'json': model.to_json(),
                 'layout': layout(os.path.join(FOLDER, full)),
                 'weight_names': [w.name for w in model.weights],
                 'optimizer': keras.optimizers.serialize(model.optimizer)}
        state, values = model.optimizer.get_weights(), model.get_weights()
        if name != 'cnn_adam':      # with dropout the next step is random
            losses = np.atleast_1d(model.train_on_batch(x, y))
            after = model.get_weights()
        else:
            losses, after = None, []
        store.add(name, facts, x=x, y=y, state=state, weights=values, next_logs=losses,
                  next_weights=after,
                  predictions=predictions if isinstance(predictions, list) else [predictions])
    store.write()
