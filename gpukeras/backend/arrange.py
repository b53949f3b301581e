"""Rearranging, joining and picking elements."""
import builtins

import numpy as np

from ..graph import Constant
from ..ops import broadcast, index, linalg
from ..ops import shape as op
from ..ops.math import cast as _cast
from ..ops.upsample import upsample_linear
from .core import is_tensor, ndim
from .core import shape as shape_of
from .settings import normalize_data_format


def reshape(x, shape):
    """x under another shape; one size may be -1, sizes may be integer tensors."""
    if is_tensor(shape):
        return broadcast.DynamicReshape((None,) * shape.shape[0])(x, shape)
    sizes = [d if is_tensor(d) else -1 if d is None else int(d) for d in shape]
    free = [d for d in sizes if is_tensor(d) or d == -1]
    if len(free) <= 1:
        return broadcast.reshape(x, [-1 if is_tensor(d) else d for d in sizes])
    hint = tuple(None if is_tensor(d) or d == -1 else d for d in sizes)
    vector = op.stack([_cast(d, "int32") if is_tensor(d) else Constant(d, "int32")
                       for d in sizes])
    return broadcast.DynamicReshape(hint)(x, vector)


def _as(x, sizes, source):
    """x under `sizes`; an entry (axis,) stands for a size of `source` that is known only later."""
    unknown = [d for d in sizes if isinstance(d, tuple)]
    if len(unknown) <= 1:
        return broadcast.reshape(x, [-1 if isinstance(d, tuple) else d for d in sizes])
    at_call = shape_of(source)
    return reshape(x, [at_call[d[0]] if isinstance(d, tuple) else d for d in sizes])


def flatten(x):
    """All elements as one vector."""
    return op.flatten(x)


def batch_flatten(x):
    """(batch, ...) -> (batch, product of the rest)"""
    rest = x.shape[1:]
    if None not in rest:
        return broadcast.reshape(x, (-1, int(np.prod(rest))))
    return reshape(x, (shape_of(x)[0], -1))


def transpose(x):
    """x with its axes in reverse order."""
    return op.transpose(x)


def permute_dimensions(x, pattern):
    """x with its axes in the order of `pattern`: axis i of the result is axis pattern[i] of x."""
    return op.transpose(x, pattern)


def expand_dims(x, axis=-1):
    """x with an axis of size 1 at `axis`."""
    return broadcast.expand_dims(x, axis)


def squeeze(x, axis):
    """x without its axis `axis`, of size 1."""
    return broadcast.squeeze(x, axis)


def concatenate(tensors, axis=-1):
    """The tensors one after another along `axis`."""
    return op.concat(list(tensors), axis)


def stack(x, axis=0):
    """The tensors of a list along a new axis."""
    return op.stack(list(x), axis)


def tile(x, n):
    """x laid side by side n[axis] times (a number means the first axis of a vector)."""
    n = [n] if isinstance(n, (int, np.integer)) else list(n)
    return op.tile(x, [1] * (ndim(x) - len(n)) + n)


def repeat(x, n):
    """(batch, features) -> (batch, n, features)"""
    if ndim(x) != 2:
        raise ValueError(f"repeat: got {x}, expected a tensor of rank 2.")
    return op.tile(broadcast.expand_dims(x, 1), (1, n, 1))


def repeat_elements(x, rep, axis):
    """Each element `rep` times in a row along `axis`, as np.repeat."""
    return op.repeat(x, rep, axis)


def reverse(x, axes):
    """x turned around along `axes` (a number or a list)."""
    return op.reverse(x, axes)


def slice(x, start, size):
    """x[start : start + size] on each axis; size -1 goes to the end."""
    if not len(start) == len(size) == ndim(x):
        raise ValueError(f"slice: got {len(start)} starts and {len(size)} sizes for {x}, expected "
                         "one of each per axis.")
    ends = [None if n == -1 else a + n for a, n in zip(start, size, strict=True)]
    return x[tuple(builtins.slice(a, b) for a, b in zip(start, ends, strict=True))]


