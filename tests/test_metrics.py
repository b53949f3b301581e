"""Metrics over batches, against counts and areas worked out in NumPy or by hand."""
import inspect

import numpy as np
import pytest

from gpukeras import backend as K, losses, metrics

RNG = np.random.RandomState(9)
Y = (RNG.uniform(size=(3, 40)) > 0.6).astype("float32")
P = np.clip(0.5 * Y + RNG.uniform(size=Y.shape) * 0.6, 0, 1).astype("float32")
W = RNG.uniform(0.1, 3, size=Y.shape).astype("float32")


def run(metric, *batches):
    """The metric's value after the batches, by the function that a training step would be."""
    inputs = [K.placeholder(shape=(None,) + np.shape(a)[1:]) for a in batches[0]]
    value = metric(*inputs)
    step = K.function(inputs, [value], metric.updates)
    for batch in batches:
        shown = step([np.asarray(a, "float32") for a in batch])[0]
    np.testing.assert_allclose(K.eval(metric.result()), shown, rtol=1e-6)
    return shown


def counts(threshold, y=Y, p=P, w=1.0):
    said = p > threshold
    return {"true_positives": ((y == 1) & said) * w, "false_positives": ((y == 0) & said) * w,
            "true_negatives": ((y == 0) & ~said) * w, "false_negatives": ((y == 1) & ~said) * w}


@pytest.mark.parametrize("name", ["TruePositives", "FalsePositives", "TrueNegatives",
                                  "FalseNegatives"])
def test_counts(name):
    key = metrics.serialize(getattr(metrics, name)())["config"]["name"].rsplit("_", 1)[0]
    assert run(getattr(metrics, name)(), *zip(Y, P)) == counts(0.5)[key].sum()
    several = run(getattr(metrics, name)(thresholds=[0.2, 0.7]), *zip(Y, P, W))
    wanted = [counts(t, w=W)[key].sum() for t in (0.2, 0.7)]
    np.testing.assert_allclose(several, wanted, rtol=1e-5)


def test_precision_and_recall():
    c = {name: x.sum() for name, x in counts(0.5).items()}
    precision = c["true_positives"] / (c["true_positives"] + c["false_positives"])
    recall = c["true_positives"] / (c["true_positives"] + c["false_negatives"])
    np.testing.assert_allclose(run(metrics.Precision(), *zip(Y, P)), precision, rtol=1e-6)
    np.testing.assert_allclose(run(metrics.Recall(), *zip(Y, P)), recall, rtol=1e-6)
    assert run(metrics.Precision(thresholds=1.0), (Y[0], P[0])) == 0.0         # 0 / 0


def test_top_k_and_class_id():
    y, p = np.eye(4)[[0, 1, 2, 3]], np.array([[.4, .3, .2, .1], [.1, .2, .3, .4], [.1, .1, .1, .1],
                                              [.5, .4, .3, .2]])
    # the two largest, ties to the first: classes {0,1} {2,3} {0,1} {0,1}
    assert run(metrics.Recall(top_k=2), (y, p)) == 0.25
    assert run(metrics.Precision(top_k=2), (y, p)) == 0.125
    assert run(metrics.Recall(top_k=2, class_id=0), (y, p)) == 1.0
    np.testing.assert_allclose(run(metrics.Precision(top_k=2, class_id=0), (y, p)), 1 / 3, 1e-6)
    assert run(metrics.Precision(class_id=3, thresholds=0.15), (y, p)) == 0.5


def area(y, p):
    """Area under the ROC curve as the share of pairs in the right order."""
    pos, neg = p[y == 1], p[y == 0]
    return (pos[:, None] > neg).mean() + 0.5 * (pos[:, None] == neg).mean()


def test_auc_is_the_share_of_pairs_in_order():
    fine = run(metrics.AUC(num_thresholds=2000), *zip(Y, P))
    np.testing.assert_allclose(fine, area(Y, P), atol=3e-3)
    np.testing.assert_allclose(run(metrics.AUC(), *zip(Y, Y)), 1.0, rtol=1e-6)
    np.testing.assert_allclose(run(metrics.AUC(), *zip(Y, 1 - Y)), 0.0, atol=1e-6)


def test_auc_by_hand():
    y, p = np.array([0, 0, 1, 1]), np.array([0, 0.5, 0.3, 0.9])
    # thresholds -eps, 0.5, 1 + eps: tp = [2, 1, 0], fp = [2, 0, 0]
    for method, wanted in (("interpolation", 0.75), ("majoring", 1.0), ("minoring", 0.5)):
        got = run(metrics.AUC(num_thresholds=3, summation_method=method), (y, p))
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    # precision-recall: recall = [1, .5, 0], precision = [.5, 1, 0]
    for method, wanted in (("majoring", 1.0), ("minoring", 0.25)):
        got = run(metrics.AUC(num_thresholds=3, curve="PR", summation_method=method), (y, p))
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    # between the first two points precision (1 + x) / (1 + 3 x), from there on 1
    xs = (np.arange(200000) + 0.5) / 200000
    wanted = 0.5 * ((1 + xs) / (1 + 3 * xs)).mean() + 0.5
    got = run(metrics.AUC(num_thresholds=3, curve="PR"), (y, p))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


