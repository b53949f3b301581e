"""The methods of a model that take a generator or a Sequence of batches."""
import itertools
import math
from functools import partial

from ..callbacks.backup import with_backup
from ..legacy.interfaces import old_names
from ..utils.data_utils import enqueued, is_generator_or_sequence, is_sequence
from ..utils.generic_utils import unpack_singleton
from . import arguments, data, loop
from .feed import GeneratorFeed


class GeneratorMethods:
    """Part of `Model`: work on batches that are made as they are needed.

    A generator yields (x, y) or (x, y, sample_weight), for ever; a `utils.Sequence` gives batch i
    as sequence[i] and has a length.
    """

    @old_names
    def fit_generator(self, generator, steps_per_epoch=None, epochs=1, verbose=1, callbacks=None,
                      validation_data=None, validation_steps=None, validation_freq=1,
                      class_weight=None, max_queue_size=10, workers=1, use_multiprocessing=False,
                      shuffle=True, initial_epoch=0, resume=None):
        """Train on batches from a generator or a Sequence.

        # Arguments
            generator: generator or Sequence.
            steps_per_epoch: batches of an epoch; may be left out for a Sequence.
            validation_data: generator, Sequence, (x, y) or (x, y, sample_weight).
            validation_steps: batches of a validation; may be left out for a Sequence.
            max_queue_size: batches made ahead of their use.
            workers: threads (or processes) that make them; 0: made in the loop itself.
            use_multiprocessing: processes instead of threads, for a Sequence.
            shuffle: new order of the batches of a Sequence each epoch.
            Others: as for `fit`.

        # Returns
            History.

        # Raises
            ValueError: for a batch that does not fit, or a generator that ends; the weights are
                those after the last finished step.
        """
        generator = self._prepare(generator, compiled=True)
        feed = self._generator_feed("train", generator, steps_per_epoch, "steps_per_epoch",
                                    max_queue_size, workers, use_multiprocessing, shuffle,
                                    class_weight)
        validation, arrays = None, None
        if is_generator_or_sequence(validation_data):
            validation = self._generator_feed("test", validation_data, validation_steps,
                                              "validation_steps", max_queue_size, workers,
                                              use_multiprocessing)
        elif validation_data is not None:
            batch_size = self._batch_size(None)
            _, held = self._validation((), (), (), 0.0, validation_data, batch_size)
            validation, arrays = self._feed("test", *held, batch_size), arguments.all_arrays(held)
        self._check_trainable_weights_consistency()
        names = self.metrics_names
        return loop.fit(self, feed, validation, epochs=epochs, verbose=int(verbose),
                        callbacks=with_backup(callbacks, resume), initial_epoch=initial_epoch,
                        validation_freq=validation_freq, validation_arrays=arrays,
                        params={"metrics": names + ["val_" + name for name in names]})

    @old_names
    def evaluate_generator(self, generator, steps=None, callbacks=None, max_queue_size=10,
                           workers=1, use_multiprocessing=False, verbose=0):
        """Loss and metrics on batches from a generator or a Sequence; see `fit_generator`.

        # Returns
            The loss, or a list in the order of `metrics_names` if there is more than the loss. The
            loss is the mean over all samples.
        """
        generator = self._prepare(generator, compiled=True)
        feed = self._generator_feed("test", generator, steps, "steps", max_queue_size, workers,
                                    use_multiprocessing)
        try:
            found = loop.evaluate(self, feed, callbacks=callbacks, verbose=verbose,
                                  params={"metrics": self.metrics_names})
        finally:
            feed.close()
        return unpack_singleton([found[name] for name in self.metrics_names])

    @old_names
    def predict_generator(self, generator, steps=None, callbacks=None, max_queue_size=10, workers=1,
                          use_multiprocessing=False, verbose=0):
        """Outputs for batches from a generator or a Sequence, which may also yield x alone.

        # Returns
            An array, or a list of them for several outputs.
        """
        generator = self._prepare(generator, compiled=False)
        feed = self._generator_feed("predict", generator, steps, "steps", max_queue_size, workers,
                                    use_multiprocessing)
        try:
            return unpack_singleton(loop.predict(self, feed, callbacks=callbacks, verbose=verbose))
        finally:
            feed.close()

    def _prepare(self, generator, compiled):
        """`generator`, after a model without input shapes has looked at the first batch."""
        first = None
        if not self.inputs and (self.optimizer is not None or not compiled):
            if is_sequence(generator):
                first = generator[0]
            else:
                first = next(generator)
                generator = itertools.chain([first], generator)
            first = first[0] if isinstance(first, tuple) else first
        if compiled:
            self._require_compiled(first)
        else:
            self._require_inputs(first)
        return generator

    def _generator_feed(self, kind, source, steps, argument, max_queue_size, workers,
                        use_multiprocessing, shuffle=False, class_weight=None):
        if steps is None and not is_sequence(source):
            raise ValueError(f"`{argument}=None` is only valid for a generator based on the "
                             f"`keras.utils.Sequence` class. Please specify `{argument}` or use "
                             "the `keras.utils.Sequence` class.")
        if steps is None and len(source) == 0:
            raise ValueError(f"The Sequence {type(source).__name__} has no batches: its length "
                             "is 0.")
        if steps is not None:
            steps = math.ceil(steps)               # scripts write steps_per_epoch=len(x) / 32
        enqueue = partial(enqueued, source, workers=workers, max_queue_size=max_queue_size,
                          use_multiprocessing=use_multiprocessing, shuffle=shuffle)
        return GeneratorFeed(self, kind, source, enqueue, steps, class_weight)

    def _generated(self, batch, kind, class_weight):
        """((step, arrays), batch size) of what a generator yielded.

        # Raises
            ValueError: if it is no (x, y) or (x, y, sample_weight), or does not fit.
        """
        x, y, weight = _parts(batch, kind)
        if kind == "predict":
            xs = self._inputs(x)
            data.check_counts(xs, [])
            arrays, step = xs, self._step(kind)
        else:
            xs, ys, weights = self._standardize_user_data(x, y, weight, class_weight)
            step = self._step(kind, tuple(w is not None for w in weights))
            arrays = [*xs, *ys, *[w for w in weights if w is not None]]
        size = arrays[0].shape[0] if arrays else 1
        if size == 0:
            raise ValueError("Received an empty batch. Batches should contain at least one item.")
        return (step, arrays), size


def _parts(batch, kind):
    """(x, y, sample_weight) of a batch; y and sample_weight may be None."""
    if kind == "predict" and not isinstance(batch, tuple):
        return batch, None, None
    if not isinstance(batch, (tuple, list)) or len(batch) not in ((1, 2, 3) if kind == "predict"
                                                                  else (2, 3)):
        raise ValueError("Output of generator should be a tuple `(x, y, sample_weight)` or `(x, "
                         f"y)`. Found: {data._brief(batch)}")
    return (*batch, None, None)[:3]
