"""Layers as functions: activations, crossentropies, normalisation, convolution, pooling.

Images are handled channels_last; channels_first inputs are transposed on the way in and out, and
neighbouring transposes cancel when a function is compiled.
"""
from ..graph import is_float
from ..graph.op import unmarked
from ..ops import broadcast, index, norm, random, reduce
from ..ops import conv as conv_ops
from ..ops import math as op
from ..ops import nn as nn_ops
from ..ops import pool as pool_ops
from ..ops import shape as shape_ops
from ..ops.depthwise import depthwise_conv
from ..ops.local import local_conv
from ..ops.plans import arithmetic
from ..ops.shape import transpose
from .core import cast, constant, ndim
from .settings import epsilon, normalize_data_format


# ---------------------------------------------------------------- activations

def relu(x, alpha=0.0, max_value=None, threshold=0.0):
    """x above the threshold and at most max_value; alpha * (x - threshold) below the threshold."""
    if alpha and not threshold and max_value is None:
        return op.where(x > 0, x, alpha * x)
    y = op.where(x > threshold, x, op.zeros_like(x)) if threshold else op.relu(x)
    if max_value is not None:
        y = op.clip(y, 0.0, max_value)
    return y - alpha * op.relu(threshold - x) if alpha else y


def elu(x, alpha=1.0):
    """x above 0, alpha * (e^x - 1) below."""
    return op.where(x > 0, x, alpha * op.expm1(op.minimum(x, 0)))


def softplus(x):
    """log(1 + e^x)"""
    return op.softplus(x)


def softsign(x):
    """x / (1 + |x|)"""
    return x / (1 + op.abs_(x))


def tanh(x):
    """Hyperbolic tangent."""
    return op.tanh(x)


def sigmoid(x):
    """1 / (1 + e^-x)"""
    return op.sigmoid(x)


def hard_sigmoid(x):
    """0.2 * x + 0.5, cut off at 0 and 1."""
    return op.clip(0.2 * x + 0.5, 0.0, 1.0)


def softmax(x, axis=-1):
    """e^x / sum(e^x) over `axis`."""
    return nn_ops.softmax(x, axis)


# ---------------------------------------------------------------- crossentropies

def _scores(output, op_class):
    """The scores that a softmax or sigmoid made `output` from, or None.

    Also where `output` was cast from 16 bits: then the scores are cast, before anything underflows.
    """
    node = unmarked(output).node
    if type(node.op) is op.Cast and is_float(node.inputs[0].dtype):
        scores = _scores(node.inputs[0], op_class)
        return None if scores is None else op.cast(scores, node.op.dtype)
    return node.inputs[0] if type(node.op) is op_class else None


def _clipped(p):
    return op.clip(p, epsilon(), 1.0 - epsilon())


def _channels(output, axis):
    rank = ndim(output)
    if not -rank <= axis < rank:
        raise ValueError(f"Unexpected channels axis {axis}. Expected to be -1 or one of the axes "
                         f"of `output`, which has {rank} dimensions.")
    return axis % rank


def _last(x, axis):
    """x with `axis` moved to the end."""
    return transpose(x, [i for i in range(x.ndim) if i != axis] + [axis])


def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-sum(target * log(output)) over `axis`: (..., classes) -> (...).

    Probabilities that come out of a softmax are traced back to its input, so that nothing overflows
    or is clipped; others are divided by their sum and clipped to [epsilon, 1 - epsilon].
    """
    axis = _channels(output, axis)
    scores = output if from_logits else _softmax_scores(output, axis)
    if scores is not None:
        return nn_ops.softmax_cross_entropy(_last(scores, axis), _last(target, axis))
    p = _clipped(output / broadcast.sum_(output, axis, True))
    return -broadcast.sum_(target * op.log(p), axis)


def _softmax_scores(output, axis):
    return _scores(output, nn_ops.Softmax) if axis == output.ndim - 1 else None


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-log(output at class target): target (...) or (..., 1), output (..., classes) -> (...).

    Probabilities are treated as in `categorical_crossentropy`.
    """
    axis = _channels(output, axis)
    scores = output if from_logits else _softmax_scores(output, axis)
    if scores is None:
        scores = op.log(_clipped(output))
    if ndim(target) == ndim(output):
        target = broadcast.squeeze(target, axis)
    return nn_ops.sparse_softmax_cross_entropy(_last(scores, axis), target)


