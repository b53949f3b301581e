"""The loop: fit, evaluate and predict all run batches here, whatever feed they come from."""
import math
import sys

import numpy as np

from ..callbacks import BackupAndRestore, CallbackList, History, ProgbarLogger
from ..callbacks.base import BatchLogs, Logs
from ..utils.generic_utils import Progbar
from .feed import together


def fit(model, feed, validation, *, epochs, verbose, callbacks, initial_epoch=0,
        validation_freq=1, validation_arrays=None, params=None):
    """Train for several epochs.

    # Arguments
        feed: of the train step.
        validation: feed of the test step, or None.
        params: entries of the callbacks' `params` beside those that every training has.

    # Returns
        History.
    """
    feed = together(model, feed)
    names, logs_of = model.metrics_names, model._logs("train")
    if verbose and validation is not None and None not in (feed.samples, validation.samples):
        print(f"Train on {feed.samples} samples, validate on {validation.samples} samples")
    model.history = History()
    logger = [ProgbarLogger(feed.units)] if verbose else []
    first = getattr(model.optimizer, "rank", 0) == 0       # of the processes that train together
    given = [c for c in CallbackList(callbacks) if first or not getattr(c, "writes", False)]
    callbacks = CallbackList([*logger, *given, model.history])
    callbacks.set_model(model._get_callback_model())
    with_validation = names + ["val_" + name for name in names]
    params = {"epochs": epochs, "verbose": verbose, "do_validation": validation is not None,
              "metrics": with_validation if validation is not None else names, **(params or {})}
    callbacks.set_params(_with_steps(params, feed))
    for callback in callbacks:
        callback.validation_data = validation_arrays
    owner = callbacks.model
    try:
        callbacks.on_train_begin()
        feed.open()
        owner.stop_training = False
        training = Training(callbacks, feed, validation, logs_of, owner)
        initial_epoch, step = training.resume(initial_epoch)
        backups = training.backups if first else ()
        for epoch in range(initial_epoch, math.ceil(epochs)):
            if not step:
                logs_of.reset()
            callbacks.on_epoch_begin(epoch)
            if step:
                training.restore()
            else:
                feed.begin()
            finished = training.run_epoch(epoch, step, backups)
            step = 0
            averages, logs = logs_of.averages(), {}
            if validation is not None and finished and due(validation_freq, epoch):
                found = evaluate(model, validation, callbacks=callbacks)
                logs = {"val_" + name: value for name, value in found.items()}
            callbacks.on_epoch_end(epoch, Logs(logs, **averages))
            for backup in backups:
                backup.save(epoch)
            if owner.stop_training:
                break
            feed.end()
            if params.get("steps") != _with_steps(params, feed).get("steps"):
                callbacks.set_params(_with_steps(params, feed))    # a Sequence may grow
    finally:
        feed.close()
        if validation is not None:
            validation.close()
    logs_of.reset()
    callbacks.on_train_end()
    return model.history


def _with_steps(params, feed):
    return {**params, "steps": feed.steps} if feed.units == "steps" else params


class Training:
    """What a training consists of, for the epochs and for the callbacks that save its state."""

    def __init__(self, callbacks, feed, validation, logs, owner):
        self.callbacks, self.feed, self.validation = list(callbacks), feed, validation
        self.logs, self._calls, self._owner = logs, callbacks, owner
        self.backups = [c for c in callbacks if isinstance(c, BackupAndRestore)]

    def resume(self, epoch):
        """(epoch, step) to begin at: where a backup was made, else the given epoch."""
        self._resumed = [(backup, place) for backup in self.backups
                         if (place := backup.resume(self)) is not None]
        return self._resumed[-1][1] if self._resumed else (epoch, 0)

    def restore(self):
        """Within an epoch: give everything the state of the backup."""
        self._resumed[-1][0].restore()

    def run_epoch(self, epoch, start, backups):
        """Run all batches from `start` on; whether no callback ended it before the last batch."""
        feed, logs_of, callbacks, owner = self.feed, self.logs, self._calls, self._owner
        take, run = feed.take, feed.run
        begins = callbacks.wants("on_train_batch_begin")
        ends = callbacks.wants("on_train_batch_end")
        backups = [backup.on_step for backup in backups if backup.save_freq != "epoch"]
        steps, together = feed.steps, feed.together
        for i in range(start, steps, together):
            size = take(i)
            if begins:
                callbacks.on_train_batch_begin(i, {"batch": i, "size": size})
            run()
            last = min(i + together, steps) - 1
            if ends:
                logs = BatchLogs(last, size, logs_of.last, logs_of.averages, last + 1 - i)
                callbacks.on_train_batch_end(last, logs)
                if sys.getrefcount(logs) > 2:      # somebody keeps them: read before the next step
                    logs.fetch()
                if owner.stop_training:
                    return last == steps - 1
            for on_step in backups:
                if last < steps - 1:               # the last one is saved with its epoch
                    on_step(epoch, last + 1, last + 1 - i)
        return True


