"""The compiled steps of a model: train, test, predict. Values stay on the device until read."""
import contextlib
import functools
from collections import OrderedDict

import numpy as np

from .. import backend as K
from ..config import across_devices
from ..devices import DeviceArray, current
from ..graph import Variable, rebuild, toposort
from ..optimizers import LossScaleOptimizer
from ..replicated import Replicated


def maker(model, kind):
    """What compiles a step of a model, "train", "test" or "predict"; called like K.function.

    An optimizer with a `group` of processes trains with all of them; each tests by itself.
    """
    make = model._compile_step or (Replicated if across_devices() else K.function)
    group = getattr(model.optimizer, "group", None) if kind == "train" else None
    if group is None:
        return make
    return functools.partial(Replicated if make is K.function else make, group=group)


def _function(inputs, outputs, updates, name, phase, make=K.function):
    fixed = K.learning_phase()                     # a number if the user has fixed the phase
    phase = phase if K.is_tensor(fixed) else fixed
    return make(inputs, outputs, updates=updates, name=name, learning_phase=bool(phase))


_VARIANTS = 8                                      # kept per step; the oldest one goes


class Step:
    """A function of the arrays of a batch: inputs, then targets, then weights of weighted outputs.

    `function` is the compiled function, `feeds` its placeholders. make: what compiles it, by
    default K.function.
    """

    logs = None                                    # its update of `Logs`, see _LossStep

    def __init__(self, feeds, outputs, updates, name, phase, make=K.function):
        self.feeds, self.outputs, self.make = feeds, outputs, make
        self.updates, self.name, self.phase = updates, name, phase
        self.function = _function(feeds, outputs, updates, name, phase, make)
        self._variants = OrderedDict()

    @property
    def may_be_resident(self):
        """Whether `Resident` may feed it."""
        return self.make is K.function

    def bind(self, shapes):
        """The executable for arrays of these shapes."""
        return self.function.specialise(shapes)

    def run(self, data):
        """Do the step on arrays (or tensors) for all feeds; returns the executable."""
        if all(type(x) is np.ndarray for x in data):
            return self.function.run(data)
        step = self.fed_with(data)
        return step.function.run([x for x in data if not K.is_tensor(x)])

    def fed_with(self, data, as_one=False):
        """The step for such data: it computes tensors itself, and casts arrays on a GPU.

        # Arguments
            data: one array or tensor per feed.
            as_one: every batch counts as one sample in the averages, as in Keras when `steps` are
                given.
        """
        sources = tuple(_source(x, feed) for x, feed in zip(data, self.feeds, strict=True))
        as_one = as_one and self.logs is not None
        if not as_one and not any(s is not None for s in sources):
            return self
        return self._of_kind(sources, as_one)

    def fed_with_shorter(self, arrays):
        """The step for arrays that are sent as they are where that takes fewer bytes, as pictures
        of uint8 do: it casts them on the device."""
        shorter = [x.dtype.itemsize < feed.type.itemsize
                   for x, feed in zip(arrays, self.feeds, strict=True)]
        sources = tuple(x.dtype.name if s else None for x, s in zip(arrays, shorter, strict=True))
        return self._of_kind(sources, False) if any(shorter) else self

    def _of_kind(self, sources, as_one):
        key = (sources, as_one)
        if key not in self._variants:
            self._variants[key] = self._variant(sources, as_one)
            if len(self._variants) > _VARIANTS:
                self._variants.popitem(last=False)
        return self._variants[key]

    def _variant(self, sources, as_one):
        feeds, replace = [], {}
        for feed, source in zip(self.feeds, sources, strict=True):
            if K.is_tensor(source):
                replace[feed] = K.cast(source, feed.dtype)
                continue
            if source is not None:
                replace[feed] = K.cast(x := K.placeholder(shape=feed.shape, dtype=source),
                                       feed.dtype)
            feeds.append(feed if source is None else x)
        updates = dict(self.updates)
        if as_one:
            updates.update([self.logs(1.0)])
        values = rebuild([*self.outputs, *updates.values()], replace)
        outputs, values = values[:len(self.outputs)], values[len(self.outputs):]
        return Step(feeds, outputs, list(zip(updates, values, strict=True)), self.name, self.phase,
                    self.make)


