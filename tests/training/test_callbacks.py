"""Callbacks: order of calls, logs, stopping, checkpoints, learning rates; expectations by hand."""
import json
import os
import pickle
import warnings

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import callbacks as C
from gpukeras.layers import Dense
from gpukeras.models import Sequential, load_model

X = np.random.RandomState(0).uniform(-1, 1, (20, 3)).astype("float32")
Y = (X @ np.array([[1.0], [2.0], [-1.0]], "float32")) + 0.5


def regression(**compile_arguments):
    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse", metrics=["mae"], **compile_arguments)
    return model


class Recorder(C.Callback):
    """Notes every call, with the keys of its logs."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def _note(self, name, *place, logs=None):
        self.calls.append((name, *place, tuple(sorted(logs or ()))))


def _noting(name):
    if "batch" in name or "epoch" in name:
        return lambda self, index, logs=None: self._note(name, index, logs=logs)
    return lambda self, logs=None: self._note(name, logs=logs)


for _name in [n for n in dir(C.Callback) if n.startswith("on_") and n not in (
        "on_batch_begin", "on_batch_end")]:
    setattr(Recorder, _name, _noting(_name))


def test_hooks_come_in_the_order_of_keras():
    recorder = Recorder()
    regression().fit(X, Y, batch_size=8, validation_split=0.2, callbacks=[recorder], verbose=0)
    begin, end = ("batch", "size"), ("batch", "loss", "mae", "size")
    every = ("loss", "mae", "val_loss", "val_mae")
    assert recorder.calls == [
        ("on_train_begin", ()), ("on_epoch_begin", 0, ()),
        ("on_train_batch_begin", 0, begin), ("on_train_batch_end", 0, end),
        ("on_train_batch_begin", 1, begin), ("on_train_batch_end", 1, end),
        ("on_test_begin", ()), ("on_test_batch_begin", 0, begin), ("on_test_batch_end", 0, end),
        ("on_test_end", ()), ("on_epoch_end", 0, every), ("on_train_end", ())]


def test_hooks_of_evaluate_and_predict():
    recorder, model = Recorder(), regression()
    model.evaluate(X, Y, batch_size=32, callbacks=[recorder], verbose=0)
    model.predict(X, batch_size=32, callbacks=[recorder])
    assert [call[0] for call in recorder.calls] == [
        "on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end",
        "on_predict_begin", "on_predict_batch_begin", "on_predict_batch_end", "on_predict_end"]
    assert recorder.calls[6][2] == ("batch", "outputs", "size")


def test_logs_of_a_batch_are_its_loss_and_stay_it():
    kept = []
    model = regression()
    before = model.get_weights()
    model.fit(X, Y, batch_size=5, shuffle=False, verbose=0,
              callbacks=[C.LambdaCallback(on_batch_end=lambda batch, logs: kept.append(logs))])
    assert [logs["batch"] for logs in kept] == [0, 1, 2, 3]
    model.set_weights(before)
    for i, logs in enumerate(kept):
        rows = slice(5 * i, 5 * i + 5)
        expected = np.mean((model.predict(X[rows]) - Y[rows]) ** 2)
        assert logs["loss"] == pytest.approx(expected, rel=1e-5)
        model.train_on_batch(X[rows], Y[rows])


def test_logs_are_a_dict_for_everybody():
    seen = {}

    def look(batch, logs):
        seen.update(copied=dict(logs), merged={**logs}, text=json.loads(json.dumps(logs)),
                    pickled=pickle.loads(pickle.dumps(logs)), length=len(logs), shown=repr(logs),
                    has="loss" in logs, lacks="val_loss" in logs, none=logs.get("val_loss"))

    regression().fit(X, Y, batch_size=20, verbose=0,
                     callbacks=[C.LambdaCallback(on_batch_end=look)])
    assert set(seen["copied"]) == {"batch", "size", "loss", "mae"}
    assert seen["merged"] == seen["copied"] == seen["text"] == seen["pickled"]
    assert seen["length"] == 4 and "loss" in seen["shown"]
    assert seen["has"] and not seen["lacks"] and seen["none"] is None


def test_a_slow_batch_hook_is_reported(monkeypatch):
    from gpukeras.callbacks import base
    clock = iter(np.arange(0, 1000, 0.2))
    monkeypatch.setattr(base.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(base, "_SLOW", 0.1)
    with pytest.warns(RuntimeWarning, match="slow compared to the batch update"):
        regression().fit(X, Y, batch_size=4, verbose=0, callbacks=[
            C.LambdaCallback(on_batch_end=lambda batch, logs: None)])


class Replay(C.Callback):
    """Overwrites a logged quantity with given values, epoch by epoch."""

    def __init__(self, name, values):
        super().__init__()
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs=None):
        if self.values[epoch] is not None:
            logs[self.name] = self.values[epoch]


def run(callback, name, values, **fit_arguments):
    model = regression()
    history = model.fit(X, Y, epochs=len(values), verbose=0,
                        callbacks=[Replay(name, values), callback], **fit_arguments)
    return model, history


@pytest.mark.parametrize("name, values, arguments, stopped", [
    ("val_loss", [3, 2, 2, 1], {}, 2),
    ("val_loss", [3, 2, 2, 1, 1], {"patience": 2}, None),
    ("val_loss", [3, 2, 4, 5, 1], {"patience": 2}, 3),
    ("val_loss", [3, 2.95, 1], {"min_delta": 0.1}, 1),
    ("val_acc", [0.1, 0.5, 0.4], {"monitor": "val_acc"}, 2),
    ("quality", [1, 2, 1], {"monitor": "quality", "mode": "max"}, 2),
    ("val_loss", [3, 2], {"baseline": 1.0}, 0)])
def test_early_stopping_ends_after(name, values, arguments, stopped):
    callback = C.EarlyStopping(**arguments)
    _, history = run(callback, name, values)
    assert history.epoch[-1] == (len(values) - 1 if stopped is None else stopped)


def test_early_stopping_goes_back_to_the_best_weights(capsys):
    saved = []
    keep = C.LambdaCallback(on_epoch_end=lambda epoch, logs: saved.append(keep.model.get_weights()))
    stop = C.EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    model = regression()
    model.fit(X, Y, epochs=9, verbose=0, callbacks=[keep, Replay("val_loss", [3, 1, 2, 2]), stop])
    for got, best in zip(model.get_weights(), saved[1], strict=True):
        np.testing.assert_array_equal(got, best)
    assert capsys.readouterr().out == (
        "Restoring model weights from the end of the best epoch\nEpoch 00004: early stopping\n")


def test_early_stopping_without_its_quantity_warns():
    with pytest.warns(RuntimeWarning, match="val_loss.*Available metrics are: loss,mae"):
        regression().fit(X, Y, verbose=0, callbacks=[C.EarlyStopping()])


def test_checkpoint_saves_every_period(tmp_path):
    path = str(tmp_path / "m_{epoch:02d}_{val_loss:.1f}.h5")
    run(C.ModelCheckpoint(path, period=2), "val_loss", [1, 2, 3, 4, 5])
    assert sorted(os.listdir(tmp_path)) == ["m_02_2.0.h5", "m_04_4.0.h5"]


def test_checkpoint_keeps_the_best(tmp_path, capsys):
    path = str(tmp_path / "best.h5")
    run(C.ModelCheckpoint(path, save_best_only=True, verbose=1), "val_loss", [2, 3, 1])
    assert capsys.readouterr().out == (
        f"\nEpoch 00001: val_loss improved from inf to 2.00000, saving model to {path}\n"
        "\nEpoch 00002: val_loss did not improve from 2.00000\n"
        f"\nEpoch 00003: val_loss improved from 2.00000 to 1.00000, saving model to {path}\n")
    model = load_model(path)
    assert model.optimizer.get_weights()[0] == 3


def test_checkpoint_of_weights_alone(tmp_path):
    path = str(tmp_path / "w.h5")
    model, _ = run(C.ModelCheckpoint(path, save_weights_only=True), "val_loss", [2, 3])
    other = regression()
    other.load_weights(path)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_failed_checkpoint_leaves_the_old_file(tmp_path, monkeypatch):
    path = str(tmp_path / "m.h5")
    model = regression()
    model.save(path)
    before = open(path, "rb").read()
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        model.fit(X, Y, verbose=0, callbacks=[C.ModelCheckpoint(path)])
    assert open(path, "rb").read() == before
    assert os.listdir(tmp_path) == ["m.h5"]


def test_learning_rate_follows_the_schedule(capsys):
    model = regression()
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[
        C.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate, verbose=1)])
    assert history.history["lr"] == pytest.approx([0.01, 0.005, 0.0025])
    assert "\nEpoch 00003: LearningRateScheduler setting learning rate to 0.00249" in (
        capsys.readouterr().out)           # the rate is a float32
    assert model.fit(X, Y, verbose=0, callbacks=[
        C.LearningRateScheduler(lambda epoch: 0.5)]).history["lr"] == [0.5]


def test_schedule_that_returns_no_float_is_an_error():
    with pytest.raises(ValueError, match="should be float, got '1'"):
        regression().fit(X, Y, verbose=0, callbacks=[C.LearningRateScheduler(lambda epoch: "1")])


def test_learning_rate_falls_on_a_plateau(capsys):
    callback = C.ReduceLROnPlateau(factor=0.5, patience=2, cooldown=1, min_lr=0.003, verbose=1)
    _, history = run(callback, "val_loss", [2, 1, 1, 1, 1, 1, 1, 1])
    assert history.history["lr"] == pytest.approx([.01, .01, .01, .01, .005, .005, .003, .003])
    text = capsys.readouterr().out
    assert "\nEpoch 00004: ReduceLROnPlateau reducing learning rate to 0.00499" in text
    assert text.count("reducing") == 2                  # and then it has reached min_lr


def test_csv_logger_writes_a_line_per_epoch(tmp_path):
    path = str(tmp_path / "log.csv")
    model = regression()
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[C.CSVLogger(path)]).history
    model.fit(X, Y, verbose=0, callbacks=[C.CSVLogger(path, append=True)])
    lines = open(path).read().split()
    assert lines[0] == "epoch,loss,mae" and len(lines) == 4
    assert [float(v) for v in lines[2].split(",")] == [1, history["loss"][1], history["mae"][1]]


def test_nan_loss_ends_the_training(capsys):
    x = X.copy()
    x[12] = np.nan
    history = regression().fit(x, Y, batch_size=5, epochs=3, shuffle=False, verbose=0,
                               callbacks=[C.TerminateOnNaN()])
    assert capsys.readouterr().out == "Batch 2: Invalid loss, terminating training\n"
    assert history.epoch == [0]


def test_base_logger_averages_by_batch_size():
    logger = C.BaseLogger(stateful_metrics=["acc"])
    logger.set_params({"metrics": ["loss", "acc"]})
    logger.on_epoch_begin(0)
    logger.on_batch_end(0, {"size": 3, "loss": 1.0, "acc": 0.5})
    logger.on_batch_end(1, {"size": 1, "loss": 5.0, "acc": 0.7})
    logs = {}
    logger.on_epoch_end(0, logs)
    assert logs == {"loss": 2.0, "acc": 0.7}


def test_stop_training_ends_within_the_epoch():
    model, seen = regression(), []

    def stop(batch, logs):
        seen.append(batch)
        model.stop_training = batch == 1

    model.fit(X, Y, batch_size=4, epochs=3, validation_data=(X, Y), verbose=0,
              callbacks=[C.LambdaCallback(on_batch_end=stop)])
    assert seen == [0, 1]
    assert list(model.history.history) == ["loss", "mae"]


def test_callback_that_fails_leaves_the_weights_of_the_last_step():
    model, weights = regression(), []

    def fail(batch, logs):
        weights.append(model.get_weights())
        if batch == 2:
            raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=[C.LambdaCallback(on_batch_end=fail)])
    for a, b in zip(model.get_weights(), weights[2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert K.get_value(model.optimizer.iterations) == 3


def test_callbacks_may_be_a_tuple_or_a_single_one():
    seen = []
    one = C.LambdaCallback(on_train_end=lambda logs: seen.append(1))
    for given in (one, (one, one), [one], None):
        regression().fit(X, Y, verbose=0, callbacks=given)
    assert len(seen) == 4


@pytest.mark.parametrize("given, words", [
    ([C.EarlyStopping], r"class EarlyStopping.*Try: EarlyStopping\(\)"), (["stop"], "'stop' is "
                                                                                    "no callback"),
    (3, "list of callbacks, got 3"), ([lambda epoch, logs: None], "LambdaCallback")])
def test_what_is_no_callback_is_an_error_before_training(given, words):
    model = regression()
    before = model.get_weights()
    with pytest.raises(TypeError, match=words):
        model.fit(X, Y, verbose=0, callbacks=given)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_asking_for_empty_logs_reads_nothing():
    from gpukeras.callbacks.base import BatchLogs
    logs = BatchLogs(0, 4, lambda: 1 / 0, lambda: 1 / 0)
    assert (logs or {}) is logs and logs["size"] == logs.get("batch") + 4


def test_callbacks_without_their_metric_say_so_in_the_words_of_keras(tmp_path):
    stop, slow = C.EarlyStopping("val_loss"), C.ReduceLROnPlateau("val_loss")
    best = C.ModelCheckpoint(str(tmp_path / "m.h5"), "val_loss", save_best_only=True)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        regression().fit(X, Y, verbose=0, callbacks=[stop, slow, best])
    texts = [str(w.message) for w in seen]
    for words in ("Early stopping conditioned on metric `val_loss` which is not available.",
                  "Reduce LR on plateau conditioned on metric `val_loss` which is not available.",
                  "Can save best model only with val_loss available, skipping."):
        assert any(text.startswith(words) for text in texts), texts
    assert stop.monitor_op is np.less and C.EarlyStopping("acc").monitor_op is np.greater
    with pytest.warns(UserWarning, match="`epsilon` argument is deprecated"):
        assert C.ReduceLROnPlateau(epsilon=0.5).min_delta == 0.5


def test_validation_data_of_callbacks():
    seen = []

    class Look(C.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append([x.shape for x in self.validation_data])

    def batches():
        while True:
            yield X, Y

    model = regression()
    model.fit(X, Y, verbose=0, callbacks=[Look()])
    model.fit(X, Y, verbose=0, callbacks=[Look()], validation_data=(X[:5], Y[:5]))
    model.fit_generator(batches(), 1, verbose=0, callbacks=[Look()], validation_data=(X[:5], Y[:5]))
    full = [(5, *X.shape[1:]), (5, *Y.shape[1:]), (5,)]
    assert seen == [[], full, full]
