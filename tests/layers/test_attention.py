"""Attention and layer normalisation against their formulas in NumPy."""
import numpy as np
import pytest

from gpukeras import backend as K
from gpukeras import layers as L

RNG = np.random.default_rng(8)


def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def run(layer, *arrays, **options):
    ins = [L.Input(a.shape[1:]) for a in arrays]
    y = layer(ins if len(ins) > 1 else ins[0], **options)
    return K.function(ins, [y])(arrays)[0]


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def test_attention_is_a_weighted_mean():
    query, value, key = normal(2, 4, 3), normal(2, 5, 3), normal(2, 5, 3)
    want = softmax(query @ key.transpose(0, 2, 1)) @ value
    np.testing.assert_allclose(run(L.Attention(), query, value, key), want, rtol=1e-4, atol=1e-5)
    scores = np.tanh(query[:, :, None] + key[:, None]).sum(-1)
    np.testing.assert_allclose(run(L.AdditiveAttention(use_scale=False), query, value, key),
                               softmax(scores) @ value, rtol=1e-4, atol=1e-5)


def test_causal_attention_sees_nothing_later():
    x = normal(2, 6, 3)
    y = run(L.Attention(causal=True), x, x)
    np.testing.assert_allclose(y[:, 0], x[:, 0], rtol=1e-5)
    later = x.copy()
    later[:, 4:] += 1
    np.testing.assert_allclose(run(L.Attention(causal=True), later, later)[:, :4], y[:, :4],
                               rtol=1e-5)


def test_masked_sources_do_not_count():
    x = normal(2, 6, 3)
    x[:, 4:] = 0
    ins = L.Input((6, 3))
    masked = L.Masking()(ins)
    for layer in (L.Attention(), L.MultiHeadAttention(2, 3)):
        y, = K.function([ins], [layer([masked, masked])])([x])
        want = run(layer, x[:, :4], x[:, :4])
        np.testing.assert_allclose(y[:, :4], want, rtol=1e-4, atol=1e-5)
        assert y.shape == (2, 6, 3)


def test_one_sequence_is_pooled_by_its_last_step():
    x = normal(3, 5, 4)
    scores = np.einsum("bd,btd->bt", x[:, -1], x)
    want = np.einsum("bt,btd->bd", softmax(scores), x)
    np.testing.assert_allclose(run(L.Attention(), x), want, rtol=1e-4, atol=1e-5)


def test_multi_head_attention_is_several_attentions():
    query, value = normal(2, 4, 5), normal(2, 6, 3)
    layer = L.MultiHeadAttention(num_heads=2, key_dim=4, value_dim=3)
    got = run(layer, query, value)
    layer.set_weights([w + RNG.normal(size=w.shape) for w in layer.get_weights()])
    got = run(layer, query, value)
    wq, bq, wk, bk, wv, bv, wo, bo = layer.get_weights()
    assert wq.shape == (5, 2, 4) and bv.shape == (2, 3) and wo.shape == (2, 3, 5)
    q = np.einsum("btd,dhk->bhtk", query, wq) + bq[:, None]
    k = np.einsum("btd,dhk->bhtk", value, wk) + bk[:, None]
    v = np.einsum("btd,dhk->bhtk", value, wv) + bv[:, None]
    y = softmax(q @ k.transpose(0, 1, 3, 2) / 2.0) @ v
    want = np.einsum("bhtk,hkd->btd", y, wo) + bo
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_attention_mask_and_calls_as_in_tf_keras():
    query, value = L.Input((4, 5)), L.Input((6, 3))
    allowed = L.Input((4, 6))
    layer = L.MultiHeadAttention(2, 3)
    y = layer(query, value, attention_mask=allowed)
    x, z = normal(2, 4, 5), normal(2, 6, 3)
    mask = np.zeros((2, 4, 6))
    mask[:, :, :2] = 1
    got, = K.function([query, value, allowed], [y])([x, z, mask])
    np.testing.assert_allclose(got, run(layer, x, z[:, :2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [L.Attention(causal=True), L.AdditiveAttention(),
                                   L.MultiHeadAttention(2, 3)], ids=lambda layer: layer.name)
def test_any_number_of_steps(layer):
    x = L.Input((None, 4))
    y = layer([x, x])
    f = K.function([x], [y, K.gradients(K.sum(K.square(y)), [x])[0]])
    for steps in (1, 5):
        data = normal(2, steps, 4)
        value, gradient = f([data])
        assert value.shape == gradient.shape == data.shape and np.isfinite(gradient).all()


def test_layer_normalization_normalizes_each_sample():
    x = normal(4, 3, 5) * 3 + 2
    y = run(L.LayerNormalization(epsilon=1e-6), x)
    np.testing.assert_allclose(y, (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
                               rtol=1e-3, atol=1e-4)
    y = run(L.LayerNormalization(axis=[1, 2], epsilon=1e-6), x)
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2)), 1, rtol=1e-4)


def test_attention_needs_a_list_of_two_or_three():
    x = L.Input((4, 3))
    with pytest.raises(ValueError, match=r"\[query, value\]"):
        L.AdditiveAttention()([x])