def _source(x, feed):
    """What stands for data in a variant of a step: a tensor, a dtype to cast from, or None."""
    cast = isinstance(x, DeviceArray) and x.dtype != feed.dtype
    return x if K.is_tensor(x) else x.dtype.name if cast else None


class Resident:
    """A train step that takes its batches from data on the device.

    The data are tables, `order` the numbers of the samples of an epoch and `at` the place in it. A
    step reads its rows and moves `at` on, so the host sends nothing.

    # Arguments
        step: the step to feed.
        arrays: one array per placeholder of the step, of equal length.
    """

    def __init__(self, step, arrays):
        self.step = step
        self.key = self.key_of(arrays)
        self._tables = [_table(x) for x in arrays]
        self._order = K.zeros((len(arrays[0]),), dtype="int32", name="order")
        self._at = K.zeros((), dtype="int32", name="at")
        self._functions = {}

    @staticmethod
    def key_of(arrays):
        """Data of the same key can use the same compiled steps."""
        return tuple((x.shape, x.dtype.name, getattr(x, "ptr", None)) for x in arrays)

    def fill(self, arrays):
        """Send new data of the same shapes and types."""
        for table, x in zip(self._tables, arrays, strict=True):
            if not isinstance(x, DeviceArray):
                K.set_value(table, x)

    def begin(self, order, at=0):
        """Start an epoch; order: numbers of the samples; at: how many of them are done."""
        K.set_value(self._order, order)
        K.set_value(self._at, at)

    def run(self, size, times=1):
        """Do the step on the next `size` samples; `times` steps on a GPU are one launch."""
        function = self._functions.get(size)
        if function is None:
            function = self._functions[size] = self._make(size)
        if times == 1:
            function.run(())
        else:
            function.specialise(()).repeat(times)

    def _make(self, size):
        rows = K.gather(self._order, self._at + K.arange(size, dtype="int32"))
        batch = {feed: K.cast(K.gather(table, rows), feed.dtype)
                 for feed, table in zip(self.step.feeds, self._tables, strict=True)}
        values = rebuild([value for _, value in self.step.updates], batch)
        updates = [(v, value) for (v, _), value in zip(self.step.updates, values, strict=True)]
        return _function([], [], [*updates, K.update_add(self._at, size)], self.step.name,
                         self.step.phase)


def _table(x):
    """A variable with the data; what is on the device is not copied."""
    table = Variable(lambda: x, x.dtype.name, "data", trainable=False, shape=x.shape)
    if isinstance(x, DeviceArray):
        table.storage, table.device = x, current()
    return table


class PredictStep(Step):
    """Outputs of the model for a batch, in the test phase."""

    def __init__(self, model):
        super().__init__(model._feed_inputs, model.outputs, model.state_updates, "predict", 0,
                         maker(model, "predict"))


