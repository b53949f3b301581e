"""Topic `training`: loss of each of 50 steps and the final weights, for every optimizer.

Step i trains on the rows `rows(i)` of x and y: `batch` rows from i*batch on, wrapping around.
Facts: model (a model config), optimizer (class_name, config), compile (loss, metrics ...), batch,
steps.  Arrays: x, y, before0.., after0.. (model.get_weights()), logs (steps, number of
metrics_names), state0.. (optimizer weights at the end).

A case whose float32 run is not within 2e-5 of the same run in float64 (with batch normalisation:
of a run from weights nudged by 1e-6) would test rounding and not the formulas; the generator
refuses it.
"""
import numpy as np
import keras
import tensorflow as tf
from keras import backend as K
from keras import layers as L

from .store import Store

STEPS, BATCH = 50, 12


def mlp(activation='softmax', units=4, **arguments):
    return keras.Sequential([L.Dense(9, activation='tanh', input_shape=(6,), **arguments),
                             L.Dense(units, activation=activation, **arguments)])


def cnn():
    # No bias before batch normalisation: its gradient is rounding noise, which Adam would amplify.
    return keras.Sequential([
        L.Conv2D(4, 3, padding='same', use_bias=False, input_shape=(8, 8, 1)),
        L.BatchNormalization(momentum=0.9), L.Activation('tanh'), L.MaxPooling2D(2),
        L.Conv2D(6, (3, 2), strides=(1, 2), activation='elu'), L.AveragePooling2D((2, 1)),
        L.Flatten(), L.Dense(4, activation='softmax')])


def conv1d():
    return keras.Sequential([
        L.Conv1D(5, 3, padding='causal', activation='tanh', input_shape=(9, 2)),
        L.MaxPooling1D(2), L.Conv1D(4, 2, padding='same', activation='sigmoid'),
        L.GlobalAveragePooling1D(), L.Dense(2)])


def branches():
    a = L.Input((6,), name='left')
    hidden = L.Dense(5, activation='tanh', name='shared')(a)
    first = L.Dense(4, activation='softmax', name='kind')(hidden)
    second = L.Dense(1, activation='sigmoid', name='flag')(L.Dense(3, activation='elu')(hidden))
    return keras.models.Model(a, [first, second])


def table():
    """Rows: name, model, loss, optimizer, further arguments of compile."""
    o, r, c = keras.optimizers, keras.regularizers, keras.constraints
    cce = 'categorical_crossentropy'
    optimizers = {
        'sgd': o.SGD(0.05), 'sgd_momentum': o.SGD(0.03, momentum=0.9),
        'sgd_nesterov': o.SGD(0.03, momentum=0.8, nesterov=True),
        'sgd_decay': o.SGD(0.1, momentum=0.5, decay=0.01),
        'rmsprop': o.RMSprop(0.002), 'rmsprop_all': o.RMSprop(0.003, rho=0.8, epsilon=1e-4,
                                                              decay=0.02),
        'adam': o.Adam(0.004), 'adam_amsgrad': o.Adam(0.004, amsgrad=True),
        'adam_decay': o.Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-5, decay=0.05),
        'adagrad': o.Adagrad(0.02), 'adadelta': o.Adadelta(0.5), 'adamax': o.Adamax(0.005),
        'clipnorm': o.SGD(0.2, clipnorm=0.2), 'clipvalue': o.SGD(0.2, clipvalue=0.02),
        'adam_clipnorm': o.Adam(0.004, clipnorm=0.1)}
    for name, optimizer in optimizers.items():
        yield 'mlp_' + name, mlp(), cce, optimizer, {'metrics': ['accuracy']}
    yield 'cnn_adam', cnn(), cce, o.Adam(0.003), {'metrics': ['acc']}
    yield 'cnn_sgd', cnn(), cce, o.SGD(0.05, momentum=0.9), {'metrics': ['accuracy', 'mse']}
    yield 'conv1d_rmsprop', conv1d(), 'mse', o.RMSprop(0.003), {'metrics': ['mae']}
    yield 'mse', mlp('linear', 2), 'mse', o.SGD(0.05), {'metrics': ['mae', 'mse']}
    yield 'mae', mlp('linear', 2), 'mae', o.SGD(0.02), {}
    yield 'binary', mlp('sigmoid', 1), 'binary_crossentropy', o.Adam(0.01), {
        'metrics': ['accuracy']}
    yield 'sparse', mlp(), 'sparse_categorical_crossentropy', o.RMSprop(0.003), {
        'metrics': ['accuracy']}
    yield ('regularized', mlp(kernel_regularizer=r.l1_l2(0.003, 0.01),
                              bias_regularizer=r.l2(0.05),
                              activity_regularizer=r.l2(0.002)), cce, o.SGD(0.1), {})
    yield ('constrained', mlp(kernel_constraint=c.max_norm(0.9), bias_constraint=c.non_neg()),
           cce, o.SGD(0.2, momentum=0.7), {})
    yield ('unit_norm', mlp(kernel_constraint=c.unit_norm(),
                            bias_constraint=c.min_max_norm(0.1, 0.5)), cce, o.Adam(0.01), {})
    yield ('branches', branches(), {'kind': cce, 'flag': 'binary_crossentropy'}, o.Adam(0.01),
           {'metrics': {'kind': 'accuracy', 'flag': ['mse', 'mae']},
            'loss_weights': {'kind': 0.7, 'flag': 2.0}})


