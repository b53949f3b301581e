"""Replicas: with any number of devices the results of one, in deterministic mode to the bit."""
import multiprocessing
import threading
import time

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import config, devices, layers, models, optimizers, replicated
from gpukeras.devices import replicas
from gpukeras.devices.choose import Choice
from gpukeras.utils import multi_gpu_model

STEPS = 50


@pytest.fixture(autouse=True)
def four(monkeypatch):
    monkeypatch.setenv("GPUKERAS_VIRTUAL_DEVICES", "4")
    old = devices.use(devices.make(Choice("cpu", "")))
    monkeypatch.setattr(config, "deterministic", True)
    yield
    devices.use(old)


def mlp():
    return models.Sequential([
        layers.Dense(32, activation="relu", input_shape=(20,)), layers.Dropout(0.3),
        layers.Dense(5, activation="softmax")])


def cnn():
    return models.Sequential([
        layers.Conv2D(8, 3, activation="relu", input_shape=(12, 12, 2)),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.25),
        layers.Flatten(), layers.Dense(5, activation="softmax")])


def lstm():
    return models.Sequential([layers.LSTM(9, input_shape=(7, 6)),
                              layers.Dense(5, activation="softmax")])


def trained(make, count, optimizer="adam", steps=STEPS, rows=58, batch=20):
    """Weights, losses, accuracies, predictions after `steps`; the last batch has 58 % 20 rows."""
    K.clear_session()
    np.random.seed(3)
    template = make()
    model = multi_gpu_model(template, count) if count > 1 else template
    model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, *template.input_shape[1:])).astype("f4")
    y = np.eye(5, dtype="f4")[rng.integers(0, 5, rows)]
    history = model.fit(x, y, batch_size=batch, epochs=-(-steps * batch // rows), verbose=0,
                        validation_data=(x[:7], y[:7])).history
    return [*template.get_weights(), *map(np.array, history.values()), model.predict(x),
            np.array(model.evaluate(x, y, verbose=0))]


@pytest.mark.parametrize("make", [mlp, cnn, lstm])
def test_any_number_of_devices_gives_the_same_bits(make):
    config.deterministic = "across devices"
    alone = trained(make, 1)
    for count in (2, 3, 4):
        for a, b in zip(alone, trained(make, count), strict=True):
            np.testing.assert_array_equal(a, b)
    config.deterministic = True
    for a, b in zip(alone, trained(make, 1), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


@pytest.mark.parametrize("make", [mlp, cnn, lstm])
def test_without_it_they_agree_as_far_as_rounding_lets_them(make):
    # Adam divides by roots of squared gradients, which enlarges rounding errors
    alone = trained(make, 1, optimizers.SGD(0.1))
    for count in (2, 3, 4):
        for a, b in zip(alone, trained(make, count, optimizers.SGD(0.1)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def one_layer(*stack):
    return lambda: models.Sequential([*(make() for make in stack),
                                      layers.Dense(5, activation="softmax")])


def masked_words():
    return models.Sequential([
        layers.Embedding(30, 8, mask_zero=True, input_length=7),
        layers.LSTM(9, dropout=0.2, recurrent_dropout=0.2), layers.Dense(5, activation="softmax")])


def whole_batch():
    """A layer and a penalty that see the whole batch."""
    x = layers.Input((6,))
    h = layers.Dense(8, activation="tanh", activity_regularizer="l1")(x)
    h = layers.Lambda(lambda t: t - K.mean(t, axis=0, keepdims=True))(h)
    h = layers.Lambda(lambda t: t / K.max(t, axis=0, keepdims=True))(h)
    h = layers.GaussianNoise(0.1)(h)
    return models.Model(x, layers.Dense(5, activation="softmax")(h))


def attention():
    x = layers.Input((6, 4))
    scores = layers.Lambda(lambda t: K.batch_dot(t[0], t[1], axes=[2, 2]))(
        [layers.Dense(4)(x), layers.Dense(4)(x)])
    mixed = layers.Lambda(lambda t: K.batch_dot(t[0], t[1]))([layers.Softmax()(scores), x])
    return models.Model(x, layers.Dense(5, activation="softmax")(
        layers.GlobalAveragePooling1D()(mixed)))


KINDS = {
    "masked words": masked_words, "whole batch": whole_batch, "attention": attention,
    "both ways": one_layer(lambda: layers.Bidirectional(layers.GRU(5), input_shape=(7, 4))),
    "cells": one_layer(lambda: layers.RNN([layers.LSTMCell(5), layers.GRUCell(4)],
                                          input_shape=(6, 3))),
    "convolution in time": one_layer(lambda: layers.ConvLSTM2D(3, 3, input_shape=(4, 6, 6, 2)),
                                     layers.Flatten),
    "channels first": one_layer(
        lambda: layers.Conv2D(4, 3, data_format="channels_first", input_shape=(2, 8, 8)),
        lambda: layers.BatchNormalization(axis=1),
        lambda: layers.SpatialDropout2D(0.3, data_format="channels_first"), layers.Flatten),
    "separable": one_layer(
        lambda: layers.SeparableConv2D(6, 3, input_shape=(8, 8, 3)),
        lambda: layers.LocallyConnected2D(3, 2), layers.AveragePooling2D, layers.PReLU,
        layers.Flatten, lambda: layers.AlphaDropout(0.2)),
    "up and down": one_layer(
        lambda: layers.Conv2D(3, 3, input_shape=(6, 6, 2)), layers.UpSampling2D,
        lambda: layers.Conv2DTranspose(2, 3, strides=2), layers.ZeroPadding2D,
        layers.Cropping2D, layers.Flatten),
    "turned": one_layer(
        lambda: layers.SimpleRNN(6, input_shape=(5, 3), return_sequences=True),
        lambda: layers.Reshape((30,)), lambda: layers.RepeatVector(3),
        lambda: layers.Permute((2, 1)), layers.Flatten),
}


def steps_of(make, count, epochs=3, rows=22, batch=8):
    """As `trained`, with sample weights and a metric more."""
    K.clear_session()
    np.random.seed(3)
    template = make()
    model = multi_gpu_model(template, count) if count > 1 else template
    model.compile(optimizers.SGD(0.1), "categorical_crossentropy", metrics=["accuracy", "mse"])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, *template.input_shape[1:])).astype("f4")
    if make is masked_words:
        x = rng.integers(0, 30, x.shape).astype("f4")
    y = np.eye(5, dtype="f4")[rng.integers(0, 5, rows)]
    history = model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0,
                        sample_weight=rng.random(rows)).history
    return [*template.get_weights(), *map(np.array, history.values()), model.predict(x, 22)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_gives_what_one_device_gives(kind):
    alone, three = (steps_of(KINDS[kind], n) for n in (1, 3))
    for a, b in zip(alone, three, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [cnn, masked_words])
def test_on_the_emulator_too(make):
    alone = steps_of(make, 1, 1)
    devices.use(devices.make(Choice("emu", "")))
    for a, b in zip(alone, steps_of(make, 2, 1), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_loops_and_batch_statistics_need_no_rows_of_others(monkeypatch):
    """Programs may wait for sums; rows are gathered only where a layer asks for all of them."""
    seen = []
    real = replicated.partition
    monkeypatch.setattr(replicated, "partition", lambda *a: seen.append(real(*a)) or seen[-1])
    for kind in KINDS:
        seen.clear()
        steps_of(KINDS[kind], 2, 1)
        parts = [x.part for s in seen for x in s.sums] + [
            p for s in seen for exchange in s.exchanges for p in exchange]
        assert any(p.kind == "gather" for p in parts) == (kind == "whole batch"), kind


def test_buckets_are_added_up_while_the_backward_pass_goes_on(monkeypatch):
    monkeypatch.setattr(replicas, "BUCKET", 256)
    model = multi_gpu_model(cnn(), 2)
    model.compile("sgd", "mse")
    x, y = np.ones((8, 12, 12, 2), "f4"), np.ones((8, 5), "f4")
    model.train_on_batch(x, y)
    team = model._step("train", (False,)).bind((x.shape, y.shape))
    order = []                                     # buckets, and steps of replica 0, as they come
    team._reduce = [[lambda k=k: order.append(k)] for k in range(len(team._reduce))]
    for replica in team.replicas:
        replica.legs = [[([lambda: order.append("step")] * len(calls), ready)
                         for calls, ready in leg] for leg in replica.legs]
    team.run([x, y])
    first = next(i for i, k in enumerate(order) if k != "step")
    assert len(team._reduce) > 2 and sorted(k for k in order if k != "step") == list(
        range(len(team._reduce)))
    assert order[first:].count("step") > 5


def test_replicas_run_on_threads_of_their_own_while_that_is_faster():
    model = multi_gpu_model(cnn(), 3)
    model.compile("sgd", "mse")
    x, y = np.ones((9, 12, 12, 2), "f4"), np.ones((9, 5), "f4")
    model.train_on_batch(x, y)
    team, threads = model._step("train", (False,)).bind((x.shape, y.shape)), []
    real = team._work

    def work(own):
        threads.append((threading.get_ident(), tuple(own)))
        time.sleep(0.02 if len(own) == 1 else 0.06)
        real(own)

    team._work = work
    for _ in range(8):
        team.run([x, y])
    shared = [t for t in threads if len(t[1]) == 1]
    assert len({t for t, _ in shared}) == 3 and len(shared) >= 18
    assert {own for _, own in threads} == {(0,), (1,), (2,), (0, 1, 2)}    # the other way is tried


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_batches_smaller_than_the_number_of_devices(rows):
    for setting in (True, "across devices"):
        config.deterministic = setting
        alone, four = (steps_of(mlp, n, 2, rows, 4) for n in (1, 4))
        for a, b in zip(alone, four, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 if setting is True else 0)


def test_a_forked_child_has_threads_of_its_own():
    model = multi_gpu_model(cnn(), 3)
    model.compile("sgd", "mse")
    x, y = np.ones((9, 12, 12, 2), "f4"), np.ones((9, 5), "f4")
    model.train_on_batch(x, y)
    child = multiprocessing.get_context("fork").Process(target=model.train_on_batch, args=(x, y))
    child.start()
    child.join(30)
    code = child.exitcode
    child.kill()
    assert code == 0


def test_a_failing_replica_stops_the_others():
    """Labels that do not exist: the error of one thread, not a wait for ever."""
    template = models.Sequential([layers.Embedding(5, 3, input_length=2),
                                  layers.BatchNormalization(), layers.Flatten(), layers.Dense(1)])
    model = multi_gpu_model(template, 3)
    model.compile("sgd", "mse")
    x = np.zeros((9, 2))
    x[8] = 7                                       # no such row; the last replica has it
    with pytest.raises(Exception, match="7"):
        model.fit(x, np.zeros((9, 1)), batch_size=9, verbose=0, shuffle=False)
    model.fit(x[:8], np.zeros((8, 1)), batch_size=8, verbose=0)
