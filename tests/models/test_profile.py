"""model.profile: operations counted by hand, all steps there, and a model left as it was."""
import json

import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import devices
from gpukeras.layers import LSTM, Conv2D, Dense, DepthwiseConv2D, Flatten, MaxPooling2D
from gpukeras.models import Sequential


def compiled(*layers):
    np.random.seed(0)
    model = Sequential(list(layers))
    model.compile("adam", "mse", metrics=["mae"])
    return model


def quiet(model, *batch):
    return model.profile(*batch, runs=1, print_fn=None)


def test_products_are_counted(device):
    model = compiled(Dense(7, input_shape=(5,), use_bias=False, name="a"),
                     Dense(3, use_bias=False, name="b"))
    x, y = np.ones((4, 5)), np.ones((4, 3))
    forward = 2 * 4 * (5 * 7 + 7 * 3)
    products = sum(s.flops for s in quiet(model, x).steps if s.op == "Dot")
    assert products == forward
    steps = quiet(model, x, y).steps
    # backwards: by both weights, and by the input of the second layer
    assert sum(s.flops for s in steps if s.op == "Dot") == 2 * forward + 2 * 4 * 7 * 3


def test_convolutions_and_recurrent_steps_are_counted(on):
    on(devices.HostDevice())
    image = np.ones((2, 9, 8, 3))
    wide = quiet(compiled(Conv2D(5, (3, 2), strides=2, input_shape=(9, 8, 3))), image)
    assert wide.steps[0].flops == 2 * (2 * 4 * 4 * 5) * (3 * 2 * 3)
    thin = quiet(compiled(DepthwiseConv2D(3, depth_multiplier=2, input_shape=(9, 8, 3))), image)
    assert thin.steps[0].flops == 2 * (2 * 7 * 6 * 6) * 9
    words = quiet(compiled(LSTM(6, input_shape=(5, 3))), np.ones((2, 5, 3)))
    lstm, = (s for s in words.steps if s.op == "LstmWhole")
    assert lstm.flops == 2 * 2 * 5 * (3 + 6) * 24
    assert lstm.nbytes >= 4 * ((3 + 6) * 24 + 2 * 5 * 3)     # weights and inputs read


def test_a_profile_leaves_the_model_as_it_was(device):
    model = compiled(Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)), MaxPooling2D(),
                     Flatten(), Dense(3))
    rng = np.random.RandomState(1)
    x, y = rng.rand(6, 8, 8, 1), rng.rand(6, 3)
    model.train_on_batch(x, y)
    before = model.get_weights() + model.optimizer.get_weights()
    profile = quiet(model, x, y)
    for a, b in zip(before, model.get_weights() + model.optimizer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert profile.device == devices.current().name
    assert {model.layers[0].name, model.layers[-1].name, "Adam"} <= set(profile.layers())
    # profiling is no training: the next step is that of a model that never was profiled
    other = compiled(Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)), MaxPooling2D(),
                     Flatten(), Dense(3))
    other.train_on_batch(x, y)
    np.testing.assert_array_equal(model.train_on_batch(x, y), other.train_on_batch(x, y))


def test_the_table_and_the_trace_hold_every_step(tmp_path):
    model = compiled(Dense(7, input_shape=(5,), name="first"), Dense(3, name="second"))
    lines = []
    profile = model.profile(np.ones((4, 5)), np.ones((4, 3)), runs=2, print_fn=lines.append)
    assert lines == [str(profile)]
    assert all(word in lines[0] for word in ("first", "second", "GFLOP/s", "slowest"))
    profile.save_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["name"] for e in events] == [s.op for s in profile.steps]
    ends = [e["ts"] + e["dur"] for e in events]
    assert all(abs(a - e["ts"]) < 1e-3 for a, e in zip(ends, events[1:]))
    assert sum(e["args"]["flops"] for e in events) == sum(s.flops for s in profile.steps)
    parts = sum(s.seconds for s in profile.layers().values())
    assert parts == pytest.approx(sum(s.seconds for s in profile.steps))


def test_wrong_batches_are_refused():
    model = compiled(Dense(7, input_shape=(5,)))
    with pytest.raises(ValueError, match="expected .* to have shape"):
        model.profile(np.ones((4, 6)))
    with pytest.raises(ValueError, match="at least 1"):
        model.profile(np.ones((4, 5)), runs=0)
    K.clear_session()
