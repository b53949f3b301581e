"""Topic `pieces`: activations, losses, metrics, initializers, regularizers, constraints."""
import inspect

import numpy as np
import keras
from keras import backend as K

from .store import Store


def rows(rng, *shape):
    return rng.uniform(-2.5, 2.5, shape).astype('float32')


def probabilities(rng, *shape):
    p = rng.uniform(0.02, 1, shape).astype('float32')
    return p / p.sum(-1, keepdims=True)


def activations(store, rng):
    x = np.concatenate([rows(rng, 4, 6), [[-1, 0, 1, 6, 7, -20]], [[2.5, -2.5, 20, 80, .5, -.5]]])
    x = x.astype('float32')
    x_in = K.placeholder(shape=(None, 6))
    a = keras.activations
    calls = [(name, getattr(a, name), {}) for name in (
        'elu', 'softmax', 'selu', 'softplus', 'softsign', 'relu', 'tanh', 'sigmoid',
        'hard_sigmoid', 'exponential', 'linear')]
    calls += [('relu_alpha', a.relu, {'alpha': 0.2}), ('relu_max', a.relu, {'max_value': 1.5}),
              ('relu_threshold', a.relu, {'threshold': 0.75}),
              ('relu_all', a.relu, {'alpha': 0.1, 'max_value': 2.0, 'threshold': 0.5}),
              ('elu_alpha', a.elu, {'alpha': 0.5}), ('softmax_axis0', a.softmax, {'axis': 0})]
    for name, function, arguments in calls:
        y = function(x_in * 1, **arguments)         # linear would return what is fed
        grad = K.gradients(K.sum(y * K.sin(x_in * 3)), [x_in])[0]
        got = K.function([x_in], [y, grad])([x])
        store.add('activation/' + name, {'function': function.__name__, 'arguments': arguments},
                  x=x, y=got[0], gx=got[1])
    x3 = rows(rng, 2, 3, 4)
    for axis in (1, 2, -1):
        y = K.eval(a.softmax(K.variable(x3), axis=axis))
        store.add('activation/softmax_rank3_axis%d' % axis,
                  {'function': 'softmax', 'arguments': {'axis': axis}}, x=x3, y=y)


def loss_inputs(rng):
    """name -> (y_true, y_pred) fitting for the loss."""
    p, one_hot = probabilities(rng, 5, 4), np.eye(4, dtype='float32')[[0, 3, 1, 1, 2]]
    hard = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [.5, .5, 0, 0], [1e-9, 1, 0, 0],
                     [.2, .3, .1, .2]], 'float32')
    logits = rows(rng, 5, 4) * 8
    bits = (rng.uniform(size=(5, 4)) > .5).astype('float32')
    values = rows(rng, 5, 4)
    sharp = np.array([[0, 1, 1, 0], [1e-9, .5, .3, 1]] + [[.1, .9, .4, .6]] * 3, 'float32')
    labels = np.array([[0], [3], [1], [1], [2]], 'float32')
    yield 'mean_squared_error', {}, values, rows(rng, 5, 4)
    yield 'mean_squared_error', {}, rows(rng, 2, 3, 4), rows(rng, 2, 3, 4)
    yield 'mean_absolute_error', {}, values, rows(rng, 5, 4)
    yield 'categorical_crossentropy', {}, one_hot, p
    yield 'categorical_crossentropy', {}, one_hot, hard
    yield 'categorical_crossentropy', {}, probabilities(rng, 5, 4), probabilities(rng, 5, 4) * 3
    yield 'categorical_crossentropy', {'label_smoothing': 0.1}, one_hot, p
    yield 'categorical_crossentropy', {'from_logits': True}, one_hot, logits
    yield ('categorical_crossentropy', {}, np.eye(4, dtype='float32')[rng.randint(0, 4, (2, 3))],
           probabilities(rng, 2, 3, 4))
    yield 'sparse_categorical_crossentropy', {}, labels, p
    yield 'sparse_categorical_crossentropy', {}, labels, hard
    yield 'sparse_categorical_crossentropy', {'from_logits': True}, labels, logits
    yield ('sparse_categorical_crossentropy', {},
           rng.randint(0, 4, (2, 3, 1)).astype('float32'), probabilities(rng, 2, 3, 4))
    yield 'binary_crossentropy', {}, bits, rng.uniform(0.05, 0.95, (5, 4)).astype('float32')
    yield 'binary_crossentropy', {}, bits, sharp
    yield 'binary_crossentropy', {'label_smoothing': 0.2}, bits, sharp
    yield 'binary_crossentropy', {'from_logits': True}, bits, logits


