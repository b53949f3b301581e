"""Topic `text`: everything that Keras prints or names: summaries, progress lines, history.

Time is simulated: the clock stands still except where the case moves it (`seconds_per_batch` at
the end of each training batch, after the progress bar was drawn), so that texts are exact.
"""
import contextlib
import io
import sys

import numpy as np
import keras
from keras import backend as K
from keras import layers as L
from keras.utils import generic_utils

from .store import Store


class Clock(object):
    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now


class Terminal(io.StringIO):
    def __init__(self, interactive):
        super(Terminal, self).__init__()
        self.interactive = interactive

    def isatty(self):
        return self.interactive


@contextlib.contextmanager
def captured(clock, interactive):
    """stdout goes to a fake terminal, and the progress bar reads the fake clock."""
    screen, old_out, old_time = Terminal(interactive), sys.stdout, generic_utils.time
    sys.stdout, generic_utils.time = screen, clock
    try:
        yield screen
    finally:
        sys.stdout, generic_utils.time = old_out, old_time


class MoveClock(keras.callbacks.Callback):
    def __init__(self, clock, seconds):
        super(MoveClock, self).__init__()
        self.clock, self.seconds = clock, seconds

    def on_batch_end(self, batch, logs=None):
        self.clock.now += self.seconds


# ---------------------------------------------------------------------------------- summaries

def models():
    yield 'mlp', keras.Sequential([L.Dense(512, activation='relu', input_shape=(784,)),
                                   L.Dropout(0.2), L.Dense(10, activation='softmax')])
    yield 'named', keras.Sequential(
        [L.Dense(3, input_shape=(2,), name='a_very_long_layer_name_that_is_cut_somewhere'),
         L.Activation('relu', name='r')], name='my_model')
    yield 'cnn', keras.Sequential([
        L.Conv2D(32, 5, padding='same', input_shape=(28, 28, 1)), L.BatchNormalization(),
        L.Activation('relu'), L.MaxPooling2D(2), L.Conv2D(64, 5, activation='relu'),
        L.MaxPooling2D(2), L.Flatten(), L.Dense(1000, activation='relu'), L.Dropout(.5),
        L.Dense(10, activation='softmax')])
    frozen = keras.Sequential([L.Dense(3, input_shape=(2,)), L.Dense(4)])
    frozen.layers[0].trainable = False
    yield 'frozen', frozen
    a, b = L.Input((8,), name='left'), L.Input((8,), name='right')
    shared = L.Dense(5, activation='relu')
    joined = L.concatenate([shared(a), shared(b)])
    out = L.Dense(1)(L.Dropout(.1)(joined))
    yield 'two_branches', keras.models.Model([a, b], [out, L.Dense(2, name='other')(joined)])
    x = L.Input((6, 6, 2))
    y = L.Conv2D(2, 3, padding='same')(x)
    yield 'residual', keras.models.Model(x, L.GlobalAveragePooling2D()(L.add([x, y])))
    inner = keras.Sequential([L.Dense(3, input_shape=(4,)), L.Dense(2)])
    yield 'nested', keras.Sequential([L.Dense(4, input_shape=(7,)), inner, L.Dense(1)])
    z = L.Input((4,))
    yield 'nested_functional', keras.models.Model(z, L.Dense(1)(inner(z)))


def summaries(store):
    for name, model in models():
        texts = {}
        for key, arguments in (('default', {}), ('wide', {'line_length': 100}),
                               ('positions', {'line_length': 80,
                                              'positions': [.25, .6, .8, 1.]})):
            lines = []
            model.summary(print_fn=lines.append, **arguments)
            texts[key] = lines
        with captured(Clock(), False) as screen:
            model.summary()
        store.add('summary/' + name, {
            'class_name': type(model).__name__, 'config': model.get_config(),
            'name': model.name, 'lines': texts, 'printed': screen.getvalue(),
            'frozen': [layer.name for layer in model.layers if not layer.trainable]})


# ------------------------------------------------------------------------------- progress bar

def progress_bars(store):
    steps = [(1, 0.0, 1.0), (2, 0.03, 0.5), (3, 0.06, 0.4), (10, 2.0, 0.0004), (20, 9.0, 0.25)]
    for name, target, verbose, interactive, scale, stateful in (
            ('tty', 20, 1, True, 1, []), ('file', 20, 1, False, 1, []),
            ('stateful', 20, 1, True, 1, ['acc']), ('slow', 20, 1, True, 60, []),
            ('very_slow', 20, 1, True, 4000, []), ('fast', 20, 1, True, 1e-4, []),
            ('verbose_2', 20, 2, False, 1, ['acc']), ('no_target', None, 1, True, 1, []),
            ('silent', 20, 0, True, 1, []), ('three_digits', 100, 1, True, 1, [])):
        clock = Clock()
        with captured(clock, interactive) as screen:
            bar = generic_utils.Progbar(target, verbose=verbose, stateful_metrics=stateful)
            for current, seconds, value in steps:
                clock.now = 1000.0 + seconds * scale
                bar.update(current, [('loss', value), ('acc', 1 - value)])
        store.add('progbar/' + name, {
            'target': target, 'verbose': verbose, 'interactive': interactive,
            'stateful': stateful, 'text': screen.getvalue(),
            'steps': [[c, s * scale, v] for c, s, v in steps]})