def due(frequency, epoch):
    """Whether to validate after `epoch` (from 0): every so many, or in a list of them (from 1)."""
    if isinstance(frequency, (int, np.integer)):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def _configured(model, callbacks, feed, verbose, params):
    """Callbacks as a list that is set up; that of a `fit` that goes on as it is."""
    if isinstance(callbacks, CallbackList):
        return callbacks
    callbacks = CallbackList(callbacks)
    callbacks.set_model(model._get_callback_model())
    callbacks.set_params({"steps": feed.steps if feed.units == "steps" else None,
                          "verbose": verbose, **(params or {})})
    return callbacks


def evaluate(model, feed, *, callbacks=None, verbose=0, params=None):
    """dict name -> average over all batches."""
    feed = together(model, feed)
    callbacks = _configured(model, callbacks, feed, verbose, params)
    logs_of, seen = model._logs("test"), 0
    bar = Progbar(target=feed.target) if verbose == 1 else None
    begins = callbacks.wants("on_test_batch_begin")
    ends = callbacks.wants("on_test_batch_end")
    logs_of.reset()
    callbacks.on_test_begin()
    feed.open()
    feed.begin()
    for i in range(0, feed.steps, feed.together):
        size = feed.take(i)
        if begins:
            callbacks.on_test_batch_begin(i, {"batch": i, "size": size})
        feed.run()
        seen += size
        last = min(i + feed.together, feed.steps) - 1
        if ends:
            logs = BatchLogs(last, size, logs_of.last, logs_of.averages, last + 1 - i)
            callbacks.on_test_batch_end(last, logs)
            if sys.getrefcount(logs) > 2:
                logs.fetch()
        if bar:
            bar.update(last + 1 if feed.units == "steps" else seen)
    feed.end()
    callbacks.on_test_end()
    averages = logs_of.averages()
    logs_of.reset()                                # what comes next starts from nothing
    return averages


def predict(model, feed, *, callbacks=None, verbose=0, params=None):
    """List of arrays, the outputs for all samples."""
    feed = together(model, feed)
    callbacks = _configured(model, callbacks, feed, verbose, params)
    bar = Progbar(target=feed.target) if verbose == 1 else None
    begins = callbacks.wants("on_predict_batch_begin")
    ends = callbacks.wants("on_predict_batch_end")
    results, seen = _Results(feed), 0
    callbacks.on_predict_begin()
    feed.open()
    feed.begin()
    for i in range(0, feed.steps, feed.together):
        size = feed.take(i)
        if begins:
            callbacks.on_predict_batch_begin(i, {"batch": i, "size": size})
        outputs = feed.outputs()
        results.add(seen, size, outputs)
        seen += size
        last = min(i + feed.together, feed.steps) - 1
        if ends:
            callbacks.on_predict_batch_end(last, {"batch": last, "size": size, "outputs": outputs})
        if bar:
            bar.update(last + 1 if feed.units == "steps" else seen)
    feed.end()
    callbacks.on_predict_end()
    return results.arrays()


class _Results:
    """Outputs of the batches, put into whole arrays at once where their size is known."""

    def __init__(self, feed):
        self.count, self.steps = feed.count, feed.steps
        self._whole, self._parts = None, []

    def add(self, start, size, outputs):
        if self.count is None or self.steps == 1:
            self._parts.append(outputs)
            return
        if self._whole is None:
            self._whole = [np.empty((self.count, *y.shape[1:]), y.dtype) for y in outputs]
        for whole, y in zip(self._whole, outputs, strict=True):
            whole[start:start + size] = y

    def arrays(self):
        if self._whole is not None:
            return self._whole
        if len(self._parts) == 1:
            return self._parts[0]
        return [np.concatenate(parts) for parts in zip(*self._parts, strict=True)]
