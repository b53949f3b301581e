"""Callbacks that steer the training by what they see: stop, save, change the learning rate."""
import os
import warnings

import numpy as np

from .. import backend as K
from .base import Callback, Logs


class Monitor:
    """Which of two values of a logged quantity is better.

    # Arguments
        name: key in the logs.
        mode: "min", "max", or "auto": "max" for accuracies and F measures.
        min_delta: least difference that counts.
    """

    def __init__(self, owner, name, mode="auto", min_delta=0):
        if mode not in ("auto", "min", "max"):
            warnings.warn(f"{owner} mode {mode} is unknown, fallback to auto mode.", RuntimeWarning,
                          stacklevel=3)
            mode = "auto"
        if mode == "auto":
            mode = "max" if "acc" in name or name.startswith("fmeasure") else "min"
        self.name, self.sign = name, 1 if mode == "max" else -1
        self.op = np.greater if mode == "max" else np.less
        self.min_delta = abs(min_delta)
        self.worst = -self.sign * np.inf

    def better(self, value, best):
        return self.sign * (value - best) > self.min_delta if np.isfinite(best) else (
            self.sign * value > self.sign * best)

    def value(self, logs, text):
        """The monitored value, or None with a warning: `text` and what there is."""
        found = (logs or {}).get(self.name)
        if found is None:
            warnings.warn(f"{text} Available metrics are: {','.join(logs or ())}", RuntimeWarning,
                          stacklevel=3)
        return found


class EarlyStopping(Callback):
    """Ends the training when a quantity has stopped getting better.

    # Arguments
        monitor: name in the logs.
        min_delta: least change that counts as better.
        patience: number of epochs without anything better after which to stop.
        verbose: 1 prints a line when it stops.
        mode: "min", "max" or "auto" (told by the name).
        baseline: value to do better than.
        restore_best_weights: go back to the weights of the best epoch when it stops.
    """

    def __init__(self, monitor="val_loss", min_delta=0, patience=0, verbose=0, mode="auto",
                 baseline=None, restore_best_weights=False):
        super().__init__()
        self.monitor, self.min_delta, self.patience = monitor, min_delta, patience
        self.verbose, self.baseline = verbose, baseline
        self.restore_best_weights, self.best_weights = restore_best_weights, None
        self.wait = self.stopped_epoch = 0
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.monitor_op = self._monitor.op

    def on_train_begin(self, logs=None):
        self.wait = self.stopped_epoch = 0
        self.best_weights = None
        self.best = self._monitor.worst if self.baseline is None else self.baseline

    def get_monitor_value(self, logs):
        return self._monitor.value(logs, f"Early stopping conditioned on metric `{self.monitor}` "
                                         "which is not available.")

    def on_epoch_end(self, epoch, logs=None):
        current = self.get_monitor_value(logs)
        if current is None:
            return
        if self._monitor.better(current, self.best):
            self.best, self.wait = current, 0
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True
            if self.best_weights is not None:
                if self.verbose:
                    print("Restoring model weights from the end of the best epoch")
                self.model.set_weights(self.best_weights)

    def on_train_end(self, logs=None):
        if self.stopped_epoch > 0 and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1:05d}: early stopping")


