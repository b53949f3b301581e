"""Reads mutated model files; each must load or give a clear error, soon and in little memory.

    python read_broken_files.py FOLDER COUNT SEED

Every batch is read by a forked child, so that a crash is seen and named. Prints the findings; exits
with 1 if there are any.
"""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
import zipfile

import h5py
import numpy as np

import mutate
from gpukeras.layers import (LSTM, BatchNormalization, Conv2D, Dense, Flatten, Input, Lambda,
                             MaxPooling2D, TimeDistributed, concatenate)
from gpukeras.models import Model, Sequential, load_model, model_from_json

BATCH, SECONDS, BYTES = 25, 5, 1 << 30
CLEAR = (ValueError, OSError)
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"


class Hung(BaseException):
    """The alarm went off."""


def alarm(*_):
    raise Hung


def sources(folder):
    """Model files to start from, small ones of ours and of Keras 2.3.1; always the same bytes."""
    np.random.seed(0)
    image = Input((6, 6, 1))
    x = MaxPooling2D()(BatchNormalization()(Conv2D(2, 3, activation="relu")(image)))
    model = Model(image, Dense(2)(concatenate([Flatten()(x), Flatten()(image)])))
    model.compile("adam", "mse", metrics=["mae"])
    model.save(folder / "branches.h5")
    model = Sequential([TimeDistributed(Dense(3), input_shape=(4, 2)), LSTM(2), Lambda(abs)])
    model.compile("sgd", "mse")
    model.save(folder / "sequence.h5")
    for path in [*GOLDEN.glob("*_*.h5"), GOLDEN / "lambdas.h5",
                 *(GOLDEN / "keras3").glob("*_[ns]*.keras")]:
        if "weights" not in path.name:
            shutil.copy(path, folder / path.name)
    return sorted([*folder.glob("*.h5"), *folder.glob("*.keras")])


def break_one(folder, paths, rng, number):
    """Path of a new broken file and what was done to it."""
    path = rng.choice(paths)
    target = folder / f"broken{number}{path.suffix}"
    if rng.random() < 0.5:
        target.write_bytes(mutate.mutated_bytes(path.read_bytes(), rng))
        return target, f"bytes of {path.name}"
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
            config = json.loads(old.read("config.json"))
            new.writestr("config.json", mutate.mutated_config(config, rng))
            image = old.read("model.weights.h5")
            new.writestr("model.weights.h5", image if rng.random() < 0.5 else
                         mutate.mutated_bytes(image, rng))
        return target, f"config or weights of {path.name}"
    shutil.copy(path, target)
    with h5py.File(target, "r+") as file:
        name = rng.choice([n for n in ("model_config", "training_config") if n in file.attrs])
        text = file.attrs[name]
        config = json.loads(text if isinstance(text, str) else text.decode())
        changed = mutate.mutated_config(config, rng).encode()
        del file.attrs[name]
        file.attrs.create(name, changed[:60_000])
    return target, f"{name} of {path.name}"


def peak():
    """The most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read(path, what):
    """None, or what is wrong with the way the file was read."""
    before = peak()
    signal.alarm(SECONDS)
    try:
        if what.startswith("model_config") and path.stat().st_size % 2:
            with h5py.File(path, "r") as file:
                model_from_json(file.attrs["model_config"].decode())
        else:
            load_model(path)
    except CLEAR as error:
        if len(str(error)) < 15:
            return f"says only {error!r}"
    except Hung:
        return f"takes more than {SECONDS} s\n{traceback.format_exc(limit=-4)}"
    except BaseException:
        return traceback.format_exc(limit=-3)
    finally:
        signal.alarm(0)
    return f"takes {peak() >> 20} MB" if peak() > max(before, BYTES) else None


def read_batch(folder, paths, seed, first):
    """In a child: read BATCH files; a file tells which one is being read, and the findings."""
    signal.signal(signal.SIGALRM, alarm)
    warnings.simplefilter("ignore")
    # HDF5 asks for what a broken length claims, up to 4 GB: it must not get it
    resource.setrlimit(resource.RLIMIT_AS, (2 * BYTES, 2 * BYTES))
    with open(folder / f"findings{first}", "w") as out:
        for number in range(first, first + BATCH):
            rng = random.Random(f"{seed}-{number}")
            path, what = break_one(folder, paths, rng, number)
            out.write(f"> {number} {what}\n")
            out.flush()
            finding = read(path, what)
            if finding:
                out.write(finding + "\n")
            path.unlink()


def watch(process, progress):
    """Exit code of a child that must get on with its files; one that hangs in C is killed."""
    seen, since = -1, time.monotonic()
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        size = progress.stat().st_size if progress.exists() else 0
        if size != seen:
            seen, since = size, time.monotonic()
        elif time.monotonic() - since > 4 * SECONDS:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.01)


def main(folder, count, seed):
    folder = pathlib.Path(folder)
    os.chdir(folder)
    paths, bad, first = sources(folder), [], 0
    while first < count:
        progress = folder / f"findings{first}"
        process = os.fork()
        if not process:
            with open(os.devnull, "w") as null:
                os.dup2(null.fileno(), 2)          # HDF5 reports on the error stream
            read_batch(folder, paths, seed, first)
            os._exit(0)
        code = watch(process, progress)
        entries = progress.read_text().split("> ")[1:] if progress.exists() else []
        bad += [entry for entry in entries if entry.count("\n") > 1]
        if code:
            bad.append(f"{entries[-1] if entries else first} ended with {code}")
        first += max(len(entries), 1)
    if (folder / "hit").exists():
        bad.append("something in a file was executed")
    print(f"{len(bad)} of {count}\n" + "\n".join(bad))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