def binary_crossentropy(target, output, from_logits=False):
    """-(target * log(output) + (1 - target) * log(1 - output)), elementwise.

    Probabilities that come out of a sigmoid are traced back to its input; others are clipped to
    [epsilon, 1 - epsilon].
    """
    scores = output if from_logits else _scores(output, op.Sigmoid)
    if scores is not None:
        return nn_ops.sigmoid_cross_entropy(scores, target)
    p = _clipped(output)
    return -(target * op.log(p + epsilon()) + (1 - target) * op.log(1 - p + epsilon()))


def in_top_k(predictions, targets, k):
    """True where class targets[i] is among the k largest of predictions[i]: (n,).

    Ties count in favour; a score that is not finite is never among them.
    """
    return index.in_top_k(predictions, targets, k)


# ---------------------------------------------------------------- normalisation, bias, dropout

def _shape_along(x, axis):
    """1 on every axis but `axis`."""
    return [x.shape[i] if i == axis % x.ndim else 1 for i in range(x.ndim)]


def bias_add(x, bias, data_format=None):
    """x + bias, the bias along the channels, or of the shape of a sample with channels last.

    For channels_first such a bias is reshaped, not transposed, to (channels, *spatial): that is how
    Keras's saved weights of LocallyConnected2D are meant.
    """
    data_format = normalize_data_format(data_format)
    if ndim(bias) not in (1, ndim(x) - 1):
        raise ValueError(f"Unexpected bias dimensions {ndim(bias)}, expect to be 1 or "
                         f"{ndim(x) - 1} dimensions")
    if data_format == "channels_last" or ndim(x) == 2:
        return x + bias
    if ndim(bias) == 1:
        return x + broadcast.reshape(bias, [bias.shape[0]] + [1] * (ndim(x) - 2))
    return x + broadcast.reshape(bias, (bias.shape[-1], *bias.shape[:-1]))


def batch_normalization(x, mean, var, beta, gamma, axis=-1, epsilon=1e-3):
    """(x - mean) / sqrt(var + epsilon) * gamma + beta along `axis`; gamma, beta may be None."""
    def along(t):
        return broadcast.reshape(t, _shape_along(x, axis)) if t.ndim == 1 and x.ndim > 1 else t

    scale = op.rsqrt(along(var) + epsilon)
    if gamma is not None:
        scale = scale * along(gamma)
    y = (x - along(mean)) * scale
    return y if beta is None else y + along(beta)


def normalize_batch_in_training(x, gamma, beta, reduction_axes, epsilon=1e-3):
    """x normalised by its own statistics over `reduction_axes`.

    gamma, beta: scale and offset of the remaining axes, of a shape that broadcasts to x, or None.

    # Returns
        (normalised x, mean, variance), the statistics without the reduced axes. The variance is the
        biased one, but for images in channels_last times n / (n - 1), n being the elements reduced,
        as TensorFlow's fused kernel has it: moving variances of saved models contain that factor.
    """
    axes = broadcast.normal_axes(list(reduction_axes), ndim(x))
    kept = [i for i in range(x.ndim) if i not in axes]
    if len(kept) != 1:
        return _normalize_over(x, gamma, beta, axes, epsilon)
    channel, = kept
    size, work = (x.shape[channel],), arithmetic(x.dtype)    # half precision is summed in float32
    gamma = constant(1, work, size) if gamma is None else cast(broadcast.reshape(gamma, size), work)
    beta = constant(0, work, size) if beta is None else cast(broadcast.reshape(beta, size), work)
    y, mean, var = norm.batch_norm_train(_last(x, channel), gamma, beta, epsilon)
    if axes == (0, 1, 2):
        count = reduce.Count(axes, var.dtype)(x)
        var = var * (count / op.maximum(count - 1, 1))
    back = [*range(channel), x.ndim - 1, *range(channel, x.ndim - 1)]
    return transpose(y, back), mean, var


