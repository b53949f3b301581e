"""Feeds: where a loop gets its batches from, one after the other.

A loop calls `begin` at the start of an epoch, then for each step `take(i)`, which makes the next
batch ready and returns its size, and `run`, which runs the compiled step on it.
"""
import itertools

import numpy as np

from .. import backend as K
from ..devices import DeviceArray, Inlet, on_host
from ..devices import current as current_device
from ..graph.halves import numpy_dtype, values_dtype
from ..utils.data_utils import is_sequence
from .data import batches, shuffled
from .steps import Resident


class Feed:
    """What a loop asks of a feed. It also needs `steps`, batches of an epoch, `take` and `run`."""

    units = "steps"
    together = 1                                   # batches that `take` makes ready
    random_is_kept = True                          # whether a backup sets the random generators
    count = None                                   # samples of an epoch, if they can be counted
    samples = None                                 # samples the first line of `fit` names, if known
    _now = None                                    # what `take` made ready, for `run`

    @property
    def target(self):
        """What the progress bar counts up to."""
        return self.steps

    def open(self):
        """Called when the callbacks have heard that it begins; a second time does nothing."""

    def outputs(self):
        """Run the step on what `take` made ready, and bring its outputs."""
        return self.run().fetch()

    def begin(self):
        """Start an epoch."""

    def end(self):
        """Called after each epoch."""

    def close(self):
        """Called after the last epoch, also if it failed."""

    def snapshot(self):
        """Where the feed is."""
        return {}

    def resume(self, state, step):
        """Bring a new feed where another was: `step` batches into an epoch, or to the end of one.
        """


class ArrayFeed(Feed):
    """Arrays of equal length, cut into batches.

    # Arguments
        step: Step that the batches are for.
        arrays: one array per placeholder of the step.
        batch_size: samples per batch.
        shuffle: True, False, or "batch".
    """

    units = "samples"

    def __init__(self, step, arrays, batch_size, shuffle=False):
        self.step, self.batch_size, self.shuffle = step.fed_with(arrays), batch_size, shuffle
        self.arrays = arrays
        self.count = self.samples = len(arrays[0]) if arrays else 0
        self.bounds = batches(self.count, batch_size)
        self.index = np.arange(self.count) if shuffle else None
        self._shapes, self._now = {}, (0, 0)

    @property
    def steps(self):
        """Number of batches of an epoch."""
        return len(self.bounds)

    @property
    def target(self):
        return self.count

    def begin(self):
        """Start an epoch, in a new order if the data are shuffled."""
        if self.shuffle:
            self.index = shuffled(self.index, self.batch_size, self.shuffle)

    def take(self, i):
        """Make batch `i` the present one; returns its size."""
        self._now = start, end = self.bounds[i]
        return end - start

    def run(self):
        """Run the step on the present batch; returns the executable."""
        start, end = self._now
        size = end - start
        shapes = self._shapes.get(size)
        if shapes is None:
            shapes = self._shapes[size] = tuple((size, *x.shape[1:]) for x in self.arrays)
        executable = self.step.bind(shapes)
        if not self.shuffle:
            executable.run([x[start:end] for x in self.arrays])
            return executable
        rows = self.index[start:end]
        places = executable.inputs
        if not all(isinstance(p, np.ndarray) and p.dtype.names is None for p in places):
            executable.run([rows_of(x, rows) for x in self.arrays])
            return executable
        for x, place in zip(self.arrays, places, strict=True):
            if type(x) is np.ndarray and x.dtype == place.dtype:
                x.take(rows, 0, place, "clip")     # gathered straight into the planned buffer
            else:
                np.copyto(place, rows_of(x, rows), "unsafe")
        executable.run(())
        return executable

    def snapshot(self):
        return {"count": self.count, "batch_size": self.batch_size, "index": self.index}

    def resume(self, state, step):
        if (state.get("count"), state.get("batch_size")) != (self.count, self.batch_size) or (
                (state["index"] is None) != (self.index is None)):
            raise ValueError(
                f"The backup is of {state.get('count')} samples in batches of "
                f"{state.get('batch_size')}, and this training has {self.count} in batches of "
                f"{self.batch_size}. Try: the data of that time, or remove the backup")
        if self.index is not None:
            self.index = np.array(state["index"], self.index.dtype)
        if step:
            self._enter(self.bounds[step][0] if step < self.steps else self.count)

    def _enter(self, done):
        """Go on in an epoch whose first `done` samples have been."""


