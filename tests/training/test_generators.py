"""fit, evaluate and predict on generators and Sequences: as on arrays, and never hanging."""
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import optimizers
from gpukeras.callbacks import Callback, LambdaCallback
from gpukeras.layers import Dense
from gpukeras.models import Model, Sequential
from gpukeras.utils import OrderedEnqueuer, Sequence, data_utils
from tests.golden import reader
from tests.keras_parity.test_fit import MoveClock, screen  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
CASES = reader.cases("generators")
X = np.random.RandomState(0).uniform(-1, 1, (22, 3)).astype("float32")
Y = (X @ np.array([[1.0], [2.0], [-1.0]], "float32")) + 0.5
WEIGHT = np.linspace(0, 2, 22).astype("float32")


def regression(seed=3):
    K.clear_session()
    np.random.seed(seed)
    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def batches(x=X, y=Y, size=8):
    while True:
        for start in range(0, len(x), size):
            yield x[start:start + size], y[start:start + size]


class Batches(Sequence):
    """The data by batches of 8, with or without weights."""

    def __init__(self, weighted=False):
        self.weighted, self.epochs, self.asked = weighted, 0, []

    def __len__(self):
        return 3

    def __getitem__(self, i):
        self.asked.append(i)
        rows = slice(8 * i, 8 * i + 8)
        return (X[rows], Y[rows], WEIGHT[rows]) if self.weighted else (X[rows], Y[rows])

    def on_epoch_end(self):
        self.epochs += 1


class Plain(Batches):
    """The same, without state that processes would have to share."""

    on_epoch_end = Sequence.on_epoch_end


class Deadly(Plain):
    """Kills the process that makes its last batch."""

    def __getitem__(self, i):
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(i)


def on_arrays(**arguments):
    model = regression()
    history = model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, **arguments).history
    return model, history


