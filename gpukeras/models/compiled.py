"""What `compile` was told: losses, weights and metrics, per output, and the tensors they make."""
import inspect
import warnings

from .. import backend as K
from .. import losses, metrics, optimizers
from ..graph import rebuild
from ..layers.node import keras_shape
from ..policy import in_float32
from ..utils.generic_utils import nearest_names


class Output:
    """An output of a model, with its loss and metrics.

    Attributes: name, tensor, mask, shape; loss (a Loss, None if it does not train), loss_weight,
    metrics and weighted_metrics (lists of Metric), mode (None or "temporal"), target (placeholder,
    or the tensor that the user gave), sample_weight (placeholder), loss_metric (mean of the loss
    over batches, if there are several outputs).
    """

    def __init__(self, name, tensor, mask):
        self.name, self.tensor, self.mask = name, tensor, mask
        self.shape = keras_shape(tensor)
        self.loss, self.loss_weight, self.mode = None, 1.0, None
        self.metrics, self.weighted_metrics, self.loss_metric = [], [], None
        self.target = self.sample_weight = None

    def target_shape(self):
        """Shape that targets must have, None if the loss is the user's own and may take any."""
        fn = getattr(self.loss, "fn", None)
        if fn is None or getattr(losses, getattr(fn, "__name__", ""), None) is not fn:
            return None
        if fn is losses.sparse_categorical_crossentropy:
            if K.image_data_format() == "channels_first" and len(self.shape) in (4, 5):
                return (self.shape[0], 1, *self.shape[2:])
            return (*self.shape[:-1], 1)
        return self.shape

    @property
    def is_fed(self):
        """False for targets that are computed, given to `compile` as a tensor."""
        return K.is_placeholder(self.target)

    def make_placeholders(self, target=None):
        shape = self.target_shape() or (None,) * len(self.shape)
        self.target = target if target is not None else K.placeholder(
            shape=(None, *shape[1:]), name=f"{self.name}_target",
            dtype=K.dtype(in_float32(self.tensor)))
        rank = 2 if self.mode == "temporal" else 1
        self.sample_weight = K.placeholder(shape=(None,) * rank,
                                           name=f"{self.name}_sample_weights")


class Compiled:
    """The training configuration of a model, and the tensors that follow from it."""

    def __init__(self, model, loss, metrics, loss_weights, sample_weight_mode, weighted_metrics,
                 target_tensors=None):
        self.model = model
        self.all_outputs = [Output(name, tensor, mask) for name, tensor, mask in zip(
            model.output_names, model.outputs, model._output_masks, strict=True)]
        names = model.output_names
        for out, identifier in zip(self.all_outputs, _per_output_loss(loss, names), strict=True):
            out.loss = loss_of(identifier)
        for out, weight in zip(self.all_outputs, _loss_weights(loss_weights, names), strict=True):
            out.loss_weight = weight
        modes = _modes(sample_weight_mode, names)
        targets = _target_tensors(target_tensors, names)
        for out, mode, target in zip(self.all_outputs, modes, targets, strict=True):
            out.mode = mode
            out.make_placeholders(target)
        self.outputs = [out for out in self.all_outputs if out.loss is not None]
        self.fed = [out for out in self.outputs if out.is_fed]
        self.added_losses = list(model.losses)     # those added later count from the next compile
        if not self.outputs and not self.added_losses:
            raise ValueError("The model cannot be compiled because it has no loss to optimize. "
                             "Try: compile(optimizer, loss='mse')")
        self._make_metrics(metrics, weighted_metrics)

    def _make_metrics(self, plain, weighted):
        names = self.model.output_names
        plain = _per_output_metrics(plain, names, "metrics")
        weighted = _per_output_metrics(weighted, names, "weighted_metrics")
        several = len(self.all_outputs) > 1
        self.names = ["loss"]
        if several:
            for out in self.outputs:
                out.loss_metric = metrics.Mean(name=f"{out.name}_loss")
                self.names.append(out.loss_metric.name)
        for i, out in enumerate(self.all_outputs):
            if out.loss is None:
                continue
            out.metrics = metric_objects(plain[i], out)
            out.weighted_metrics = metric_objects(weighted[i], out)
            for metric in out.metrics + out.weighted_metrics:
                metric.name = _unique(f"{out.name}_{metric.name}" if several else metric.name,
                                      self.names)
                self.names.append(metric.name)

    @property
    def own_metrics(self):
        """Metrics given to `compile`, in the order of their names."""
        return [m for out in self.outputs for m in out.metrics + out.weighted_metrics]

    @property
    def loss_metrics(self):
        return [out.loss_metric for out in self.outputs if out.loss_metric is not None]

    def terms(self, weighted):
        """The tensors of one step.

        # Arguments
            weighted: for each trained output, whether its samples have weights.

        # Returns
            (total loss, list of values in the order of the metric names, metric updates).
        """
        total, values, updates, later = None, [], [], []
        for out, has_weight in zip(self.outputs, weighted, strict=True):
            mask = None if out.mask is None else K.cast(out.mask, K.floatx())
            weight = _masked(out.sample_weight if has_weight else None, mask)
            scores = in_float32(out.tensor)
            with K.name_scope(f"{out.name}_loss"):
                value = out.loss(out.target, scores, sample_weight=weight)
            term = value if out.loss_weight == 1 else out.loss_weight * value
            total = term if total is None else total + term
            if out.loss_metric is not None:
                values.append(_running(out.loss_metric, updates, _scalar(value)))
            for m in out.metrics:
                later.append(_running(m, updates, out.target, scores, sample_weight=mask))
            for m in out.weighted_metrics:
                later.append(_running(m, updates, out.target, scores, sample_weight=weight))
        for term in self.added_losses:
            total = term if total is None else total + term
        total = _scalar(total)
        measured = self.model._of_own_calls("_measured")
        for m in self.model._layer_metrics():
            if any(metric is m for metric, _ in measured):
                m.updates = []
            for value in [value for metric, value in measured if metric is m]:
                m(value)
            later += rebuild([K.identity(m.result())], dict(m.updates))
            updates += m.updates
        return total, [total, *values, *later], updates


