"""A training that goes on where it was interrupted ends with the bits of one that was not."""
import csv
import os
import random

import numpy as np
import pytest
from crash import Crash

from gpukeras import backend as K
from gpukeras import callbacks as C
from gpukeras.layers import LSTM, BatchNormalization, Dense, Dropout
from gpukeras.models import Sequential
from gpukeras.optimizers import Adam
from gpukeras.utils import Sequence

X = np.random.RandomState(0).uniform(-1, 1, (22, 3)).astype("float32")
Y = (X @ np.array([[1.0], [2.0], [-1.0]], "float32")) + 0.5
EPOCHS = 5


def network():
    K.clear_session()
    np.random.seed(7)
    random.seed(7)
    model = Sequential([Dense(6, activation="tanh", input_shape=(3,)), BatchNormalization(),
                        Dropout(0.3), Dense(1)])
    model.compile(Adam(0.01), "mse", metrics=["mae"])
    return model


class Own(C.Callback):
    """A user's callback, with a state, that draws random numbers and sets the learning rate."""

    def on_train_begin(self, logs=None):
        self.batches, self.drawn = 0, []

    def on_epoch_begin(self, epoch, logs=None):
        self.drawn.append(random.random() + np.random.rand())
        K.set_value(self.model.optimizer.lr, 0.9 * K.get_value(self.model.optimizer.lr))

    def on_batch_end(self, batch, logs=None):
        self.batches += 1

    def get_state(self):
        return {"batches": self.batches, "drawn": list(self.drawn)}

    def set_state(self, state):
        self.batches, self.drawn = state["batches"], list(state["drawn"])


class Rows(Sequence):
    """Batches whose order and content change from epoch to epoch."""

    def __init__(self):
        self.order, self.epochs = np.arange(len(X)), 0

    def __len__(self):
        return 4

    def __getitem__(self, i):
        rows = self.order[6 * i:6 * i + 6]
        return X[rows] + self.epochs, Y[rows]

    def on_epoch_end(self):
        np.random.shuffle(self.order)
        self.epochs += 1


def rows_for_ever():
    while True:
        rows = np.random.randint(0, len(X), 6)
        yield X[rows], Y[rows]


def observers(folder):
    return [C.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0), Own(),
            C.EarlyStopping("loss", patience=EPOCHS, restore_best_weights=True),
            C.CSVLogger(folder / "log.csv")]


def trained(model, folder, data, *more, workers=0, **arguments):
    folder.mkdir(exist_ok=True)
    watching = observers(folder)
    common = {"epochs": EPOCHS, "verbose": 0, "callbacks": [*watching, *more], **arguments}
    if data == "arrays":
        history = model.fit(X, Y, batch_size=6, validation_split=0.2, **common)
    elif data == "batches":
        history = model.fit(X, Y, batch_size=6, shuffle="batch", **common)
    elif data == "sequence":
        history = model.fit_generator(Rows(), workers=workers, **common)
    elif data == "sequence in steps":
        history = model.fit_generator(Rows(), steps_per_epoch=3, workers=workers, **common)
    else:
        history = model.fit_generator(rows_for_ever(), 3, workers=workers, validation_data=(
            rows_for_ever()), validation_steps=1, **common)
    log = list(csv.reader((folder / "log.csv").open()))
    return [history.history, history.epoch, watching[1].get_state(), log,
            [w.tobytes() for w in model.get_weights() + model.optimizer.get_weights()]]


@pytest.mark.parametrize("data", ["arrays", "batches", "sequence", "sequence in steps"])
@pytest.mark.parametrize("epoch, batch", [(0, 0), (0, 2), (1, 0), (2, 1), (4, 2)])
@pytest.mark.parametrize("save_freq", [1, "epoch"])
def test_it_ends_with_the_same_bits(data, epoch, batch, save_freq, tmp_path):
    expected = trained(network(), tmp_path / "whole", data)
    backup = C.BackupAndRestore(tmp_path / "backup", save_freq)
    with pytest.raises(KeyboardInterrupt):
        trained(network(), tmp_path / "cut", data, backup, Crash(epoch, batch))
    backup = C.BackupAndRestore(tmp_path / "backup", save_freq)
    assert trained(network(), tmp_path / "cut", data, backup) == expected
    assert os.listdir(tmp_path / "backup") == []


