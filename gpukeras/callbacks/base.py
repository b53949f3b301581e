"""Callback, the list that calls them, and the logs they are given."""
import time
import warnings
from collections import deque

_BATCH_HOOKS = [f"on_{mode}_batch_{edge}" for mode in ("train", "test", "predict")
                for edge in ("begin", "end")]
_SLOW = 0.1                     # seconds that batch hooks may take before a warning


class Callback:
    """Base class of what is called while a model trains, evaluates or predicts.

    Attributes `params` (dict: batch_size, epochs, steps, samples, verbose, do_validation, metrics)
    and `model` are set before the first call. `logs` holds `batch` and `size` at the start of a
    batch, also the loss and metrics so far at its end, and the averages of the epoch in
    `on_epoch_end`.
    """

    validation_data = None
    model = None
    writes = False              # files or to a server: of several processes the first alone has it

    def __init__(self):
        self.validation_data = None
        self.model = None

    def set_params(self, params):
        self.params = params

    def set_model(self, model):
        self.model = model

    def on_batch_begin(self, batch, logs=None):
        """Older name of `on_train_batch_begin`."""

    def on_batch_end(self, batch, logs=None):
        """Older name of `on_train_batch_end`."""

    def on_epoch_begin(self, epoch, logs=None):
        """Before an epoch of training; epoch: int, from 0."""

    def on_epoch_end(self, epoch, logs=None):
        """After an epoch and its validation; logs: averages, of validation with prefix `val_`."""

    def on_train_batch_begin(self, batch, logs=None):
        """Before a training step; batch: int, from 0 in each epoch; logs: `batch`, `size`."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch, logs=None):
        """After a training step; logs: `batch`, `size`, loss of the batch, metrics so far."""
        self.on_batch_end(batch, logs=logs)

    def on_test_batch_begin(self, batch, logs=None):
        """Before a step of evaluation, also of validation inside `fit`."""

    def on_test_batch_end(self, batch, logs=None):
        """After a step of evaluation, also of validation inside `fit`."""

    def on_predict_batch_begin(self, batch, logs=None):
        """Before a step of prediction."""

    def on_predict_batch_end(self, batch, logs=None):
        """After a step of prediction."""

    def on_train_begin(self, logs=None):
        """Once, before training."""

    def on_train_end(self, logs=None):
        """Once, after training."""

    def on_test_begin(self, logs=None):
        """Before an evaluation or validation."""

    def on_test_end(self, logs=None):
        """After an evaluation or validation."""

    def on_predict_begin(self, logs=None):
        """Before a prediction."""

    def on_predict_end(self, logs=None):
        """After a prediction."""


_ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def overrides(callback, hook):
    """True if `callback` does something in `hook`, or in the older method that it stands for."""
    for name in (hook, _ALIASES.get(hook)):
        method = getattr(callback, name, None) if name else None
        function = getattr(method, "__func__", method)
        if method is not None and function is not getattr(Callback, name):
            return True
    return False


def _checked(callbacks):
    """The callbacks as a list; a single one counts as a list of one."""
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback):
        return [callbacks]
    if not isinstance(callbacks, (list, tuple, CallbackList)):
        raise TypeError(f"callbacks should be a list of callbacks, got {callbacks!r}")
    for callback in callbacks:
        if isinstance(callback, type):
            raise TypeError(f"Got the class {callback.__name__} as callback, expected an object. "
                            f"Try: {callback.__name__}()")
        if not hasattr(callback, "set_model"):
            raise TypeError(f"{callback!r} is no callback: a callback is an object of a class made "
                            "from keras.callbacks.Callback. Try: LambdaCallback(on_epoch_end=...)")
    return list(callbacks)


class CallbackList:
    """Calls several callbacks in order.

    # Arguments
        callbacks: list of callbacks.
        queue_length: number of latest batches whose time decides about the warning of slow
            callbacks.
    """

    def __init__(self, callbacks=None, queue_length=10):
        self.callbacks = _checked(callbacks)
        self.params, self.queue_length = {}, queue_length
        self.model = None
        self._times = {hook: deque(maxlen=queue_length) for hook in _BATCH_HOOKS}
        self._entered, self._warned = 0.0, False
        self._find_batch_hooks()

    def _find_batch_hooks(self):
        # Most callbacks do nothing per batch; a step of a small model takes less than calling them.
        self._hooks = {hook: [getattr(c, hook) for c in self.callbacks if overrides(c, hook)]
                       for hook in _BATCH_HOOKS}

    def append(self, callback):
        self.callbacks.append(callback)
        self._find_batch_hooks()

    def set_params(self, params):
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model):
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def wants(self, hook):
        """True if some callback does something in this batch hook."""
        return bool(self._hooks[hook])

    def _batch(self, hook, batch, logs):
        hooks = self._hooks[hook]
        if not hooks:
            return
        logs = {} if logs is None else logs
        start = time.perf_counter()
        for call in hooks:
            call(batch, logs)
        end = time.perf_counter()
        times = self._times[hook]
        times.append(end - start)
        if end - start > _SLOW and not self._warned:
            self._warn_if_slow(hook, times, start - self._entered)
        self._entered = end

    def _warn_if_slow(self, hook, times, step):
        median = sorted(times)[len(times) // 2]
        if median > _SLOW and median > 0.95 * step:
            self._warned = True
            warnings.warn(f"Method ({hook}) is slow compared to the batch update ({median:f} s). "
                          "Check your callbacks.", RuntimeWarning, stacklevel=2)

    def _each(self, hook, *arguments):
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)

    def on_batch_begin(self, batch, logs=None):
        self._batch("on_train_batch_begin", batch, logs)

    def on_batch_end(self, batch, logs=None):
        self._batch("on_train_batch_end", batch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._batch("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._batch("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._batch("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch, logs=None):
        self._batch("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._batch("on_predict_batch_end", batch, logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._each("on_epoch_begin", epoch, {} if logs is None else logs)
        for times in self._times.values():
            times.clear()

    def on_epoch_end(self, epoch, logs=None):
        self._each("on_epoch_end", epoch, {} if logs is None else logs)

    def on_train_begin(self, logs=None):
        self._each("on_train_begin", logs)

    def on_train_end(self, logs=None):
        self._each("on_train_end", logs)

    def on_test_begin(self, logs=None):
        self._each("on_test_begin", logs)

    def on_test_end(self, logs=None):
        self._each("on_test_end", logs)

    def on_predict_begin(self, logs=None):
        self._each("on_predict_begin", logs)

    def on_predict_end(self, logs=None):
        self._each("on_predict_end", logs)

    def __iter__(self):
        return iter(self.callbacks)


# What the metrics of these short names were called in logs before Keras 2.3.
_BEFORE = {"acc": "accuracy", "mean_absolute_error": "mae", "mean_squared_error": "mse",
           "mean_absolute_percentage_error": "mape", "mean_squared_logarithmic_error": "msle",
           "cosine_proximity": "cosine"}


class Logs(dict):
    """Values by name, which scripts from before Keras 2.3 find by their names of then.

    `logs["val_acc"]` is `logs["val_accuracy"]` where there is no "val_acc".
    """

    def _name(self, name):
        """The name under which it is here: `name`, or what became of it."""
        if dict.__contains__(self, name) or not isinstance(name, str):
            return name
        for old, new in _BEFORE.items():
            if name == old or name.endswith("_" + old):
                return name[:-len(old)] + new
        return name

    def __missing__(self, name):
        if name not in self:
            raise KeyError(name)
        return dict.__getitem__(self, self._name(name))

    def get(self, name, default=None):
        return self[name] if name in self else default

    def __contains__(self, name):
        return dict.__contains__(self, self._name(name))

    def __reduce__(self):
        return dict, (dict(self),)                 # read where there is no gpukeras


class BatchLogs(Logs):
    """Logs of one step whose values stay on the device until a callback asks for one.

    # Arguments
        batch, size: number of the batch and of its samples, known at once.
        read: function without arguments -> dict name -> value of this batch.
        averages: function without arguments -> dict name -> average of the epoch so far.
        steps: number of batches since the logs before; the values are those of the last one.
    """

    def __init__(self, batch, size, read, averages, steps=1):
        super().__init__(batch=batch, size=size)
        self._read, self.averages, self.steps = read, averages, steps

    def fetch(self):
        """Read the values now, while they are those of this batch."""
        if self._read is not None:
            read, self._read = self._read, None
            for name, value in read().items():
                self.setdefault(name, value)
        return self

    def __getitem__(self, name):
        if not dict.__contains__(self, name):
            self.fetch()
        return dict.__getitem__(self, name)

    def __contains__(self, name):
        return dict.__contains__(self, name) or Logs.__contains__(self.fetch(), name)

    def __iter__(self):
        return dict.__iter__(self.fetch())

    def __len__(self):
        return dict.__len__(self.fetch())

    def __bool__(self):
        return True                                # `logs or {}` reads nothing

    def __eq__(self, other):
        return dict.__eq__(self.fetch(), other)

    __hash__ = None

    def __repr__(self):
        return dict.__repr__(self.fetch())

    def keys(self):
        return dict.keys(self.fetch())

    def values(self):
        return dict.values(self.fetch())

    def items(self):
        return dict.items(self.fetch())

    def copy(self):
        return dict(self.items())

    def __reduce__(self):
        return dict, (self.copy(),)