def losses(store, rng):
    for i, (name, arguments, y_true, y_pred) in enumerate(loss_inputs(rng)):
        t, p = K.placeholder(shape=y_true.shape), K.placeholder(shape=y_pred.shape)
        value = getattr(keras.losses, name)(t, p, **arguments)
        grad = K.gradients(K.sum(value), [p])[0]
        got = K.function([t, p], [value, grad])([y_true, y_pred])
        store.add('loss/%s_%d' % (name, i), {'function': name, 'arguments': arguments},
                  y_true=y_true, y_pred=y_pred, value=got[0], gp=got[1])
    weight = np.array([1, 0, 2, .5, 3], 'float32')
    for cls in ('MeanSquaredError', 'MeanAbsoluteError', 'BinaryCrossentropy',
                'CategoricalCrossentropy', 'SparseCategoricalCrossentropy'):
        y_true, y_pred = np.eye(4, dtype='float32')[[0, 3, 1, 1, 2]], probabilities(rng, 5, 4)
        if cls.startswith('Sparse'):
            y_true = y_true.argmax(-1)[:, None].astype('float32')
        for reduction in ('sum_over_batch_size', 'sum', 'none'):
            loss = getattr(keras.losses, cls)(reduction=reduction)
            t, p = K.variable(y_true), K.variable(y_pred)
            store.add('loss_class/%s_%s' % (cls, reduction),
                      {'class_name': cls, 'config': loss.get_config()},
                      y_true=y_true, y_pred=y_pred, weight=weight, value=K.eval(loss(t, p)),
                      weighted=K.eval(loss(t, p, sample_weight=K.variable(weight))))


def losses_behind_activation(store, rng):
    """Crossentropies of a model whose last op is softmax or sigmoid: the stable form."""
    z = np.concatenate([rows(rng, 4, 3), [[60, -60, 0], [-40, -200, 200]]]).astype('float32')
    targets = {'categorical_crossentropy': ('softmax', np.eye(3)[[0, 1, 2, 0, 1, 0]]),
               'sparse_categorical_crossentropy': ('softmax', np.array([[0, 1, 2, 0, 1, 0]]).T),
               'binary_crossentropy': ('sigmoid', np.eye(3)[[0, 1, 2, 0, 1, 0]])}
    for name, (activation, y_true) in targets.items():
        x = K.placeholder(shape=(None, 3))
        t = K.placeholder(shape=(None, y_true.shape[1]))
        value = getattr(keras.losses, name)(t, getattr(keras.activations, activation)(x))
        grad = K.gradients(K.sum(value), [x])[0]
        got = K.function([x, t], [value, grad])([z, y_true])
        store.add('loss_behind/' + name, {'function': name, 'activation': activation},
                  x=z, y_true=y_true.astype('float32'), value=got[0], gx=got[1])


def metrics(store, rng):
    one_hot = np.eye(4, dtype='float32')
    truth = rng.randint(0, 4, (3, 6))
    batches = {
        'accuracy': [(one_hot[t], one_hot[rng.randint(0, 4, 6)]) for t in truth],
        'binary_accuracy': [(one_hot[t], np.round(rng.uniform(size=(6, 4)), 1)) for t in truth],
        'categorical_accuracy': [(one_hot[t], probabilities(rng, 6, 4)) for t in truth],
        'sparse_categorical_accuracy': [(t[:, None], probabilities(rng, 6, 4)) for t in truth],
        'mean_squared_error': [(rows(rng, 6, 4), rows(rng, 6, 4)) for _ in truth],
        'mean_absolute_error': [(rows(rng, 6, 4), rows(rng, 6, 4)) for _ in truth]}
    classes = {'accuracy': 'Accuracy', 'binary_accuracy': 'BinaryAccuracy',
               'categorical_accuracy': 'CategoricalAccuracy',
               'sparse_categorical_accuracy': 'SparseCategoricalAccuracy',
               'mean_squared_error': 'MeanSquaredError',
               'mean_absolute_error': 'MeanAbsoluteError'}
    for name, cls in classes.items():
        metric = getattr(keras.metrics, cls)()
        running, values, trues, preds = [], [], [], []
        function = getattr(keras.metrics, name)
        for y_true, y_pred in batches[name]:
            y_true, y_pred = y_true.astype('float32'), y_pred.astype('float32')
            t, p = K.variable(y_true), K.variable(y_pred)
            if name != 'accuracy':
                values.append(K.eval(function(t, p)))
            running.append(float(K.eval(metric(t, p))))
            trues.append(y_true)
            preds.append(y_pred)
        store.add('metric/' + name, {'class_name': cls, 'function': name,
                                     'config': metric.get_config(), 'running': running},
                  y_true=trues, y_pred=preds, value=values)


