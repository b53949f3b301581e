"""How long a training step takes on many devices: a simulator, and a check of it on this machine.

    python benchmarks/scaling.py                 the tables of docs/scaling.md
    python benchmarks/scaling.py --measure       runs 2 processes here, compares, writes JSON

A step computes while its gradients, in buckets, are summed over all devices; see docs/scaling.md
for the model. Sums are taken one after the other, each as soon as it is ready and the link is free.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
BUCKET = 1 << 20                                   # bytes; as gpukeras/devices/replicas.py has it


class Link(NamedTuple):
    """What connects devices. latency: seconds a message takes at least. rate: bytes per second
    that one device sends while it receives as many."""

    latency: float
    rate: float


class Machine(NamedTuple):
    """Nodes of `per_node` devices; `inside` connects those of a node, `between` the nodes, where
    every device has a share of its own."""

    per_node: int
    inside: Link
    between: Link


class Work(NamedTuple):
    """One device's part of a step. forward, backward, update: seconds. buckets: bytes of each
    bucket of gradients, in the order in which the backward pass finishes them."""

    forward: float
    backward: float
    update: float
    buckets: tuple

    @classmethod
    def even(cls, forward, backward, update, nbytes, bucket=BUCKET):
        """Gradients of `nbytes` that become ready evenly over the backward pass."""
        count = max(1, round(nbytes / bucket))
        return cls(forward, backward, update, (nbytes / count,) * count)


def ring(nbytes, devices, link):
    """Seconds of a sum in a ring: every device sends 2 (n - 1) / n of the bytes, in 2 (n - 1)
    messages.   Patarasuk, Yuan 2009, doi:10.1016/j.jpdc.2008.09.002"""
    steps = 2 * (devices - 1)
    return steps * (link.latency + nbytes / devices / link.rate)


def tree(nbytes, devices, link):
    """Seconds of a sum up and down a binary tree, all bytes at once: for short messages."""
    return 2 * math.ceil(math.log2(devices)) * (link.latency + nbytes / link.rate)


def flat_sum(nbytes, devices, link):
    """The faster one, as libraries choose."""
    return 0.0 if devices < 2 else min(ring(nbytes, devices, link), tree(nbytes, devices, link))


def sum_seconds(nbytes, devices, machine):
    """A sum inside every node, of the node's share between the nodes, and back inside."""
    inner = min(devices, machine.per_node)
    nodes = -(-devices // machine.per_node)
    return (flat_sum(nbytes, inner, machine.inside)
            + flat_sum(nbytes / inner, nodes, machine.between))


def step_seconds(work, devices, machine, overlapped=True):
    """(seconds of a step, seconds of it in which the device waits for sums)"""
    ends, computed = 0.0, work.forward + work.backward
    for i, nbytes in enumerate(work.buckets):
        ready = work.forward + work.backward * (i + 1) / len(work.buckets)
        start = max(ready if overlapped else computed, ends)
        ends = start + sum_seconds(nbytes, devices, machine)
    waits = max(0.0, ends - computed) if devices > 1 else 0.0
    return computed + waits + work.update, waits


def efficiency(work, devices, machine, **how):
    """Weak scaling: a step of one device by itself over a step of one among many."""
    return step_seconds(work, 1, machine)[0] / step_seconds(work, devices, machine, **how)[0]


# ------------------------------------------------------------------------------ tables

# Data sheets, not measurements: eight H200 with NVLink 4 (450 GB/s each way), 400 Gbit/s a GPU
# between nodes; latencies as NCCL shows them on such machines.
CLUSTER = Machine(8, Link(3e-6, 450e9), Link(10e-6, 50e9))
COUNTS = (1, 2, 4, 8, 16, 64, 256, 1024)
# seconds of forward, backward and update that are assumed, bytes of float32 gradients
MODELS = {
    "MLP 784-400-10, 60 us a step": Work.even(20e-6, 35e-6, 5e-6, 4 * 317_610),
    "ResNet-20, 1 ms": Work.even(0.3e-3, 0.65e-3, 0.05e-3, 4 * 272_474),
    "ResNet-50, 100 ms": Work.even(33e-3, 66e-3, 1e-3, 4 * 25_583_592),
    "VGG16, 150 ms": Work.even(45e-3, 100e-3, 5e-3, 4 * 138_357_544),
}


def print_tables():
    print("Efficiency (one device alone = 100 %), gradients summed while the backward pass runs\n")
    print(f"{'assumed model and step':32}" + "".join(f"{n:>8}" for n in COUNTS))
    for how in (True, False):
        for name, work in MODELS.items():
            shares = [efficiency(work, n, CLUSTER, overlapped=how) for n in COUNTS]
            print(f"{name:32}" + "".join(f"{100 * s:>7.0f}%" for s in shares))
        if how:
            print("\nthe same, all sums after the backward pass")


# ------------------------------------------------------------------------------ this machine

SIZES = (1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 22)
WIDTHS = (256, 512, 1024, 2048)                    # of the layers of the models that are timed


def child(out):
    """One rank: times sums of several sizes, and training steps of several models."""
    import numpy as np

    import gpukeras.hvd as hvd
    hvd.init()
    group, found = hvd.current(), {"sums": {}, "alone": {}, "steps": {}}
    for nbytes in SIZES:
        array = np.zeros(nbytes // 4, "f4")
        found["sums"][nbytes] = middle(lambda a=array: group.allreduce(a), 15)
    for width in WIDTHS:
        # both at the same time, because processes share the machine's memory
        for kind, optimizer in (("alone", lambda o: o), ("steps", hvd.DistributedOptimizer)):
            group.barrier()
            found[kind][width] = train_seconds(np, width, optimizer)
    if hvd.rank() == 0:
        pathlib.Path(out).write_text(json.dumps(found))


def middle(call, times):
    from time import perf_counter
    taken = []
    for _ in range(times + 3):
        start = perf_counter()
        call()
        taken.append(perf_counter() - start)
    return sorted(taken[3:])[times // 2]


def train_seconds(np, width, distributed):
    """(seconds of a step of an MLP on 64 rows of this rank, bytes of its gradients)"""
    from gpukeras import layers, models, optimizers
    model = models.Sequential([layers.Dense(width, activation="relu", input_shape=(width,)),
                               layers.Dense(width, activation="relu"), layers.Dense(10)])
    model.compile(distributed(optimizers.SGD(0.01)), "mse")
    x, y = np.zeros((64, width), "f4"), np.zeros((64, 10), "f4")
    seconds = middle(lambda: model.train_on_batch(x, y), 15)
    return seconds, sum(w.nbytes for w in model.get_weights())


def run_ranks(count, folder):
    mpirun = pathlib.Path(sys.executable).parent / "mpirun"
    command = [str(mpirun) if mpirun.exists() else "mpirun", "--allow-run-as-root",
               "--oversubscribe", "-n", str(count), sys.executable, __file__, "--child",
               str(folder / f"{count}.json")]
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    subprocess.run(command, check=True, env={
        **os.environ, "PYTHONPATH": path, "GPUKERAS_DEVICE": "cpu", "GPUKERAS_THREADS": "1",
        "OMP_NUM_THREADS": "1"})
    found = json.loads((folder / f"{count}.json").read_text())
    return {part: {int(k): v for k, v in values.items()} for part, values in found.items()}


def fitted(sums):
    """The link whose ring of two takes these seconds: latency of the least, rate of the largest."""
    large = max(sums)
    latency = min(sums.values()) / 2
    return Link(latency, large / max(sums[large] - 2 * latency, 1e-9))


def measure():
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        two = run_ranks(2, pathlib.Path(folder))
    link = fitted(two["sums"])
    machine = Machine(2, link, link)
    print(f"two processes: {link.latency * 1e6:.0f} us a message, {link.rate / 1e9:.2f} GB/s\n"
          f"{'width':>6}{'MB summed':>11}{'alone, ms':>11}{'two, ms':>9}{'simulated':>11}")
    rows = []
    for width, (alone, nbytes) in two["alone"].items():
        # a third forward, the rest backward: two products to one; sums wait for their process here
        work = Work.even(alone / 3, alone * 2 / 3, 0.0, nbytes)
        guess = step_seconds(work, 2, machine, overlapped=False)[0]
        both = two["steps"][width][0]
        rows.append({"width": width, "bytes": nbytes, "alone_ms": 1e3 * alone,
                     "two_ms": 1e3 * both, "simulated_ms": 1e3 * guess})
        print(f"{width:>6}{nbytes / 1e6:>11.2f}{1e3 * alone:>11.3f}{1e3 * both:>9.3f}"
              f"{1e3 * guess:>11.3f}")
    now = datetime.datetime.now(datetime.timezone.utc)
    path = HERE / "results" / f"scaling-{now:%Y%m%d-%H%M}.json"
    path.write_text(json.dumps({"date": now.isoformat(timespec="seconds"), "cpus": os.cpu_count(),
                                "load": os.getloadavg(), "link": link._asdict(),
                                "sums": two["sums"], "steps": rows}, indent=1) + "\n")
    print(f"\nwritten to {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child)
    elif args.measure:
        measure()
    else:
        print_tables()


if __name__ == "__main__":
    main()
