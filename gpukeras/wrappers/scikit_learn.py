"""Models as scikit-learn estimators, for its pipelines, cross validation and grid searches.

    def build(units=10):
        model = Sequential([Dense(units, activation="relu", input_shape=(8,)),
                            Dense(1, activation="sigmoid")])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        return model

    GridSearchCV(KerasClassifier(build, epochs=10, verbose=0), {"units": [5, 20]}).fit(x, y)
"""
import inspect

import numpy as np

from .. import losses
from ..models import Sequential
from ..utils.generic_utils import has_arg, nearest_names, to_list
from ..utils.np_utils import to_categorical


class BaseWrapper:
    """What classifier and regressor have in common.

    # Arguments
        build_fn: function, or object with `__call__`, that returns a compiled model. None: the
            method `__call__` of a subclass.
        sk_params: arguments of `build_fn`, and of the model's fit, predict and evaluate.
    """

    _estimator_type = None

    def __init__(self, build_fn=None, **sk_params):
        self.build_fn = build_fn
        self.sk_params = sk_params
        self.check_params(sk_params)

    def _builder(self):
        return self.__call__ if self.build_fn is None else self.build_fn

    def check_params(self, params):
        """Raise ValueError for a name that neither `build_fn` nor the model's methods take."""
        takers = [_signed(self._builder()), Sequential.fit, Sequential.predict,
                  Sequential.predict_classes, Sequential.evaluate]
        for name in params:
            if name in ("build_fn", "nb_epoch") or any(has_arg(fn, name) for fn in takers):
                continue
            known = {n for fn in takers for n in inspect.signature(fn).parameters} - {"self"}
            near = nearest_names(name, sorted(known))
            raise ValueError(f"{name} is not a legal parameter"
                             + (f". Did you mean {near[0]!r}?" if near else ""))

    def get_params(self, deep=True):
        """All parameters by name, not copied: scikit-learn's `clone` compares identities."""
        return {**self.sk_params, "build_fn": self.build_fn}

    def set_params(self, **params):
        """Change parameters; returns the estimator."""
        self.check_params(params)
        if "build_fn" in params:
            self.build_fn = params.pop("build_fn")
        self.sk_params.update(params)
        return self

    def filter_sk_params(self, fn, override=None):
        """The parameters that `fn` takes, as a dict, changed by `override`."""
        chosen = {name: value for name, value in self.sk_params.items() if has_arg(fn, name)}
        return {**chosen, **(override or {})}

    def fit(self, x, y, **kwargs):
        """Build and train a model; kwargs: further arguments of its `fit`. Returns its History."""
        builder = self._builder()
        self.model = builder(**self.filter_sk_params(_signed(builder)))
        if losses.is_categorical_crossentropy(self.model.loss) and np.ndim(y) != 2:
            y = to_categorical(y)
        return self.model.fit(x, y, **self.filter_sk_params(Sequential.fit, kwargs))

    def __sklearn_is_fitted__(self):
        return hasattr(self, "model")

    def __sklearn_tags__(self):
        """What scikit-learn 1.6 and later ask estimators about themselves."""
        from sklearn.utils import (ClassifierTags, InputTags, RegressorTags, Tags, TargetTags)
        kind = self._estimator_type
        return Tags(estimator_type=kind, target_tags=TargetTags(required=True),
                    classifier_tags=ClassifierTags() if kind == "classifier" else None,
                    regressor_tags=RegressorTags() if kind == "regressor" else None,
                    input_tags=InputTags(two_d_array=False, three_d_array=True))

    def __repr__(self):
        given = "".join(f", {name}={value!r}" for name, value in self.sk_params.items())
        build = getattr(self.build_fn, "__name__", self.build_fn)
        return f"{type(self).__name__}({build}{given})"


def _signed(fn):
    """The callable whose signature tells the arguments of `fn`."""
    return fn if inspect.isroutine(fn) else fn.__call__


class KerasClassifier(BaseWrapper):
    """A model as a classifier. `classes_` holds the labels of its outputs after `fit`."""

    _estimator_type = "classifier"

    def fit(self, x, y, sample_weight=None, **kwargs):
        """Train on labels (samples,) of any type, or one-hot targets (samples, classes).

        # Raises
            ValueError: for a `y` of another shape.
        """
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            self.classes_ = np.arange(y.shape[1])
        elif y.ndim in (1, 2):
            self.classes_, y = np.unique(y.reshape(-1), return_inverse=True)
        else:
            raise ValueError(f"Invalid shape for y: {y.shape}, expected labels (samples,) or "
                             "one-hot targets (samples, classes)")
        self.n_classes_ = len(self.classes_)
        if sample_weight is not None:
            kwargs["sample_weight"] = np.asarray(sample_weight)
        return super().fit(x, y, **kwargs)

    def predict(self, x, **kwargs):
        """Labels (samples,)."""
        p = self.model.predict(x, **self.filter_sk_params(Sequential.predict, kwargs))
        chosen = p.argmax(axis=-1) if p.shape[-1] > 1 else (p[..., 0] > 0.5).astype("int32")
        return self.classes_[chosen]

    def predict_proba(self, x, **kwargs):
        """Probabilities (samples, classes); two columns also for a model with one output."""
        p = self.model.predict(x, **self.filter_sk_params(Sequential.predict, kwargs))
        return np.hstack([1 - p, p]) if p.shape[1] == 1 else p

    def score(self, x, y, **kwargs):
        """Accuracy.

        # Raises
            ValueError: if the model was compiled without it.
        """
        y = np.asarray(y)
        if y.ndim == 1 or y.shape[1] == 1:
            y = np.searchsorted(self.classes_, y.reshape(-1))
            if losses.is_categorical_crossentropy(self.model.loss):
                y = to_categorical(y, self.n_classes_)
        kwargs = self.filter_sk_params(Sequential.evaluate, kwargs)
        values = to_list(self.model.evaluate(x, y, **kwargs))
        for name, value in zip(self.model.metrics_names, values, strict=True):
            if name in ("accuracy", "acc"):
                return value
        raise ValueError('The model is not configured to compute accuracy. You should pass '
                         '`metrics=["accuracy"]` to the `model.compile()` method.')


class KerasRegressor(BaseWrapper):
    """A model as a regressor."""

    _estimator_type = "regressor"

    def predict(self, x, **kwargs):
        """Predictions (samples,), or (samples, outputs) for a model with several outputs."""
        p = self.model.predict(x, **self.filter_sk_params(Sequential.predict, kwargs))
        return p[..., 0] if p.shape[-1] == 1 else p

    def score(self, x, y, **kwargs):
        """Minus the loss, so that more is better."""
        kwargs = self.filter_sk_params(Sequential.evaluate, kwargs)
        return -to_list(self.model.evaluate(x, y, **kwargs))[0]
