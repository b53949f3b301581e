"""Callbacks that write down what happens: averages, progress bar, history, CSV file."""
import csv
import math
import os

import numpy as np

from ..utils.generic_utils import Progbar
from ..utils.io_utils import atomic_write
from .base import BatchLogs, Callback, Logs


class BaseLogger(Callback):
    """Averages of the logs of an epoch, weighted by batch size; put into the logs at its end.

    The loops of a model find these averages themselves; this is for loops of your own.

    # Arguments
        stateful_metrics: names whose last value counts as it is.
    """

    def __init__(self, stateful_metrics=None):
        super().__init__()
        self.stateful_metrics = set(stateful_metrics or [])

    def on_epoch_begin(self, epoch, logs=None):
        self.seen, self.totals = 0, {}

    def on_batch_end(self, batch, logs=None):
        logs = logs or {}
        size = logs.get("size", 0) * logs.get("num_steps", 1)
        self.seen += size
        for name, value in logs.items():
            if name in self.stateful_metrics:
                self.totals[name] = value
            else:
                self.totals[name] = self.totals.get(name, 0) + value * size

    def on_epoch_end(self, epoch, logs=None):
        if logs is None or not self.seen:
            return
        for name in self.params["metrics"]:
            if name in self.totals:
                stateful = name in self.stateful_metrics
                logs[name] = self.totals[name] if stateful else self.totals[name] / self.seen


def steps_of(logs):
    """How many batches the logs are about."""
    return logs.steps if isinstance(logs, BatchLogs) else logs.get("num_steps", 1)


class ProgbarLogger(Callback):
    """Progress bar on the standard output.

    # Arguments
        count_mode: "samples" or "steps", what the bar counts.
        stateful_metrics: names whose value is shown as it is, not averaged over the batches; where
            the logs know the averages (as those of `fit` do), these are shown.
    """

    def __init__(self, count_mode="samples", stateful_metrics=None):
        super().__init__()
        if count_mode not in ("samples", "steps"):
            raise ValueError(f"Unknown `count_mode`: {count_mode}, expected 'samples' or 'steps'.")
        self.use_steps = count_mode == "steps"
        self.stateful_metrics = set(stateful_metrics or [])

    def on_train_begin(self, logs=None):
        self.verbose = self.params["verbose"]
        self.epochs = self.params["epochs"]

    def on_epoch_begin(self, epoch, logs=None):
        if self.verbose:
            print(f"Epoch {epoch + 1}/{self.epochs}")
        self.target = self.params["steps" if self.use_steps else "samples"]
        self.seen = 0
        self.progbar = Progbar(target=self.target, verbose=self.verbose,
                               stateful_metrics=self.stateful_metrics)

    def on_batch_end(self, batch, logs=None):
        logs = {} if logs is None else logs
        self.seen += steps_of(logs) if self.use_steps else logs.get("size", 0)
        if self.verbose and (self.target is None or self.seen < self.target):
            if hasattr(logs, "averages") and not self.progbar.due(self.seen):
                return                              # values stay where they are
            self.progbar.update(self.seen, self._values(logs))

    def on_epoch_end(self, epoch, logs=None):
        if self.verbose:
            self.progbar.update(self.seen, self._values({} if logs is None else logs))

    def _values(self, logs):
        if hasattr(logs, "averages"):
            logs = logs.averages()
            self.progbar.stateful_metrics.update(logs)
        return [(name, logs[name]) for name in self.params["metrics"] if name in logs]


class History(Callback):
    """What `fit` returns: `history`, name -> list with a value per epoch, and `epoch`, a list."""

    def on_train_begin(self, logs=None):
        self.epoch, self.history = [], {}

    @property
    def history(self):
        return self._history

    @history.setter
    def history(self, values):
        self._history = Logs(values)

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class CSVLogger(Callback):
    """Writes a line per epoch to a CSV file: the epoch, then all logs by name.

    # Arguments
        filename: path of the file.
        separator: between the values.
        append: keep what an existing file holds.
    """

    writes = True

    def __init__(self, filename, separator=",", append=False):
        super().__init__()
        self.filename, self.sep, self.append = os.fspath(filename), separator, append
        self.keys, self.append_header = None, True
        self.csv_file = self.writer = None

    def on_train_begin(self, logs=None):
        if self.append and os.path.exists(self.filename):
            self.append_header = os.path.getsize(self.filename) == 0
        self.csv_file = open(self.filename, "a" if self.append else "w", newline="",
                             encoding="utf-8")

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.keys is None:
            self.keys = sorted(logs)
        if self.writer is None:
            self.writer = csv.DictWriter(self.csv_file, ["epoch", *self.keys], delimiter=self.sep)
            if self.append_header:
                self.writer.writeheader()
        row = {name: _cell(logs[name]) if name in logs else "NA" for name in self.keys}
        self.writer.writerow({"epoch": epoch, **row})
        self.csv_file.flush()

    def get_state(self):
        """For `BackupAndRestore`: what the file holds."""
        self.csv_file.flush()
        with open(self.filename, newline="", encoding="utf-8") as file:
            return {"text": file.read(), "keys": self.keys, "has_writer": self.writer is not None}

    def set_state(self, state):
        """Give the file the lines that it had, so that no epoch is missing or there twice."""
        self.csv_file.close()
        with atomic_write(self.filename) as part, open(part, "w", newline="",
                                                       encoding="utf-8") as file:
            file.write(state["text"])
        self.csv_file = open(self.filename, "a", newline="", encoding="utf-8")
        self.keys, self.append_header = state["keys"], not state["text"]
        if state["has_writer"]:
            self.writer = csv.DictWriter(self.csv_file, ["epoch", *self.keys], delimiter=self.sep)

    def on_train_end(self, logs=None):
        self.csv_file.close()
        self.writer = None


def _cell(value):
    if isinstance(value, str) or np.ndim(value) == 0:
        return value
    return f"\"[{', '.join(map(str, value))}]\""


class TerminateOnNaN(Callback):
    """Ends the training when the loss is not a finite number."""

    def on_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True


class LambdaCallback(Callback):
    """Calls functions given by name.

    They are on_epoch_begin(epoch, logs), on_epoch_end(epoch, logs), on_batch_begin(batch, logs),
    on_batch_end(batch, logs), on_train_begin(logs), on_train_end(logs).

    Other keyword arguments become attributes.
    """

    def __init__(self, on_epoch_begin=None, on_epoch_end=None, on_batch_begin=None,
                 on_batch_end=None, on_train_begin=None, on_train_end=None, **kwargs):
        super().__init__()
        self.__dict__.update(kwargs)
        given = {"on_epoch_begin": on_epoch_begin, "on_epoch_end": on_epoch_end,
                 "on_batch_begin": on_batch_begin, "on_batch_end": on_batch_end,
                 "on_train_begin": on_train_begin, "on_train_end": on_train_end}
        self.__dict__.update({hook: call for hook, call in given.items() if call is not None})
