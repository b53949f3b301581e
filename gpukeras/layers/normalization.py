"""Normalisation of activations."""
from .. import backend as K
from .. import policy
from .base import Layer
from .spec import InputSpec


class BatchNormalization(Layer):
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, per channel.

    In training mean and variance are those of the batch, over all axes but `axis`, and the moving
    values
    follow them: moving -= (moving - batch value) * (1 - momentum); at test time the moving values
    are used. With `trainable = False` the moving values stay, but training still uses the batch's.

    # Arguments
        axis: the channel axis: -1, or 1 after a channels_first convolution.
        momentum: of the moving values.
        epsilon: added to the variance.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer,
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: as for Dense.

    Ioffe and Szegedy 2015, arXiv:1502.03167.
    """

    supports_masking = True
    casts_weights = False                          # statistics of 16-bit inputs are float32

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, center=True, scale=True,
                 beta_initializer="zeros", gamma_initializer="ones",
                 moving_mean_initializer="zeros", moving_variance_initializer="ones",
                 beta_regularizer=None, gamma_regularizer=None,
                 beta_constraint=None, gamma_constraint=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(axis=axis, momentum=momentum, epsilon=epsilon, center=center, scale=scale,
                  beta_initializer=beta_initializer, gamma_initializer=gamma_initializer,
                  moving_mean_initializer=moving_mean_initializer,
                  moving_variance_initializer=moving_variance_initializer,
                  beta_regularizer=beta_regularizer, gamma_regularizer=gamma_regularizer,
                  beta_constraint=beta_constraint, gamma_constraint=gamma_constraint)

    def build(self, input_shape):
        rank = len(input_shape)
        if not -rank <= self.axis < rank:
            raise ValueError(f"BatchNormalization got axis={self.axis} for an input of shape "
                             f"{tuple(input_shape)}, "
                             f"expected {-rank} to {rank - 1}{self._place()}")
        size = input_shape[self.axis]
        if size is None:
            raise ValueError(f"Axis {self.axis} of input tensor should have a defined dimension "
                             "but the layer "
                             f"received an input with shape {tuple(input_shape)}{self._place()}")
        self.input_spec = InputSpec(ndim=rank, axes={self.axis: size})
        self.gamma = self.add_weight("gamma", (size,)) if self.scale else None
        self.beta = self.add_weight("beta", (size,)) if self.center else None
        self.moving_mean = self.add_weight("moving_mean", (size,), trainable=False)
        self.moving_variance = self.add_weight("moving_variance", (size,), trainable=False)
        super().build(input_shape)

    def call(self, inputs, training=None):
        if training in (0, False):
            return self._normalize(inputs)
        axis = self.axis % K.ndim(inputs)
        reduced = [i for i in range(K.ndim(inputs)) if i != axis]
        y, mean, variance = K.normalize_batch_in_training(
            inputs, self._broadcast(self.gamma, inputs), self._broadcast(self.beta, inputs),
            reduced, epsilon=self.epsilon)
        # n / (n - 1): the moving variance estimates that of the population. 2.3.1 subtracts
        # epsilon as well.
        count = 1.0
        for i in reduced:
            size = K.int_shape(inputs)[i]
            count *= K.cast(K.shape(inputs)[i], K.dtype(variance)) if size is None else size
        unbiased = variance * (count / (count - (1.0 + self.epsilon)))
        followers = ((self.moving_mean, mean), (self.moving_variance, unbiased))
        self.add_update([K.moving_average_update(moving, value, self.momentum)
                         for moving, value in followers], inputs)
        y = policy.in_compute_type(y, self.dtype_policy)
        return K.in_train_phase(y, lambda: self._normalize(inputs), training=training)

    def _broadcast(self, weight, x):
        """`weight` (channels,) with axes of size 1 where `x` has others; None stays None."""
        axis = self.axis % K.ndim(x)
        if weight is None or axis == K.ndim(x) - 1:
            return weight
        return K.reshape(weight, [-1 if i == axis else 1 for i in range(K.ndim(x))])

    def _normalize(self, x):
        """The layer's output at test time."""
        weights = [self._broadcast(w, x)
                   for w in (self.moving_mean, self.moving_variance, self.beta, self.gamma)]
        y = K.batch_normalization(x, *weights, axis=self.axis, epsilon=self.epsilon)
        return policy.in_compute_type(y, self.dtype_policy)


class LayerNormalization(Layer):
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, for each sample by itself.

    # Arguments
        axis: axis or axes over which mean and variance are taken; gamma and beta have their sizes.
        epsilon: added to the variance.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer, beta_constraint,
        gamma_constraint: as for Dense.

    As tf.keras 2 names it. Ba, Kiros, Hinton 2016, arXiv:1607.06450.
    """

    supports_masking = True
    casts_weights = False                          # of 16-bit inputs everything is float32

    def __init__(self, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None,
                 beta_constraint=None, gamma_constraint=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(axis=list(axis) if isinstance(axis, (list, tuple)) else axis, epsilon=epsilon,
                  center=center, scale=scale, beta_initializer=beta_initializer,
                  gamma_initializer=gamma_initializer, beta_regularizer=beta_regularizer,
                  gamma_regularizer=gamma_regularizer, beta_constraint=beta_constraint,
                  gamma_constraint=gamma_constraint)

    def _axes(self, rank):
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        return sorted(axis % rank for axis in axes)

    def build(self, input_shape):
        axes = self._axes(len(input_shape))
        shape = [input_shape[axis] for axis in axes]
        self.gamma = self.add_weight("gamma", shape) if self.scale else None
        self.beta = self.add_weight("beta", shape) if self.center else None
        self.input_spec = InputSpec(ndim=len(input_shape), axes=dict(zip(axes, shape)))
        super().build(input_shape)

    def call(self, inputs):
        return policy.in_compute_type(self._normalize(policy.in_float32(inputs)),
                                      self.dtype_policy)

    def _normalize(self, inputs):
        axes, rank = self._axes(K.ndim(inputs)), K.ndim(inputs)
        d = inputs - K.mean(inputs, axis=axes, keepdims=True)
        y = d / K.sqrt(K.mean(K.square(d), axis=axes, keepdims=True) + self.epsilon)
        shape = [K.int_shape(inputs)[i] if i in axes else 1 for i in range(rank)]
        if self.gamma is not None:
            y = y * K.reshape(self.gamma, shape)
        return y if self.beta is None else y + K.reshape(self.beta, shape)


__all__ = ["BatchNormalization", "LayerNormalization"]