def arange(start, stop=None, step=1, dtype="int32"):
    """The numbers from start (0 if there is no stop) up to stop, without it."""
    start, stop = (0, start) if stop is None else (start, stop)
    return Constant(np.arange(start, stop, step), dtype)


def gather(reference, indices):
    """Rows of `reference` picked by integers of any shape: (rows, ...), (*a) -> (*a, ...)."""
    return index.gather(reference, indices)


def one_hot(indices, num_classes):
    """Class numbers (...,) -> (..., num_classes): 1 at the class, 0 elsewhere; float32."""
    return index.one_hot(indices, num_classes)


# ---------------------------------------------------------------- padding, resizing

def _spatial_pad(x, padding, data_format):
    first = 2 if data_format == "channels_first" else 1
    pads = [(0, 0)] * x.ndim
    pads[first:first + len(padding)] = padding
    return op.pad(x, pads)


def temporal_padding(x, padding=(1, 1)):
    """Zeros (before, after) along axis 1 of (batch, steps, features)."""
    return _spatial_pad(x, [tuple(padding)], "channels_last")


def spatial_2d_padding(x, padding=((1, 1), (1, 1)), data_format=None):
    """Zeros around the rows and columns of images."""
    return _spatial_pad(x, [tuple(p) for p in padding], normalize_data_format(data_format))


def spatial_3d_padding(x, padding=((1, 1), (1, 1), (1, 1)), data_format=None):
    """Zeros around the three spatial axes of volumes."""
    return _spatial_pad(x, [tuple(p) for p in padding], normalize_data_format(data_format))


def resize_images(x, height_factor, width_factor, data_format, interpolation="nearest"):
    """Images enlarged by whole factors.

    interpolation: "nearest" repeats each pixel, "bilinear" mixes it with the next one,
        "bilinear_half_pixel" with its neighbours by the distance of the centres, as TensorFlow 2.
    """
    if interpolation not in ("nearest", "bilinear", "bilinear_half_pixel"):
        raise ValueError('interpolation should be one of "nearest" or "bilinear", got '
                         f"{interpolation!r}.")
    first = 2 if normalize_data_format(data_format) == "channels_first" else 1
    if interpolation == "nearest":
        return op.repeat(op.repeat(x, height_factor, first), width_factor, first + 1)
    enlarge = upsample_linear if interpolation == "bilinear" else _between_centres
    if first == 1:
        return enlarge(x, (height_factor, width_factor))
    x = enlarge(op.transpose(x, (0, 2, 3, 1)), (height_factor, width_factor))
    return op.transpose(x, (0, 3, 1, 2))


