"""Model: a network that can be trained."""
import functools
import math
import warnings

import numpy as np

from .. import backend as K
from .. import optimizers
from ..callbacks.backup import with_backup
from ..graph.halves import values_dtype
from ..metrics import Metric
from ..utils.generic_utils import unpack_singleton
from ..utils.data_utils import is_generator_or_sequence
from . import arguments, data, loop
from .compiled import Compiled, with_loss_scale
from .feed import StepsFeed, host_feed, training_feed
from .generators import GeneratorMethods
from .network import Network
from .profiling import profile_step
from .steps import Logs, PredictStep, TestStep, TrainStep

_NOT_COMPILED = ("You must compile a model before training/testing. "
                 "Use `model.compile(optimizer, loss)`.")


class Model(GeneratorMethods, Network):
    """Layers between `inputs` and `outputs` that are trained together; arguments as for Network."""

    _compiled = None                # losses and metrics as tensors; made when the inputs are known
    _compile_arguments = None
    _optimizer_state = None
    _steps_per_execution = 1
    _steps = None
    _compile_step = None            # what compiles steps in place of K.function
    callback_model = None
    stop_training = False
    history = None
    loss = loss_weights = sample_weight_mode = None
    _compile_metrics = _compile_weighted_metrics = None

    # ---------------------------------------------------------------- compile

    def compile(self, optimizer, loss=None, metrics=None, loss_weights=None,
                sample_weight_mode=None, weighted_metrics=None, target_tensors=None, **kwargs):
        """Say how the model is to be trained.

        # Arguments
            optimizer: name, config or Optimizer.
            loss: name, function or Loss; for several outputs also a list, or a dict by output name
                (outputs without a loss do not train).
            metrics: list of names, functions or Metrics; for several outputs also a list of lists
                or a dict by output name. "accuracy" and "crossentropy" follow the loss.
            loss_weights: factors of the losses, list or dict by output name.
            sample_weight_mode: None, or "temporal" for weights (samples, steps); or list or dict.
            weighted_metrics: like `metrics`, for metrics that see sample and class weights.
            target_tensors: tensors to use for the targets, which then need no data; or
                placeholders; list or dict by output name.
            steps_per_execution: as a keyword, how many batches `fit`, `evaluate` and `predict` run
                between two calls of the callbacks: one launch on a GPU. As in tf.keras,
                `on_batch_begin` gets the number of the first of them, `on_batch_end` of the last.

        # Raises
            ValueError: for unknown names, or lists that do not fit the outputs.
            TypeError: for keyword arguments that do not exist.
        """
        self._steps_per_execution = arguments.steps_per_execution(kwargs)
        self.optimizer = with_loss_scale(optimizers.get(optimizer), _with_inner(self))
        self.loss = loss or {}
        self.loss_weights = loss_weights
        self.sample_weight_mode = sample_weight_mode
        self._compile_metrics = metrics or []
        self._compile_weighted_metrics = weighted_metrics
        self._compile_arguments = (loss, metrics, loss_weights, sample_weight_mode,
                                   weighted_metrics, target_tensors)
        self._compiled, self._optimizer_state = None, None
        self._steps, self._logs_of = {}, {}
        self._is_compiled = True
        if self.inputs:
            self._finish_compile()

    def _finish_compile(self):
        self._compiled = Compiled(self, *self._compile_arguments)
        self._collected_trainable_weights = list(self.trainable_weights)
        self._compiled.layers = _with_inner(self)    # here: a layer's own lists count as its parts
        self._switched = None                      # their `trainable` when it was last looked at

    def _require_compiled(self, x=None):
        """Raise unless compiled; inputs follow from the data `x` if no layer told their shape."""
        if self.optimizer is None:
            raise RuntimeError(_NOT_COMPILED)
        self._require_inputs(x)
        if self._compiled is None:
            self._finish_compile()

    def _require_inputs(self, x):
        if self.inputs:
            return
        if hasattr(self, "add") and not self.layers:
            raise ValueError(f"Model {self.name} has no layers. Try: model.add(Dense(10))")
        if x is None:
            raise ValueError(f"Model {self.name} has no inputs yet, and no data to tell their "
                             "shapes. Try: input_shape=... for the first layer")
        names = list(x) if isinstance(x, dict) else [f"input_{i + 1}" for i in range(
            len(x) if isinstance(x, (list, tuple)) else 1)]
        arrays = data.as_list(x, names, "input")
        if hasattr(self, "add"):                   # a Sequential
            self.build((None, *arrays[0].shape[1:]))
        else:
            self._call_on_placeholders(arrays, names)

    def _call_on_placeholders(self, arrays, names):
        """Inputs and outputs of a subclass with `call`."""
        self.input_names = self._feed_input_names = names
        self.inputs = self._feed_inputs = [
            K.placeholder(shape=(None, *a.shape[1:]), name=name)
            for a, name in zip(arrays, names, strict=True)]
        self._feed_input_shapes = [K.int_shape(t) for t in self.inputs]
        outputs = self(unpack_singleton(self.inputs))
        self.outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        self.output_names = [f"output_{i + 1}" for i in range(len(self.outputs))]
        self._output_masks = [None] * len(self.outputs)
        self.built = True

    @property
    def metrics(self):
        """Metrics given to `compile`, then those that layers added."""
        own = self._compiled.own_metrics if self._compiled else []
        return own + self._layer_metrics()

    def _layer_metrics(self):
        """Metrics added in this model and its layers, without those an inner model compiled."""
        own = self._metrics + [v for v in vars(self).values() if isinstance(v, Metric)]
        for layer in self.layers:
            own += layer._layer_metrics() if isinstance(layer, Model) else layer.metrics
        return list(dict.fromkeys(own))

    @property
    def metrics_names(self):
        """Names of what `evaluate`, `train_on_batch` and `test_on_batch` return, in order; before
        the model is compiled and knows its inputs just "loss"."""
        if self._compiled is None:
            if self.optimizer is None or not self.inputs:
                return ["loss"]
            self._require_compiled()
        return self._compiled.names + [m.name for m in self._layer_metrics()]

    @property
    def total_loss(self):
        """The scalar tensor that training lowers; it depends on `sample_weights`."""
        self._require_compiled()
        return self._compiled.terms([out.is_fed for out in self._compiled.outputs])[0]

    @property
    def targets(self):
        """Placeholders of the targets, None for outputs without a loss."""
        self._require_compiled()
        return [out.target if out.loss is not None else None for out in self._compiled.all_outputs]

    @property
    def sample_weights(self):
        """Placeholders of the sample weights, None for outputs without fed targets."""
        self._require_compiled()
        fed = self._compiled.fed
        return [out.sample_weight if out in fed else None for out in self._compiled.all_outputs]

    def reset_metrics(self):
        """Set the state of all metrics to zero."""
        compiled = self._compiled
        for metric in self.metrics + (compiled.loss_metrics if compiled else []):
            metric.reset_states()

    def __reduce__(self):
        """Pickles as the bytes of its file and the user's own classes, see `pickling`."""
        from .pickling import reduced
        return reduced(self)

    def __deepcopy__(self, memo):
        from .pickling import copied
        return memo.setdefault(id(self), copied(self))

    # ---------------------------------------------------------------- compiled steps

    def _step(self, kind, weighted=()):
        """The step of a kind ("train", "test", "predict"), compiled at its first use."""
        if self._steps is None:
            self._steps = {}
        step = self._steps.get((kind, weighted))
        if step is None:
            make = {"train": TrainStep, "test": TestStep, "predict": PredictStep}[kind]
            step = make(self) if kind == "predict" else make(self, weighted)
            self._steps[kind, weighted] = step
        return step

    def _logs(self, kind):
        """Loss and metrics of the steps of a kind."""
        logs = self._logs_of.get(kind)
        if logs is None:
            logs = self._logs_of[kind] = Logs(self, kind)
        return logs

    def _unweighted(self):
        return (False,) * len(self._compiled.outputs)

    def _make_train_function(self):
        self._require_compiled()
        self._step("train", self._unweighted())
        self.train_function = functools.partial(self._run_on, "train")

    def _make_test_function(self):
        self._require_compiled()
        self.test_function = functools.partial(self._run_on, "test")

    def _run_on(self, kind, arrays):
        """[loss, metrics ...] of one step on inputs, targets, sample weights (and a phase)."""
        fed = self._compiled.fed
        count = len(self._feed_inputs) + len(fed)
        weighted = dict(zip(fed, arrays[count:]))
        step = self._step(kind, tuple(out in weighted for out in self._compiled.outputs))
        step.run(arrays[:count + len(weighted)])
        return list(self._logs(kind).values())

    def _make_predict_function(self):
        self.predict_function = self._step("predict").function

    def _check_trainable_weights_consistency(self):
        collected = getattr(self, "_collected_trainable_weights", None)
        if collected is None:
            return
        switched = [layer.trainable for layer in self._compiled.layers]
        if switched == self._switched:             # gathering weights takes longer than a step
            return
        self._switched = switched
        if len(self.trainable_weights) != len(collected):
            self._switched = None
            warnings.warn("Discrepancy between trainable weights and collected trainable weights, "
                          "did you set `model.trainable` without calling `model.compile` after ?",
                          UserWarning, stacklevel=3)

    def _get_callback_model(self):
        return self.callback_model or self

    # ---------------------------------------------------------------- data

    def _inputs(self, x):
        """Checked arrays for the inputs."""
        names = self._feed_input_names
        arrays = data.as_list(data.row_list(x, self._feed_input_shapes), names, "input")
        for array, name in zip(arrays, names, strict=True):
            if array is None:
                data.fail(f"No data provided for input {name!r} of model {self.name}: got "
                          "None", name, "data, or Input(tensor=...) and a number of steps")
        data.check_shapes(arrays, names, self._feed_input_shapes, "input", False)
        return arrays

    def _standardize_user_data(self, x, y=None, sample_weight=None, class_weight=None,
                               check_array_lengths=True, batch_size=None):
        """Checked (inputs, targets, weights); weights: one per trained output, None for ones."""
        outputs = self._compiled.fed
        names = [out.name for out in outputs]
        xs = self._inputs(x)
        ys = data.as_list(y if self._compiled.outputs else data.not_needed(y), names, "target")
        for target, name in zip(ys, names, strict=True):
            if target is None:
                data.fail(f"No targets provided for output {name!r} of model {self.name}, which "
                          "has the loss that `compile` was given", name, "fit(x, y)")
        data.check_shapes(ys, names, [out.target_shape() for out in outputs], "target", False)
        data.check_targets(ys, outputs)
        given = data.per_output(sample_weight, names, "sample_weight")
        by_class = data.per_output(class_weight, names, "class_weight")
        weights = [data.sample_weights(target, w, c, out.mode, out.name) for target, w, c, out
                   in zip(ys, given, by_class, outputs, strict=True)]
        if check_array_lengths:
            data.check_counts(xs, ys, weights)
        self._check_stateful(xs, batch_size)
        found = dict(zip(names, weights, strict=True))
        return xs, ys, [found.get(out.name) for out in self._compiled.outputs]

    def _check_stateful(self, xs, batch_size):
        if self.stateful and batch_size and xs and xs[0].shape[0] % batch_size:
            data.fail("In a stateful network, you should only pass inputs with a number of samples "
                      f"that can be divided by the batch size. Found: {xs[0].shape[0]} samples, "
                      f"batch size {batch_size}.")

    def _batch_size(self, batch_size, argument="steps", steps=None):
        if steps is not None:
            if batch_size is not None:
                raise ValueError(f"If {argument} is set, the `batch_size` must be None: every step "
                                 "takes the whole data.")
            return None
        fixed = next((shape[0] for shape in self._feed_input_shapes if shape and shape[0]), None)
        if batch_size is None:
            return fixed or 32
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
            raise TypeError(f"`batch_size` should be an integer, got {batch_size!r}. Try: "
                            "int(batch_size)")
        if batch_size < 1:
            raise ValueError(f"`batch_size` should be at least 1, got {batch_size}.")
        if fixed and fixed != batch_size:
            raise ValueError(f"The `batch_size` argument value {batch_size} is incompatible with "
                             f"the specified batch size of your Input Layer: {fixed}")
        return int(batch_size)

    def _steps_of(self, argument, steps, *given):
        """Number of steps, None if the length of the data decides."""
        if steps is not None:
            return math.ceil(steps)
        tensors = any(K.is_tensor(x) for part in given for x in arguments.parts(part))
        if tensors or not (self._feed_inputs or any(part is not None for part in given)):
            raise ValueError("If your data is in the form of symbolic tensors, you should specify "
                             f"the `{argument}` argument (instead of the `batch_size` argument, "
                             "because symbolic tensors are expected to produce batches of input "
                             "data).")
        return None

    def _feed(self, kind, xs, ys, weights, batch_size, shuffle=False, steps=None):
        """The batches of a step for checked data."""
        weighted = tuple(w is not None for w in weights)
        arrays = [*xs, *ys, *[w for w in weights if w is not None]]
        if steps is not None:
            return StepsFeed(self._step(kind, weighted), arrays, steps)
        make = training_feed if kind == "train" else host_feed
        return make(self._step(kind, weighted), arrays, batch_size, shuffle)

    # ---------------------------------------------------------------- fit, evaluate, predict

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose=1, callbacks=None,
            validation_split=0.0, validation_data=None, shuffle=True, class_weight=None,
            sample_weight=None, initial_epoch=0, steps_per_epoch=None, validation_steps=None,
            validation_freq=1, max_queue_size=10, workers=1, use_multiprocessing=False,
            resume=None, **kwargs):
        """Train for several epochs.

        All data are checked before the first step; if something fails later, the weights are those
        after the last finished step.

        # Arguments
            x: array (samples, ...) of NumPy, pandas, h5py, CuPy, torch (those on the device are
                not copied) ..., or tensor; for several inputs a list, or a dict by input name; or a
                generator or Sequence, see `fit_generator`.
            y: targets, in the same way by outputs.
            batch_size: samples per update of the weights; 32 if not given.
            epochs: number of the last epoch; so many epochs if `initial_epoch` is 0.
            verbose: 0 silent, 1 progress bar, 2 a line per epoch.
            callbacks: list of callbacks.
            validation_split: share of the data, taken from the end, that is not trained on but
                evaluated after each epoch.
            validation_data: (x, y) or (x, y, sample_weight), evaluated after each epoch.
            shuffle: new order of the samples each epoch; "batch" moves whole batches.
            class_weight: dict class -> factor of the loss; for several outputs a list or dict of
                them.
            sample_weight: array (samples,), or (samples, steps) in mode "temporal".
            initial_epoch: epoch to start at.
            steps_per_epoch: with tensors as data (or `Input(tensor=...)` and `target_tensors`),
                which make a batch each time: steps of an epoch. Arrays are taken whole each step.
            validation_steps: the same for the validation.
            max_queue_size, workers, use_multiprocessing: for generators, see `fit_generator`.
            validation_freq: validate after every so many epochs, or after those listed (from 1).
            resume: folder to keep the state of the training in after each epoch, and to go on from
                if it holds one: after a crash the same call ends with the bits of a training that
                was not interrupted. Or a `callbacks.BackupAndRestore`, to save more often.

        # Returns
            History: `history` is a dict of lists, one value per epoch.

        # Raises
            RuntimeError: if the model is not compiled.
            ValueError: for data that do not fit.
        """
        callbacks = with_backup(callbacks, resume)
        epochs = arguments.legacy_epochs(kwargs, epochs)
        arguments.check_frequency(validation_freq)
        if is_generator_or_sequence(x):
            arguments.only_arrays(y=y, sample_weight=sample_weight, batch_size=batch_size,
                         validation_split=validation_split or None)
            return self.fit_generator(
                x, steps_per_epoch, epochs, verbose, callbacks, validation_data, validation_steps,
                validation_freq, class_weight, max_queue_size, workers, use_multiprocessing,
                shuffle, initial_epoch)
        self._require_compiled(x)
        steps = self._steps_of("steps_per_epoch", steps_per_epoch, x, y)
        batch_size = self._batch_size(batch_size, "steps_per_epoch", steps)
        xs, ys, weights = self._standardize_user_data(x, y, sample_weight, class_weight,
                                                      batch_size=batch_size)
        held = None
        if is_generator_or_sequence(validation_data):
            validation = self._generator_feed(
                "test", validation_data, validation_steps, "validation_steps", max_queue_size,
                workers, use_multiprocessing)
        else:
            (xs, ys, weights), held = self._validation(xs, ys, weights, validation_split,
                                                       validation_data, batch_size)
            if held is None and validation_steps and steps is not None:
                held = xs, ys, weights             # the tensors bring other data every time
            arguments.check_validation_steps(steps, validation_steps, held)
            validation = self._feed("test", *held, batch_size,
                                    steps=validation_steps) if held else None
        if steps is None and not len(xs[0] if xs else ys[0]):
            data.fail("There are no samples to train on: got arrays of length 0")
        self._check_trainable_weights_consistency()
        feed = self._feed("train", xs, ys, weights, batch_size, shuffle, steps)
        return loop.fit(self, feed, validation, epochs=epochs, verbose=int(verbose),
                        callbacks=callbacks, initial_epoch=initial_epoch,
                        validation_freq=validation_freq,
                        validation_arrays=arguments.all_arrays(held),
                        params={"batch_size": batch_size, "steps": None, "samples": feed.count})

    def _validation(self, xs, ys, weights, share, given, batch_size):
        """((xs, ys, weights) to train on, the same to validate on or None)."""
        if given is not None:
            if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
                got = f"it contains {len(given)} items" if isinstance(given, (tuple, list)) else (
                    f"it is of type {type(given).__name__}")
                data.fail("When passing validation_data, it must contain 2 (x_val, y_val) or 3 "
                          "(x_val, y_val, "
                          "val_sample_weights) items, however "
                          f"{got}", fix="validation_data=(x_val, y_val)")
            held = self._standardize_user_data(*given, batch_size=batch_size)
            return (xs, ys, weights), held
        if not share:
            return (xs, ys, weights), None
        if not xs or any(K.is_tensor(x) for x in xs):
            data.fail("If your data is in the form of symbolic tensors, you cannot use "
                      "`validation_split`.")
        count = len(xs[0])
        at = int(count * (1.0 - share))
        if not 0.0 < share < 1.0 or at in (0, count):
            data.fail(f"`validation_split` {share} of {count} samples leaves {at} samples to train "
                      f"on and {count - at} to validate on, expected a number between 0 and 1 that "
                      "leaves some of both")
        (x1, x2), (y1, y2), (w1, w2) = (data.split(part, at) for part in (xs, ys, weights))
        return (x1, y1, w1), (x2, y2, w2)

    def evaluate(self, x=None, y=None, batch_size=None, verbose=1, sample_weight=None, steps=None,
                 callbacks=None, max_queue_size=10, workers=1, use_multiprocessing=False):
        """Loss and metrics on data, without training; arguments as for `fit`.

        # Returns
            The loss, or a list in the order of `metrics_names` if there is more than the loss.
        """
        if is_generator_or_sequence(x):
            arguments.only_arrays(y=y, sample_weight=sample_weight, batch_size=batch_size)
            return self.evaluate_generator(x, steps, callbacks, max_queue_size, workers,
                                           use_multiprocessing, verbose)
        self._require_compiled(x)
        steps = self._steps_of("steps", steps, x, y)
        batch_size = self._batch_size(batch_size, "steps", steps)
        xs, ys, weights = self._standardize_user_data(x, y, sample_weight, batch_size=batch_size)
        if steps is None and not len(xs[0] if xs else ys[0]):
            data.fail("There are no samples to evaluate: got arrays of length 0")
        feed = self._feed("test", xs, ys, weights, batch_size, steps=steps)
        found = loop.evaluate(self, feed, callbacks=callbacks, verbose=verbose,
                              params={"batch_size": batch_size, "samples": feed.count,
                                      "metrics": self.metrics_names})
        return unpack_singleton([found[name] for name in self.metrics_names])

    def predict(self, x, batch_size=None, verbose=0, steps=None, callbacks=None, max_queue_size=10,
                workers=1, use_multiprocessing=False):
        """Outputs for data: an array, or a list of them for several outputs.

        # Arguments
            x, batch_size: as for `fit`.
            verbose: 0 silent, 1 progress bar.
        """
        if is_generator_or_sequence(x):
            arguments.only_arrays(batch_size=batch_size)
            return self.predict_generator(x, steps, callbacks, max_queue_size, workers,
                                          use_multiprocessing, verbose)
        self._require_inputs(x)
        steps = self._steps_of("steps", steps, x)
        batch_size = self._batch_size(batch_size, "steps", steps)
        xs = data.as_many_as_the_first(self._inputs(x))
        data.check_counts(xs, [])
        self._check_stateful(xs, batch_size)
        feed = self._feed("predict", xs, [], [], batch_size, steps=steps)
        if feed.count == 0:
            return unpack_singleton([np.empty((0, *[d or 0 for d in K.int_shape(t)[1:]]),
                                              values_dtype(t.dtype))
                                     for t in self.outputs])
        return unpack_singleton(loop.predict(
            self, feed, callbacks=callbacks, verbose=verbose,
            params={"batch_size": batch_size, "samples": feed.count}))

    # ---------------------------------------------------------------- single batches

    def train_on_batch(self, x, y, sample_weight=None, class_weight=None, reset_metrics=True):
        """One update of the weights on a batch; arguments as for `fit`.

        # Arguments
            reset_metrics: forget the metrics afterwards; else they go on over the next batches.

        # Returns
            The loss, or a list in the order of `metrics_names` if there is more than the loss.
        """
        return self._on_batch("train", x, y, sample_weight, class_weight, reset_metrics)

    def test_on_batch(self, x, y, sample_weight=None, reset_metrics=True):
        """Loss and metrics of a batch, as `train_on_batch` without the update."""
        return self._on_batch("test", x, y, sample_weight, None, reset_metrics)

    def _on_batch(self, kind, x, y, sample_weight, class_weight, reset_metrics):
        self._require_compiled(x)
        xs, ys, weights = self._standardize_user_data(x, y, sample_weight, class_weight)
        if kind == "train":
            self._check_trainable_weights_consistency()
        step = self._step(kind, tuple(w is not None for w in weights))
        step.run([*xs, *ys, *[w for w in weights if w is not None]])
        logs = self._logs(kind)
        values = list(logs.values())
        if reset_metrics:
            logs.reset()
        return unpack_singleton(values)

    def predict_on_batch(self, x):
        """Outputs for one batch: an array, or a list of them for several outputs."""
        self._require_inputs(x)
        xs = self._inputs(x)
        data.check_counts(xs, [])
        return unpack_singleton(self._step("predict").run(xs).fetch())

    def profile(self, x, y=None, sample_weight=None, runs=10, print_fn=print):
        """Time one batch, part by part: a training step, or prediction if there is no `y`.

        The model is afterwards what it was. The parts are timed apart, so that small ones cost more
        here than in `fit`; the time of the whole step is that of `fit`.

        # Arguments
            x, y, sample_weight: one batch, as for `train_on_batch`.
            runs: repetitions; figures are medians.
            print_fn: called with the table by layer; None prints nothing.

        # Returns
            A `Profile`: `steps`, `layers()`, `whole_seconds`, `save_trace(path)`.
        """
        if y is None:
            self._require_inputs(x)
            step, arrays = self._step("predict"), self._inputs(x)
        else:
            self._require_compiled(x)
            xs, ys, weights = self._standardize_user_data(x, y, sample_weight)
            step = self._step("train", tuple(w is not None for w in weights))
            arrays = [*xs, *ys, *[w for w in weights if w is not None]]
        found = profile_step(self.name, step.function, arrays, runs)
        if print_fn is not None:
            print_fn(str(found))
        return found


def _with_inner(layer):
    """A layer and all layers in it, at any depth."""
    return [layer] + [inner for own in layer._sublayers() for inner in _with_inner(own)]
