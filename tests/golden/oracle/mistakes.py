"""Topic `mistakes`: what Keras 2.3.1 raises for common mistakes (class and text).

gpukeras raises the same class; its own text says more.  `None` means that Keras raises nothing.
"""
import numpy as np
import keras
from keras import backend as K
from keras import layers as L

from .store import Store


def model(units=4, compiled=True, loss='categorical_crossentropy', **arguments):
    found = keras.Sequential([L.Dense(3, input_shape=(6,), name='first'),
                              L.Dense(units, activation='softmax', name='second')])
    if compiled:
        found.compile('sgd', loss, **arguments)
    return found


def two():
    a, b = L.Input((3,), name='a'), L.Input((2,), name='b')
    found = keras.models.Model([a, b], L.Dense(1, name='out')(L.concatenate([a, b])))
    found.compile('sgd', 'mse')
    return found


def image():
    found = keras.Sequential([L.Conv2D(2, 3, input_shape=(6, 6, 1), name='conv'),
                              L.Flatten(), L.Dense(2)])
    found.compile('sgd', 'mse')
    return found


X, Y = np.zeros((8, 6), 'float32'), np.eye(4, dtype='float32')[[0, 1, 2, 3] * 2]

MISTAKES = {
    'fit_before_compile': lambda: model(compiled=False).fit(X, Y, verbose=0),
    'evaluate_before_compile': lambda: model(compiled=False).evaluate(X, Y, verbose=0),
    'train_on_batch_before_compile': lambda: model(compiled=False).train_on_batch(X, Y),
    'x_wrong_size': lambda: model().fit(X[:, :5], Y, verbose=0),
    'x_wrong_rank': lambda: image().fit(np.zeros((8, 6, 6)), np.zeros((8, 2)), verbose=0),
    'x_one_sample_without_batch': lambda: model().predict(X[0]),
    'y_wrong_size': lambda: model().fit(X, Y[:, :3], verbose=0),
    'y_integers_for_categorical': lambda: model().fit(X, np.arange(8) % 4, verbose=0),
    'y_one_hot_for_sparse': lambda: model(loss='sparse_categorical_crossentropy').fit(
        X, Y, verbose=0),
    'sparse_label_out_of_range': lambda: model(loss='sparse_categorical_crossentropy').fit(
        X, np.arange(8), verbose=0),
    'samples_differ': lambda: model().fit(X, Y[:5], verbose=0),
    'inputs_differ': lambda: two().fit([np.zeros((8, 3)), np.zeros((7, 2))], np.zeros((8, 1)),
                                       verbose=0),
    'one_array_for_two_inputs': lambda: two().fit(np.zeros((8, 3)), np.zeros((8, 1)), verbose=0),
    'unknown_input_name': lambda: two().fit({'a': np.zeros((8, 3)), 'c': np.zeros((8, 2))},
                                            np.zeros((8, 1)), verbose=0),
    'two_arrays_for_one_input': lambda: model().fit([X, X], Y, verbose=0),
    'strings': lambda: model().fit(np.array([['a'] * 6] * 8), Y, verbose=0),
    'objects': lambda: model().fit(np.array([[None] * 6] * 8, object), Y, verbose=0),
    'ragged': lambda: model().fit([[1, 2, 3], [4, 5]], Y[:2], verbose=0),
    'no_y': lambda: model().fit(X, verbose=0),
    'no_x': lambda: model().fit(None, Y, verbose=0),
    'empty': lambda: model().fit(X[:0], Y[:0], verbose=0),
    'unknown_fit_argument': lambda: model().fit(X, Y, epoch=3),
    'sample_weight_length': lambda: model().fit(X, Y, sample_weight=np.ones(5), verbose=0),
    'sample_weight_rank': lambda: model().fit(X, Y, sample_weight=np.ones((8, 2)), verbose=0),
    'class_weight_missing': lambda: model().fit(X, Y, class_weight={0: 1., 1: 2.}, verbose=0),
    'validation_data_single': lambda: model().fit(X, Y, validation_data=X, verbose=0),
    'validation_data_one': lambda: model().fit(X, Y, validation_data=(X,), verbose=0),
    'validation_wrong_size': lambda: model().fit(X, Y, validation_data=(X[:, :2], Y), verbose=0),
    'batch_size_float': lambda: model().fit(X, Y, batch_size=2.5, verbose=0),
    'validation_freq_zero': lambda: model().fit(X, Y, validation_data=(X, Y), validation_freq=0,
                                                verbose=0),
    'unknown_loss': lambda: model(loss='categorical_crossentropie'),
    'unknown_optimizer': lambda: model(compiled=False).compile('adamm', 'mse'),
    'unknown_metric': lambda: model(metrics=['acuracy']),
    'loss_list_length': lambda: model(loss=['mse', 'mse']),
    'loss_dict_unknown_name': lambda: model(loss={'third': 'mse'}),
    'loss_weights_type': lambda: model(loss_weights=2.0),
    'loss_weights_length': lambda: model(loss_weights=[1.0, 2.0]),
    'metrics_type': lambda: model(metrics=3),
    'optimizer_argument': lambda: keras.optimizers.SGD(0.1, momentun=0.9),
    'unknown_activation': lambda: L.Dense(2, activation='rellu'),
    'unknown_initializer': lambda: L.Dense(2, kernel_initializer='glorot'),
    'unknown_layer_argument': lambda: L.Dense(2, input_shpe=(3,)),
    'unknown_padding': lambda: L.Conv2D(2, 3, padding='sam'),
    'unknown_data_format': lambda: L.Conv2D(2, 3, data_format='first'),
    'kernel_too_large': lambda: keras.Sequential([L.Conv2D(2, 9, input_shape=(6, 6, 1))]),
    'dense_unknown_size': lambda: L.Dense(2)(L.Input((None,))),
    'conv_wrong_rank': lambda: L.Conv2D(2, 3)(L.Input((6, 6))),
    'flatten_unknown': lambda: keras.Sequential([L.Conv2D(2, 3, input_shape=(None, None, 1)),
                                                 L.Flatten(), L.Dense(2)]),
    'reshape_mismatch': lambda: L.Reshape((5, 3))(L.Input((4, 4))),
    'strides_and_dilation': lambda: L.Conv2D(2, 3, strides=2, dilation_rate=2),
    'layer_on_array': lambda: L.Dense(2)(np.zeros((3, 4))),
    'sequential_not_a_layer': lambda: keras.Sequential(['dense']),
    'sequential_no_input_shape': lambda: keras.Sequential([L.Dense(2)]).summary(),
    'duplicate_names': lambda: keras.Sequential([L.Dense(2, input_shape=(3,), name='d'),
                                                 L.Dense(2, name='d')]),
    'disconnected': lambda: keras.models.Model(L.Input((3,)), L.Dense(1)(L.Input((3,)))),
    'set_weights_count': lambda: model().set_weights([np.zeros((6, 3))]),
    'set_weights_shape': lambda: model().layers[0].set_weights([np.zeros((6, 4)), np.zeros(3)]),
    'layer_set_weights_count': lambda: model().layers[0].set_weights([np.zeros((6, 3))]),
    'unbuilt_sequential_fit': lambda: keras.Sequential([L.Dense(4)]).fit(X, Y),
    'get_layer_unknown': lambda: model().get_layer('third'),
    'load_missing_file': lambda: keras.models.load_model('no_such_file.h5'),
    'batch_norm_axis': lambda: L.BatchNormalization(axis=5)(L.Input((3,))),
    'dropout_in_predict_without_compile': lambda: model(compiled=False).predict(X)}


def generate():
    store = Store('mistakes')
    for name, make in sorted(MISTAKES.items()):
        K.clear_session()
        try:
            make()
            store.add(name, {'raises': None, 'text': ''})
        except Exception as error:
            classes = [c.__name__ for c in type(error).__mro__ if c not in (object, BaseException)]
            store.add(name, {'raises': classes, 'text': str(error)[:600]})
    store.write()