def same(model, history, expected_model, expected):
    for name in expected:
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5, err_msg=name)
    for a, b in zip(model.get_weights(), expected_model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


# ---------------------------------------------------------------- as in Keras

def without_losses(text):
    """Text without the values of the loss: the bar of 2.3.1 counts the last batches twice."""
    return re.sub(r"- loss: \d\.\d{4}", "- loss: #", text)


@pytest.mark.parametrize("name", CASES)
def test_generators_print_and_record_what_keras_does(name, screen):  # noqa: F811
    K.clear_session()
    case = CASES[name]
    facts, x, y = case.facts, case["x"], case["y"]
    model = Sequential.from_config(facts["model"])
    model.set_weights(case.list("before"))
    model.compile(optimizers.SGD(0.1), "categorical_crossentropy", metrics=["accuracy"])
    clock, terminal = screen(facts["interactive"])
    arguments = {"validation_data": (x[:20], y[:20])} if facts["validated"] else {}
    history = model.fit_generator(batches(x, y, 16), steps_per_epoch=4, epochs=2, workers=0,
                                  verbose=facts["verbose"], callbacks=[MoveClock(clock, 0.04)],
                                  **arguments)
    assert without_losses(terminal.getvalue()) == without_losses(facts["text"])
    assert list(history.history) == facts["history_keys"]
    assert history.params == facts["params"]
    for key, values in facts["history"].items():
        np.testing.assert_allclose(history.history[key], values, rtol=1e-4, err_msg=key)
    _, terminal = screen(facts["interactive"])
    model.evaluate_generator(batches(x, y, 16), steps=4, verbose=1, workers=0)
    assert terminal.getvalue() == facts["evaluated"]
    _, terminal = screen(facts["interactive"])
    predictions = model.predict_generator(batches(x, y, 16), steps=4, verbose=1, workers=0)
    assert terminal.getvalue() == facts["predicted"]
    sys.stdout = sys.__stdout__
    np.testing.assert_allclose(predictions, case["predictions"], rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- as on arrays

@pytest.mark.parametrize("workers", [0, 1, 3])
def test_fit_on_a_generator_is_fit_on_its_arrays(workers):
    expected = on_arrays(validation_data=(X[:9], Y[:9]))
    model = regression()
    history = model.fit(batches(), steps_per_epoch=3, epochs=2, verbose=0, workers=workers,
                        validation_data=batches(X[:9], Y[:9], 4), validation_steps=3).history
    same(model, history, *expected)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_fit_on_a_sequence_is_fit_on_its_arrays(workers):
    expected = on_arrays(sample_weight=WEIGHT)
    sequence, model = Batches(weighted=True), regression()
    history = model.fit(sequence, epochs=2, shuffle=False, verbose=0, workers=workers).history
    same(model, history, *expected)
    assert sequence.epochs == 2
    assert sorted(sequence.asked) == [0, 0, 1, 1, 2, 2]


def test_processes_make_the_same_batches():
    expected = on_arrays()
    model = regression()
    history = model.fit(Plain(), epochs=2, shuffle=False, verbose=0, workers=2,
                        use_multiprocessing=True).history
    same(model, history, *expected)


def test_evaluate_and_predict_weigh_batches_by_their_size():
    model = regression()
    expected = model.evaluate(X, Y, verbose=0)
    for data, steps in ((batches(), 3), (Batches(), None)):
        found = model.evaluate(data, steps=steps, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    predictions = model.predict(X)
    np.testing.assert_allclose(model.predict(Batches()), predictions, rtol=1e-6)
    inputs = (x for x, _ in batches())
    np.testing.assert_allclose(model.predict(inputs, steps=3), predictions, rtol=1e-6)


def test_a_sequence_with_fewer_steps_goes_on_where_it_was():
    sequence, model = Batches(), regression()
    sizes = []
    note = LambdaCallback(on_batch_end=lambda batch, logs: sizes.append(logs["size"]))
    model.fit(sequence, steps_per_epoch=2, epochs=3, shuffle=False, verbose=0, workers=0,
              callbacks=[note])
    assert sizes == [8, 8, 6, 8, 8, 6]


def test_a_number_of_steps_that_is_not_whole_is_rounded_up():
    steps = []
    note = LambdaCallback(on_batch_end=lambda batch, logs: steps.append(batch))
    regression().fit_generator(batches(), steps_per_epoch=len(X) / 8, epochs=2.0, verbose=0,
                               callbacks=[note])
    assert steps == [0, 1, 2] * 2


class Source(Callback):
    """A callback that makes its data when it is told that training begins, and again each epoch."""

    def on_train_begin(self, logs=None):
        self.scale = np.float32(1.0)

    def __iter__(self):
        while True:
            yield X * self.scale, Y * self.scale


class Rows(Sequence):
    def __init__(self, source):
        self.source = source

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return X * self.source.scale, Y * self.source.scale


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [iter, Rows])
def test_the_first_batch_is_made_after_on_train_begin(kind, workers):
    source, model, other = Source(), regression(), regression()
    history = model.fit_generator(kind(source), steps_per_epoch=1, epochs=2, verbose=0,
                                  workers=workers, callbacks=[source],
                                  validation_data=kind(source), validation_steps=1).history
    expected = other.fit(X, Y, batch_size=len(X), epochs=2, verbose=0, validation_data=(X, Y))
    np.testing.assert_allclose(history["val_loss"], expected.history["val_loss"], rtol=1e-5)


def test_shuffled_batches_are_all_used():
    sequence = Batches()
    regression().fit(sequence, epochs=3, verbose=0)
    for epoch in range(3):
        assert sorted(sequence.asked[3 * epoch:3 * epoch + 3]) == [0, 1, 2]


def test_a_sequence_may_change_its_length():
    class Growing(Batches):
        def __len__(self):
            return 1 + self.epochs

    steps = []
    watcher = LambdaCallback(on_epoch_begin=lambda *a: steps.append(watcher.params["steps"]))
    regression().fit(Growing(), epochs=3, verbose=0, callbacks=[watcher])
    assert steps == [1, 2, 3]


def test_a_model_without_input_shape_learns_it_from_the_first_batch():
    for source, steps in ((batches(), 3), (Batches(), None)):
        model = Sequential([Dense(1)])
        model.compile("sgd", "mse")
        model.fit(source, steps_per_epoch=steps, verbose=0)
        assert model.count_params() == 4


def test_class_weights_apply_to_generated_batches():
    labels = (X[:, :1] > 0).astype("float32")
    weights = {0: 1.0, 1: 3.0}
    results = []
    for generated in (False, True):
        model = regression()
        if generated:
            model.fit(batches(X, labels), steps_per_epoch=3, class_weight=weights, verbose=0)
        else:
            model.fit(X, labels, batch_size=8, shuffle=False, class_weight=weights, verbose=0)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


# ---------------------------------------------------------------- what goes wrong

def fails(source, error, words, seconds=10, **arguments):
    """fit raises in time, with the weights after the last finished step; returns the steps done."""
    model, kept = regression(), []

    class Keep(Callback):
        def on_batch_end(self, batch, logs=None):
            kept.append(self.model.get_weights())

    start = time.monotonic()
    with pytest.raises(error, match=words):
        model.fit(source, callbacks=[Keep()], verbose=0, shuffle=False,
                  **{"steps_per_epoch": 5, **arguments})
    assert time.monotonic() - start < seconds
    if kept:
        for a, b in zip(model.get_weights(), kept[-1], strict=True):
            np.testing.assert_array_equal(a, b)
    assert not [t for t in threading.enumerate() if t.name == "gpukeras-generator" and t.is_alive()]
    return len(kept)


def broken():
    yield X[:8], Y[:8]
    raise KeyError("no such file: a.png")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_generator_comes_out(workers):
    assert fails(broken(), KeyError, "a.png", workers=workers) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_a_generator_that_ends_is_an_error(workers):
    two = iter([(X[:8], Y[:8])] * 2)
    assert fails(two, ValueError, "ended after 2 batches in all, at batch 2 of an epoch of 5",
                 workers=workers) == 2


def test_a_batch_of_the_wrong_shape_is_an_error():
    wrong = iter([(X[:8], Y[:8]), (X[:8, :2], Y[:8])] * 3)
    assert fails(wrong, ValueError, r"\(3,\).*\(2,\)") == 1


@pytest.mark.parametrize("batch", [X[:8], (X[:8],), (X[:8],) * 4, 3])
def test_what_is_no_batch_is_an_error(batch):
    fails(iter([batch] * 5), ValueError, "should be a tuple")


def test_an_empty_batch_is_an_error():
    fails(iter([(X[:0], Y[:0])] * 5), ValueError, "at least one item")


def test_a_killed_worker_is_reported():
    assert fails(Deadly(), RuntimeError, "made batch 2 of Deadly died", steps_per_epoch=None,
                 workers=1, use_multiprocessing=True) <= 2


class Stuck(Plain):
    """Never comes back from its last batch."""

    def __getitem__(self, i):
        while i == 2:
            time.sleep(0.05)
        return super().__getitem__(i)


@pytest.mark.parametrize("processes", [False, True])
def test_a_stuck_worker_is_reported_and_given_up(processes, monkeypatch):
    monkeypatch.setattr(data_utils, "WARN_AFTER", 0.5)
    monkeypatch.setattr(data_utils, "GIVE_UP_AFTER", 6.0 if processes else 1.5)
    where = "process [0-9]+" if processes else "test_generators.py:[0-9]+ in __getitem__"
    with pytest.warns(UserWarning, match=f"Still waiting for batch 2 of Stuck after .*{where}"):
        assert fails(Stuck(), RuntimeError, "counts as stuck", steps_per_epoch=None, workers=2,
                     use_multiprocessing=processes, seconds=40) <= 2


def test_a_stuck_generator_is_reported_and_given_up(monkeypatch):
    monkeypatch.setattr(data_utils, "WARN_AFTER", 0.3)
    monkeypatch.setattr(data_utils, "GIVE_UP_AFTER", 1.0)
    done = threading.Event()

    def stuck():
        yield X[:8], Y[:8]
        done.wait(1.8)

    with pytest.warns(UserWarning, match="test_generators.py:[0-9]+ in stuck"):
        assert fails(stuck(), RuntimeError, "counts as stuck") == 1


@pytest.mark.parametrize("processes", [False, True])
def test_a_program_ends_though_a_worker_is_stuck(processes, tmp_path):
    (tmp_path / "stuck.py").write_text(
        "import time\n"
        "from gpukeras.utils import Sequence, data_utils\n"
        "class Stuck(Sequence):\n"
        "    def __len__(self):\n"
        "        return 3\n"
        "    def __getitem__(self, i):\n"
        "        time.sleep(1000)\n"
        "if __name__ == '__main__':\n"
        "    from stuck import Stuck\n"
        "    data_utils.WARN_AFTER, data_utils.GIVE_UP_AFTER = 0.2, 1.5\n"
        f"    next(iter(data_utils.enqueued(Stuck(), use_multiprocessing={processes})))\n")
    done = subprocess.run([sys.executable, "stuck.py"], capture_output=True, text=True, timeout=20,
                          cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 1 and "batch 0 of Stuck" in done.stderr


def test_a_slow_sequence_may_raise_timeouts_of_its_own():
    class Slow(Plain):
        def __getitem__(self, i):
            raise TimeoutError("the disk")

    fails(Slow(), TimeoutError, "the disk", steps_per_epoch=None, workers=2)


def test_a_sequence_that_cannot_be_pickled_is_reported():
    sequence = Plain()
    sequence.lock = threading.Lock()
    fails(sequence, ValueError, "Plain cannot", steps_per_epoch=None, use_multiprocessing=True)


def test_an_error_in_a_sequence_comes_out():
    class Wrong(Batches):
        def __getitem__(self, i):
            return super().__getitem__(i) if i < 2 else 1 / 0

    assert fails(Wrong(), ZeroDivisionError, "division", steps_per_epoch=None, workers=2) == 2


def test_generator_in_processes_warns():
    with pytest.warns(UserWarning, match="Sequence"):
        regression().fit(batches(), steps_per_epoch=2, verbose=0, use_multiprocessing=True)


@pytest.mark.parametrize("arguments, words", [
    ({"steps_per_epoch": None}, "steps_per_epoch=None"),
    ({"y": Y}, "`y` argument is not supported"),
    ({"batch_size": 4}, "`batch_size` argument"),
    ({"validation_split": 0.2}, "`validation_split` argument"),
    ({"validation_data": batches()}, "validation_steps=None")])
def test_arguments_that_do_not_go_with_generators(arguments, words):
    with pytest.raises(ValueError, match=words):
        regression().fit(batches(), **{"steps_per_epoch": 2, "verbose": 0, **arguments})


def test_an_enqueuer_by_hand():
    enqueuer = OrderedEnqueuer(Batches(), shuffle=False)
    enqueuer.start(workers=2, max_queue_size=4)
    found = enqueuer.get()
    sizes = [len(next(found)[0]) for _ in range(7)]
    enqueuer.stop()
    assert sizes == [8, 8, 6, 8, 8, 6, 8]


def test_subclass_trains_on_a_generator():
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = Dense(4), Dense(1)

        def call(self, x):
            return self.out(self.hidden(x))

    model = Two()
    model.compile("sgd", "mse")
    losses = model.fit(batches(), steps_per_epoch=3, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