def _normalize_over(x, gamma, beta, axes, epsilon):
    mean, var = reduce.mean(x, axes, True), reduce.variance(x, axes, True)
    y = (x - mean) * op.rsqrt(var + epsilon)
    y = y if gamma is None else y * gamma
    y = y if beta is None else y + beta
    return y, broadcast.squeeze(mean, axes), broadcast.squeeze(var, axes)


def dropout(x, level, noise_shape=None, seed=None):
    """x with a share `level` of its entries set to 0 and the others divided by 1 - level.

    noise_shape: shape of the mask, where 1 means shared along that axis and None the size of x.
    """
    return random.dropout(x, level, seed, noise_shape)


# ---------------------------------------------------------------- convolution and pooling

def _channels_last(x, data_format):
    return x if data_format == "channels_last" else transpose(x, [0, *range(2, x.ndim), 1])


def _back(y, data_format):
    if data_format == "channels_last":
        return y
    return transpose(y, [0, y.ndim - 1, *range(1, y.ndim - 1)])


def _check_padding(padding, allowed):
    if padding not in allowed:
        raise ValueError(f"Invalid padding: {padding!r}; expected one of {', '.join(allowed)}.")


def _conv(x, kernel, strides, padding, data_format, dilation_rate, paddings=("valid", "same")):
    _check_padding(padding, paddings)
    data_format = normalize_data_format(data_format)
    y = conv_ops.conv(_channels_last(x, data_format), kernel, strides, padding, dilation_rate)
    return _back(y, data_format)


