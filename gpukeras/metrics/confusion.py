"""Metrics of a binary decision: counts of right and wrong at thresholds, and what follows.

y_true holds 0 or 1 and y_pred scores in [0, 1], of the same shape; a score is positive above the
threshold. With several thresholds a result has one entry for each. 0 / 0 counts as 0.
"""
import numpy as np

from .. import backend as K
from ..utils.generic_utils import to_list
from ..weighting import squeeze_or_expand_dimensions, weigh
from .base import Metric, as_type

_BELOW_ALL = -1e10                                           # threshold that every score passes


def to_thresholds(thresholds, default=0.5):
    """Thresholds as a list of floats; None is [default].

    # Raises
        ValueError: for one outside [0, 1].
    """
    if thresholds is None:
        return [float(default)]
    thresholds = [float(t) for t in to_list(thresholds, allow_tuple=True)]
    wrong = [t for t in thresholds if not 0 <= t <= 1]
    if wrong:
        raise ValueError(f"Threshold values must be in [0, 1]. Invalid values: {wrong}")
    return thresholds


def safe_divide(a, b):
    """a / b, and 0 where b is 0."""
    is_zero = K.cast(K.equal(b, 0.0), K.dtype(b))
    return (1.0 - is_zero) * a / (b + is_zero)


def keep_top_k(y_pred, k):
    """y_pred with all but the k largest scores of the last axis far below any threshold.

    Of equal scores the first ones count as larger.
    """
    scores = K.expand_dims(y_pred, -1)                       # (..., n, 1) against (..., 1, n)
    others = K.expand_dims(y_pred, -2)
    n = K.int_shape(y_pred)[-1]
    before = K.constant(np.tri(n, k=-1), dtype=K.dtype(y_pred))
    larger = K.cast(K.greater(others, scores), K.dtype(y_pred))
    equal = K.cast(K.equal(others, scores), K.dtype(y_pred))
    rank = K.sum(larger + equal * before, axis=-1)           # how many come before this one
    return K.switch(K.less(rank, float(k)), y_pred, K.zeros_like(y_pred) + _BELOW_ALL)


class ConfusionMetric(Metric):
    """Base: one variable per kind of count, with one entry per threshold.

    `counts` names the kinds: true_positives, true_negatives, false_positives, false_negatives.
    """

    counts = ()
    top_k = class_id = None

    def _make_counts(self, thresholds):
        self.thresholds = thresholds
        for count in self.counts:
            setattr(self, count, self.add_weight(count, shape=(len(thresholds),)))

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = as_type(y_true, self.dtype), as_type(y_pred, self.dtype)
        y_pred, y_true = squeeze_or_expand_dimensions(y_pred, y_true)
        if self.top_k is not None:
            y_pred = keep_top_k(y_pred, self.top_k)
        if self.class_id is not None:
            y_true, y_pred = y_true[..., self.class_id], y_pred[..., self.class_id]
        _, weights = weigh(y_pred, sample_weight)

        def row(x):
            return K.reshape(x, (1, -1))

        limits = K.constant(np.reshape(self.thresholds, (-1, 1)), dtype=self.dtype)
        said = {"positives": K.cast(K.greater(row(y_pred), limits), self.dtype)}
        said["negatives"] = 1.0 - said["positives"]          # (thresholds, elements)
        positive = row(K.cast(K.not_equal(y_true, 0.0), self.dtype))
        updates = []
        for count in self.counts:
            right, kind = count.split("_")
            is_positive = (right == "true") == (kind == "positives")
            hits = said[kind] * (positive if is_positive else 1.0 - positive)
            if weights is not None:
                hits = hits * row(weights)
            updates.append(K.update_add(getattr(self, count), K.sum(hits, axis=1)))
        return updates

    def _per_threshold(self, values):
        return values[0] if len(self.thresholds) == 1 else values


