"""Topic `generators`: what fit, evaluate and predict with generators print and record."""
import numpy as np
import keras
from keras import backend as K

from .store import Store
from .text import CCE, Clock, MoveClock, captured, data, single
from .training import initial


def batches(x, y):
    while True:
        for start in range(0, len(x), 16):
            yield x[start:start + 16], y[start:start + 16]


def generate():
    store = Store('generators')
    x, y, _ = data()
    for name, with_validation in (('plain', False), ('validated', True)):
        for verbose, interactive in ((1, True), (1, False), (2, False)):
            K.clear_session()
            model, _ = single()
            model.compile(keras.optimizers.SGD(0.1), CCE, metrics=['accuracy'])
            clock, rng = Clock(), np.random.RandomState(5)
            before = [initial(w, rng) for w in model.get_weights()]
            model.set_weights(before)
            arguments = {'validation_data': (x[:20], y[:20])} if with_validation else {}
            with captured(clock, interactive) as screen:
                history = model.fit_generator(
                    batches(x, y), steps_per_epoch=4, epochs=2, verbose=verbose, workers=0,
                    callbacks=[MoveClock(clock, 0.04)], **arguments)
            with captured(Clock(), interactive) as evaluated:
                model.evaluate_generator(batches(x, y), steps=4, verbose=1, workers=0)
            with captured(Clock(), interactive) as predicted:
                predictions = model.predict_generator(batches(x, y), steps=4, verbose=1, workers=0)
            store.add('%s_%d%s' % (name, verbose, 'tty' if interactive else ''), {
                'model': model.get_config(), 'verbose': verbose, 'interactive': interactive,
                'validated': with_validation, 'text': screen.getvalue(),
                'evaluated': evaluated.getvalue(), 'predicted': predicted.getvalue(),
                'history': history.history, 'history_keys': list(history.history),
                'params': history.params}, x=x, y=y, before=before, predictions=predictions,
                after=model.get_weights())
    store.write()