# ------------------------------------------------------------------------------ fit, evaluate

def data():
    rng = np.random.RandomState(4)
    x = rng.uniform(-1, 1, (50, 6)).astype('float32')
    kind = np.eye(4, dtype='float32')[rng.randint(0, 4, 50)]
    return x, kind, rng.uniform(0, 1, (50, 1)).astype('float32')


def single():
    model = keras.Sequential([L.Dense(5, activation='tanh', input_shape=(6,)),
                              L.Dense(4, activation='softmax')])
    return model, [0]


def double():
    x = L.Input((6,))
    h = L.Dense(5, activation='tanh')(x)
    model = keras.models.Model(x, [L.Dense(4, activation='softmax', name='kind')(h),
                                   L.Dense(1, name='size')(h)])
    return model, [0, 1]


CCE = 'categorical_crossentropy'
FITS = {
    'plain': (single, {'loss': CCE}, {'epochs': 2}),
    'accuracy': (single, {'loss': CCE, 'metrics': ['accuracy']}, {'epochs': 2}),
    'acc_mse': (single, {'loss': CCE, 'metrics': ['acc', 'mse', CCE]}, {'epochs': 1}),
    'split': (single, {'loss': CCE, 'metrics': ['accuracy']},
              {'epochs': 2, 'validation_split': 0.3}),
    'initial_epoch': (single, {'loss': CCE}, {'epochs': 4, 'initial_epoch': 2}),
    'validation_freq': (single, {'loss': CCE}, {'epochs': 4, 'validation_freq': 2,
                                                'validation_split': 0.2}),
    'double': (double, {'loss': [CCE, 'mse'], 'metrics': [['acc'], ['mse', 'mae']],
                        'loss_weights': [1., .5]}, {'epochs': 2, 'validation_split': 0.2}),
    'double_one_loss': (double, {'loss': 'mse'}, {'epochs': 1}),
    'double_dict': (double, {'loss': {'kind': CCE, 'size': 'mae'},
                             'metrics': {'kind': ['accuracy', 'mse'], 'size': 'mse'}},
                    {'epochs': 1}),
    'double_weighted': (double, {'loss': {'kind': CCE, 'size': 'mae'}, 'metrics': ['mse'],
                                 'weighted_metrics': ['mse']}, {'epochs': 1})}


def fits(store):
    x, kind, size = data()
    for name, (build, compile_arguments, fit_arguments) in FITS.items():
        for verbose, interactive in ((1, True), (1, False), (2, False), (0, True)):
            K.clear_session()
            np.random.seed(1)
            model, outputs = build()
            model.compile(keras.optimizers.SGD(0.1), **compile_arguments)
            before, clock = model.get_weights(), Clock()
            ys = [(kind, size)[i] for i in outputs]
            with captured(clock, interactive) as screen:
                history = model.fit(x, ys, batch_size=16, shuffle=False, verbose=verbose,
                                    callbacks=[MoveClock(clock, 0.04)], **fit_arguments)
            store.add('fit/%s_%d%s' % (name, verbose, 'tty' if interactive else ''), {
                'model': model.get_config(), 'class_name': type(model).__name__,
                'compile': compile_arguments, 'fit': fit_arguments, 'verbose': verbose,
                'interactive': interactive, 'text': screen.getvalue(),
                'history': history.history, 'history_keys': list(history.history),
                'epoch': history.epoch, 'params': history.params,
                'metrics_names': model.metrics_names, 'seconds_per_batch': 0.04},
                x=x, y=ys, before=before)


def evaluations(store):
    x, kind, size = data()
    for name in ('plain', 'accuracy', 'double'):
        build, compile_arguments, _ = FITS[name]
        K.clear_session()
        np.random.seed(2)
        model, outputs = build()
        model.compile('sgd', **compile_arguments)
        ys, texts = [(kind, size)[i] for i in outputs], {}
        for interactive in (True, False):
            key = 'tty' if interactive else 'file'
            with captured(Clock(), interactive) as screen:
                values = model.evaluate(x, ys, batch_size=16)
            texts['evaluate_' + key] = screen.getvalue()
            with captured(Clock(), interactive) as screen:
                predictions = model.predict(x, batch_size=16, verbose=1)
            texts['predict_' + key] = screen.getvalue()
        store.add('evaluate/' + name, {
            'model': model.get_config(), 'class_name': type(model).__name__,
            'compile': compile_arguments, 'texts': texts, 'values': np.atleast_1d(values),
            'returns': type(values).__name__}, x=x, y=ys, before=model.get_weights(),
            predictions=predictions if len(outputs) > 1 else [predictions])


def generate():
    store = Store('text')
    summaries(store)
    progress_bars(store)
    fits(store)
    evaluations(store)
    store.write()
