"""One rank of a job: trains an MLP on this rank's rows and writes what came out.

python train_digits.py OUT STEPS BATCH [kill RANK STEP | hang RANK STEP]
"""
import os
import signal
import sys
import time

import numpy as np

import gpukeras.hvd as hvd
from gpukeras import layers, models, optimizers
from gpukeras.callbacks import LambdaCallback


def data(rows):
    """A small problem: four classes of noisy prototypes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, rows)
    x = rng.normal(size=(4, 20))[labels] + 0.3 * rng.normal(size=(rows, 20))
    return x.astype("f4"), np.eye(4, dtype="f4")[labels]


def main(out, steps, batch, how=None, victim=None, when=None):
    hvd.init(timeout=5.0)
    np.random.seed(hvd.rank())           # ranks start apart: the broadcast brings them together
    model = models.Sequential([layers.Dense(16, activation="relu", input_shape=(20,)),
                               layers.BatchNormalization() if how == "norm" else layers.Dense(8),
                               layers.Dense(4, activation="softmax")])
    if os.environ.get("WEIGHTS") and hvd.rank() == 0:
        model.load_weights(os.environ["WEIGHTS"])
    elif os.environ.get("FIRST") and hvd.rank() == 0:
        model.save_weights(os.environ["FIRST"])
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.05, momentum=0.9, clipnorm=1.0)),
                  "categorical_crossentropy", metrics=["accuracy"])
    x, y = hvd.shard(*data(int(steps) * int(batch)))

    def trouble(number, logs):
        if hvd.rank() == int(victim) and number == int(when):
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1000)

    extra = [LambdaCallback(on_batch_begin=trouble)] if how in ("kill", "hang") else []
    if os.environ.get("LAST"):
        extra.append(hvd.callbacks.SaveOnFailureCallback(os.environ["LAST"]))
    history = model.fit(x, y, int(batch) // hvd.size(), epochs=2, verbose=0, shuffle=False,
                        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0),
                                   hvd.callbacks.MetricAverageCallback(), *extra])
    np.savez(f"{out}.{hvd.rank()}.npz", *model.get_weights(),
             loss=history.history["loss"], accuracy=history.history["accuracy"])


if __name__ == "__main__":
    main(*sys.argv[1:])