def _running(metric, updates, *arguments, **keywords):
    """Value of `metric` after this batch; its updates are added to `updates`."""
    metric.updates = []                             # an earlier step function may have left its own
    value = metric(*arguments, **keywords)
    updates += metric.updates
    return value


def _masked(weight, mask):
    """Product of sample weights and mask, either of which may be missing or lack the last axes."""
    if weight is None or mask is None:
        return mask if weight is None else weight
    rank = max(K.ndim(weight), K.ndim(mask))
    for _ in range(rank - K.ndim(weight)):
        weight = K.expand_dims(weight)
    for _ in range(rank - K.ndim(mask)):
        mask = K.expand_dims(mask)
    return weight * mask


def _scalar(x):
    return K.mean(x) if K.ndim(x) else x


def _unique(name, names):
    found, n = name, 1
    while found in names:
        found, n = f"{name}_{n}", n + 1
    return found


def with_loss_scale(optimizer, layers):
    """The optimizer, with a loss scale if it has none and a layer computes in float16."""
    needed = any(layer.dtype_policy.name == "mixed_float16" for layer in layers)
    if not needed or isinstance(optimizer, optimizers.LossScaleOptimizer) or not isinstance(
            optimizer, optimizers.Optimizer):
        return optimizer
    return optimizers.LossScaleOptimizer(optimizer)


# ---------------------------------------------------------------- arguments of compile

def loss_of(identifier):
    """A Loss for a name, config, function or Loss; None for None."""
    if identifier is None or isinstance(identifier, losses.Loss):
        return identifier
    if inspect.isclass(identifier) and issubclass(identifier, losses.Loss):
        raise ValueError(f"Got the class {identifier.__name__} as loss, expected an object. Try: "
                         f"{identifier.__name__}()")
    fn = losses.get(identifier)
    if isinstance(fn, losses.Loss):
        return fn
    return losses.LossFunctionWrapper(fn, name=getattr(fn, "__name__", type(fn).__name__))


def _check_keys(what, given, names):
    unknown = [key for key in given if key not in names]
    if unknown:
        near = nearest_names(unknown[0], names)
        raise ValueError(f"Unknown entries in {what} dictionary: {unknown}. Only expected "
                         "following keys: "
                         f"{list(names)}" + (f". Did you mean {near[0]!r}?" if near else ""))


def _one_per_output(what, given, names, word="output"):
    if len(given) != len(names):
        raise ValueError(f"When passing a list as {what}, it should have one entry per model "
                         f"{word}. The model has {len(names)} outputs, but you passed "
                         f"{what}={given}")
    return list(given)


