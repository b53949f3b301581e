"""BackupAndRestore: go on with a training that was interrupted, as if it had not been."""
import os
import pickle
import random as python_random

import numpy as np

from .. import backend as K
from ..ops import random
from ..utils.io_utils import atomic_write, load_plain
from .base import Callback
from .control import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from .loggers import BaseLogger, History, ProgbarLogger
from .tensorboard import TensorBoard

# what the callbacks of this package remember from epoch to epoch, and from batch to batch
_MEMORY = {EarlyStopping: ("best", "wait", "stopped_epoch", "best_weights"),
           ModelCheckpoint: ("best", "epochs_since_last_save"),
           ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
           History: ("epoch", "history"), BaseLogger: ("seen", "totals"),
           ProgbarLogger: ("seen",), TensorBoard: ("samples_seen", "samples_seen_at_last_write")}


class BackupAndRestore(Callback):
    """Saves the state of the training, and goes on from there in the next `fit`.

    The state is weights, optimizer, numbers of the epoch and of the step in it, metrics, the order
    of the samples, random numbers (the generators of NumPy and Python, and the model's own) and
    what the callbacks remember: those of this package, and others that have `get_state()` and
    `set_state(state)` with plain values (numbers, texts, lists, dicts, arrays). The same script,
    started again after a crash, ends with the bits of a run that was never interrupted. Batches of
    a Python generator that are done are drawn again and dropped. The backup is removed when the
    training ends well.

    # Arguments
        backup_dir: folder for the backup; one per training.
        save_freq: "epoch", or a number of batches: then also within the epochs.
        delete_checkpoint: False keeps the backup.
    """

    def __init__(self, backup_dir, save_freq="epoch", delete_checkpoint=True):
        super().__init__()
        if save_freq != "epoch" and not (isinstance(save_freq, (int, np.integer))
                                         and save_freq >= 1):
            raise ValueError(f"save_freq is {save_freq!r}, expected 'epoch' or a number of "
                             "batches from 1 on")
        self.backup_dir, self.save_freq = os.fspath(backup_dir), save_freq
        self.delete_checkpoint = delete_checkpoint
        self._training, self._state, self._since = None, None, 0

    @property
    def path(self):
        """Path of the backup file."""
        return os.path.join(self.backup_dir, "training.backup")

    def on_train_begin(self, logs=None):
        self._state, self._since = None, 0
        os.makedirs(self.backup_dir, exist_ok=True)

    # ---------------------------------------------------------------- called by `fit`

    def resume(self, training):
        """Once all callbacks have begun: (epoch, step) to go on at, None for the beginning.

        training: with `callbacks` (all of them), `feed`, `validation` (or None) and `logs`.
        """
        self._training, self._at_start = training, _random_states()
        if not os.path.exists(self.path):
            return None
        with open(self.path, "rb") as file:
            state = self._state = _load(file.read(), self.path)
        self._at_start = state["random_at_start"]
        _set_random_states(self._at_start)
        training.feed.resume(state["feed"], state["step"])
        if training.validation is not None and state["validation"] is not None:
            training.validation.resume(state["validation"], 0)
        if state["step"]:
            return state["epoch"], state["step"]
        self.restore()
        training.feed.end()
        return state["epoch"] + 1, 0

    def restore(self):
        """Give everything the state that it had; within an epoch, after the callbacks began it."""
        state, model = self._state, self.model
        model.set_weights(state["weights"])
        model._make_train_function()
        if state["optimizer"]:
            model.optimizer.set_weights(state["optimizer"])
        if state["lr"] is not None:
            model.optimizer.lr = state["lr"]
        K.set_value(random.step(), state["draws"])
        for variable, value in zip(self._variables(), state["variables"], strict=True):
            K.set_value(variable, value)
        for callback, memory in zip(self._remembering(), state["memory"], strict=False):
            if callable(getattr(callback, "set_state", None)):
                callback.set_state(memory)
            else:
                for name, value in memory.items():
                    setattr(callback, name, value)
        if self._training.feed.random_is_kept:
            _set_random_states(state["random"])

    def on_step(self, epoch, step, steps):
        """After `steps` more batches, the last of them `step` - 1; saves when it is time."""
        if self.save_freq == "epoch":
            return
        self._since += steps
        if self._since >= self.save_freq:
            self.save(epoch, step)

    def save(self, epoch, step=0):
        """Write the state before batch `step` of an epoch; 0: after all callbacks have seen its
        end."""
        training, optimizer = self._training, self.model.optimizer
        self._since = 0
        rate = getattr(optimizer, "lr", None)
        state = {"epoch": epoch, "step": step, "weights": self.model.get_weights(),
                 "optimizer": optimizer.get_weights(),
                 "lr": None if rate is None else float(K.get_value(rate)),
                 "variables": [K.get_value(v) for v in self._variables()],
                 "draws": K.get_value(random.step()), "random": _random_states(),
                 "random_at_start": self._at_start, "feed": training.feed.snapshot(),
                 "validation": training.validation and training.validation.snapshot(),
                 "memory": [_memory(c) for c in self._remembering()]}
        with atomic_write(self.path) as part, open(part, "wb") as file:
            pickle.dump(state, file, protocol=4)

    def on_train_end(self, logs=None):
        if self.delete_checkpoint and os.path.exists(self.path):
            os.remove(self.path)

    # ---------------------------------------------------------------- what is remembered

    def _variables(self):
        """Sums of the loss and the metrics, and the states of stateful layers."""
        states = [s for layer in self.model.layers if getattr(layer, "stateful", False)
                  for s in getattr(layer, "states", None) or [] if K.is_variable(s)]
        return [*self._training.logs.variables(), *states]

    def _remembering(self):
        return [c for c in self._training.callbacks
                if _names(c) or callable(getattr(c, "get_state", None))]


def _names(callback):
    return next((_MEMORY[cls] for cls in type(callback).__mro__ if cls in _MEMORY), ())


def _memory(callback):
    if callable(getattr(callback, "get_state", None)):
        return callback.get_state()
    return {name: getattr(callback, name, None) for name in _names(callback)}


def _random_states():
    return {"numpy": np.random.get_state(), "python": python_random.getstate()}


def _set_random_states(states):
    np.random.set_state(states["numpy"])
    python_random.setstate(states["python"])


_KEYS = {"epoch", "step", "weights", "optimizer", "lr", "variables", "draws", "random",
         "random_at_start", "feed", "validation", "memory"}


def _load(data, path):
    try:
        state = load_plain(data)
        if not isinstance(state, dict) or not _KEYS <= set(state):
            raise ValueError("it is of another version")
        return state
    except Exception as error:
        raise ValueError(f"The backup {path!r} cannot be read: {error}. Try: remove it, to start "
                         "the training anew") from error


def with_backup(callbacks, resume):
    """Callbacks with one that goes on from `resume`: None, a folder or a `BackupAndRestore`."""
    if resume is None:
        return callbacks
    if not isinstance(resume, BackupAndRestore):
        if not isinstance(resume, (str, os.PathLike)):
            raise ValueError(f"resume is {resume!r}, expected a folder for the backup")
        resume = BackupAndRestore(resume)
    given = getattr(callbacks, "callbacks", callbacks)
    return [*(given if isinstance(given, (list, tuple)) else [given] if given else []), resume]