class StreamFeed(ArrayFeed):
    """Arrays that a GPU cannot hold at once: the next batch is on its way while a step runs."""

    at_once = 1                                    # most batches of one launch

    def __init__(self, step, arrays, batch_size, shuffle=False):
        super().__init__(step, arrays, batch_size, shuffle)
        self.step = self.step.fed_with_shorter(arrays)
        self._inlet = Inlet(current_device().driver)
        self._dtypes = [numpy_dtype(feed.dtype) for feed in self.step.feeds]
        self._sent = None                          # bounds of the batch on its way

    def begin(self):
        super().begin()
        self._inlet.forget()
        self._sent = None

    def run(self):
        return self._run([self._now])

    def run_all(self, bounds):
        """Run the step on several batches, those of one size in one launch; yields what it ran."""
        for _, same in itertools.groupby(bounds, _size):
            same = list(same)
            for i in range(0, len(same), self.at_once):
                yield self._run(same[i:i + self.at_once])

    def run_together(self, batches):
        """Prepare for so many batches in one launch, if a quarter of the free memory holds them:
        two on their way, those the device works on, and as much for results."""
        used, total = current_device().driver.memory_info()
        need = sum(4 * x[:1].nbytes for x in self.arrays) * self.batch_size * batches
        self.at_once = batches if need <= (total - used) // 4 else 1

    def _run(self, bounds):
        """Run the step on batches of one size."""
        start, end = bounds[0][0], bounds[-1][1]
        executable = self.step.bind(tuple((_size(bounds[0]), *x.shape[1:]) for x in self.arrays))
        if self._sent != (start, end):             # the first of an epoch
            self._inlet.forget()
            self._send((start, end))
        if len(bounds) > 1:
            executable = executable.batches(len(bounds))
        self._inlet.receive(executable.inputs)
        executable.run(())
        following = self._following(start // self.batch_size + len(bounds))
        self._sent = None
        if following:
            self._send((following[0][0], following[-1][1]))
        return executable

    def _following(self, i):
        """The batches from `i` on that will run together: those of one size."""
        found = self.bounds[i:i + self.at_once]
        return [b for b in found if _size(b) == _size(found[0])]

    def close(self):
        self._inlet.forget()

    def _send(self, bounds):
        self._sent = start, end = bounds
        rows = slice(start, end) if not self.shuffle else self.index[start:end]
        self._inlet.send([x[rows] if isinstance(rows, slice) else rows_of(x, rows)
                          for x in self.arrays], self._dtypes)


class ResidentFeed(ArrayFeed):
    """Arrays that were sent to the device once, for a train step that picks its batches there."""

    def __init__(self, step, arrays, batch_size, shuffle=False):
        arrays = [_for_device(x, t) for x, t in zip(arrays, step.feeds, strict=True)]
        super().__init__(step, arrays, batch_size, shuffle)
        self.step = step                           # itself, whatever is on a GPU already
        resident = step.resident
        if resident is not None and resident.key == resident.key_of(self.arrays):
            resident.fill(self.arrays)
        else:
            step.resident = None                   # the old data go before the new ones come
            step.resident = Resident(step, self.arrays)

    def begin(self):
        super().begin()
        self._enter(0)

    def _enter(self, done):
        order = np.arange(self.count) if self.index is None else self.index
        self.step.resident.begin(order, done)

    def run(self):
        start, end = self._now
        self.step.resident.run(end - start)

    def run_all(self, bounds):
        """Run the step on several batches, those of one size in one launch."""
        for size, same in itertools.groupby(map(_size, bounds)):
            self.step.resident.run(size, len(list(same)))
            yield None


def _size(bounds):
    return bounds[1] - bounds[0]


def training_feed(step, arrays, batch_size, shuffle):
    """The feed for `fit`: data stay on a GPU if a quarter of its free memory holds them."""
    driver = getattr(current_device(), "driver", None)
    resident = driver is not None and step.may_be_resident
    if resident and arrays and all(isinstance(x, (np.ndarray, DeviceArray)) for x in arrays):
        used, total = driver.memory_info()
        if sum(x.nbytes for x in arrays if isinstance(x, np.ndarray)) <= (total - used) // 4:
            return ResidentFeed(step, arrays, batch_size, shuffle)
    return host_feed(step, [on_host(x) for x in arrays], batch_size, shuffle)


def host_feed(step, arrays, batch_size, shuffle=False):
    """The feed for data in the computer's memory or in a file."""
    streams = (getattr(current_device(), "driver", None) is not None and step.may_be_resident
               and len(arrays) and len(arrays[0]) > batch_size
               and not any(isinstance(x, DeviceArray) or K.is_tensor(x) for x in arrays))
    return (StreamFeed if streams else ArrayFeed)(step, arrays, batch_size, shuffle)


def _for_device(x, tensor):
    """Data in the type of their placeholder, or as they are if that is smaller, as for pictures."""
    if isinstance(x, DeviceArray):
        return x                                   # the step casts the rows it takes
    smaller = x.dtype.itemsize < tensor.type.itemsize
    return x if smaller else x.astype(values_dtype(tensor.dtype), copy=False)


def rows_of(x, rows):
    """Rows of an array; of a data set in a file in the order it wants, which is sorted."""
    if isinstance(x, np.ndarray):
        return x[rows]
    order = np.argsort(rows)
    back = np.empty_like(order)
    back[order] = np.arange(len(rows))
    ordered = rows[order]
    if len(rows) and ordered[-1] - ordered[0] == len(rows) - 1:
        return np.asarray(x[int(ordered[0]):int(ordered[-1]) + 1])[back]
    return np.asarray(x[ordered])[back]


class Together:
    """A feed whose batches are run several at a time, as `steps_per_execution` says.

    `take(i)` makes ready so many batches from `i` on, or those that are left, and returns the
    number of all their samples.
    """

    def __init__(self, feed, together):
        self.feed, self.together = feed, together
        self._batches = []
        if hasattr(feed, "run_together"):
            feed.run_together(together)

    def __getattr__(self, name):
        return getattr(self.feed, name)

    def take(self, i):
        self._batches, size = [], 0
        for k in range(i, min(i + self.together, self.feed.steps)):
            size += self.feed.take(k)
            self._batches.append(self.feed._now)
        return size

    def run(self):
        for _ in self._runs():
            pass

    def outputs(self):
        parts = [done.fetch() for done in self._runs()]
        return [np.concatenate(ys) if len(ys) > 1 else ys[0] for ys in zip(*parts, strict=True)]

    def _runs(self):
        """What was run, one after the other."""
        if hasattr(self.feed, "run_all"):
            yield from self.feed.run_all(self._batches)
            return
        for self.feed._now in self._batches:
            yield self.feed.run()


def together(model, feed):
    """The feed, with as many batches at a time as `compile` was told for the model."""
    several = model._steps_per_execution
    return Together(feed, several) if several > 1 else feed


class StepsFeed(Feed):
    """Whole data in every step: tensors, which make a new batch each time, and arrays as they are.

    # Arguments
        step: Step that the data are for.
        given: one tensor or array per placeholder of the step.
        steps: number of steps of an epoch.
    """

    def __init__(self, step, given, steps):
        self.step, self.steps = step.fed_with(given, as_one=True), steps
        self.arrays = [x[:] for x in given if not K.is_tensor(x)]
        known = bool(given) and given[0].shape[0] is not None
        self.samples = given[0].shape[0] if known else None     # in each step

    def take(self, i):
        return 1

    def run(self):
        return self.step.function.run(self.arrays)


class GeneratorFeed(Feed):
    """Batches from a Python generator or a Sequence, checked one by one.

    # Arguments
        model: the model; `kind`: "train", "test" or "predict".
        source: generator of batches, or Sequence.
        steps: batches of an epoch; None for the length of a Sequence.
        enqueue: function that gives what `utils.data_utils.enqueued(source, ...)` does. Called by
            `open`: a generator may use what a callback's `on_train_begin` makes.
    """

    def __init__(self, model, kind, source, enqueue, steps, class_weight=None):
        self.model, self.kind, self.source = model, kind, source
        self.class_weight, self._steps, self._enqueue = class_weight, steps, enqueue
        self._enqueuer, self._done = None, 0
        self.random_is_kept = is_sequence(source)  # a generator draws as it is resumed
        driver = getattr(current_device(), "driver", None)
        self._inlet = None if driver is None else Inlet(driver)

    @property
    def steps(self):
        return len(self.source) if self._steps is None else self._steps

    def open(self):
        if self._enqueuer is None:
            self._enqueuer = self._enqueue()
            self._batches = iter(self._enqueuer)

    def take(self, i):
        try:
            batch = next(self._batches)
        except StopIteration:
            raise ValueError(
                f"The generator ended after {self._done} batches in all, at batch {i} of an epoch "
                f"of {self.steps}. Try: fewer steps or epochs, or a generator that goes on (`while "
                "True:`)"
            ) from None
        self._done += 1
        arrays, size = self.model._generated(batch, self.kind, self.class_weight)
        step, data = arrays
        sent = (self._inlet is not None and self._inlet.has_room and step.may_be_resident
                and all(type(x) is np.ndarray for x in data))
        if sent:                                   # while the device is at the batch before
            self._inlet.send(data, [numpy_dtype(feed.dtype) for feed in step.feeds])
        self._now = step, data, sent               # sent: the arrays are on their way
        return size

    def run(self):
        step, data, sent = self._now
        if not sent:
            return step.run(data)
        executable = step.bind(tuple(x.shape for x in data))
        self._inlet.receive(executable.inputs)
        executable.run(())
        return executable

    def end(self):
        if self._steps is None:                    # else a Sequence goes on where it is
            self._enqueuer.end_epoch()

    def snapshot(self):
        place = self._enqueuer.snapshot() if is_sequence(self.source) else None
        return {"done": self._done, "place": place}

    def resume(self, state, step):
        if is_sequence(self.source):
            self._enqueuer.resume(state["place"])
            self._done = state["done"]
        while self._done < state["done"]:          # with the random numbers of the first time
            if next(self._batches, None) is None:
                raise ValueError(f"The generator ended after {self._done} batches; the backup was "
                                 f"made after {state['done']}")
            self._done += 1

    def close(self):
        if self._enqueuer is not None:
            self._enqueuer.stop()
        if self._inlet is not None:
            self._inlet.forget()
