"""ConvLSTM2D: golden values of Keras 2.3.1, states kept between batches, dropout, errors."""
import json

import numpy as np
import pytest

from golden import reader
from gpukeras import backend as K
from gpukeras import layers as L

GOLDEN = reader.cases("conv_lstm")


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("case", GOLDEN.values(), ids=list(GOLDEN))
def test_golden(case):
    K.clear_session()
    facts = case.facts
    layer = L.deserialize({"class_name": facts["class_name"], "config": facts["config"]})
    x = L.Input(tuple(facts["input_shape"]))
    outputs = layer(x)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    layer.set_weights(case.list("w"))
    assert json.loads(json.dumps(layer.get_config())) == facts["config"]
    assert K.int_shape(outputs[0])[1:] == tuple(facts["output_shape"])
    assert [[w.name.split(":")[0], list(w.shape)] for w in layer.weights] == facts["weights"]
    gradients = K.gradients(K.sum(outputs[0] * K.constant(case["r"])), [x, *layer.weights])
    found = K.function([x, K.learning_phase()], [*outputs, *gradients])([case["x"], 0])
    wanted = [case["y"], *case.list("state"), case["gx"], *case.list("gw")]
    for got, want in zip(found, wanted, strict=True):
        close(got, want)


def test_stateful_layer_continues_where_the_last_batch_ended():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, 6, 4, 4, 1)).astype("float32")
    whole, half = L.Input((6, 4, 4, 1)), L.Input(batch_shape=(2, 3, 4, 4, 1))
    plain, kept = L.ConvLSTM2D(2, 3), L.ConvLSTM2D(2, 3, stateful=True)
    y, z = plain(whole), kept(half)
    kept.set_weights(plain.get_weights())
    want, = K.function([whole], [y])([data])
    run = K.function([half], [z], updates=kept.updates)
    run([data[:, :3]])
    close(run([data[:, 3:]])[0], want)
    kept.reset_states()
    run([data[:, :3]])
    close(run([data[:, 3:]])[0], want)


def test_images_of_unknown_size():
    x = L.Input((None, None, None, 1))
    y = L.ConvLSTM2D(2, 3, return_sequences=True)(x)
    f = K.function([x], [y])
    assert f([np.ones((1, 2, 5, 6, 1))])[0].shape == (1, 2, 3, 4, 2)
    assert f([np.ones((1, 3, 4, 4, 1))])[0].shape == (1, 3, 2, 2, 2)


def test_dropout_acts_in_training_only():
    x = L.Input((3, 4, 4, 1))
    f = K.function([x, K.learning_phase()], [L.ConvLSTM2D(2, 3, dropout=0.5,
                                                          recurrent_dropout=0.5)(x)])
    data = np.ones((2, 3, 4, 4, 1))
    np.testing.assert_array_equal(f([data, 0])[0], f([data, 0])[0])
    assert (f([data, 1])[0] != f([data, 0])[0]).any()


def test_errors():
    with pytest.raises(TypeError, match="Unrolling"):
        L.ConvLSTM2D(2, 3, unroll=True)
    with pytest.raises(ValueError, match="expected ndim=5"):
        L.ConvLSTM2D(2, 3)(L.Input((4, 4, 1)))
    with pytest.raises(ValueError, match="including batch size"):
        L.ConvLSTM2D(2, 3, stateful=True)(L.Input((3, 4, 4, 1)))