def test_it_may_be_interrupted_again_and_again(tmp_path):
    expected = trained(network(), tmp_path / "whole", "arrays")
    for at in ((0, 1), (0, 2), (1, 1), (3, 0), (3, 0), (4, 2)):
        with pytest.raises(KeyboardInterrupt):
            trained(network(), tmp_path / "cut", "arrays",
                    C.BackupAndRestore(tmp_path / "backup", 2), Crash(*at))
    assert trained(network(), tmp_path / "cut", "arrays",
                   C.BackupAndRestore(tmp_path / "backup", 2)) == expected


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("save_freq", [1, "epoch"])
def test_batches_of_a_generator_are_not_seen_twice(workers, save_freq, tmp_path):
    def numbers():
        for i in range(1000):
            rows = (np.arange(6) + i) % len(X)
            yield X[rows], Y[rows]

    def run(model, *callbacks):
        history = model.fit_generator(numbers(), 3, EPOCHS, 0, list(callbacks), workers=workers)
        return history.history, [w.tobytes() for w in model.get_weights()]

    expected = run(network())
    with pytest.raises(KeyboardInterrupt):
        run(network(), C.BackupAndRestore(tmp_path, save_freq), Crash(2, 1))
    assert run(network(), C.BackupAndRestore(tmp_path, save_freq)) == expected


def test_a_generator_that_draws_random_numbers_draws_them_again(tmp_path):
    def run(model, *callbacks):
        history = model.fit_generator(rows_for_ever(), 3, EPOCHS, 0, list(callbacks), workers=0)
        return history.history, [w.tobytes() for w in model.get_weights()]

    expected = run(network())
    with pytest.raises(KeyboardInterrupt):
        run(network(), C.BackupAndRestore(tmp_path, 1), Crash(2, 1))
    assert run(network(), C.BackupAndRestore(tmp_path, 1)) == expected


def test_states_of_stateful_layers_go_on(tmp_path):
    x = np.random.RandomState(1).rand(12, 4, 2).astype("float32")

    def model():
        K.clear_session()
        np.random.seed(1)
        made = Sequential([LSTM(3, stateful=True, batch_input_shape=(3, 4, 2)), Dense(1)])
        made.compile("sgd", "mse")
        return made

    def run(made, *callbacks):
        made.fit(x, x[:, 0, :1], batch_size=3, epochs=3, shuffle=False, verbose=0,
                 callbacks=list(callbacks))
        return [w.tobytes() for w in made.get_weights()]

    expected = run(model())
    with pytest.raises(KeyboardInterrupt):
        run(model(), C.BackupAndRestore(tmp_path, 1), Crash(1, 2))
    assert run(model(), C.BackupAndRestore(tmp_path, 1)) == expected


def test_fit_takes_a_folder(tmp_path):
    def run(model, *callbacks, resume):
        model.fit(X, Y, epochs=EPOCHS, verbose=0, callbacks=list(callbacks), resume=resume)
        return [w.tobytes() for w in model.get_weights()]

    expected = run(network(), resume=None)
    with pytest.raises(KeyboardInterrupt):
        run(network(), Crash(2, 0), resume=tmp_path / "here")
    assert os.listdir(tmp_path / "here") == ["training.backup"]
    assert run(network(), resume=str(tmp_path / "here")) == expected
    with pytest.raises(ValueError, match="resume is True, expected a folder"):
        run(network(), resume=True)
    for wrong in (0, -1, "batch", None):
        with pytest.raises(ValueError, match="save_freq is .*expected 'epoch' or a number"):
            C.BackupAndRestore(tmp_path, wrong)


def test_other_data_than_those_of_the_backup_are_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, batch_size=6, verbose=0, callbacks=[Crash(0, 1)],
                      resume=C.BackupAndRestore(tmp_path, 1))
    with pytest.raises(ValueError, match="backup is of 22 samples in batches of 6, .* has 20 in"):
        network().fit(X[:20], Y[:20], batch_size=6, verbose=0, resume=tmp_path)


def test_several_steps_at_a_time(tmp_path):
    def run(*callbacks):
        model = network()
        model._steps_per_execution = 2
        model.fit(X, Y, batch_size=4, epochs=EPOCHS, verbose=0, callbacks=list(callbacks))
        return [w.tobytes() for w in model.get_weights()]

    expected = run()
    with pytest.raises(KeyboardInterrupt):
        run(C.BackupAndRestore(tmp_path, 2), Crash(2, 3))
    assert run(C.BackupAndRestore(tmp_path, 2)) == expected
