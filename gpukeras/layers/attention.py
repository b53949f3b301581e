"""Attention: outputs that are means of values, weighted by how well queries and keys agree.

As tf.keras 2 names these layers; Keras 2.3.1 has none.
"""
import math

from .. import backend as K
from .base import Layer, is_list_of_shapes

_FAR_BELOW = {"float16": -6e4}                     # exp of it is 0; other types: -1e9


def _hide(scores, allowed):
    """The scores, far below all others where `allowed` (of a shape that broadcasts) is 0."""
    far = _FAR_BELOW.get(K.dtype(scores), -1e9)
    return scores + far * (1 - K.cast(allowed, K.dtype(scores)))


def _drop(weights, rate, training):
    """Dropout in training."""
    if not rate:
        return weights
    return K.in_train_phase(lambda: K.dropout(weights, rate), weights, training=training)


def _steps(x):
    """Number of steps, as a tensor if it is not known yet."""
    known = K.int_shape(x)[1]
    return K.shape(x)[1] if known is None else known


class _Attention(Layer):
    """Base: [query, value] or [query, value, key] -> one output per query.

    query (batch, steps, dim), value and key (batch, sources, dim) -> (batch, steps, dim).
    """

    supports_masking = True

    def __init__(self, use_scale, causal=False, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.keep(causal=causal, dropout=dropout, use_scale=use_scale)

    def _calculate_scores(self, query, key):
        """How well each query agrees with each key: (batch, steps, sources)."""
        raise NotImplementedError(f"{type(self).__name__}._calculate_scores")

    def _parts(self, inputs):
        """query, value and key of the inputs (tensors or shapes)."""
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            raise ValueError(f"{type(self).__name__} layer must be called on a list of inputs, "
                             f"[query, value] or [query, value, key], got {inputs}{self._place()}")
        return (*inputs, inputs[1]) if len(inputs) == 2 else tuple(inputs)

    def call(self, inputs, mask=None, training=None):
        query, value, key = self._parts(inputs)
        value_mask = mask[1] if mask else None
        y = self._attend(self._calculate_scores(query, key), value, value_mask, training)
        if mask and mask[0] is not None:
            y = y * K.expand_dims(K.cast(mask[0], K.dtype(y)), -1)
        return y

    def _attend(self, scores, value, value_mask, training):
        """Mean of the values, (batch, steps, dim), with softmax(scores) as weights."""
        if value_mask is not None:
            scores = _hide(scores, K.expand_dims(value_mask, 1))
        if self.causal:
            ones = K.ones_like(scores)
            scores = _hide(scores, K.greater_equal(K.cumsum(ones, 1), K.cumsum(ones, 2)))
        return K.batch_dot(_drop(K.softmax(scores), self.dropout, training), value)

    def compute_mask(self, inputs, mask=None):
        return mask[0] if mask else None


class Attention(_Attention):
    """Dot-product attention: scores = query @ key^T.

    Called on one sequence (batch, steps, dim) it pools it to (batch, dim): the query is then the
    last step.

    # Arguments
        use_scale: multiply the scores with a weight that is learned.
        causal: a query sees no later source.
        dropout: share of the weights to drop in training.

    Luong et al. 2015, arXiv:1508.04025.
    """

    def __init__(self, use_scale=False, causal=False, dropout=0.0, **kwargs):
        super().__init__(use_scale, causal, dropout, **kwargs)

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (), initializer="ones") if self.use_scale else None
        super().build(input_shape)

    def _calculate_scores(self, query, key):
        scores = K.batch_dot(query, K.permute_dimensions(key, (0, 2, 1)))
        return scores if self.scale is None else scores * self.scale

    def call(self, inputs, mask=None, training=None):
        if isinstance(inputs, (list, tuple)):
            return super().call(inputs, mask, training)
        scores = self._calculate_scores(inputs[:, -1:], inputs)
        return K.squeeze(self._attend(scores, inputs, mask, training), 1)

    def compute_mask(self, inputs, mask=None):
        return super().compute_mask(inputs, mask) if isinstance(inputs, (list, tuple)) else None


class AdditiveAttention(_Attention):
    """Additive attention: scores = sum(scale * tanh(query + key)) over the last axis.

    # Arguments
        use_scale: learn the weight `scale` (dim,) instead of taking ones.
        causal, dropout: as for Attention.

    Bahdanau et al. 2014, arXiv:1409.0473.
    """

    def __init__(self, use_scale=True, causal=False, dropout=0.0, **kwargs):
        super().__init__(use_scale, causal, dropout, **kwargs)

    def build(self, input_shape):
        several = input_shape if is_list_of_shapes(input_shape) else [input_shape]
        dim = self._parts(several)[1][-1]
        self.scale = self.add_weight("scale", (dim,)) if self.use_scale else None
        super().build(input_shape)

    def _calculate_scores(self, query, key):
        agreement = K.tanh(K.expand_dims(query, 2) + K.expand_dims(key, 1))
        return K.sum(agreement if self.scale is None else agreement * self.scale, axis=-1)


