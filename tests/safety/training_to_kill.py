"""Trains, kills the training at random instants, goes on with it, and looks at what is left behind.

    python training_to_kill.py FOLDER KILLS SEED

Prints what went wrong and exits with 1, or prints the number of finished trainings. The package is
imported once; each training and each look is a forked child, so a kill costs no start-up.
"""
import csv
import os
import random
import signal
import sys
import time
import traceback

import numpy as np

from gpukeras.callbacks import (BackupAndRestore, CSVLogger, EarlyStopping, ModelCheckpoint,
                                ReduceLROnPlateau)
from gpukeras.layers import Dense, Dropout
from gpukeras.models import Sequential, load_model

EPOCHS = 12
PLACES = np.random.RandomState(0).rand(80, 8).astype("float32")
KINDS = np.eye(3, dtype="float32")[(PLACES.sum(1) * 2).astype(int) % 3]


def train(folder):
    """The same training whenever it is started; it goes on where it was killed."""
    np.random.seed(3)
    model = Sequential([Dense(16, activation="relu", input_shape=(8,)), Dropout(0.3),
                        Dense(3, activation="softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    at = os.path.join
    model.fit(PLACES, KINDS, batch_size=16, epochs=EPOCHS, validation_split=0.2, verbose=0,
              callbacks=[ModelCheckpoint(at(folder, "last.h5")),
                         ModelCheckpoint(at(folder, "best.h5"), save_best_only=True),
                         ReduceLROnPlateau(patience=2), EarlyStopping(patience=EPOCHS),
                         CSVLogger(at(folder, "log.csv"), append=True),
                         BackupAndRestore(at(folder, "backup"), save_freq=3,
                                          delete_checkpoint=False)])
    np.savez(at(folder, "final.npz"), *model.get_weights(), *model.optimizer.get_weights())


def look(folder):
    """Everything in the folder must be whole."""
    for name in ("last.h5", "best.h5"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            model = load_model(path)
            assert np.isfinite(model.predict(PLACES)).all()
            assert model.optimizer.get_weights()
    log = os.path.join(folder, "log.csv")
    if os.path.exists(log):
        with open(log, newline="") as file:
            rows = list(csv.reader(file))
        assert all(len(row) == len(rows[0]) for row in rows), rows
        assert all(np.isfinite([float(v) for v in row]).all() for row in rows[1:]), rows


def child(work, folder):
    """The id of a forked process that does work(folder)."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work(folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def finish(process):
    """Exit code of a child; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def demand(good, words):
    if not good:
        print(words)
        sys.exit(1)


def final(folder):
    """Bytes of the weights, the optimizer's state and the log."""
    with np.load(os.path.join(folder, "final.npz")) as file, \
            open(os.path.join(folder, "log.csv"), "rb") as log:
        return [*(file[name].tobytes() for name in file.files), log.read()]


def main(folder, kills, seed):
    pause = random.Random(seed)
    whole = os.path.join(folder, "whole")
    os.mkdir(whole)
    begin = time.monotonic()
    demand(finish(child(train, whole)) == 0, "the training that nobody kills failed")
    length = time.monotonic() - begin
    expected, finished, run = final(whole), 0, None
    while kills > 0 or run:
        if run is None:
            run = os.path.join(folder, f"run{finished}")
            os.mkdir(run)
        process = child(train, run)
        if kills > 0:
            time.sleep(pause.uniform(0, length))
            done, status = os.waitpid(process, os.WNOHANG)
            if not done:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                kills -= 1
                demand(finish(child(look, run)) == 0, f"{run}: a file is not whole")
                continue
            code = os.waitstatus_to_exitcode(status)
        else:
            code = finish(process)
        demand(code == 0, f"{run}: the training that went on failed")
        demand(final(run) == expected, f"{run}: other bits than the training that nobody killed")
        finished, run = finished + 1, None
    print(finished)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
