"""compile(steps_per_execution=n): same bits, fewer launches, callbacks called as tf.keras does."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices, layers
from gpukeras.callbacks import LambdaCallback, LearningRateScheduler
from gpukeras.devices.choose import Choice
from gpukeras.models import Sequential

RNG = np.random.RandomState(3)
X = RNG.uniform(-1, 1, (86, 6)).astype("f4")
Y = np.eye(3, dtype="f4")[RNG.randint(0, 3, 86)]                   # 11 batches of 8, the last of 6


def network(**arguments):
    K.clear_session()
    np.random.seed(4)
    model = Sequential([layers.Dense(5, activation="tanh", input_shape=(6,)), layers.Dropout(0.2),
                        layers.Dense(3, activation="softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"], **arguments)
    return model


def fitted(steps, callbacks=(), **arguments):
    model = network(**({} if steps is None else {"steps_per_execution": steps}))
    history = model.fit(X, Y, batch_size=8, verbose=0, callbacks=list(callbacks),
                        **{"epochs": 4, "validation_split": 0.1, **arguments})
    return history.history, model.get_weights() + model.optimizer.get_weights()


def same(a, b):
    assert a[0] == b[0]
    for x, y in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("steps", [2, 3, 10, 100])
def test_the_bits_are_those_of_single_steps(steps, device):
    def schedule():
        return [LearningRateScheduler(lambda epoch: 0.01 / (1 + epoch))]
    same(fitted(steps, schedule()), fitted(None, schedule()))


def test_generators_run_several_steps_too(device):
    def batches():
        while True:
            for i in range(0, 80, 8):
                yield X[i:i + 8], Y[i:i + 8]

    found = []
    for steps in (1, 4):
        model = network(steps_per_execution=steps)
        history = model.fit_generator(batches(), steps_per_epoch=10, epochs=2, verbose=0,
                                      max_queue_size=2)
        found.append((history.history, model.get_weights()))
    same(*found)


def test_one_launch_for_several_steps():
    before = devices.use(devices.make(Choice("emu", "in a test")))
    try:
        model = network(steps_per_execution=5)
        counters = devices.current().driver.counters
        launches = []
        model.fit(X, Y, batch_size=8, epochs=4, verbose=0, callbacks=[LambdaCallback(
            on_epoch_begin=lambda epoch, logs: counters.reset(),
            on_epoch_end=lambda epoch, logs: launches.append(counters.graph_launches))])
        # 11 batches are 5 + 5 + (1 whole and none: the short one alone)
        assert launches[-1] == 3 == launches[-2]
    finally:
        devices.use(before)


def test_callbacks_are_called_once_per_execution(device):
    calls = []
    watch = LambdaCallback(
        on_batch_begin=lambda batch, logs: calls.append(("begin", batch)),
        on_batch_end=lambda batch, logs: calls.append(("end", batch, logs["size"], logs["loss"])))
    model = network(steps_per_execution=4)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=[watch])
    # tf.keras 2.15 calls with these numbers
    assert [c[:2] for c in calls] == [("begin", 0), ("end", 3), ("begin", 4), ("end", 7),
                                      ("begin", 8), ("end", 10)]
    assert [c[2] for c in calls if c[0] == "end"] == [32, 32, 22]
    assert all(np.isfinite(c[3]) for c in calls if c[0] == "end")


def test_evaluation_is_grouped_alike(device):
    calls = []
    watch = LambdaCallback()
    watch.on_test_batch_end = lambda batch, logs: calls.append(batch)
    model = network(steps_per_execution=4)
    found = model.evaluate(X, Y, batch_size=8, verbose=0, callbacks=[watch])
    assert calls == [3, 7, 10]
    np.testing.assert_array_equal(found, network().evaluate(X, Y, batch_size=8, verbose=0))


def test_training_stops_between_executions(device):
    ends = []

    def stop(batch, logs):
        ends.append(batch)
        model.stop_training = True

    model = network(steps_per_execution=4)
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0,
              callbacks=[LambdaCallback(on_batch_end=stop)])
    assert ends == [3]


def test_the_progress_bar_counts_all_samples(device, capsys):
    model = network(steps_per_execution=4)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=1)
    assert "86/86" in capsys.readouterr().out


@pytest.mark.parametrize("bad", [0, -1, 2.5, "3", True])
def test_bad_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="steps_per_execution"):
        network(steps_per_execution=bad)


def test_the_older_name_and_a_misspelt_one():
    assert network(experimental_steps_per_execution=7)._steps_per_execution == 7
    with pytest.raises(TypeError, match="Did you mean 'steps_per_execution'"):
        network(steps_per_executoin=7)
