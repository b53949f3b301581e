"""Time one engine in this process: `one.py ENGINE WORKLOAD[,...] THREADS SECONDS DEVICE [MATH]`.

Prints one JSON line per workload: median and best ms per training step inside fit, processor ms per
step (which a busy machine disturbs less), seconds to import.
Started by fit.py, which sets the thread count and interleaves the engines.

Every engine gets the same arrays, the same model, the same optimizer with Keras's defaults, and
shuffles each epoch; inference is predict_on_batch of one batch.  The first epochs or calls
(tracing, compiling, first touch of memory) are left out.  A GPU gets longer epochs, so that what
an epoch costs once counts as little as with the data of real trainings.
"""

import json
import os
import sys
import time
import traceback

from workloads import WORKLOADS, arrays, keras_model, torch_loss, torch_model

ENGINES = ("gpukeras", "gpukeras-plain", "torch", "torch-compile", "jax", "tf_keras", "keras3",
           "keras3-jax", "keras3-torch", "keras2")
MATH = ("float32", "tf32", "bfloat16")
WARM_EPOCHS = 2
LONGER, SHORT = 10, 8                              # times the steps of epochs of at least SHORT


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


def torch_precision(torch, math):
    """TF32 in products and, where it is torch's default, in convolutions: only if asked for."""
    torch.set_float32_matmul_precision("highest" if math == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = math != "float32"


def run_torch(workload, threads, seconds, device, compiled, math):
    """The same of a plain loop: shuffle, gather, step, sums of loss and hits; eager or compiled."""
    import torch
    torch.set_num_threads(threads)
    torch_precision(torch, math)
    x, y = arrays(workload)
    batch, count = WORKLOADS[workload].batch, WORKLOADS[workload].steps
    x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x)
    y = torch.from_numpy(y.argmax(1) if y.shape[1] > 1 else y)
    device = "cuda" if device == "gpu" else "cpu"
    x, y = x.to(device), y.to(device)
    net, optimizer = torch_model(torch, workload, device)
    if compiled:
        net = torch.compile(net, mode="reduce-overhead" if device == "cuda" else "default")
    halves = torch.autocast(device, torch.bfloat16, enabled=math == "bfloat16")
    if WORKLOADS[workload].predicts:
        with torch.no_grad(), halves:
            net.eval()
            return repeat(lambda: net(x).cpu(), seconds)
    loss_of, hits_of = torch_loss(torch, workload)
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
            with halves:
                out = net(xb)
                loss = loss_of(out, yb)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                loss_sum = loss_sum + loss * batch
                hits = hits + hits_of(out, yb) if hits_of else 0.0
        float(loss_sum), float(hits)
        epochs.append(since(start))
    return epochs


def run_jax(workload, seconds):
    """The same of one jitted function: Keras 3's layers and optimizer, no fit, data resident."""
    import jax
    import keras
    from jax import numpy as jnp
    x, y = (jax.device_put(a) for a in arrays(workload))
    batch, count = WORKLOADS[workload].batch, WORKLOADS[workload].steps
    model = keras_model(keras, workload)
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    state = tuple([v.value for v in part] for part in (
        model.trainable_variables, model.non_trainable_variables, optimizer.variables))
    if WORKLOADS[workload].predicts:
        call = jax.jit(lambda x: model.stateless_call(*state[:2], x, training=False)[0])
        return repeat(lambda: jax.device_get(call(x)), seconds)

    def loss_of(weights, rest, x, y):
        out, rest = model.stateless_call(weights, rest, x, training=True)
        return keras.losses.get(model.loss)(y, out).mean(), (out, rest)

    def step(state, sums, order, i):
        rows = jax.lax.dynamic_slice_in_dim(order, i * batch, batch)
        xb, yb = x[rows], y[rows]
        weights, rest, slots = state
        (loss, (out, rest)), grads = jax.value_and_grad(loss_of, has_aux=True)(
            weights, rest, xb, yb)
        weights, slots = optimizer.stateless_apply(slots, grads, weights)
        hits = (out.argmax(-1) == yb.argmax(-1)).sum()
        return (weights, rest, slots), sums + jnp.stack([loss * batch, hits.astype(float)])

    step = jax.jit(step, donate_argnums=(0, 1))
    key = jax.random.key(0)

    def epoch():
        nonlocal state, key
        key, now = jax.random.split(key)
        order, sums = jax.random.permutation(now, len(x)), jnp.zeros(2)
        for i in range(count):
            state, sums = step(state, sums, order, i)
        jax.device_get(sums)

    return repeat(epoch, seconds)


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


def imported(engine, threads, math):
    """(the module that has Keras's names, or torch; its version; seconds to import it)"""
    start = time.perf_counter()
    if engine.startswith("torch"):
        import torch as module
    elif engine.startswith("keras3") or engine == "jax":
        os.environ["KERAS_BACKEND"] = engine.replace("keras3", "").strip("-") or "tensorflow"
        import keras as module
    elif engine == "keras2":
        import keras as module
    elif engine == "tf_keras":
        import tf_keras as module
    else:
        import gpukeras as module
    seconds = time.perf_counter() - start
    if engine == "keras3-torch":
        import torch
        torch_precision(torch, math)
    if engine in ("jax", "keras3-jax"):
        import jax
        jax.config.update("jax_default_matmul_precision",
                          "highest" if math == "float32" else "default")
    if math == "bfloat16" and hasattr(module, "mixed_precision"):
        module.mixed_precision.set_global_policy("mixed_bfloat16")
    if "tensorflow" in sys.modules:
        import tensorflow as tf
        if engine == "keras2":                     # TensorFlow 1
            config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads,
                                              inter_op_parallelism_threads=threads)
            module.backend.set_session(tf.compat.v1.Session(config=config))
        else:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
            tf.config.experimental.enable_tensor_float_32_execution(math != "float32")
    return module, module.__version__, seconds


def measured(module, engine, workload, threads, seconds, device, math):
    """The figures of one workload."""
    more = {}
    if engine.startswith("torch"):
        epochs = run_torch(workload, threads, seconds, device, engine == "torch-compile",
                           math)
    elif engine == "jax":
        epochs = run_jax(workload, seconds)
    else:
        epochs = run_keras(module, workload, seconds)
        if workload == "mlp":
            more = extras(module, workload)
    steps = WORKLOADS[workload].steps
    kept, cpu = (sorted(values) for values in zip(*epochs[WARM_EPOCHS:]))
    return {"step_ms": kept[len(kept) // 2] / steps * 1e3, "best_ms": kept[0] / steps * 1e3,
            "cpu_ms": cpu[len(cpu) // 2] / steps * 1e3, "epochs": len(kept), **more}


def main():
    engine, workloads, threads, seconds, device, math = (sys.argv + ["float32"])[1:7]
    threads, seconds = int(threads), float(seconds)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ["JAX_PLATFORMS"] = "cpu"
    else:
        for name, work in WORKLOADS.items():
            if work.steps >= SHORT:
                WORKLOADS[name] = work._replace(steps=work.steps * LONGER)
    module, version, import_s = imported(engine, threads, math)
    for workload in workloads.split(","):
        try:
            figures = measured(module, engine, workload, threads, seconds, device, math)
        except Exception:                          # the other workloads shall still be measured
            traceback.print_exc()
            continue
        print(json.dumps({"engine": engine, "workload": workload, "version": version,
                          "import_s": import_s, **figures}), flush=True)


if __name__ == "__main__":
    main()
