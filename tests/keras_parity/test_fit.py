"""fit, evaluate and predict against Keras 2.3.1: what they print, return and record."""
import io
import sys

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import callbacks, models, optimizers
from gpukeras.utils import generic_utils
from tests.golden import reader

CASES = reader.cases("text")
FITS = [name for name in CASES if name.startswith("fit/")]
EVALUATIONS = [name for name in CASES if name.startswith("evaluate/")]


class Clock:
    now = 1000.0

    def time(self):
        return self.now


class Terminal(io.StringIO):
    def __init__(self, interactive):
        super().__init__()
        self.interactive = interactive

    def isatty(self):
        return self.interactive


class MoveClock(callbacks.Callback):
    """Lets time pass, after each batch was shown."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def on_batch_end(self, batch, logs=None):
        self.clock.now += self.seconds


@pytest.fixture
def screen(monkeypatch):
    """Function of `interactive`: (clock, fake terminal) that stand for the true ones."""
    def replace(interactive):
        clock, terminal = Clock(), Terminal(interactive)
        monkeypatch.setattr(generic_utils, "time", clock)
        monkeypatch.setattr(sys, "stdout", terminal)
        return clock, terminal
    return replace


def restored(case, optimizer):
    model = getattr(models, case.facts["class_name"]).from_config(case.facts["model"])
    model.set_weights(case.list("before"))
    model.compile(optimizer, **case.facts["compile"])
    return model


def numbers_apart(text):
    """(text without its decimal numbers, the numbers): last digits may differ by rounding."""
    import re
    pattern = r"\d\.\d{4}(?:e[-+]\d\d)?"
    return re.sub(pattern, "#", text), [float(n) for n in re.findall(pattern, text)]


def assert_same_text(got, expected):
    (got, got_numbers), (expected, numbers) = numbers_apart(got), numbers_apart(expected)
    assert got == expected
    np.testing.assert_allclose(got_numbers, numbers, rtol=0, atol=1.1e-4)


@pytest.mark.parametrize("name", FITS)
def test_fit_prints_and_records_what_keras_does(name, screen):
    K.clear_session()
    case = CASES[name]
    facts = case.facts
    model = restored(case, optimizers.SGD(0.1))
    clock, terminal = screen(facts["interactive"])
    history = model.fit(case["x"], case.list("y"), batch_size=16, shuffle=False,
                        verbose=facts["verbose"],
                        callbacks=[MoveClock(clock, facts["seconds_per_batch"])], **facts["fit"])
    sys.stdout = sys.__stdout__
    assert_same_text(terminal.getvalue(), facts["text"])
    assert list(history.history) == facts["history_keys"]
    for key, values in facts["history"].items():
        np.testing.assert_allclose(history.history[key], values, rtol=1e-4, atol=1e-6, err_msg=key)
    assert history.epoch == facts["epoch"]
    assert history.params == facts["params"]
    assert model.metrics_names == facts["metrics_names"]


@pytest.mark.parametrize("name", EVALUATIONS)
@pytest.mark.parametrize("interactive", [True, False])
def test_evaluate_and_predict_print_and_return_what_keras_does(name, interactive, screen):
    K.clear_session()
    case = CASES[name]
    texts, key = case.facts["texts"], "tty" if interactive else "file"
    model = restored(case, "sgd")
    _, terminal = screen(interactive)
    values = model.evaluate(case["x"], case.list("y"), batch_size=16)
    assert terminal.getvalue() == texts["evaluate_" + key]
    assert isinstance(values, list) == (case.facts["returns"] == "list")
    np.testing.assert_allclose(np.atleast_1d(values), case.facts["values"], rtol=1e-5)
    _, terminal = screen(interactive)
    predictions = model.predict(case["x"], batch_size=16, verbose=1)
    assert terminal.getvalue() == texts["predict_" + key]
    found = predictions if isinstance(predictions, list) else [predictions]
    for got, expected in zip(found, case.list("predictions"), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