def _per_output_loss(loss, names):
    loss = {} if loss is None else loss
    if isinstance(loss, dict) and "class_name" not in loss:
        _check_keys("loss", loss, names)
        for name in names:
            if name not in loss:
                warnings.warn(f"Output {name} missing from loss dictionary. We assume this was "
                              "done on purpose. The fit and evaluate APIs will not be expecting "
                              f"any data to be passed to {name}.", stacklevel=5)
        return [loss.get(name) for name in names]
    if isinstance(loss, (list, tuple)):
        return _one_per_output("loss", loss, names, "outputs")
    return [loss] * len(names)


def _loss_weights(weights, names):
    if weights is None:
        return [1.0] * len(names)
    if isinstance(weights, dict):
        _check_keys("loss_weights", weights, names)
        return [weights.get(name, 1.0) for name in names]
    if isinstance(weights, (list, tuple)):
        return _one_per_output("loss_weights", weights, names)
    raise TypeError(f"Could not interpret loss_weights argument: {weights} - expected a list or a "
                    "dict by output name.")


def _modes(mode, names):
    if isinstance(mode, dict):
        _check_keys("sample_weight_mode", mode, names)
        return [mode.get(name) for name in names]
    if isinstance(mode, (list, tuple)):
        return _one_per_output("sample_weight_mode", mode, names)
    return [mode] * len(names)


def _target_tensors(tensors, names):
    if tensors is None or (isinstance(tensors, (list, tuple)) and not len(tensors)):
        return [None] * len(names)
    if isinstance(tensors, dict):
        _check_keys("target_tensors", tensors, names)
        return [tensors.get(name) for name in names]
    if not isinstance(tensors, (list, tuple)):
        if not K.is_tensor(tensors):
            raise TypeError("Expected `target_tensors` to be a tensor, a list of tensors, or dict "
                            f"of tensors, but got: {tensors!r}")
        tensors = [tensors]
    if len(tensors) != len(names):
        raise ValueError("When passing a list as `target_tensors`, it should have one entry per "
                         f"model output. The model has {len(names)} outputs, but you passed "
                         f"{len(tensors)}.")
    return list(tensors)


def _per_output_metrics(given, names, what):
    """Metrics as a list per output."""
    if given is None or given == []:
        return [[] for _ in names]
    if isinstance(given, dict):
        _check_keys(what, given, names)
        found = [given.get(name, []) for name in names]
        return [list(m) if isinstance(m, (list, tuple)) else [m] for m in found]
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"Type of `{what}` argument not understood. Expected a list or dictionary, "
                        f"found: {given}")
    if any(isinstance(m, (list, tuple)) for m in given):
        if len(given) != len(names):
            raise ValueError(f"When passing a list of lists as `{what}`, it should have one entry "
                             f"per model output. The model has {len(names)} outputs, but you "
                             f"passed {what}={given}")
        return [list(m) if isinstance(m, (list, tuple)) else [m] for m in given]
    # each output gathers its own state
    return [list(given)] + [metrics.clone_metrics(list(given)) for _ in names[1:]]


def metric_objects(given, out):
    """Metric objects of one output; what comes under one name twice counts once."""
    found = {}
    for item in given:
        if inspect.isclass(item) and issubclass(item, metrics.Metric):
            raise ValueError(f"Got the class {item.__name__} as metric, expected an object. Try: "
                             f"{item.__name__}()")
        fn = _metric_function(item, out)
        if isinstance(fn, metrics.Metric):
            name = item if isinstance(item, str) else fn.name
        else:
            name = item if isinstance(item, str) else getattr(fn, "__name__", type(fn).__name__)
            fn = metrics.MeanMetricWrapper(fn, name=name)
        found[name] = fn
    return list(found.values())


def _metric_function(item, out):
    """The function or Metric of an entry; accuracy and crossentropy follow the loss."""
    if item not in ("accuracy", "acc", "crossentropy", "ce"):
        return metrics.get(item)
    kind = "accuracy" if item in ("accuracy", "acc") else "crossentropy"
    fn = getattr(out.loss, "fn", None)
    if out.shape[-1] == 1 or fn is losses.binary_crossentropy:
        return getattr(metrics, f"binary_{kind}")
    if fn is losses.sparse_categorical_crossentropy:
        return getattr(metrics, f"sparse_categorical_{kind}")
    return getattr(metrics, f"categorical_{kind}")