def _between_centres(x, factors):
    """Images (n, h, w, c) enlarged so that pixel i of the result lies at (i + 0.5) / factor - 0.5.

    On an image with its border repeated, twice as large as wanted, these are every second pixel.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        last = op.slice_axis(x, axis, -1 if size is None else size - 1, None)
        x = op.concat([op.slice_axis(x, axis, 0, 1), x, last], axis)
    f, g = factors
    return upsample_linear(x, (2 * f, 2 * g))[:, f + 1:1 - 3 * f:2, g + 1:1 - 3 * g:2]


def resize_volumes(x, depth_factor, height_factor, width_factor, data_format):
    """Each voxel repeated by the factors."""
    first = 2 if normalize_data_format(data_format) == "channels_first" else 1
    for axis, factor in enumerate((depth_factor, height_factor, width_factor), first):
        x = op.repeat(x, factor, axis)
    return x


# ---------------------------------------------------------------- products

def dot(x, y):
    """Sum over the last axis of x and the last but one of y.

    (i, k) . (k, j) -> (i, j);  (*a, k) . (*b, k, j) -> (*a, *b, j)
    """
    if ndim(x) < 1 or ndim(y) < 2:
        raise ValueError(f"dot: got {x} and {y}, expected ranks of at least 1 and 2.")
    if ndim(x) == ndim(y) == 2:
        return linalg.dot(x, y)
    k = x.shape[-1] if x.shape[-1] is not None else y.shape[-2]
    order = [y.ndim - 2, *range(y.ndim - 2), y.ndim - 1]
    y_2d = op.transpose(y, order)
    rest = y_2d.shape[1:]
    if y.ndim > 2:
        y_2d = broadcast.reshape(y_2d, (k, -1))
    out = linalg.dot(broadcast.reshape(x, (-1, k)), y_2d)
    return _as(out, [(i,) if d is None else d for i, d in enumerate(x.shape[:-1])] + list(rest), x)


def batch_dot(x, y, axes=None):
    """For each sample the sum over one axis of x and one of y.

    # Arguments
        x, y: tensors (batch, ...) of rank 2 or more.
        axes: the axis of each to sum over, a pair or one number for both; None for the last of x
            and the last but one of y (the last if y has rank 2).

    # Returns
        (batch, other axes of x, other axes of y); (batch, 1) for two tensors of rank 2.
    """
    if ndim(x) < 2 or ndim(y) < 2:
        raise ValueError(f"batch_dot: got {x} and {y}, expected ranks of at least 2.")
    ax, ay = _dot_axes(x, y, axes)
    if None not in (x.shape[ax], y.shape[ay]) and x.shape[ax] != y.shape[ay]:
        raise ValueError(f"batch_dot: got {x} with axis {ax} and {y} with axis {ay}, expected "
                         "equal sizes there.")
    x3, x_rest, trans_x = _matrices(x, ax, last=True)
    y3, y_rest, trans_y = _matrices(y, ay, last=False)
    out = linalg.batch_dot(x3, y3, trans_x, trans_y)         # (batch, rest of x, rest of y)
    if len(x_rest) == len(y_rest) == 1:
        return out
    if not x_rest and not y_rest:
        return broadcast.squeeze(out, 2)
    if not x_rest and len(y_rest) == 1:
        return broadcast.squeeze(out, 1)
    if len(x_rest) == 1 and not y_rest:
        return broadcast.squeeze(out, 2)
    return reshape(out, [shape_of(x)[0], *x_rest, *y_rest])


def _dot_axes(x, y, axes):
    if axes is None:
        axes = (x.ndim - 1, y.ndim - 1 if y.ndim == 2 else y.ndim - 2)
    elif isinstance(axes, (int, np.integer)):
        axes = (axes, axes)
    ax, ay = (broadcast.normal_axes(int(a), t.ndim)[0] for a, t in zip(axes, (x, y), strict=True))
    if 0 in (ax, ay):
        raise ValueError("Cannot perform batch_dot over axis 0. If your inputs are not batched, "
                         "add a dummy batch dimension to your inputs using K.expand_dims(x, 0).")
    return ax, ay


def _matrices(x, axis, last):
    """(x as a stack of matrices, sizes of the axes besides batch and `axis`, transposed or not)

    The left factor sums over its last axis, the right one over its first, unless `transposed`.
    """
    rest = [shape_of(x)[i] if d is None else d
            for i, d in enumerate(x.shape) if i not in (0, axis)]
    if x.ndim == 2:
        return broadcast.expand_dims(x, 1 if last else 2), rest, False
    if x.ndim == 3:
        return x, rest, (axis == 1) == last
    others = [i for i in range(1, x.ndim) if i != axis]
    x = op.transpose(x, [0, *others, axis] if last else [0, axis, *others])
    size = x.shape[-1] if last else x.shape[1]
    batch = x.shape[0] if x.shape[0] is not None else shape_of(x)[0]
    return reshape(x, (batch, -1, size) if last else (batch, size, -1)), rest, False