class _ConfusionMatrixConditionCount(ConfusionMetric):
    """One kind of count, weighted."""

    def __init__(self, confusion_matrix_cond, thresholds=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.counts = (confusion_matrix_cond,)
        self.keep(thresholds=thresholds)
        self.init_thresholds = thresholds
        self._make_counts(to_thresholds(thresholds))
        self.accumulator = getattr(self, confusion_matrix_cond)

    def result(self):
        return self._per_threshold(self.accumulator)

    def get_config(self):
        return {**super().get_config(), "thresholds": self.init_thresholds}


def _count_class(class_name, condition, text):
    def __init__(self, thresholds=None, name=None, dtype=None):
        _ConfusionMatrixConditionCount.__init__(self, condition, thresholds, name, dtype)

    doc = f"{text}\n\n    thresholds: a float in [0, 1] or a list of them, None for 0.5."
    return type(class_name, (_ConfusionMatrixConditionCount,),
                {"__init__": __init__, "__doc__": doc, "__module__": __name__})


FalsePositives = _count_class("FalsePositives", "false_positives", "Number of 0 taken for 1.")
FalseNegatives = _count_class("FalseNegatives", "false_negatives", "Number of 1 taken for 0.")
TrueNegatives = _count_class("TrueNegatives", "true_negatives", "Number of 0 seen as 0.")
TruePositives = _count_class("TruePositives", "true_positives", "Number of 1 seen as 1.")


class _Share(ConfusionMetric):
    """true_positives / (true_positives + the second count)."""

    def __init__(self, thresholds=None, top_k=None, class_id=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.keep(thresholds=thresholds, top_k=top_k, class_id=class_id)
        self.init_thresholds = thresholds
        self._make_counts(to_thresholds(thresholds, 0.5 if top_k is None else _BELOW_ALL))

    def result(self):
        right, other = (getattr(self, count) for count in self.counts)
        return self._per_threshold(safe_divide(right, right + other))

    def get_config(self):
        return {**super().get_config(), "thresholds": self.init_thresholds}


class Precision(_Share):
    """Share of the positives found that are right: tp / (tp + fp).

    # Arguments
        thresholds: a float in [0, 1] or a list of them; None for 0.5 (for none with `top_k`).
        top_k: only the k largest scores of the last axis can be positive.
        class_id: look at this entry of the last axis only.
    """

    counts = ("true_positives", "false_positives")


class Recall(_Share):
    """Share of the true ones that are found: tp / (tp + fn). Arguments as for Precision."""

    counts = ("true_positives", "false_negatives")


_ALL_COUNTS = ("true_positives", "true_negatives", "false_positives", "false_negatives")


def _evenly(n):
    return [0.5] if n == 1 else [i / (n - 1) for i in range(n)]


class SensitivitySpecificityBase(ConfusionMetric):
    """Base: the best threshold among `num_thresholds` for a wanted rate, and another rate there."""

    counts = _ALL_COUNTS

    def __init__(self, value, num_thresholds=200, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        if num_thresholds <= 0:
            raise ValueError(f"`num_thresholds` must be > 0, got {num_thresholds}.")
        self.value = value
        self.keep(num_thresholds=num_thresholds)
        self._make_counts(_evenly(num_thresholds))

    def _rates(self):
        return (safe_divide(self.true_positives, self.true_positives + self.false_negatives),
                safe_divide(self.true_negatives, self.true_negatives + self.false_positives))

    def _at_wanted(self, rates, wanted_of):
        best = K.argmin(K.abs(wanted_of - self.value), axis=0)
        return K.gather(rates, best)


def _in_unit_range(name, value):
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` must be in the range [0, 1], got {value}.")
    return value


class SensitivityAtSpecificity(SensitivitySpecificityBase):
    """tp / (tp + fn) at the threshold whose specificity is nearest to `specificity`."""

    def __init__(self, specificity, num_thresholds=200, name=None, dtype=None):
        super().__init__(_in_unit_range("specificity", specificity), num_thresholds, name, dtype)
        self.keep(specificity=specificity)

    def result(self):
        sensitivity, specificity = self._rates()
        return self._at_wanted(sensitivity, specificity)


class SpecificityAtSensitivity(SensitivitySpecificityBase):
    """tn / (tn + fp) at the threshold whose sensitivity is nearest to `sensitivity`."""

    def __init__(self, sensitivity, num_thresholds=200, name=None, dtype=None):
        super().__init__(_in_unit_range("sensitivity", sensitivity), num_thresholds, name, dtype)
        self.keep(sensitivity=sensitivity)

    def result(self):
        sensitivity, specificity = self._rates()
        return self._at_wanted(specificity, sensitivity)


class AUC(ConfusionMetric):
    """Area under the ROC or the precision-recall curve, by a sum over thresholds.

    # Arguments
        num_thresholds: number of points of the curve, more than 1.
        curve: "ROC" (true over false positive rate) or "PR" (precision over recall).
        summation_method: "interpolation" (trapezoids; for PR after Davis and Goadrich 2006),
            "minoring" or "majoring" (rectangles below or above).
        thresholds: the inner thresholds, instead of evenly spaced ones.
    """

    counts = _ALL_COUNTS

    def __init__(self, num_thresholds=200, curve="ROC", summation_method="interpolation", name=None,
                 dtype=None, thresholds=None):
        if str(curve).upper() not in ("ROC", "PR"):
            raise ValueError(f"Invalid curve: {curve!r}. Expected 'ROC' or 'PR'.")
        if str(summation_method).lower() not in ("interpolation", "minoring", "majoring"):
            raise ValueError(f"Invalid summation_method: {summation_method!r}. Expected "
                             "'interpolation', 'minoring' or 'majoring'.")
        super().__init__(name=name, dtype=dtype)
        if thresholds is not None:
            thresholds = sorted(to_thresholds(thresholds))
            num_thresholds = len(thresholds) + 2
        elif num_thresholds <= 1:
            raise ValueError(f"`num_thresholds` must be > 1, got {num_thresholds}.")
        else:
            thresholds = _evenly(num_thresholds)[1:-1]
        self.keep(num_thresholds=num_thresholds, curve=str(curve).upper(),
                  summation_method=str(summation_method).lower())
        # the outer two are moved out so that scores of exactly 0 and 1 fall between thresholds
        self._make_counts([-K.epsilon(), *thresholds, 1 + K.epsilon()])

    def result(self):
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.interpolate_pr_auc()
        recall = safe_divide(self.true_positives, self.true_positives + self.false_negatives)
        if self.curve == "ROC":
            x = safe_divide(self.false_positives, self.false_positives + self.true_negatives)
            y = recall
        else:
            x = recall
            y = safe_divide(self.true_positives, self.true_positives + self.false_positives)
        left, right = y[:-1], y[1:]
        heights = {"interpolation": (left + right) / 2.0, "minoring": K.minimum(left, right),
                   "majoring": K.maximum(left, right)}[self.summation_method]
        return K.sum((x[:-1] - x[1:]) * heights)

    def interpolate_pr_auc(self):
        """Area under the precision-recall curve, true positives linear in positives between points.

        Davis and Goadrich 2006, The relationship between precision-recall and ROC curves.
        """
        tp, p = self.true_positives, self.true_positives + self.false_positives
        d_tp, d_p = tp[:-1] - tp[1:], p[:-1] - p[1:]
        slope = safe_divide(d_tp, K.maximum(d_p, 0.0))
        intercept = tp[1:] - slope * p[1:]
        both = K.cast(K.greater(K.minimum(p[:-1], p[1:]), 0.0), self.dtype)
        ratio = both * safe_divide(p[:-1], p[1:]) + (1.0 - both)
        positives = K.maximum(tp[1:] + self.false_negatives[1:], 0.0)
        return K.sum(safe_divide(slope * (d_tp + intercept * K.log(ratio)), positives))

    def get_config(self):
        return {**super().get_config(), "thresholds": self.thresholds[1:-1]}


class MeanIoU(Metric):
    """Mean over classes of tp / (tp + fp + fn); classes that never occur do not count.

    y_true, y_pred: class numbers, of the same shape.
    """

    def __init__(self, num_classes, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.keep(num_classes=num_classes)
        self.total_cm = self.add_weight("total_confusion_matrix", shape=(num_classes, num_classes))

    def update_state(self, y_true, y_pred, sample_weight=None):
        true = K.one_hot(K.flatten(as_type(y_true, "int32")), self.num_classes)
        pred = K.one_hot(K.flatten(as_type(y_pred, "int32")), self.num_classes)
        true, pred = K.cast(true, self.dtype), K.cast(pred, self.dtype)
        if sample_weight is not None:
            true = true * K.reshape(as_type(sample_weight, self.dtype), (-1, 1))
        return [K.update_add(self.total_cm, K.dot(K.transpose(true), pred))]

    def result(self):
        diagonal = K.constant(np.eye(self.num_classes), dtype=self.dtype)
        right = K.sum(self.total_cm * diagonal, axis=0)
        union = K.sum(self.total_cm, axis=0) + K.sum(self.total_cm, axis=1) - right
        occurring = K.sum(K.cast(K.not_equal(union, 0.0), self.dtype))
        return safe_divide(K.sum(safe_divide(right, union)), occurring)
