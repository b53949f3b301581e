"""Activation functions: tensors of any shape in, tensors of the same shape out."""
import warnings

from . import backend as K
from .ops import gelu as ops
from .utils.generic_utils import deserialize_keras_object


def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) over `axis`; x of rank 2 (always over the last axis then) or more.

    # Raises
        ValueError: for rank 1, where nothing but the batch axis is left to normalise.
    """
    if K.ndim(x) < 2:
        raise ValueError("Cannot apply softmax to a tensor that is 1D. "
                         f"Received input: {x}, expected rank 2 or more.")
    return K.softmax(x, axis=axis if K.ndim(x) > 2 else -1)  # saved models rely on it


def elu(x, alpha=1.0):
    """x where x > 0, alpha * (exp(x) - 1) elsewhere.  Clevert et al. 2015, arXiv:1511.07289."""
    return K.elu(x, alpha)


def selu(x):
    """scale * elu(x, alpha) with the constants that keep mean 0 and variance 1 from layer to layer.

    Use with `lecun_normal` weights and AlphaDropout.  Klambauer et al. 2017, arXiv:1706.02515.
    """
    alpha = 1.6732632423543772848170429916717
    scale = 1.0507009873554804934193349852946
    return scale * K.elu(x, alpha)


def softplus(x):
    """log(exp(x) + 1)"""
    return K.softplus(x)


def softsign(x):
    """x / (abs(x) + 1)"""
    return K.softsign(x)


def relu(x, alpha=0.0, max_value=None, threshold=0.0):
    """max(x, 0); in general min(x, max_value) above the threshold, alpha * (x - threshold) below.

    # Arguments
        alpha: slope below the threshold.
        max_value: largest output, None for no limit.
        threshold: smallest input that passes.
    """
    return K.relu(x, alpha=alpha, max_value=max_value, threshold=threshold)


def tanh(x):
    """Hyperbolic tangent."""
    return K.tanh(x)


def sigmoid(x):
    """1 / (1 + exp(-x))"""
    return K.sigmoid(x)


def hard_sigmoid(x):
    """0.2 * x + 0.5, cut off at 0 and 1."""
    return K.hard_sigmoid(x)


def exponential(x):
    """exp(x)"""
    return K.exp(x)


def linear(x):
    """x"""
    return x


# ---------------------------------------------------------------- of tf.keras and Keras 3

def silu(x):
    """x * sigmoid(x), also called swish.  Ramachandran et al. 2017, arXiv:1710.05941."""
    return x * K.sigmoid(x)


swish = silu


def gelu(x, approximate=False):
    """x * P(X <= x) for a normal X, or by tanh.  Hendrycks, Gimpel 2016, arXiv:1606.08415."""
    return ops.gelu(x, approximate)


def mish(x):
    """x * tanh(softplus(x))  Misra 2019, arXiv:1908.08681."""
    return x * K.tanh(K.softplus(x))


def relu6(x):
    """x limited to [0, 6]"""
    return K.relu(x, max_value=6.0)


def leaky_relu(x, negative_slope=0.2):
    """x where x > 0, negative_slope * x elsewhere"""
    return K.relu(x, alpha=negative_slope)


def log_softmax(x, axis=-1):
    """log(softmax(x))"""
    return x - K.logsumexp(x, axis=axis, keepdims=True)


def hard_sigmoid3(x):
    """relu6(x + 3) / 6, the `hard_sigmoid` of Keras 3"""
    return K.relu(x + 3.0, max_value=6.0) / 6.0


def hard_silu(x):
    """x * relu6(x + 3) / 6, also called hard swish.  Howard et al. 2019, arXiv:1905.02244."""
    return x * hard_sigmoid3(x)


hard_swish = hard_silu


def serialize(activation):
    """The name of an activation function."""
    return activation.__name__


def deserialize(name, custom_objects=None):
    """The activation function of that name."""
    return deserialize_keras_object(name, module_objects=globals(), custom_objects=custom_objects,
                                    printable_module_name="activation function")


def get(identifier):
    """The function for a name or None (linear); a callable is returned as it is.

    # Raises
        ValueError: for a name that is not known, or anything else.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str):
        return deserialize(identifier)
    if not callable(identifier):
        raise ValueError(f"Could not interpret activation function identifier: {identifier!r}; "
                         "expected a name, None or a callable.")
    if hasattr(identifier, "compute_output_shape"):
        warnings.warn(f"Do not pass a layer instance (such as {type(identifier).__name__}) as the "
                      "activation argument of another layer: it cannot be saved. Use the layer "
                      "just like any other layer in a model.", stacklevel=3)
    return identifier
