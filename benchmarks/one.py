"""Time one engine on one workload in this process: `one.py ENGINE WORKLOAD THREADS SECONDS DEVICE`.

Prints one JSON line: median and best ms per training step inside fit, processor ms per step (which
a busy machine disturbs less), seconds to import.
Started by fit.py, which sets the thread count and interleaves the engines.

Every engine gets the same arrays, the same model, the same optimizer with Keras's defaults, and
shuffles each epoch; inference is predict_on_batch of one batch.  The first epochs or calls
(tracing, compiling, first touch of memory) are left out.
"""

import json
import os
import sys
import time

from workloads import WORKLOADS, arrays, keras_model, torch_model

ENGINES = ("gpukeras", "torch", "tf_keras", "keras3", "keras3-jax", "keras3-torch")
WARM_EPOCHS = 2


def clock():
    """(seconds, processor seconds), to be subtracted."""
    return time.perf_counter(), time.process_time()


def since(start):
    return tuple(now - before for now, before in zip(clock(), start))


def run_keras(keras, workload, seconds):
    """(seconds, processor seconds) of each epoch of one fit() call."""
    x, y = arrays(workload)
    batch = WORKLOADS[workload].batch
    model = keras_model(keras, workload)
    if WORKLOADS[workload].predicts:
        return repeat(lambda: model.predict_on_batch(x), seconds)
    epochs = []
    deadline = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = clock()
            if not deadline and epoch == WARM_EPOCHS:
                deadline.append(self.start[0] + seconds)

        def on_epoch_end(self, epoch, logs=None):
            epochs.append(since(self.start))
            if deadline and time.perf_counter() > deadline[0]:
                self.model.stop_training = True

    model.fit(x, y, batch_size=batch, epochs=10000, verbose=0, callbacks=[Clock()])
    return epochs


def run_torch(workload, threads, seconds, device):
    """The same of a plain eager loop: shuffle, gather, step, sums of loss and hits."""
    import torch
    torch.set_num_threads(threads)
    x, y = arrays(workload)
    batch, count = WORKLOADS[workload].batch, WORKLOADS[workload].steps
    x = torch.from_numpy(x if x.ndim == 2 else x.transpose(0, 3, 1, 2).copy())
    y = torch.from_numpy(y.argmax(1))
    device = "cuda" if device == "gpu" else "cpu"
    x, y = x.to(device), y.to(device)
    net, optimizer = torch_model(torch, workload, device)
    if WORKLOADS[workload].predicts:
        with torch.no_grad():
            net.eval()
            return repeat(lambda: net(x).cpu(), seconds)
    loss_of = torch.nn.CrossEntropyLoss()
    epochs = []
    deadline = None
    while deadline is None or time.perf_counter() < deadline:
        if deadline is None and len(epochs) == WARM_EPOCHS:
            deadline = time.perf_counter() + seconds
        start = clock()
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
        epochs.append(since(start))
    return epochs


def repeat(call, seconds):
    """(seconds, processor seconds) of each call, the first ones too."""
    taken = []
    deadline = None
    while deadline is None or time.perf_counter() < deadline or len(taken) < WARM_EPOCHS + 3:
        if len(taken) == WARM_EPOCHS:
            deadline = time.perf_counter() + seconds
        start = clock()
        call()
        taken.append(since(start))
    return taken


def extras(keras, workload):
    """Median ms of train_on_batch and of predict on one row (gpukeras, Keras and tf_keras)."""
    x, y = arrays(workload)
    batch = WORKLOADS[workload].batch
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
    steps = WORKLOADS[workload].steps
    kept, cpu = (sorted(values) for values in zip(*epochs[WARM_EPOCHS:]))
    print(json.dumps({"engine": engine, "workload": workload, "version": version,
                      "import_s": imported, "step_ms": kept[len(kept) // 2] / steps * 1e3,
                      "best_ms": kept[0] / steps * 1e3,
                      "cpu_ms": cpu[len(cpu) // 2] / steps * 1e3, "epochs": len(kept), **more}))


if __name__ == "__main__":
    main()
