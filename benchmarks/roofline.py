"""What the machine can do, and what each workload needs: `roofline.py WORKLOAD[,...] DEVICE MATH`.

Prints one JSON line. The ceilings are measured here through gpukeras itself: a large product of
matrices and a pass over memory that no cache holds. A workload's operations and bytes are counted
on the schedule that a GPU would run.
"""

import json
import os
import sys

import numpy as np

from gpukeras import devices
from gpukeras.devices.null import NullDevice
from gpukeras.function import function
from gpukeras.graph import Placeholder
from gpukeras.ops.elementwise import cast
from gpukeras.ops.linalg import dot
from workloads import WORKLOADS, arrays, keras_model

SIZES = {"cpu": (1536, 1 << 25), "gpu": (8192, 1 << 28)}    # rows of a matrix, floats of a vector
RUNS = 5
PRODUCTS = ("Dot", "BatchDot", "Conv", "Depthwise", "Lstm", "Gru", "SimpleRnn", "MaskedConv")


def seconds_of(inputs, output):
    """The best time of a function's longest step, over RUNS runs on random numbers."""
    compiled = function(inputs, [output])
    rng = np.random.default_rng(0)
    data = [rng.random(t.shape, dtype="f4") for t in inputs]
    executable = compiled.specialise(tuple(x.shape for x in data))
    return min(max(executable.profile(data)) for _ in range(RUNS))


def ceilings(device, math="float32"):
    """{"gflops": of a product of matrices, "gbytes": of memory, per second}"""
    rows, floats = SIZES[device]
    a, b = (Placeholder("float32", (rows, rows)) for _ in range(2))
    if math == "bfloat16":
        a, b = cast(a, math), cast(b, math)
    x = Placeholder("float32", (floats,))
    return {"gflops": 2 * rows ** 3 / seconds_of([a, b], dot(a, b)) / 1e9,
            "gbytes": 8 * floats / seconds_of([x], x + 1) / 1e9}


def needs(workload):
    """{"gflop": of products, "gbyte": of all steps, "steps": their number} of one batch."""
    import gpukeras
    x, y = (a[:WORKLOADS[workload].batch] for a in arrays(workload))
    model = keras_model(gpukeras, workload)
    batch = (x,) if WORKLOADS[workload].predicts else (x, y)
    steps = model.profile(*batch, runs=1, print_fn=None).steps
    return {"gflop": sum(s.flops for s in steps if s.op.startswith(PRODUCTS)) / 1e9,
            "gbyte": sum(s.nbytes for s in steps) / 1e9, "steps": len(steps)}


def main():
    workloads, device, math = sys.argv[1:4]
    os.environ["GPUKERAS_DEVICE"] = device
    found = {"ceilings": ceilings(device, math)}
    if device == "gpu":
        found["gpu"] = devices.current().driver.device_name
    devices.use(NullDevice())
    found["needs"] = {w: needs(w) for w in workloads.split(",")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
