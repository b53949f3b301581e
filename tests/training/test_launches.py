"""Budgets: nodes of the graph that one training step is on CUDA, and the bytes they move.

Counted from the bound schedule, with data that lie on the device; no kernel is compiled or run. A
budget that is too generous by a tenth fails too: it is lowered when a step gets better.
"""
import importlib.util
import pathlib

import numpy as np
import pytest
from counting import bytes_moved, counting, kinds, training_step

import gpukeras
from gpukeras import regularizers
from gpukeras.layers import LSTM, Dense, Dropout
from gpukeras.models import Sequential
from gpukeras.optimizers import Adam

ROOT = pathlib.Path(__file__).resolve().parents[2]
MB = 1e6


def _workloads():
    spec = importlib.util.spec_from_file_location("workloads", ROOT / "benchmarks/workloads.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WORKLOADS = _workloads()

# workload of the benchmark: most nodes, most MB
BENCHMARK = {"mlp": (10, 9.7), "cnn": (24, 141), "cnn3": (23, 67.5), "lstm": (17, 91.2),
             "gru": (19, 81.4), "stacked-lstm": (21, 153), "embedding-lstm": (20, 148),
             "resnet20": (132, 415), "resnet20-128": (132, 1630), "vgg16": (69, 31200),
             "dense": (11, 2220)}


def mlp():
    return [Dense(400, activation="relu", input_shape=(784,)), Dense(10, activation="softmax")]


def dropout_mlp():
    return [Dense(512, activation="relu", input_shape=(784,)), Dropout(0.2),
            Dense(512, activation="relu"), Dropout(0.2), Dense(10, activation="softmax")]


def decayed_mlp():
    return [Dense(512, activation="relu", input_shape=(784,),
                  kernel_regularizer=regularizers.l2(1e-4)),
            *(Dense(512, activation="relu", kernel_regularizer=regularizers.l2(1e-4))
              for _ in range(2)), Dense(10, activation="softmax")]


def lstm():
    return [LSTM(100, input_shape=(60, 28)), Dense(10, activation="softmax")]


# layers, optimizer, loss, batch, shape of x: most nodes
SMALL = {"mlp, Adam": (mlp, "adam", "categorical_crossentropy", 32, (784,), 10),
         "mlp of class numbers": (mlp, "rmsprop", "sparse_categorical_crossentropy", 32, (784,),
                                  10),
         "dropout mlp": (dropout_mlp, "rmsprop", "categorical_crossentropy", 128, (784,), 17),
         "mlp with L2 and clipnorm": (decayed_mlp, Adam(clipnorm=1.0), "categorical_crossentropy",
                                      128, (784,), 26),
         "lstm of classes": (lstm, "adam", "categorical_crossentropy", 100, (60, 28), 15)}


def steps_of(name):
    """(nodes by kind, bytes) of a workload's training step."""
    work = WORKLOADS.WORKLOADS[name]
    with counting():
        np.random.seed(0)
        model = WORKLOADS.keras_model(gpukeras, name)
        x = np.zeros((work.batch, *work.shape), "int32" if work.vocabulary else "float32")
        step = training_step(model, x, np.zeros((work.batch, work.classes), "float32"))
        return kinds(step), bytes_moved(step)


@pytest.mark.parametrize("name", BENCHMARK)
def test_a_training_step_of_the_benchmark_stays_within_its_budget(name):
    most_nodes, most_megabytes = BENCHMARK[name]
    nodes, nbytes = steps_of(name)
    assert sum(nodes.values()) <= most_nodes, nodes
    assert nbytes <= most_megabytes * MB, f"{nbytes / MB:.3f} MB"
    assert sum(nodes.values()) >= 0.9 * most_nodes and nbytes >= 0.9 * most_megabytes * MB, (
        f"lower the budget: {sum(nodes.values())} nodes, {nbytes / MB:.3f} MB")


@pytest.mark.parametrize("name", SMALL)
def test_a_training_step_has_few_launches(name):
    build, optimizer, loss, batch, shape, most = SMALL[name]
    with counting():
        np.random.seed(0)
        model = Sequential(build())
        model.compile(optimizer, loss, metrics=["accuracy"])
        y = np.eye(10)[np.zeros(batch, int)] if loss.startswith("cat") else np.zeros((batch, 1))
        step = training_step(model, np.zeros((batch, *shape), "float32"), y.astype("float32"))
        assert sum(kinds(step).values()) <= most, kinds(step)