def targets(rng, model, loss, n):
    found = []
    for name, shape in zip(model.output_names, model.output_shape if len(model.outputs) > 1
                           else [model.output_shape]):
        which = loss[name] if isinstance(loss, dict) else loss
        units = shape[-1]
        if which == 'categorical_crossentropy':
            found.append(np.eye(units, dtype='float32')[rng.randint(0, units, n)])
        elif which == 'sparse_categorical_crossentropy':
            found.append(rng.randint(0, units, (n, 1)).astype('float32'))
        elif which == 'binary_crossentropy':
            found.append(rng.randint(0, 2, (n, units)).astype('float32'))
        else:
            found.append(rng.uniform(-1, 1, (n, units)).astype('float32'))
    return found


def rows(step, n):
    return np.arange(step * BATCH, (step + 1) * BATCH) % n


def count_steps_last(model):
    """Make every read of `iterations` precede its increment within a step.

    Keras 2.3.1 leaves this order to TensorFlow's scheduler, so that a run of Adam may use t + 1
    for t in any step; with the order fixed, runs are repeatable.
    """
    model._make_train_function()
    users = model.optimizer.iterations.handle.consumers()
    for add in [op for op in users if op.type.startswith('AssignAdd')]:
        for read in [op for op in users if op.type == 'ReadVariableOp']:
            if add not in read.control_inputs:
                add._add_control_input(read)
    weights = model.get_weights()           # a session does not see edges that are added later
    K.set_session(tf.compat.v1.Session())
    K.get_session().run(tf.compat.v1.global_variables_initializer())
    model.set_weights(weights)


def train(config, cls, optimizer, compile_arguments, before, x, ys):
    """Logs of every step, final weights, optimizer state."""
    K.clear_session()
    model = cls.from_config(config)
    model.set_weights(before)
    model.compile(optimizer=keras.optimizers.deserialize(optimizer), **compile_arguments)
    count_steps_last(model)
    logs = []
    for step in range(STEPS):
        take = rows(step, len(x))
        logs.append(np.atleast_1d(model.train_on_batch(x[take], [y[take] for y in ys])))
    return np.array(logs), model.get_weights(), model.optimizer.get_weights(), model.metrics_names


def difference(a, b):
    """Largest difference, relative to the largest value of each array."""
    return max(float(np.max(np.abs(p - q)) / (np.max(np.abs(q)) + 1e-12)) for p, q in zip(a, b))


def initial(w, rng):
    """Weights from NumPy's generator: TensorFlow's initial weights differ from run to run."""
    if w.ndim == 1:
        return (w + rng.uniform(.05, .4, w.shape)).astype('float32')
    limit = np.sqrt(6. / (np.prod(w.shape[:-1]) + w.shape[-1]))
    return rng.uniform(-limit, limit, w.shape).astype('float32')


def prepare(name, model, loss, optimizer, arguments):
    """The same row as plain data: training clears the session, which ends all live objects."""
    rng = np.random.RandomState(sum(map(ord, name)))
    x = rng.uniform(-1.5, 1.5, (90,) + model.input_shape[1:]).astype('float32')
    ys = targets(rng, model, loss, len(x))
    before = [initial(w, rng) for w in model.get_weights()]
    return (name, type(model), model.get_config(), keras.optimizers.serialize(optimizer),
            dict(arguments, loss=loss), before, x, ys)


def record(store, name, cls, config, optimizer, arguments, before, x, ys):
    logs, after, state, names = train(config, cls, optimizer, arguments, before, x, ys)
    if name.startswith('cnn'):      # TensorFlow's fused batch normalisation has no float64
        nudged = [(w * (1 + 1e-6)).astype('float32') for w in before]
        exact = train(config, cls, optimizer, arguments, nudged, x, ys)
    else:
        K.set_floatx('float64')
        exact_config = eval(repr(config).replace("'float32'", "'float64'"))
        exact = train(exact_config, cls, optimizer, arguments, before, x.astype('float64'), ys)
        K.set_floatx('float32')
    error = max(difference([logs[:, 0]], [exact[0][:, 0]]), difference(after, exact[1]))
    print('%-20s sensitivity %.1e' % (name, error))
    if error > 2e-5:
        raise ValueError(name + ' is badly conditioned, change it')
    store.add(name, {'class_name': cls.__name__, 'model': config, 'optimizer': optimizer,
                     'compile': arguments, 'batch': BATCH, 'steps': STEPS, 'metrics_names': names},
              x=x, y=ys, before=before, after=after, logs=logs.astype('float32'), state=state)


def weighted(store):
    """train_on_batch and test_on_batch with sample_weight and class_weight."""
    rng = np.random.RandomState(8)
    x = rng.uniform(-1, 1, (7, 6)).astype('float32')
    y = np.eye(4, dtype='float32')[rng.randint(0, 4, 7)]
    weight = rng.uniform(0, 2, 7).astype('float32')
    classes = {0: 1.0, 1: 2.0, 2: 0.5, 3: 0.0}
    for name, arguments in (('sample_weight', {'sample_weight': weight}),
                            ('class_weight', {'class_weight': classes}),
                            ('both_weights', {'sample_weight': weight, 'class_weight': classes})):
        K.clear_session()
        model = mlp()
        before = [initial(w, rng) for w in model.get_weights()]
        model.set_weights(before)
        model.compile('sgd', 'categorical_crossentropy', metrics=['accuracy'],
                      weighted_metrics=['accuracy', 'mse'])
        logs = model.train_on_batch(x, y, **arguments)
        store.add('weighted/' + name,
                  {'model': model.get_config(), 'class_weight': arguments.get('class_weight'),
                   'metrics_names': model.metrics_names},
                  x=x, y=[y], before=before, after=model.get_weights(), logs=np.array(logs),
                  weight=arguments.get('sample_weight'))


def generate():
    np.random.seed(3)
    store = Store('training')
    for row in [prepare(*row) for row in table()]:
        record(store, *row)
    weighted(store)
    store.write()
