"""The loop: fit, evaluate and predict all run batches here."""
import sys

import numpy as np

from ..callbacks import CallbackList, History, ProgbarLogger
from ..callbacks.base import BatchLogs
from ..devices import current as current_device
from ..utils.generic_utils import Progbar
from .data import batches, shuffled
from .steps import Resident


class Feed:
    """Arrays of equal length that a step takes batch by batch.

    # Arguments
        step: Step that the batches are for.
        arrays: one array per placeholder of the step.
        batch_size: samples per batch.
    """

    def __init__(self, step, arrays, batch_size):
        self.step = step
        self.arrays = [_ready(x, t) for x, t in zip(arrays, step.feeds, strict=True)]
        self.count = len(arrays[0]) if arrays else 0
        self.bounds = batches(self.count, batch_size)
        self._shapes = {}

    def begin(self, index):
        """Start an epoch in the order `index`."""

    def run(self, start, end, index=None):
        """Run the step on samples start to end, in the order `index` if given; the executable."""
        size = end - start
        shapes = self._shapes.get(size)
        if shapes is None:
            shapes = self._shapes[size] = tuple((size, *x.shape[1:]) for x in self.arrays)
        executable = self.step.bind(shapes)
        if index is None:
            executable.run([x[start:end] for x in self.arrays])
            return executable
        rows = index[start:end]
        places = getattr(executable, "inputs", None)
        if places is None or not all(isinstance(place, np.ndarray) for place in places):
            executable.run([take(x, rows) for x in self.arrays])
            return executable
        for x, place in zip(self.arrays, places, strict=True):
            if type(x) is np.ndarray and x.dtype == place.dtype:
                x.take(rows, 0, place, "clip")     # gathered straight into the planned buffer
            else:
                np.copyto(place, take(x, rows), "unsafe")
        executable.run(())
        return executable


class ResidentFeed(Feed):
    """Arrays that were sent to the device once, for a train step that picks its batches there."""

    def __init__(self, step, arrays, batch_size):
        super().__init__(step, arrays, batch_size)
        resident = step.resident
        if resident is not None and resident.key == resident.key_of(self.arrays):
            resident.fill(self.arrays)
        else:
            step.resident = None                   # the old data go before the new ones come
            step.resident = Resident(step, self.arrays)

    def begin(self, index):
        self.step.resident.begin(index)

    def run(self, start, end, index=None):
        self.step.resident.run(end - start)


def feed_of(step, arrays, batch_size):
    """The feed for training: data stay on a GPU if a quarter of its free memory holds them."""
    driver = getattr(current_device(), "driver", None)
    if driver is not None and arrays and all(isinstance(x, np.ndarray) for x in arrays):
        used, total = driver.memory_info()
        if sum(x.nbytes for x in arrays) <= (total - used) // 4:
            return ResidentFeed(step, arrays, batch_size)
    return Feed(step, arrays, batch_size)


_CONVERT = 1 << 31                                 # bytes: larger data are converted batch by batch


def _ready(x, tensor):
    """Data in the type of their placeholder, unless that is too large to keep."""
    if isinstance(x, np.ndarray) and x.dtype != tensor.dtype:
        if x.dtype == np.uint8:
            return x                               # pictures: a quarter of the size as they are
        if x.size * np.dtype(tensor.dtype).itemsize < _CONVERT:
            return x.astype(tensor.dtype)
    return x


def take(x, rows):
    """Rows of an array; of a data set in a file in the order it wants, which is sorted."""
    if isinstance(x, np.ndarray):
        return x[rows]
    order = np.argsort(rows)
    back = np.empty_like(order)
    back[order] = np.arange(len(rows))
    return np.asarray(x[rows[order]])[back]


# ---------------------------------------------------------------- fit

def fit(model, feed, validation, *, batch_size, epochs, verbose, callbacks, shuffle,
        initial_epoch, validation_freq, validation_arrays=None):
    """Train for several epochs.

    # Arguments
        feed: Feed of the train step.
        validation: Feed of the test step, or None.

    # Returns
        History.
    """
    names = model.metrics_names
    if verbose and validation is not None:
        print(f"Train on {feed.count} samples, validate on {validation.count} samples")
    model.history = History()
    logger = [ProgbarLogger("samples")] if verbose else []
    callbacks = CallbackList(logger + list(callbacks or []) + [model.history])
    callbacks.set_model(model._get_callback_model())
    callbacks.set_params({
        "batch_size": batch_size, "epochs": epochs, "steps": None, "samples": feed.count,
        "verbose": verbose, "do_validation": validation is not None,
        "metrics": names + ["val_" + name for name in names] * (validation is not None)})
    callbacks.on_train_begin()
    for callback in callbacks:
        callback.validation_data = validation_arrays
    owner = callbacks.model
    owner.stop_training = False
    index = np.arange(feed.count)
    for epoch in range(initial_epoch, epochs):
        feed.step.reset()
        callbacks.on_epoch_begin(epoch)
        index = shuffled(index, batch_size, shuffle)
        feed.begin(index)
        seen, finished = _train_epoch(feed, index if shuffle else None, callbacks, owner)
        averages, logs = feed.step.averages(seen), {}
        if validation is not None and finished and due(validation_freq, epoch):
            found = evaluate(model, validation, callbacks=callbacks, batch_size=batch_size)
            logs = {"val_" + name: value for name, value in found.items()}
        callbacks.on_epoch_end(epoch, {**logs, **averages})
        if owner.stop_training:
            break
    callbacks.on_train_end()
    return model.history