class Logs:
    """Loss and metrics of a model's train or test steps.

    They are one vector on the device: the values of the last step in the order of `names` (the loss
    of the batch; all others so far), and at the end the sum of loss * batch size and that of batch
    sizes since `reset`.
    """

    def __init__(self, model, kind):
        self.names = model.metrics_names
        self.state = K.zeros((len(self.names) + 2,), dtype="float32", name=f"{kind}/logs")
        self._metrics = model.metrics + model._compiled.loss_metrics
        self._zeros = np.zeros(len(self.names) + 2, "float32")

    def update(self, values, size):
        """The update for a step with these values (scalar tensors) of a batch of that size."""
        values = [K.cast(v, "float32") for v in values]
        n = len(values)
        return self.state, K.stack([*values, self.state[n] + values[0] * size,
                                    self.state[n + 1] + size])

    def reset(self):
        """Forget sums and metrics."""
        K.set_value(self.state, self._zeros)
        for metric in self._metrics:
            metric.reset_states()

    def variables(self):
        """Everything that `reset` forgets."""
        return [self.state, *[w for metric in self._metrics for w in metric.weights]]

    def values(self):
        """Values of the last step in the order of `names`, as an array."""
        return K.get_value(self.state)[:-2]

    def last(self):
        """dict name -> value of the last step."""
        return dict(zip(self.names, self.values().tolist(), strict=True))

    def averages(self):
        """dict name -> average since `reset`."""
        logs = K.get_value(self.state).tolist()
        found = dict(zip(self.names, logs, strict=False))
        found["loss"] = logs[-2] / max(logs[-1], 1)
        return found


class _LossStep(Step):
    """A step that also keeps the loss and metrics, in `Logs`."""

    def __init__(self, model, weighted, kind, phase, updates_of):
        compiled = model._compiled
        feeds = model._feed_inputs + [out.target for out in compiled.outputs if out.is_fed]
        feeds += [out.sample_weight for out, has in zip(compiled.outputs, weighted, strict=True)
                  if has]
        loss, values, updates = compiled.terms(weighted)
        size = K.cast(K.shape(feeds[0])[0], "float32") if feeds else 1.0
        self.logs = functools.partial(model._logs(kind).update, values)
        updates = merged([*updates, *updates_of(loss), self.logs(size)])
        super().__init__(feeds, [], updates, kind, phase, maker(model, kind))


class TrainStep(_LossStep):
    """One update of the weights."""

    resident = None                                # data on the device, of the last `fit`

    def __init__(self, model, weighted):
        self._model = model
        super().__init__(model, weighted, "train", 1, self._updates)

    def _updates(self, loss):
        model = self._model
        with K.name_scope("training"), _in_group(model.optimizer):
            updates, others = optimizer_updates(model, loss), list(model.updates)
            if isinstance(model.optimizer, LossScaleOptimizer):
                others = model.optimizer.guarded(others)
            return updates + others


@contextlib.contextmanager
def _in_group(optimizer):
    """Inside, an optimizer with a group of processes knows that the step is theirs together."""
    optimizer.in_group = optimizer.group is not None
    try:
        yield
    finally:
        optimizer.in_group = False


class TestStep(_LossStep):
    """Loss and metrics without training."""

    def __init__(self, model, weighted):
        super().__init__(model, weighted, "test", 0, lambda loss: list(model.state_updates))


def optimizer_updates(model, loss):
    """Updates of the optimizer; a second train step goes on with the state of the first.

    Weights that the loss has nothing to do with, such as those of an output without a loss, are
    left alone.
    """
    optimizer = model.optimizer
    used = {node.outputs[0] for node in toposort([loss])}
    params = [w for w in model._collected_trainable_weights if w in used]
    if not params:
        return []
    if model._optimizer_state is None:
        updates = optimizer.get_updates(loss=loss, params=params)
        model._optimizer_state = list(optimizer.weights)
        return list(updates)
    old = model._optimizer_state
    updates = optimizer.get_updates(loss=loss, params=params)
    same = {new: kept for new, kept in zip(optimizer.weights, old, strict=True) if new is not kept}
    optimizer.weights = old
    values = rebuild([value for _, value in updates], dict(same))
    return [(same.get(v, v), value) for (v, _), value in zip(updates, values, strict=True)]


def merged(updates):
    """One update per variable: a second one starts from the value that the first gives."""
    found = {}
    for variable, value in updates:
        if variable in found:
            if found[variable] is value:
                continue
            value, = rebuild([value], {variable: found[variable]})
        found[variable] = value
    return list(found.items())
