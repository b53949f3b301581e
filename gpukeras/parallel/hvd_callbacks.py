"""Horovod's Keras callbacks."""
import numpy as np

from .. import backend as K
from ..callbacks import Callback
from .broadcasting import broadcast_variables
from .communicator import average, current


class BroadcastGlobalVariablesCallback(Callback):
    """Gives all ranks the weights and the optimizer's state of rank `root_rank` at the start.

    Needed when ranks start from different random weights, or only one has loaded a checkpoint.
    """

    def __init__(self, root_rank=0, device=""):
        super().__init__()
        self.root_rank = root_rank

    def on_train_begin(self, logs=None):
        optimizer = self.model.optimizer
        variables = [*self.model.weights, *optimizer.weights]
        for name in ("learning_rate", "momentum"):
            if K.is_variable(getattr(optimizer, name, None)):
                variables.append(getattr(optimizer, name))
        broadcast_variables(variables, self.root_rank)


class MetricAverageCallback(Callback):
    """Averages the metrics of an epoch over all samples of all ranks.

    Stands before callbacks that read them, such as ReduceLROnPlateau and ModelCheckpoint, so that
    all ranks decide alike.
    """

    def __init__(self, device=""):
        super().__init__()
        self.seen = {"": 0, "val_": 0}             # samples of this rank, trained and tested on

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = {"": 0, "val_": 0}

    def on_batch_end(self, batch, logs=None):
        self.seen[""] += (logs or {}).get("size", 1)

    def on_test_batch_end(self, batch, logs=None):
        self.seen["val_"] += (logs or {}).get("size", 1)

    def on_epoch_end(self, epoch, logs=None):
        names = sorted(k for k, v in (logs or {}).items() if np.ndim(v) == 0)
        if not names or current().size == 1:
            return
        counts = np.array([self.seen["val_" if k.startswith("val_") else ""] or 1 for k in names],
                          float)
        sums = average(np.array([float(logs[k]) for k in names]) * counts)
        means = sums / average(counts)
        logs.update((k, float(m)) for k, m in zip(names, means, strict=True))


class SaveOnFailureCallback(Callback):
    """Saves the model when the job ends because another rank has died or is stuck.

    What is saved is the model after the last step that all ranks have finished. When a rank dies,
    mpirun kills the others within 0.2 s, enough for a small model only. `mpirun --continuous`
    leaves the end of the job to us: after the time-out of `hvd.init` one rank saves, then all stop.

    # Arguments
        filepath: where to; ranks that still live write the same file, each of them whole.
    """

    def __init__(self, filepath):
        super().__init__()
        self.filepath = filepath

    def on_train_begin(self, logs=None):
        self.model.optimizer.get_config()          # what it reads is on the GPU from now on
        current().watch(lambda: self.model.save(self.filepath))

    def on_train_end(self, logs=None):
        current().watch(None)


class LearningRateScheduleCallback(Callback):
    """Multiplies the learning rate the model starts with.

    # Arguments
        multiplier: a number, or a function of the epoch (a float within an epoch).
        start_epoch, end_epoch: first epoch, and the first one no longer, of this schedule.
        staircase: change at the start of epochs only; else at every batch.
        momentum_correction: scale the momentum by new rate / old rate while the rate changes
            (Goyal et al. 2017, arXiv:1706.02677).
        steps_per_epoch: batches of an epoch; found out if None.
    """

    def __init__(self, multiplier, start_epoch=0, end_epoch=None, staircase=True,
                 momentum_correction=True, steps_per_epoch=None):
        super().__init__()
        self.multiplier = multiplier if callable(multiplier) else lambda epoch: multiplier
        self.start_epoch, self.end_epoch = start_epoch, end_epoch
        self.staircase, self.momentum_correction = staircase, momentum_correction
        self.steps_per_epoch = steps_per_epoch
        self.initial_lr = self.momentum = self.epoch = None

    def on_train_begin(self, logs=None):
        self.initial_lr = float(K.get_value(self.model.optimizer.lr))
        self.steps_per_epoch = self.steps_per_epoch or self._steps()
        if not self.staircase and not self.steps_per_epoch:
            raise ValueError(f"{type(self).__name__}: the number of batches of an epoch is not "
                             "known. Try: steps_per_epoch=...")

    def _steps(self):
        params = self.params or {}
        if params.get("steps"):
            return params["steps"]
        samples, batch = params.get("samples"), params.get("batch_size")
        return -(-samples // batch) if samples and batch else None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.staircase:
            self._adjust(epoch)

    def on_batch_begin(self, batch, logs=None):
        if not self.staircase:
            self._adjust(self.epoch + batch / self.steps_per_epoch)

    def on_batch_end(self, batch, logs=None):
        if self.momentum is not None:
            K.set_value(self.model.optimizer.momentum, self.momentum)
            self.momentum = None

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["lr"] = float(K.get_value(self.model.optimizer.lr))

    def _adjust(self, epoch):
        if epoch < self.start_epoch or self.end_epoch is not None and epoch >= self.end_epoch:
            return
        optimizer = self.model.optimizer
        old, new = float(K.get_value(optimizer.lr)), self.initial_lr * self.multiplier(epoch)
        K.set_value(optimizer.lr, new)
        if self.momentum_correction and old and K.is_variable(getattr(optimizer, "momentum", None)):
            self.momentum = float(K.get_value(optimizer.momentum))
            K.set_value(optimizer.momentum, self.momentum * new / old)


class LearningRateWarmupCallback(LearningRateScheduleCallback):
    """Raises the learning rate from lr / size to lr, batch by batch, over the first epochs.

    Goyal et al. 2017, arXiv:1706.02677: the rate of large global batches needs a warm-up.
    """

    def __init__(self, warmup_epochs=5, momentum_correction=True, steps_per_epoch=None, verbose=0):
        def multiplier(epoch):
            size = current().size
            epoch += 1.0 / self.steps_per_epoch
            return 1.0 / size * (epoch * (size - 1) / warmup_epochs + 1)

        super().__init__(multiplier, 0, warmup_epochs, staircase=False,
                         momentum_correction=momentum_correction, steps_per_epoch=steps_per_epoch)
        self.verbose = verbose

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if epoch == self.end_epoch - 1 and self.verbose > 0 and current().rank == 0:
            rate = float(K.get_value(self.model.optimizer.lr))
            print(f"\nEpoch {epoch + 1}: finished gradual learning rate warmup to {rate:g}.")