def conv1d(x, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Convolution of sequences.  x (batch, steps, in), kernel (k, in, out) -> (batch, steps', out).

    padding: "valid", "same", or "causal" (nothing from later steps).
    """
    return _conv(x, kernel, strides, padding, data_format, dilation_rate,
                 ("valid", "same", "causal"))


def conv2d(x, kernel, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1)):
    """Convolution of images.  x (batch, rows, cols, in), kernel (kh, kw, in, out)."""
    return _conv(x, kernel, strides, padding, data_format, dilation_rate)


def conv3d(x, kernel, strides=(1, 1, 1), padding="valid", data_format=None,
           dilation_rate=(1, 1, 1)):
    """Convolution of volumes.  x (batch, d, h, w, in), kernel (kd, kh, kw, in, out)."""
    return _conv(x, kernel, strides, padding, data_format, dilation_rate)


def depthwise_conv2d(x, depthwise_kernel, strides=(1, 1), padding="valid", data_format=None,
                     dilation_rate=(1, 1)):
    """Each channel by kernels of its own: depthwise_kernel (kh, kw, in, m) -> in * m channels."""
    return _separable(x, depthwise_kernel, None, strides, padding, data_format, dilation_rate)


def separable_conv1d(x, depthwise_kernel, pointwise_kernel, strides=1, padding="valid",
                     data_format=None, dilation_rate=1):
    """Depthwise convolution (k, in, m), then pointwise_kernel (1, in * m, out)."""
    return _separable(x, depthwise_kernel, pointwise_kernel, strides, padding, data_format,
                      dilation_rate)


def separable_conv2d(x, depthwise_kernel, pointwise_kernel, strides=(1, 1), padding="valid",
                     data_format=None, dilation_rate=(1, 1)):
    """Depthwise convolution (kh, kw, in, m), then pointwise_kernel (1, 1, in * m, out)."""
    return _separable(x, depthwise_kernel, pointwise_kernel, strides, padding, data_format,
                      dilation_rate)


def _separable(x, depthwise, pointwise, strides, padding, data_format, dilation_rate):
    _check_padding(padding, ("valid", "same"))
    data_format = normalize_data_format(data_format)
    y = depthwise_conv(_channels_last(x, data_format), depthwise, strides, padding, dilation_rate)
    return _back(y if pointwise is None else conv_ops.conv(y, pointwise), data_format)


def _conv_transpose(x, kernel, output_shape, strides, padding, data_format, dilation_rate):
    _check_padding(padding, ("valid", "same"))
    data_format = normalize_data_format(data_format)
    first = 2 if data_format == "channels_first" else 1
    size = list(output_shape)[first:first + x.ndim - 2]
    y = conv_ops.conv_transpose(_channels_last(x, data_format), kernel, size, strides, padding,
                                dilation_rate)
    return _back(y, data_format)


def conv_transpose_unsized(x, kernel, extra, strides, padding, data_format, dilation_rate):
    """A transposed convolution of an x whose size is known at run time only.

    extra: for each axis; a length L becomes L * stride + extra.
    """
    x = _channels_last(x, data_format)
    like = x[..., :1]                              # read for its shape, never computed
    for axis, (stride, more) in enumerate(zip(strides, extra, strict=True), 1):
        like = shape_ops.repeat(like, stride, axis)
        like = shape_ops.pad(like, [(0, max(more, 0) * (i == axis)) for i in range(x.ndim)])
        like = like if more >= 0 else shape_ops.slice_axis(like, axis, None, more)
    y = conv_ops.conv_transpose(x, kernel, None, strides, padding, dilation_rate, like)
    return _back(y, data_format)


def conv2d_transpose(x, kernel, output_shape, strides=(1, 1), padding="valid", data_format=None,
                     dilation_rate=(1, 1)):
    """conv2d backwards: x (batch, rows, cols, in), kernel (kh, kw, out, in) -> `output_shape`."""
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, dilation_rate)


def conv3d_transpose(x, kernel, output_shape, strides=(1, 1, 1), padding="valid",
                     data_format=None):
    """conv3d backwards: x (batch, d, h, w, in), kernel (kd, kh, kw, out, in) -> `output_shape`."""
    return _conv_transpose(x, kernel, output_shape, strides, padding, data_format, 1)


def local_conv1d(inputs, kernel, kernel_size, strides, data_format=None):
    """Convolution with a kernel of its own at every step: kernel (steps', k * in, out)."""
    normalize_data_format(data_format)
    return local_conv(inputs, kernel, tuple(kernel_size), tuple(strides), kernel.shape[:1])


def local_conv2d(inputs, kernel, kernel_size, strides, output_shape, data_format=None):
    """Convolution with a kernel of its own at every place: (rows' * cols', kh * kw * in, out).

    output_shape: (rows', cols'). For channels_first the kernel's rows are ordered (in, kh, kw).
    """
    data_format = normalize_data_format(data_format)
    first = data_format == "channels_first"
    y = local_conv(_channels_last(inputs, data_format), kernel, tuple(kernel_size), tuple(strides),
                   tuple(output_shape), channels_major=first)
    return _back(y, data_format)


def _pool(x, pool_size, strides, padding, data_format, pool_mode):
    _check_padding(padding, ("valid", "same"))
    data_format = normalize_data_format(data_format)
    pools = {"max": pool_ops.max_pool, "avg": pool_ops.average_pool}
    if pool_mode not in pools:
        raise ValueError(f"Invalid pooling mode: {pool_mode!r}; expected 'max' or 'avg'.")
    y = pools[pool_mode](_channels_last(x, data_format), pool_size, strides, padding)
    return _back(y, data_format)


def pool2d(x, pool_size, strides=(1, 1), padding="valid", data_format=None, pool_mode="max"):
    """Largest value ("max") or mean ("avg", of real elements) of each window of an image."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode)


def pool3d(x, pool_size, strides=(1, 1, 1), padding="valid", data_format=None, pool_mode="max"):
    """Largest value ("max") or mean ("avg", of real elements) of each window of a volume."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode)
