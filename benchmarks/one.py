"""Time one engine on one workload in this process: `one.py ENGINE WORKLOAD THREADS SECONDS DEVICE`.

Prints one JSON line: median and best ms per training step inside fit, processor ms per step (which
a busy machine disturbs less), seconds to import.
Started by fit.py, which sets the thread count and interleaves the engines.

Every engine gets the same arrays, the same model, the same optimizer with Keras's defaults, and
shuffles each epoch.  The first epochs (tracing, compiling, first touch of memory) are left out.
"""

import json
import os
import sys
import time

# (input shape, classes, batch, batches per epoch)
WORKLOADS = {
    "mlp": ((784,), 10, 32, 150),
    "cnn": ((28, 28, 1), 10, 128, 12),
    "cnn3": ((28, 28, 1), 10, 32, 30),
}
ENGINES = ("gpukeras", "torch", "tf_keras", "keras3", "keras3-jax")
WARM_EPOCHS = 2


def arrays(workload):
    """Random images and one-hot labels: x (N, *shape) float32, y (N, classes) float32."""
    import numpy as np
    shape, classes, batch, count = WORKLOADS[workload]
    rng = np.random.default_rng(0)
    x = rng.random((batch * count,) + shape, dtype=np.float32)
    labels = rng.integers(0, classes, batch * count)
    return x, np.eye(classes, dtype=np.float32)[labels]


def keras_model(keras, workload):
    """The workload in Keras's words; works for gpukeras, tf_keras and Keras 3 alike."""
    L = keras.layers
    shape, classes, _, _ = WORKLOADS[workload]
    x = inputs = keras.Input(shape=shape)
    if workload == "mlp":
        x = L.Dense(400, activation="relu")(x)
        optimizer = keras.optimizers.RMSprop()
    elif workload == "cnn":
        for filters in (32, 64):
            x = L.Conv2D(filters, (5, 5), activation="relu")(x)
            x = L.MaxPooling2D((2, 2))(x)
        x = L.Dense(1000, activation="relu")(L.Flatten()(x))
        optimizer = keras.optimizers.Adam()
    else:
        x = L.Conv2D(32, (3, 3), activation="relu")(x)
        x = L.Conv2D(32, (3, 3), activation="relu")(x)
        x = L.Dropout(0.25)(L.MaxPooling2D((2, 2))(x))
        x = L.Dropout(0.5)(L.Dense(128, activation="relu")(L.Flatten()(x)))
        optimizer = keras.optimizers.Adam()
    model = keras.Model(inputs, L.Dense(classes, activation="softmax")(x))
    model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def run_keras(keras, workload, seconds):
    """(seconds, processor seconds) of each epoch of one fit() call."""
    x, y = arrays(workload)
    _, _, batch, _ = WORKLOADS[workload]
    model = keras_model(keras, workload)
    epochs = []
    deadline = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter(), time.process_time()
            if not deadline and epoch == WARM_EPOCHS:
                deadline.append(self.start[0] + seconds)

        def on_epoch_end(self, epoch, logs=None):
            epochs.append((time.perf_counter() - self.start[0],
                           time.process_time() - self.start[1]))
            if deadline and time.perf_counter() > deadline[0]:
                self.model.stop_training = True

    model.fit(x, y, batch_size=batch, epochs=10000, verbose=0, callbacks=[Clock()])
    return epochs


def torch_model(torch, workload, device):
    """The same model in torch, channels first; returns (module, optimizer)."""
    nn = torch.nn
    if workload == "mlp":
        net = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 10)).to(device)
        return net, torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    if workload == "cnn":
        net = nn.Sequential(nn.Conv2d(1, 32, 5), nn.ReLU(), nn.MaxPool2d(2),
                            nn.Conv2d(32, 64, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                            nn.Linear(1024, 1000), nn.ReLU(), nn.Linear(1000, 10))
    else:
        net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(),
                            nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
                            nn.Linear(4608, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
    return net.to(device), torch.optim.Adam(net.parameters(), eps=1e-7)


def run_torch(workload, threads, seconds, device):
    """The same of a plain eager loop: shuffle, gather, step, sums of loss and hits."""
    import torch
    torch.set_num_threads(threads)
    x, y = arrays(workload)
    _, _, batch, count = WORKLOADS[workload]
    x = torch.from_numpy(x if workload == "mlp" else x.transpose(0, 3, 1, 2).copy())
    y = torch.from_numpy(y.argmax(1))
    device = "cuda" if device == "gpu" else "cpu"
    x, y = x.to(device), y.to(device)
    net, optimizer = torch_model(torch, workload, device)
    loss_of = torch.nn.CrossEntropyLoss()
    epochs = []
    deadline = None
    while deadline is None or time.perf_counter() < deadline:
        if deadline is None and len(epochs) == WARM_EPOCHS:
            deadline = time.perf_counter() + seconds
        start = time.perf_counter(), time.process_time()
        order = torch.randperm(len(x), device=device)
        loss_sum = hits = 0.0
        for i in range(count):
            pick = order[i * batch:(i + 1) * batch]
            xb, yb = x[pick], y[pick]
            optimizer.zero_grad()
            out = net(xb)
            loss = loss_of(out, yb)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                loss_sum = loss_sum + loss * batch
                hits = hits + (out.argmax(1) == yb).sum()
        float(loss_sum), float(hits)
        epochs.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return epochs


def extras(keras, workload):
    """Median ms of train_on_batch and of predict on one row (gpukeras, Keras and tf_keras)."""
    x, y = arrays(workload)
    _, _, batch, _ = WORKLOADS[workload]
    model = keras_model(keras, workload)

    def median_ms(call, times):
        for _ in range(5):
            call()
        taken = []
        for _ in range(times):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        return sorted(taken)[len(taken) // 2] * 1e3

    return {"train_on_batch_ms": median_ms(lambda: model.train_on_batch(x[:batch], y[:batch]), 60),
            "predict_one_ms": median_ms(lambda: model.predict(x[:1], verbose=0), 60)}


def main():
    engine, workload, threads, seconds, device = sys.argv[1:6]
    threads, seconds = int(threads), float(seconds)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    start = time.perf_counter()
    more = {}
    if engine == "torch":
        import torch
        version = torch.__version__
        imported = time.perf_counter() - start
        epochs = run_torch(workload, threads, seconds, device)
    else:
        if engine.startswith("keras3"):
            os.environ["KERAS_BACKEND"] = engine.partition("-")[2] or "tensorflow"
            import keras
        elif engine == "tf_keras":
            import tf_keras as keras
        else:
            import gpukeras as keras
        imported = time.perf_counter() - start
        version = keras.__version__
        if "tensorflow" in sys.modules:
            import tensorflow as tf
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        epochs = run_keras(keras, workload, seconds)
        if workload == "mlp":
            more = extras(keras, workload)
    steps = WORKLOADS[workload][3]
    kept, cpu = (sorted(values) for values in zip(*epochs[WARM_EPOCHS:]))
    print(json.dumps({"engine": engine, "workload": workload, "version": version,
                      "import_s": imported, "step_ms": kept[len(kept) // 2] / steps * 1e3,
                      "best_ms": kept[0] / steps * 1e3,
                      "cpu_ms": cpu[len(cpu) // 2] / steps * 1e3, "epochs": len(kept), **more}))


if __name__ == "__main__":
    main()
