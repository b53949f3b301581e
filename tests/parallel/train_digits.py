"""One rank of a job: trains an MLP on this rank's rows and writes what came out.

python train_digits.py OUT STEPS BATCH [HOW RANKS STEP]

HOW: what happens to these ranks before that step: kill, hang, raise; with FAKE_NCCL (see
fake_gpus.py) also in a message of theirs: nccl-kill, nccl-break.
"""
import os
import signal
import sys
import time

import numpy as np

import gpukeras.hvd as hvd
from gpukeras import layers, models, optimizers
from gpukeras.callbacks import CSVLogger, LambdaCallback


def data(rows):
    """A small problem: four classes of noisy prototypes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, rows)
    x = rng.normal(size=(4, 20))[labels] + 0.3 * rng.normal(size=(rows, 20))
    return x.astype("f4"), np.eye(4, dtype="f4")[labels]


def main(out, steps, batch, how=None, victim=None, when=None):
    hvd.init(timeout=100.0)              # the first step is compiled, on a machine under load
    if os.environ.get("FAKE_NCCL"):
        import fake_gpus
        nccl = fake_gpus.use()
    np.random.seed(hvd.rank())           # ranks start apart: the broadcast brings them together
    model = models.Sequential([layers.Dense(16, activation="relu", input_shape=(20,)),
                               layers.BatchNormalization() if how == "norm" else layers.Dense(8),
                               layers.Dense(4, activation="softmax")])
    if os.environ.get("WEIGHTS") and hvd.rank() == 0:
        model.load_weights(os.environ["WEIGHTS"])
    elif os.environ.get("FIRST") and hvd.rank() == 0:
        model.save_weights(os.environ["FIRST"])
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.05, momentum=0.9, clipnorm=1.0),
                                           compression=os.environ.get("COMPRESSION", "none")),
                  "categorical_crossentropy", metrics=["accuracy"])
    x, y = hvd.shard(*data(int(steps) * int(batch)))

    def trouble(number, logs):
        if number != int(when):
            return
        hvd.init().timeout = float(os.environ.get("TIMEOUT", 5))
        if str(hvd.rank()) in victim.split(","):
            print(f"trouble at {time.time()}", flush=True)
            if how.startswith("nccl-"):
                nccl.trouble = how[5:]
                return
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "raise":
                raise RuntimeError("this went wrong")
            time.sleep(1000)

    extra = [LambdaCallback(on_batch_begin=trouble)] if when else []
    if os.environ.get("LAST"):
        extra.append(hvd.callbacks.SaveOnFailureCallback(os.environ["LAST"]))
    if os.environ.get("CSV"):
        extra.append(CSVLogger(os.environ["CSV"]))
    history = model.fit(x, y, int(batch) // hvd.size(), epochs=2, verbose=0, shuffle=False,
                        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0),
                                   hvd.callbacks.MetricAverageCallback(), *extra])
    np.savez(f"{out}.{hvd.rank()}.npz", *model.get_weights(),
             loss=history.history["loss"], accuracy=history.history["accuracy"])


if __name__ == "__main__":
    main(*sys.argv[1:])