class MultiHeadAttention(Layer):
    """Several dot-product attentions side by side, each on its own projections.

    y = concat(softmax(q_i @ k_i^T / sqrt(key_dim)) @ v_i) @ W + b, with q_i, k_i, v_i the
    projections of query, key and value for head i.

    # Arguments
        num_heads: number of heads.
        key_dim: size of a head's queries and keys.
        value_dim: size of a head's values, `key_dim` if None.
        dropout: share of the attention weights to drop in training.
        use_bias: whether the projections have biases.
        output_shape: size of the output, that of the query if None.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
        activity_regularizer, kernel_constraint, bias_constraint: as for Dense.

    Called on [query, value], [query, value, key], or on one sequence that is all three; a keyword
    `attention_mask` (batch, steps, sources) tells which sources count for which query.

    Vaswani et al. 2017, arXiv:1706.03762.
    """

    supports_masking = True

    def __init__(self, num_heads, key_dim, value_dim=None, dropout=0.0, use_bias=True,
                 output_shape=None, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(num_heads=num_heads, key_dim=key_dim, value_dim=value_dim, dropout=dropout,
                  use_bias=use_bias, kernel_initializer=kernel_initializer,
                  bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                  bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                  kernel_constraint=kernel_constraint, bias_constraint=bias_constraint)
        self._output_size = output_shape

    def get_config(self):
        return {**super().get_config(), "output_shape": self._output_size}

    @staticmethod
    def _three(inputs):
        """query, value and key of the inputs (tensors or shapes)."""
        if isinstance(inputs, list):
            return (*inputs, inputs[1]) if len(inputs) == 2 else tuple(inputs)
        return inputs, inputs, inputs

    def __call__(self, query, value=None, key=None, **kwargs):
        """Also as tf.keras has it: `layer(query, value)`, `layer(query, value, key)`."""
        given = [x for x in (query, value, key) if x is not None]
        return super().__call__(given if value is not None else query, **kwargs)

    def build(self, input_shape):
        query, value, key = self._three(input_shape)
        heads, value_dim = self.num_heads, self.value_dim or self.key_dim
        self.projections = [
            self._projection("query", (query[-1], heads, self.key_dim), 1),
            self._projection("key", (key[-1], heads, self.key_dim), 1),
            self._projection("value", (value[-1], heads, value_dim), 1),
            self._projection("attention_output",
                             (heads, value_dim, self._output_size or query[-1]), 2)]
        super().build(input_shape)

    def _projection(self, name, shape, axes):
        """(kernel, bias or None) in tf.keras's shapes; `axes`: number of input axes."""
        kernel = self.add_weight(f"{name}/kernel", shape, initializer=self.kernel_initializer,
                                 regularizer=self.kernel_regularizer,
                                 constraint=self.kernel_constraint)
        if not self.use_bias:
            return kernel, None
        return kernel, self.add_weight(f"{name}/bias", shape[axes:], None, self.bias_initializer,
                                       self.bias_regularizer, True, self.bias_constraint)

    def _heads(self, x, projection):
        """(batch, steps, dim) -> (batch * heads, steps, size): the projection, head by head."""
        kernel, bias = projection
        dim, heads, size = K.int_shape(kernel)
        y = K.reshape(K.dot(x, K.reshape(kernel, (dim, heads * size))),
                      (-1, _steps(x), heads, size))
        y = K.permute_dimensions(y if bias is None else y + bias, (0, 2, 1, 3))
        return K.reshape(y, (-1, _steps(x), size))

    def call(self, inputs, mask=None, training=None, attention_mask=None):
        query, value, key = self._three(inputs)
        q, k, v = [self._heads(x, projection)
                   for x, projection in zip((query, key, value), self.projections)]
        scores = K.batch_dot(q / math.sqrt(self.key_dim), K.permute_dimensions(k, (0, 2, 1)))
        value_mask = mask[1] if isinstance(mask, list) else mask
        for allowed in (attention_mask, value_mask):
            if allowed is not None:
                allowed = allowed if K.ndim(allowed) == 3 else K.expand_dims(allowed, 1)
                allowed = K.cast(allowed, K.dtype(scores))
                scores = _hide(scores, K.repeat_elements(allowed, self.num_heads, 0))
        y = K.batch_dot(_drop(K.softmax(scores), self.dropout, training), v)
        return self._joined(y, query)

    def _joined(self, y, query):
        """(batch * heads, steps, size) -> (batch, steps, dim): heads joined, projected."""
        kernel, bias = self.projections[-1]
        heads, size, dim = K.int_shape(kernel)
        steps = _steps(query)
        y = K.permute_dimensions(K.reshape(y, (-1, heads, steps, size)), (0, 2, 1, 3))
        y = K.dot(K.reshape(y, (-1, steps, heads * size)), K.reshape(kernel, (heads * size, dim)))
        return y if bias is None else y + bias

    def compute_mask(self, inputs, mask=None):
        return mask[0] if isinstance(mask, list) else mask


__all__ = ["AdditiveAttention", "Attention", "MultiHeadAttention"]
