"""Budgets: nodes of the graph that one training step is on CUDA, counted on the emulated device."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.layers import LSTM, Dense, Dropout, Embedding
from gpukeras.models import Sequential
from gpukeras.models.steps import Resident, TrainStep


def mlp():
    return [Dense(400, activation="relu", input_shape=(784,)), Dense(10, activation="softmax")]


def dropout_mlp():
    return [Dense(512, activation="relu", input_shape=(784,)), Dropout(0.2),
            Dense(512, activation="relu"), Dropout(0.2), Dense(10, activation="softmax")]


def lstm():
    return [LSTM(100, input_shape=(60, 28)), Dense(10, activation="softmax")]


def words():
    return [Embedding(20000, 128, input_length=80), LSTM(128), Dense(1, activation="sigmoid")]


# layers, optimizer, loss, batch, shape of x, classes (0: one bit), most nodes
BUDGETS = {"mlp": (mlp, "adam", "categorical_crossentropy", 32, (784,), 10, 12),
           "mlp of class numbers": (mlp, "rmsprop", "sparse_categorical_crossentropy", 32, (784,),
                                    10, 12),
           "dropout mlp": (dropout_mlp, "rmsprop", "categorical_crossentropy", 128, (784,), 10, 19),
           "lstm": (lstm, "adam", "categorical_crossentropy", 100, (60, 28), 10, 20),
           "words": (words, "adam", "binary_crossentropy", 32, (80,), 0, 25)}


def nodes(build, optimizer, loss, batch, shape, classes):
    """Launches and copies of one training step on data that lie on the device."""
    np.random.seed(0)
    model = Sequential(build())
    model.compile(optimizer, loss, metrics=["accuracy"])
    model._make_train_function()
    labels = np.random.randint(0, classes or 2, (batch, 1))
    y = np.eye(classes)[labels[:, 0]] if loss.startswith("categorical") else labels
    arrays = [np.zeros((batch, *shape), "float32"), y.astype("float32")]
    step = Resident(TrainStep(model, [False]), arrays)._make(batch)
    return len(step.specialise(()).calls)


@pytest.mark.parametrize("name", BUDGETS)
def test_a_training_step_has_few_launches(name):
    first = devices.use(KernelDevice(EmuDriver()))
    try:
        *model, most = BUDGETS[name]
        assert nodes(*model) <= most
    finally:
        devices.use(first)
        K.clear_session()