def regularizers_and_constraints(store, rng):
    r, c = keras.regularizers, keras.constraints
    w = rows(rng, 5, 4)
    for i, item in enumerate([r.l1(0.1), r.l2(0.2), r.l1_l2(0.1, 0.3), r.L1L2(0, 0.5)]):
        store.add('regularizer/%d' % i, {'class_name': type(item).__name__,
                                         'config': item.get_config(),
                                         'value': float(K.eval(item(K.variable(w))))}, w=w)
    kernel = rows(rng, 2, 3, 4)
    found = [c.MaxNorm(1.5), c.MaxNorm(2.0, axis=1), c.NonNeg(), c.UnitNorm(), c.UnitNorm(axis=1),
             c.MinMaxNorm(0.5, 1.0), c.MinMaxNorm(0.5, 1.0, rate=0.3, axis=1)]
    for i, item in enumerate(found):
        store.add('constraint/%d' % i, {'class_name': type(item).__name__,
                                        'config': item.get_config()},
                  w=w, after=K.eval(item(K.variable(w))))
    for i, item in enumerate([c.MaxNorm(1.0, axis=[0, 1]), c.UnitNorm(axis=[0, 1])]):
        store.add('constraint/kernel_%d' % i, {'class_name': type(item).__name__,
                                               'config': item.get_config()},
                  w=kernel, after=K.eval(item(K.variable(kernel))))


def initializers(store):
    k = keras.initializers
    exact = {'zeros': (k.Zeros(), (2, 3)), 'ones': (k.Ones(), (2, 3)),
             'constant': (k.Constant(1.5), (4,)), 'identity': (k.Identity(2.0), (3, 3)),
             'identity_wide': (k.Identity(), (2, 4)),
             'orthogonal': (k.Orthogonal(seed=7), (4, 6)),
             'orthogonal_tall': (k.Orthogonal(gain=1.1, seed=3), (7, 3)),
             'orthogonal_rank4': (k.Orthogonal(seed=5), (2, 2, 3, 4))}
    for name, (item, shape) in exact.items():
        store.add('initializer/' + name, {'class_name': type(item).__name__, 'shape': shape,
                                          'config': item.get_config()},
                  value=K.get_value(K.variable(item(shape))))
    items = [k.RandomNormal(0.5, 0.2), k.RandomUniform(-0.3, 0.1), k.TruncatedNormal(0.1, 0.2),
             k.glorot_uniform(), k.glorot_normal(), k.he_uniform(), k.he_normal(),
             k.lecun_uniform(), k.lecun_normal(), k.VarianceScaling(0.5, 'fan_out', 'uniform')]
    names = ['random_normal', 'random_uniform', 'truncated_normal', 'glorot_uniform',
             'glorot_normal', 'he_uniform', 'he_normal', 'lecun_uniform', 'lecun_normal',
             'variance_scaling']
    for name, item in zip(names, items):
        for shape in ((60, 90), (3, 3, 20, 30), (4000,)):
            value = K.get_value(K.variable(item(shape)))
            store.add('statistics/%s_%d' % (name, len(shape)),
                      {'class_name': type(item).__name__, 'config': item.get_config(),
                       'shape': shape, 'mean': value.mean(), 'std': value.std(),
                       'min': value.min(), 'max': value.max()})


def identifiers(store):
    """What the get functions make of each string of this slice."""
    def describe(item):
        if inspect.isfunction(item):
            return item.__name__
        return [type(item).__name__, item.get_config()]
    names = {
        'initializers': ['zeros', 'ones', 'constant', 'uniform', 'normal', 'orthogonal',
                         'identity', 'glorot_uniform', 'glorot_normal', 'he_normal', 'he_uniform',
                         'lecun_normal', 'lecun_uniform', 'random_normal', 'random_uniform',
                         'truncated_normal', 'VarianceScaling', 'RandomNormal', 'Zeros'],
        'losses': ['mse', 'MSE', 'mean_squared_error', 'mae', 'MAE', 'binary_crossentropy',
                   'categorical_crossentropy', 'sparse_categorical_crossentropy'],
        'metrics': ['mse', 'mae', 'binary_accuracy', 'categorical_accuracy',
                    'sparse_categorical_accuracy'],
        'optimizers': ['sgd', 'SGD', 'rmsprop', 'RMSprop', 'adam', 'Adam'],
        'constraints': ['max_norm', 'non_neg', 'unit_norm', 'min_max_norm', 'MaxNorm', 'NonNeg'],
        'regularizers': ['l1', 'l2', 'l1_l2']}
    for module, keys in names.items():
        get = getattr(keras, module).get
        store.add('identifiers/' + module, {key: describe(get(key)) for key in keys})


def generate():
    store, rng = Store('pieces'), np.random.RandomState(11)
    activations(store, rng)
    losses(store, rng)
    losses_behind_activation(store, rng)
    metrics(store, rng)
    regularizers_and_constraints(store, rng)
    initializers(store)
    identifiers(store)
    store.write()
