"""BackupAndRestore: go on with a training that was interrupted, as if it had not been."""
import os
import pickle

import numpy as np

from .. import backend as K
from ..ops import random
from ..utils.io_utils import atomic_write, load_plain
from .base import Callback
from .control import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from .loggers import History

# what the callbacks of this package remember from epoch to epoch
_MEMORY = {EarlyStopping: ("best", "wait", "stopped_epoch", "best_weights"),
           ModelCheckpoint: ("best", "epochs_since_last_save"),
           ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
           History: ("epoch", "history")}


class BackupAndRestore(Callback):
    """Saves the state of the training after each epoch, and goes on from there in the next `fit`.

    The state is weights, optimizer, number of the epoch, random numbers (NumPy's global generator
    and the model's own) and what the callbacks of this package remember. The same script, started
    again after a crash, ends with the bits of a run that was never interrupted. The backup is
    removed when the training ends well.

    # Arguments
        backup_dir: folder for the backup; one per training.
        delete_checkpoint: False keeps the backup.
    """

    def __init__(self, backup_dir, delete_checkpoint=True):
        super().__init__()
        self.backup_dir, self.delete_checkpoint = os.fspath(backup_dir), delete_checkpoint
        self._callbacks, self._random_at_start = (), None

    @property
    def path(self):
        """Path of the backup file."""
        return os.path.join(self.backup_dir, "training.backup")

    def resume(self, callbacks, begin_epoch):
        """Called by `fit` once all callbacks have begun: the epoch to start at, None for the first.

        # Arguments
            callbacks: all callbacks of the training.
            begin_epoch: function that shuffles the data as the start of an epoch does.
        """
        self._callbacks = list(callbacks)
        self._random_at_start = np.random.get_state()
        if not os.path.exists(self.path):
            return None
        with open(self.path, "rb") as file:
            state = _load(file.read(), self.path)
        self._random_at_start = state["random_at_start"]
        np.random.set_state(self._random_at_start)
        for _ in range(state["epoch"] - state["first"] + 1):
            begin_epoch()                           # the order of each epoch follows from the last
        self.model.set_weights(state["weights"])
        self.model._make_train_function()
        if state["optimizer"]:
            self.model.optimizer.set_weights(state["optimizer"])
        if state["lr"] is not None:
            self.model.optimizer.lr = state["lr"]
        K.set_value(random.step(), state["draws"])
        for callback, memory in zip(self._remembering(), state["memory"], strict=False):
            callback.__dict__.update(memory)
        np.random.set_state(state["random"])
        self._first = state["first"]
        return state["epoch"] + 1

    def _remembering(self):
        return [c for c in self._callbacks if type(c) in _MEMORY]

    def on_epoch_begin(self, epoch, logs=None):
        if getattr(self, "_first", None) is None:
            self._first = epoch

    def on_train_begin(self, logs=None):
        self._first = None
        os.makedirs(self.backup_dir, exist_ok=True)

    def save(self, epoch):
        """Called by `fit` after all callbacks have seen the end of an epoch."""
        memory = [{name: getattr(c, name, None) for name in _MEMORY[type(c)]}
                  for c in self._remembering()]
        state = {"epoch": epoch, "first": self._first, "weights": self.model.get_weights(),
                 "optimizer": self.model.optimizer.get_weights(), "lr": self._learning_rate(),
                 "draws": K.get_value(random.step()), "random": np.random.get_state(),
                 "random_at_start": self._random_at_start, "memory": memory}
        with atomic_write(self.path) as part, open(part, "wb") as file:
            pickle.dump(state, file)

    def _learning_rate(self):
        rate = getattr(self.model.optimizer, "lr", None)
        return None if rate is None else float(K.get_value(rate))

    def on_train_end(self, logs=None):
        if self.delete_checkpoint and os.path.exists(self.path):
            os.remove(self.path)


def _load(data, path):
    try:
        return load_plain(data)
    except Exception as error:
        raise ValueError(f"The backup {path!r} cannot be read: {error}. Try: remove it, to start "
                         "the training anew") from error