def _train_epoch(feed, index, callbacks, owner):
    """Run all batches: (samples seen, whether no callback ended it before the last batch)."""
    step, run, seen = feed.step, feed.run, 0
    begins = callbacks.wants("on_train_batch_begin")
    ends = callbacks.wants("on_train_batch_end")
    last = len(feed.bounds) - 1
    for i, (start, end) in enumerate(feed.bounds):
        if begins:
            callbacks.on_train_batch_begin(i, {"batch": i, "size": end - start})
        run(start, end, index)
        seen += end - start
        if ends:
            logs = BatchLogs(i, end - start, step.batch_logs, lambda n=seen: step.averages(n))
            callbacks.on_train_batch_end(i, logs)
            if sys.getrefcount(logs) > 2:          # somebody keeps them: read before the next step
                logs.fetch()
            if owner.stop_training:
                return seen, i == last
    return seen, True


def due(frequency, epoch):
    """Whether to validate after `epoch` (from 0): every so many, or in a list of them (from 1)."""
    if isinstance(frequency, (int, np.integer)):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


# ---------------------------------------------------------------- evaluate, predict

def _configured(model, callbacks, **params):
    """(callbacks as a list that is set up, whether it belongs to a `fit` that goes on)."""
    if isinstance(callbacks, CallbackList):
        return callbacks, True
    callbacks = CallbackList(callbacks)
    callbacks.set_model(model._get_callback_model())
    callbacks.set_params(params)
    return callbacks, False


def evaluate(model, feed, *, callbacks, batch_size, verbose=0, steps=None):
    """dict name -> average over all batches."""
    callbacks, _ = _configured(model, callbacks, batch_size=batch_size, steps=steps,
                               samples=feed.count, verbose=verbose)
    step, seen = feed.step, 0
    step.reset()
    callbacks.on_test_begin()
    bar = Progbar(target=feed.count) if verbose == 1 else None
    begins = callbacks.wants("on_test_batch_begin")
    ends = callbacks.wants("on_test_batch_end")
    for i, (start, end) in enumerate(feed.bounds[:steps]):
        if begins:
            callbacks.on_test_batch_begin(i, {"batch": i, "size": end - start})
        feed.run(start, end)
        seen += end - start
        if ends:
            logs = BatchLogs(i, end - start, step.batch_logs, lambda n=seen: step.averages(n))
            callbacks.on_test_batch_end(i, logs)
            if sys.getrefcount(logs) > 2:
                logs.fetch()
        if bar:
            bar.update(end)
    callbacks.on_test_end()
    return step.averages(seen)


def predict(model, feed, *, callbacks, batch_size, verbose=0, steps=None):
    """List of arrays, the outputs for all samples."""
    callbacks, _ = _configured(model, callbacks, batch_size=batch_size, steps=steps,
                               samples=feed.count, verbose=verbose)
    callbacks.on_predict_begin()
    bar = Progbar(target=feed.count) if verbose == 1 else None
    begins = callbacks.wants("on_predict_batch_begin")
    ends = callbacks.wants("on_predict_batch_end")
    results = None
    bounds = feed.bounds[:steps]
    for i, (start, end) in enumerate(bounds):
        if begins:
            callbacks.on_predict_batch_begin(i, {"batch": i, "size": end - start})
        outputs = feed.run(start, end).fetch()
        if len(bounds) == 1:
            results = outputs
        else:
            if results is None:
                results = [np.empty((bounds[-1][1], *y.shape[1:]), y.dtype) for y in outputs]
            for whole, y in zip(results, outputs, strict=True):
                whole[start:end] = y
        if ends:
            logs = {"batch": i, "size": end - start, "outputs": outputs}
            callbacks.on_predict_batch_end(i, logs)
        if bar:
            bar.update(end)
    callbacks.on_predict_end()
    return results
