"""One rank of a job whose results shall not depend on the number of ranks.

python train_same_bits.py OUT mlp|cnn|lstm|whole        50 steps, the same bits on 1, 2 and 4 ranks
python train_same_bits.py OUT mlp-any|cnn-any|...       the same with sums in any order
python train_same_bits.py OUT uneven            batches of different sizes on the ranks
python train_same_bits.py OUT digits            the handwritten digits, in any order of sums

With FAKE_NCCL on stand-ins for a GPU and NCCL, see fake_gpus.py.
"""
import os
import sys

import numpy as np

import gpukeras.hvd as hvd
from gpukeras import backend as K
from gpukeras import config, datasets, layers, models, optimizers
from gpukeras.devices import replicas
from gpukeras.utils import multi_gpu_model

BATCH, STEPS, CLASSES = 24, 25, 5                  # of all ranks together; steps of an epoch


def mlp():
    return [layers.Dense(32, activation="relu", input_shape=(20,)), layers.Dropout(0.3)]


def cnn():
    return [layers.Conv2D(8, 3, activation="relu", input_shape=(12, 12, 2)),
            layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.25),
            layers.Flatten()]


def lstm():
    return [layers.LSTM(9, input_shape=(7, 6))]


def whole():
    """Layers that see the batch of all ranks."""
    return [layers.Dense(8, activation="tanh", input_shape=(6,)),
            layers.Lambda(lambda t: t - K.mean(t, axis=0, keepdims=True)),
            layers.Lambda(lambda t: t / K.max(t, axis=0, keepdims=True)),
            layers.GaussianNoise(0.1)]


def problem(name):
    np.random.seed(3)
    model = models.Sequential([*globals()[name](), layers.Dense(CLASSES, activation="softmax")])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, *model.input_shape[1:])).astype("f4")
    return model, x, np.eye(CLASSES, dtype="f4")[rng.integers(0, CLASSES, len(x))]


def trained(name):
    name, _, order = name.partition("-")
    config.deterministic = order == "any" or "across devices"
    model, x, y = problem(name)
    if os.environ.get("DEVICES"):                  # of each rank, virtual ones
        model = multi_gpu_model(model, int(os.environ["DEVICES"]))
    model.compile(hvd.DistributedOptimizer(optimizers.Adam(0.01)), "categorical_crossentropy",
                  metrics=["accuracy"])
    batch = BATCH // hvd.size()
    x, y = hvd.shard(x, y, block=batch)
    return model, model.fit(x, y, batch, epochs=2, verbose=0, shuffle=False).history


def uneven():
    """Batch i of 11 rows; with two ranks rank 0 has the first 3 + i % 4 of them."""
    model, x, y = problem("cnn")
    model.layers[3].rate = 0.0                     # masks depend on the place of a row in the batch
    model.compile(hvd.DistributedOptimizer(optimizers.SGD(0.05)), "categorical_crossentropy",
                  metrics=["accuracy"])

    def batches():
        for i in range(20):
            edges = [0, 11] if hvd.size() == 1 else [0, 3 + i % 4, 11]
            mine = slice(11 * i + edges[hvd.rank()], 11 * i + edges[hvd.rank() + 1])
            yield x[mine], y[mine]
    history = model.fit_generator(batches(), 20, epochs=1, verbose=0, workers=0).history
    return model, history


def digits():
    (x, y), (x_test, y_test) = datasets.digits.load_data()
    x, x_test = x.reshape(len(x), -1) / 16.0, x_test.reshape(len(x_test), -1) / 16.0
    np.random.seed(hvd.rank())
    model = models.Sequential([layers.Dense(64, activation="relu", input_shape=(64,)),
                               layers.BatchNormalization(), layers.Dense(10, activation="softmax")])
    model.compile(hvd.DistributedOptimizer(optimizers.Adam(0.003)),
                  "sparse_categorical_crossentropy", metrics=["accuracy"])
    batch = 64 // hvd.size()
    model.fit(*hvd.shard(x, y), batch, epochs=12, verbose=0,
              callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0)])
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return model, {"loss": loss, "accuracy": accuracy}


def main(out, name):
    hvd.init(timeout=200.0)              # no test of it here: a machine may be under load
    if os.environ.get("FAKE_NCCL"):
        import fake_gpus
        nccl = fake_gpus.use()
    replicas.BUCKET = int(os.environ.get("BUCKET", replicas.BUCKET))
    model, history = {"uneven": uneven, "digits": digits}.get(name, lambda: trained(name))()
    if os.environ.get("FAKE_NCCL"):
        from gpukeras import devices
        counters = devices.current().driver.counters
        history = {**history, "graphs": counters.graph_launches, "places": nccl.places,
                   "messages": nccl.messages}
    np.savez(f"{out}.{hvd.rank()}.npz", *model.get_weights(), **history)


if __name__ == "__main__":
    main(*sys.argv[1:])
