"""Arithmetic of convolution sizes; pure Python, used by every floor above the graph."""
import numpy as np


def normalize_tuple(value, n, name):
    """An int as a tuple of n ints; a tuple or list of n ints as a tuple.

    # Arguments
        value: int, or n ints.
        n: size of the tuple.
        name: what the value is, for the error, such as "strides".
    """
    def integer(x):
        return isinstance(x, (int, np.integer)) and not isinstance(x, bool)

    if integer(value):
        return (int(value),) * n
    try:
        values = tuple(value)
    except TypeError:
        values = None
    if values is None or len(values) != n or not all(map(integer, values)):
        raise ValueError(f"The `{name}` argument must be a tuple of {n} integers. "
                         f"Received: {value!r}")
    return tuple(int(x) for x in values)


def normalize_padding(value):
    """"valid", "same" or "causal" in lower case."""
    padding = value.lower() if isinstance(value, str) else value
    if padding not in ("valid", "same", "causal"):
        raise ValueError('The `padding` argument must be one of "valid", "same" '
                         f'(or "causal" for Conv1D). Received: {value!r}')
    return padding


def conv_output_length(input_length, filter_size, padding, stride, dilation=1):
    """Length of a convolution's or pooling's output along one axis; None if the input's is None.

    valid: (L - k') // s + 1,   same, causal: ceil(L / s),   full: (L + k' - 2) // s + 1,
    with k' = (k - 1) * dilation + 1.
    """
    if input_length is None:
        return None
    size = (filter_size - 1) * dilation + 1
    if padding in ("same", "causal"):
        windows = input_length
    elif padding == "valid":
        windows = input_length - size + 1
    elif padding == "full":
        windows = input_length + size - 1
    else:
        raise ValueError('padding must be "same", "valid", "full" or "causal". '
                         f"Received: {padding!r}")
    return (windows + stride - 1) // stride


def conv_input_length(output_length, filter_size, padding, stride):
    """Length of the input that gives `output_length`, along one axis; None if that is None."""
    if output_length is None:
        return None
    border = {"same": filter_size // 2, "valid": 0, "full": filter_size - 1}
    if padding not in border:
        raise ValueError(f'padding must be "same", "valid" or "full". Received: {padding!r}')
    return (output_length - 1) * stride - 2 * border[padding] + filter_size


def deconv_length(dim_size, stride_size, kernel_size, padding, output_padding, dilation=1):
    """Length of a transposed convolution's output along one axis; None if the input's is None.

    With `output_padding` None the shortest input of the forward convolution that fits is taken,
    else (L - 1) * s + k' - 2 * border + output_padding, with k' = (k - 1) * dilation + 1.
    """
    if dim_size is None:
        return None
    size = (kernel_size - 1) * dilation + 1
    if padding not in ("same", "valid", "full"):
        raise ValueError(f'padding must be "same", "valid" or "full". Received: {padding!r}')
    if output_padding is not None:
        border = {"same": size // 2, "valid": 0, "full": size - 1}[padding]
        return (dim_size - 1) * stride_size + size - 2 * border + output_padding
    if padding == "valid":
        return dim_size * stride_size + max(size - stride_size, 0)
    if padding == "full":
        return dim_size * stride_size - (stride_size + size - 2)
    return dim_size * stride_size


def convert_kernel(kernel):
    """A kernel (*spatial, in, out) reversed along its spatial axes: convolution <-> correlation."""
    kernel = np.asarray(kernel)
    if not 3 <= kernel.ndim <= 5:
        raise ValueError(f"Invalid kernel shape: got {kernel.shape}, expected rank 3, 4 or 5 "
                         "as (*spatial, in, out).")
    return np.copy(np.flip(kernel, axis=tuple(range(kernel.ndim - 2))))
