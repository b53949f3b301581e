"""Metric: state in variables, gathered batch by batch; and the sums and means it mostly is.

Called on tensors a Metric records how its state changes (`updates`, which a compiled function
applies) and returns its value with that batch included; `result()` reads the value as it stands.
"""
import numpy as np

from .. import backend as K
from .. import initializers
from ..configured import Configured
from ..graph import layer_scope, rebuild
from ..utils.generic_utils import to_snake_case
from ..weighting import Reduction, squeeze_or_expand_dimensions, weigh


class Metric(Configured):
    """Base of the metrics.

    A subclass makes its state with `add_weight` in the constructor and defines
    `update_state(y_true, y_pred, sample_weight=None)`, which returns a list of updates
    (`K.update_add(variable, tensor)`), and `result()`, a tensor.

    # Arguments
        name: None for the class name in snake_case plus a counter.
        dtype: of the state; None for K.floatx().
    """

    stateful = True
    built = True

    def __init__(self, name=None, dtype=None, **kwargs):
        if kwargs:
            raise TypeError(f"Keyword argument not understood: {', '.join(kwargs)}; "
                            "a metric takes name and dtype.")
        prefix = to_snake_case(type(self).__name__)
        self.keep(name=name or f"{prefix}_{K.get_uid(prefix)}", dtype=dtype or K.floatx())
        self.weights = []
        self.updates = []

    def __call__(self, *args, **kwargs):
        """Take a batch into account (see `update_state`); returns `result()` after it."""
        seen = len(self.updates)
        with layer_scope(self.name):
            returned, value = self.update_state(*args, **kwargs), self.result()
        new = self.updates[seen:]
        new += [u for u in _pairs(returned) if not any(u[0] is v and u[1] is x for v, x in new)]
        del self.updates[seen:]
        self._record(new)
        result, = rebuild([K.identity(value)], dict(self.updates))
        result._metric_obj = self
        return result

    def _record(self, new):
        """Append updates; a second one of the same variable starts from what the first gives."""
        earlier = dict(self.updates)
        later = rebuild([x for _, x in new], dict(earlier))
        for (variable, _), x in zip(new, later, strict=True):
            earlier[variable] = x
        self.updates = list(earlier.items())

    def add_weight(self, name, shape=(), initializer=None, dtype=None):
        """A new state variable; `initializer` (None: zeros) gives its first value."""
        dtype = dtype or self.dtype
        initializer = initializers.get("zeros" if initializer is None else initializer)
        with K.name_scope(self.name):
            weight = K.variable(initializer(shape, dtype=dtype), dtype=dtype, name=name)
        weight.trainable = False
        self.weights.append(weight)
        return weight

    def add_update(self, updates, inputs=None):
        """Record updates made in `update_state` that it does not return."""
        self.updates += _pairs(updates)

    def reset_states(self):
        """Set all state to zero; called at the start of each epoch and evaluation."""
        K.batch_set_value([(w, np.zeros(K.int_shape(w))) for w in self.weights])

    def update_state(self, *args, **kwargs):
        raise NotImplementedError(f"{type(self).__name__} must define update_state().")

    def result(self):
        raise NotImplementedError(f"{type(self).__name__} must define result().")

    @property
    def non_trainable_weights(self):
        return self.weights

    trainable_weights = ()

    def get_weights(self):
        """The state as arrays."""
        return K.batch_get_value(self.weights)

    def set_weights(self, weights):
        """Set the state from arrays in the order of `get_weights`."""
        K.batch_set_value(list(zip(self.weights, weights, strict=True)))


def _pairs(updates):
    """The (variable, tensor) pairs in what an update_state returned."""
    if updates is None:
        return []
    return [updates] if isinstance(updates, tuple) and K.is_variable(updates[0]) else list(updates)


class Reduce(Metric):
    """Gathers values by sum, mean over elements, or mean weighted by sample weights."""

    def __init__(self, reduction, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.reduction = reduction
        self.total = self.add_weight("total")
        if reduction in (Reduction.SUM_OVER_BATCH_SIZE, Reduction.WEIGHTED_MEAN):
            self.count = self.add_weight("count")
        elif reduction != Reduction.SUM:
            raise NotImplementedError(f"reduction [{reduction}] not implemented")

    def update_state(self, values, sample_weight=None):
        """values: tensor of any shape; sample_weight: None or broadcastable to it."""
        values = K.cast(values if K.is_tensor(values) else K.constant(values), self.dtype)
        weighted, weights = weigh(values, sample_weight)
        updates = [K.update_add(self.total, K.sum(weighted))]
        if self.reduction == Reduction.SUM:
            return updates
        if weights is None or self.reduction == Reduction.SUM_OVER_BATCH_SIZE:
            weights = K.ones_like(values, dtype=self.dtype)
        return [*updates, K.update_add(self.count, K.sum(weights))]

    def result(self):
        return self.total if self.reduction == Reduction.SUM else self.total / self.count


class Sum(Reduce):
    """Sum of all values, each times its weight."""

    def __init__(self, name="sum", dtype=None):
        super().__init__(Reduction.SUM, name, dtype=dtype)


class Mean(Reduce):
    """Weighted mean of all values."""

    def __init__(self, name="mean", dtype=None):
        super().__init__(Reduction.WEIGHTED_MEAN, name, dtype=dtype)


class MeanMetricWrapper(Mean):
    """Mean of `fn(y_true, y_pred, **kwargs)` over batches; the keywords are part of the config."""

    def __init__(self, fn, name=None, dtype=None, **kwargs):
        super().__init__(name=name or getattr(fn, "__name__", None), dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = as_type(y_true, self.dtype), as_type(y_pred, self.dtype)
        y_pred, y_true = squeeze_or_expand_dimensions(y_pred, y_true)
        return super().update_state(self._fn(y_true, y_pred, **self._fn_kwargs),
                                    sample_weight=sample_weight)

    def get_config(self):
        plain = {name: K.eval(x) if K.is_tensor(x) else x for name, x in self._fn_kwargs.items()}
        return {**super().get_config(), **plain}


def as_type(x, dtype):
    """`x` as a tensor of `dtype`; the same tensor if it is one already."""
    return K.cast(x, dtype) if K.is_tensor(x) else K.constant(x, dtype=dtype)
