"""CuDNNLSTM and CuDNNGRU compute what LSTM and GRU(reset_after=True) do, on their own layout.

The layout is written down here a second time, block by block, and files pass between the layers.
"""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers as L
from gpukeras.models import Sequential

UNITS, SIZE = 3, 2


def blocks(a):
    return [a[:, i:i + UNITS] for i in range(0, a.shape[1], UNITS)]


def to_cudnn(kernel, recurrent, bias):
    """Every kernel block (in, u) as the numbers of its transpose; recurrent blocks transposed."""
    kernel = np.hstack([np.array([row for row in b.T]).ravel().reshape(SIZE, UNITS)
                        for b in blocks(kernel)])
    recurrent = np.hstack([b.T for b in blocks(recurrent)])
    bias = np.concatenate([bias[0], bias[1]] if bias.ndim == 2 else [bias / 2, bias / 2])
    return [kernel, recurrent, bias]


def weights(layer):
    rng = np.random.default_rng(1)
    layer.set_weights([w + rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer.get_weights()


PAIRS = [(L.LSTM, L.CuDNNLSTM, {}), (L.GRU, L.CuDNNGRU, {"reset_after": True})]


@pytest.mark.parametrize("plain, cudnn, options", PAIRS)
def test_same_outputs_states_and_gradients(plain, cudnn, options):
    x = L.Input((4, SIZE))
    data = np.random.default_rng(0).normal(size=(5, 4, SIZE)).astype("float32")
    a = plain(UNITS, return_sequences=True, return_state=True, **options)
    b = cudnn(UNITS, return_sequences=True, return_state=True)
    outputs = [a(x), b(x)]
    b.set_weights(to_cudnn(*weights(a)))
    found = [K.function([x], [*ys, K.gradients(K.sum(K.square(ys[0])), [x])[0]])([data])
             for ys in outputs]
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert len(b.trainable_weights) == 3 and b.weights[2].shape == ((8 if plain is L.LSTM else 6)
                                                                   * UNITS,)


def test_forget_part_of_the_state_bias_starts_at_one():
    layer = L.CuDNNLSTM(UNITS)
    layer(L.Input((4, SIZE)))
    bias = layer.get_weights()[2]
    assert bias.sum() == UNITS and (bias[5 * UNITS:6 * UNITS] == 1).all()


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: L.Bidirectional(layer)],
                         ids=["plain", "bidirectional"])
@pytest.mark.parametrize("plain, cudnn, options", PAIRS)
def test_files_pass_between_the_layers(plain, cudnn, options, wrap, tmp_path):
    def model(layer):
        return Sequential([L.InputLayer((4, SIZE)), wrap(layer)])

    first, second, third = (model(plain(UNITS, **options)), model(cudnn(UNITS)),
                            model(plain(UNITS, **options)))
    weights(first)
    data = np.random.default_rng(0).normal(size=(5, 4, SIZE))
    first.save_weights(tmp_path / "a.h5")
    second.load_weights(tmp_path / "a.h5")
    second.save_weights(tmp_path / "b.h5")
    third.load_weights(tmp_path / "b.h5")
    want = first.predict(data)
    np.testing.assert_allclose(second.predict(data), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(third.predict(data), want, rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused(tmp_path):
    plain, cudnn = (Sequential([L.InputLayer((4, SIZE)), layer])
                    for layer in (L.GRU(UNITS), L.CuDNNGRU(UNITS)))
    plain.save_weights(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="not compatible"):
        cudnn.load_weights(tmp_path / "a.h5")
    x = L.Masking()(L.Input((4, SIZE)))
    with pytest.raises((TypeError, ValueError), match="[Mm]ask"):
        L.CuDNNLSTM(UNITS)(x)
