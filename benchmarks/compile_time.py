"""How long it takes to compile a training step: graph, gradients, passes, memory plan; nothing is
computed.

Run by `make bench`. The device is the null device, so the figures are those of the compiler alone.
"""
import time

import numpy as np

from gpukeras import applications, devices
from gpukeras.devices.null import NullDevice
from gpukeras.layers import Dense
from gpukeras.models import Sequential


def deep_network(layers):
    """A stack of Dense layers."""
    first = Dense(64, activation="relu", input_shape=(64,))
    return Sequential([first] + [Dense(64, activation="relu") for _ in range(layers - 2)]
                      + [Dense(10, activation="softmax")])


MODELS = {
    "Dense, 100 layers": (lambda: deep_network(100), (32, 64), 10),
    "ResNet-50, 224x224, batch 32": (lambda: applications.ResNet50(weights=None),
                                     (32, 224, 224, 3), 1000),
}


def main():
    devices.use(NullDevice())
    print(f"{'training step, Adam':34}{'build, s':>10}{'compile, s':>12}")
    for name, (make, shape, classes) in MODELS.items():
        start = time.perf_counter()
        model = make()
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        built = time.perf_counter()
        model.train_on_batch(np.broadcast_to(np.float32(0), shape),
                             np.broadcast_to(np.float32(0), (shape[0], classes)))
        done = time.perf_counter()
        print(f"{name:34}{built - start:10.2f}{done - built:12.2f}")


if __name__ == "__main__":
    main()
