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


def test_prediction_is_grouped_alike(device):
    calls = []
    watch = LambdaCallback()
    watch.on_predict_batch_begin = lambda batch, logs: calls.append(batch)
    watch.on_predict_batch_end = lambda batch, logs: calls.append((batch, logs["outputs"][0]))
    model = network(steps_per_execution=4)
    found = model.predict(X, batch_size=8, callbacks=[watch])
    # tf.keras 2.15 calls with these numbers, and the outputs of all batches since the last call
    assert calls[::2] == [0, 4, 8] and [c[0] for c in calls[1::2]] == [3, 7, 10]
    np.testing.assert_array_equal(np.concatenate([c[1] for c in calls[1::2]]), found)
    np.testing.assert_array_equal(found, network().predict(X, batch_size=8))


@pytest.mark.parametrize("steps", [3, 50])
def test_whatever_the_grouping_results_are_those_of_single_batches(steps, device):
    found = []
    for arguments in ({}, {"steps_per_execution": steps}):
        model = network(**arguments)
        found.append([f(model, x) for x in (X, X[::-1], X + 1) for f in (       # queued, captured,
            lambda model, x: model.predict(x, batch_size=8),                    # replayed
            lambda model, x: model.evaluate(x, Y, batch_size=8, verbose=0))])
    for single, several in zip(*found, strict=True):
        np.testing.assert_array_equal(single, several)


def test_generators_predict_and_evaluate_in_groups(device):
    def batches(of):
        while True:
            for i in range(0, 80, 8):
                yield of(i)

    found = []
    for steps in (1, 4):
        model = network(steps_per_execution=steps)
        found.append((model.predict_generator(batches(lambda i: X[i:i + 8]), steps=10),
                      model.evaluate_generator(batches(lambda i: (X[i:i + 8], Y[i:i + 8])),
                                               steps=10)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def launches(run, *, free=None, **arguments):
    """Graph launches of the third of three runs on the emulated device; `free`: its memory."""
    before = devices.use(devices.make(Choice("emu", "in a test")))
    try:
        driver = devices.current().driver
        if free is not None:
            driver.memory_info = lambda: (0, free)
        model = network(**arguments)
        for _ in range(3):
            driver.counters.reset()
            result = run(model)
        return driver.counters.graph_launches, driver.counters.uploads, result
    finally:
        devices.use(before)


def test_one_launch_predicts_several_batches():
    single, several = (launches(lambda model: model.predict(X, batch_size=8),
                                steps_per_execution=n) for n in (1, 5))
    # 11 batches are 5 + 5 + (the short one alone)
    assert (single[0], several[0]) == (11, 3)
    np.testing.assert_array_equal(single[2], several[2])


def test_one_launch_evaluates_several_batches():
    def run(model):
        return model.evaluate(X, Y, batch_size=8, verbose=0)
    single, several = (launches(run, steps_per_execution=n) for n in (1, 5))
    assert (single[0], several[0]) == (11, 3)
    np.testing.assert_array_equal(single[2], several[2])


def test_batches_that_do_not_fit_together_run_one_by_one():
    found = launches(lambda model: model.predict(X, batch_size=8), steps_per_execution=5,
                     free=4 * 5 * 4 * X[:8].nbytes - 1)
    assert found[0] == 11
    np.testing.assert_allclose(found[2], network().predict(X, batch_size=8), rtol=1e-5)


def test_data_too_large_for_the_device_train_in_groups_as_well():
    def run(model):
        history = model.fit(X, Y, batch_size=8, epochs=1, verbose=0, shuffle=False)
        return history.history["loss"], model.get_weights()
    single, several = (launches(run, steps_per_execution=n, free=4 * (X.nbytes + Y.nbytes) - 4)
                       for n in (1, 2))
    assert (single[0], several[0]) == (11, 6)
    same(single[2], several[2])


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