class ModelCheckpoint(Callback):
    """Saves the model after epochs. A file is replaced only by one that is complete.

    # Arguments
        filepath: path; `{epoch:02d}`, `{val_loss:.2f}` and so on are filled in from the logs.
        monitor: name in the logs.
        verbose: 1 prints a line per decision.
        save_best_only: only when `monitor` is better than ever before.
        save_weights_only: weights instead of the whole model.
        mode: "min", "max" or "auto" (told by the name).
        period: number of epochs between two checkpoints.
    """

    writes = True

    def __init__(self, filepath, monitor="val_loss", verbose=0, save_best_only=False,
                 save_weights_only=False, mode="auto", period=1):
        super().__init__()
        self.filepath, self.monitor, self.verbose = os.fspath(filepath), monitor, verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.period, self.epochs_since_last_save = period, 0
        self._monitor = Monitor("ModelCheckpoint", monitor, mode)
        self.monitor_op = self._monitor.op
        self.best = self._monitor.worst

    def on_epoch_end(self, epoch, logs=None):
        self.epochs_since_last_save += 1
        if self.epochs_since_last_save < self.period:
            return
        self.epochs_since_last_save = 0
        filepath = self._path(epoch, logs or {})
        if not self.save_best_only:
            self._say(f"Epoch {epoch + 1:05d}: saving model to {filepath}")
            self._save(filepath)
            return
        current = self._monitor.value(logs, "Can save best model only with "
                                            f"{self.monitor} available, skipping.")
        if current is None:
            return
        if self._monitor.better(current, self.best):
            self._say(f"Epoch {epoch + 1:05d}: {self.monitor} improved from {self.best:0.5f} to "
                      f"{current:0.5f}, saving model to {filepath}")
            self._save(filepath)
            self.best = current
        else:
            self._say(f"Epoch {epoch + 1:05d}: {self.monitor} did not improve from "
                      f"{self.best:0.5f}")

    def _path(self, epoch, logs):
        try:
            return self.filepath.format_map(Logs(logs, epoch=epoch + 1))
        except KeyError as error:
            raise KeyError(f"ModelCheckpoint cannot fill in {self.filepath!r}: there is no {error} "
                           f"in the logs, only epoch, {', '.join(logs)}") from None

    def _say(self, text):
        if self.verbose > 0:
            print("\n" + text)

    def _save(self, filepath):
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(filepath, overwrite=True)


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch.

    # Arguments
        schedule: function (epoch from 0, present rate) -> rate, or of the epoch alone.
        verbose: 1 prints a line per epoch.
    """

    def __init__(self, schedule, verbose=0):
        super().__init__()
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch, logs=None):
        variable = _learning_rate(self.model)
        try:
            rate = self.schedule(epoch, float(K.get_value(variable)))
        except TypeError:                           # a schedule of the epoch alone
            rate = self.schedule(epoch)
        if not isinstance(rate, (float, np.floating)):
            raise ValueError('The output of the "schedule" function should be float, got '
                             f"{rate!r} for epoch {epoch}.")
        K.set_value(variable, rate)
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1:05d}: LearningRateScheduler setting learning rate to "
                  f"{rate}.")

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["lr"] = K.get_value(_learning_rate(self.model))


class ReduceLROnPlateau(Callback):
    """Lowers the learning rate when a quantity has stopped getting better.

    # Arguments
        monitor: name in the logs.
        factor: the new rate is the old one times this, below 1.
        patience: number of epochs without anything better before the rate falls.
        verbose: 1 prints a line when it does.
        mode: "min", "max" or "auto" (told by the name).
        min_delta: least change that counts as better.
        cooldown: number of epochs to wait after a change before counting again.
        min_lr: lower bound of the rate.
    """

    def __init__(self, monitor="val_loss", factor=0.1, patience=10, verbose=0, mode="auto",
                 min_delta=1e-4, cooldown=0, min_lr=0, **kwargs):
        super().__init__()
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau does not support a factor >= 1.0, got {factor}.")
        if "epsilon" in kwargs:                     # its name before Keras 2.1
            min_delta = kwargs.pop("epsilon")
            warnings.warn("`epsilon` argument is deprecated and will be removed, use `min_delta` "
                          "instead.", stacklevel=2)
        if kwargs:
            raise TypeError(f"unknown arguments of ReduceLROnPlateau: {', '.join(kwargs)}")
        self.monitor, self.factor, self.patience, self.verbose = monitor, factor, patience, verbose
        self.min_delta, self.cooldown, self.min_lr = min_delta, cooldown, min_lr
        self._monitor = Monitor("ReduceLROnPlateau", monitor, mode, min_delta)
        self.monitor_op = self._monitor.better
        self._reset()

    def _reset(self):
        self.best, self.wait, self.cooldown_counter = self._monitor.worst, 0, 0

    def on_train_begin(self, logs=None):
        self._reset()

    def in_cooldown(self):
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch, logs=None):
        if logs is None:
            return
        variable = _learning_rate(self.model)
        logs["lr"] = K.get_value(variable)
        current = self._monitor.value(logs, "Reduce LR on plateau conditioned on metric "
                                            f"`{self.monitor}` which is not available.")
        if current is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._monitor.better(current, self.best):
            self.best, self.wait = current, 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._lower(epoch, variable)

    def _lower(self, epoch, variable):
        old = float(K.get_value(variable))
        if old <= np.float32(self.min_lr):           # the variable has rounded it
            return
        rate = max(old * self.factor, self.min_lr)
        K.set_value(variable, rate)
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1:05d}: ReduceLROnPlateau reducing learning rate to {rate}.")
        self.cooldown_counter, self.wait = self.cooldown, 0


def _learning_rate(model):
    rate = getattr(model.optimizer, "lr", None)
    if rate is None:
        raise ValueError('Optimizer must have a "lr" attribute.')
    return rate