@pytest.mark.parametrize("wanted", [0.3, 0.8])
def test_rates_at_a_wanted_rate(wanted):
    thresholds = np.arange(200) / 199
    c = {name: np.array([counts(t)[name].sum() for t in thresholds]) for name in counts(0)}
    sensitivity = c["true_positives"] / (c["true_positives"] + c["false_negatives"])
    specificity = c["true_negatives"] / (c["true_negatives"] + c["false_positives"])
    for cls, x, y in ((metrics.SensitivityAtSpecificity, specificity, sensitivity),
                      (metrics.SpecificityAtSensitivity, sensitivity, specificity)):
        got = run(cls(wanted), *zip(Y, P))
        np.testing.assert_allclose(got, y[abs(x - wanted).argmin()], atol=1e-6)


def test_mean_iou():
    y, p = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    np.testing.assert_allclose(run(metrics.MeanIoU(num_classes=3), (y, p)), 1 / 3, rtol=1e-6)
    w = np.array([0.3, 0.3, 0.3, 0.1])
    wanted = (0.3 / (0.6 + 0.6 - 0.3) + 0.1 / (0.4 + 0.4 - 0.1)) / 2
    np.testing.assert_allclose(run(metrics.MeanIoU(3), (y, p, w)), wanted, rtol=1e-5)


def test_top_k_accuracies():
    y, p = np.array([2, 0]), np.array([[.1, .9, .8], [.05, .95, 0.0]])
    assert run(metrics.SparseTopKCategoricalAccuracy(k=2), (y[:, None], p)) == 1.0
    assert run(metrics.TopKCategoricalAccuracy(k=1), (np.eye(3)[y], p)) == 0.0
    assert run(metrics.TopKCategoricalAccuracy(k=2), (np.eye(3)[y], p)) == 1.0


def test_weighted_means():
    v, w = np.array([1.0, 3, 5, 7]), np.array([1.0, 1, 0, 0])
    assert run(metrics.Mean(), (v, w)) == 2.0
    assert run(metrics.Mean(), (v,), (v[:1],)) == 17 / 5
    assert run(metrics.Sum(), (v, w), (v, w)) == 8.0
    y, p = RNG.normal(size=(2, 6, 3))
    np.testing.assert_allclose(run(metrics.RootMeanSquaredError(), (y, p)),
                               np.sqrt(((y - p) ** 2).mean()), rtol=1e-5)
    cosine = (y * p).sum(-1) / np.linalg.norm(y, axis=-1) / np.linalg.norm(p, axis=-1)
    np.testing.assert_allclose(run(metrics.CosineSimilarity(), (y, p, np.arange(6))),
                               np.average(cosine, weights=np.arange(6)), rtol=1e-5)


def test_binary_accuracy_with_another_threshold():
    y, p = np.array([[1.0, 0, 1]]), np.array([[0.3, 0.1, 0.15]])
    np.testing.assert_allclose(run(metrics.BinaryAccuracy(threshold=0.2), (y, p)), 2 / 3, rtol=1e-6)
    # 0.5 rounds to the even 0
    assert run(metrics.BinaryAccuracy(), (np.array([[0.0]]), np.array([[0.5]]))) == 1.0


class Range(metrics.Metric):
    """A metric as a user writes it: largest minus smallest value so far."""

    def __init__(self, name="range", **kwargs):
        super().__init__(name=name, **kwargs)
        self.low = self.add_weight("low", initializer="zeros")
        self.high = self.add_weight("high", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.add_update(K.update(self.low, K.minimum(self.low, K.min(y_pred))))
        return K.update(self.high, K.maximum(self.high, K.max(y_pred)))

    def result(self):
        return self.high - self.low


def test_own_metric():
    metric = Range()
    assert run(metric, (Y[0], Y[0] - 3), (Y[1], Y[1] * 4)) == 7.0
    metric.reset_states()
    assert K.eval(metric.result()) == 0.0
    copy = metrics.clone_metric(metric)
    assert copy is not metric and copy.get_config() == {"name": "range", "dtype": "float32"}


def test_a_metric_called_twice_in_one_step_counts_both():
    metric, v = metrics.Sum(), K.placeholder(shape=(None,))
    metric(v)
    total = metric(v * 10.0)
    shown = K.function([v], [total], metric.updates)([np.array([1.0, 2])])[0]
    assert shown == 33.0 and K.eval(metric.result()) == 33.0


def test_configs_rebuild_every_metric():
    arguments = {"SensitivityAtSpecificity": [0.4], "SpecificityAtSensitivity": [0.4],
                 "MeanIoU": [3]}
    for name, cls in inspect.getmembers(metrics, inspect.isclass):
        bases = ("Metric", "Reduce", "MeanMetricWrapper", "SensitivitySpecificityBase")
        if name in bases or name.startswith("_"):
            continue
        metric = cls(*arguments.get(name, []))
        again = metrics.deserialize(metrics.serialize(metric))
        assert type(again) is cls and again.get_config() == metric.get_config(), name


def test_names_count_up():
    K.reset_uids()
    assert [metrics.AUC().name, metrics.AUC().name, metrics.Precision().name] == [
        "auc_1", "auc_2", "precision_1"]
    assert metrics.MeanMetricWrapper(losses.hinge).name == "hinge"


@pytest.mark.parametrize("make, match", [
    (lambda: metrics.Precision(thresholds=[0.5, 1.5]), r"\[1\.5\]"),
    (lambda: metrics.AUC(num_thresholds=1), "num_thresholds"),
    (lambda: metrics.AUC(curve="ROCK"), "ROCK"),
    (lambda: metrics.AUC(summation_method="middle"), "middle"),
    (lambda: metrics.SensitivityAtSpecificity(1.2), "specificity"),
    (lambda: metrics.MeanSquaredError(nam="x"), "nam")])
def test_bad_arguments(make, match):
    with pytest.raises((ValueError, TypeError), match=match):
        make()
