"""Changes of one picture: rotation, shift, shear, zoom, colours."""
import numpy as np

from .files import array_to_img, img_to_array


def flip_axis(x, axis):
    """The picture backwards along an axis."""
    return np.flip(np.asarray(x), axis)


def random_rotation(x, rg, row_axis=1, col_axis=2, channel_axis=0, fill_mode="nearest", cval=0.0,
                    interpolation_order=1):
    """Turned by an angle in [-rg, rg] degrees."""
    return apply_affine_transform(x, theta=np.random.uniform(-rg, rg), row_axis=row_axis,
                                  col_axis=col_axis, channel_axis=channel_axis,
                                  fill_mode=fill_mode, cval=cval, order=interpolation_order)


def random_shift(x, wrg, hrg, row_axis=1, col_axis=2, channel_axis=0, fill_mode="nearest",
                 cval=0.0, interpolation_order=1):
    """Moved by up to the shares `wrg` of the width and `hrg` of the height."""
    tx = np.random.uniform(-hrg, hrg) * x.shape[row_axis]
    ty = np.random.uniform(-wrg, wrg) * x.shape[col_axis]
    return apply_affine_transform(x, tx=tx, ty=ty, row_axis=row_axis, col_axis=col_axis,
                                  channel_axis=channel_axis, fill_mode=fill_mode, cval=cval,
                                  order=interpolation_order)


def random_shear(x, intensity, row_axis=1, col_axis=2, channel_axis=0, fill_mode="nearest",
                 cval=0.0, interpolation_order=1):
    """Sheared by an angle in [-intensity, intensity] degrees."""
    return apply_affine_transform(x, shear=np.random.uniform(-intensity, intensity),
                                  row_axis=row_axis, col_axis=col_axis, channel_axis=channel_axis,
                                  fill_mode=fill_mode, cval=cval, order=interpolation_order)


def random_zoom(x, zoom_range, row_axis=1, col_axis=2, channel_axis=0, fill_mode="nearest",
                cval=0.0, interpolation_order=1):
    """Zoomed in each direction by a factor in `zoom_range`, a pair; below 1 enlarges."""
    if len(zoom_range) != 2:
        raise ValueError("`zoom_range` should be a tuple or list of two floats. Received: "
                         f"{zoom_range}")
    zx, zy = (1, 1) if tuple(zoom_range) == (1, 1) else np.random.uniform(*zoom_range, 2)
    return apply_affine_transform(x, zx=zx, zy=zy, row_axis=row_axis, col_axis=col_axis,
                                  channel_axis=channel_axis, fill_mode=fill_mode, cval=cval,
                                  order=interpolation_order)


def apply_channel_shift(x, intensity, channel_axis=0):
    """`intensity` added to all values, within the smallest and the largest there are."""
    return np.clip(x + intensity, x.min(), x.max()).astype(x.dtype)


def random_channel_shift(x, intensity_range, channel_axis=0):
    """Brighter or darker by up to `intensity_range`."""
    return apply_channel_shift(x, np.random.uniform(-intensity_range, intensity_range),
                               channel_axis)


def apply_brightness_shift(x, brightness):
    """As Pillow changes the brightness by a factor; the values are stretched to 0 ... 255 first."""
    from PIL import ImageEnhance
    return img_to_array(ImageEnhance.Brightness(array_to_img(x)).enhance(brightness))


def random_brightness(x, brightness_range):
    """Brightness changed by a factor in `brightness_range`, a pair."""
    if len(brightness_range) != 2:
        raise ValueError("`brightness_range should be tuple or list of two floats. Received: "
                         f"{brightness_range}")
    return apply_brightness_shift(x, np.random.uniform(*brightness_range))


# ---------------------------------------------------------------- affine transforms

def _matrix(theta, tx, ty, shear, zx, zy):
    """Output place -> input place (row, column, 1): rotation @ shift @ shear @ zoom."""
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    rotation = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0],
                         [0, 0, 1]])
    shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    slant = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    return rotation @ shift @ slant @ np.diag([zx, zy, 1])


def apply_affine_transform(x, theta=0, tx=0, ty=0, shear=0, zx=1, zy=1, row_axis=0, col_axis=1,
                           channel_axis=2, fill_mode="nearest", cval=0.0, order=1):
    """A picture rotated, shifted, sheared and zoomed about its centre.

    # Arguments
        x: array of rank 3.
        theta, shear: angles in degrees.
        tx, ty: shifts in rows and columns.
        zx, zy: zoom of rows and columns, below 1 enlarges.
        fill_mode: what is outside: "nearest", "constant" (`cval`), "reflect" or "wrap".
        order: 0 takes the nearest point, 1 interpolates.
    """
    if (theta, tx, ty, shear, zx, zy) == (0, 0, 0, 0, 1, 1):
        return x
    planes = np.moveaxis(x, channel_axis, 0)
    if row_axis > col_axis:
        planes = planes.swapaxes(1, 2)
    height, width = planes.shape[1:]
    centre = np.array([height / 2 + 0.5, width / 2 + 0.5])
    matrix = _matrix(theta, tx, ty, shear, zx, zy)
    turn, offset = matrix[:2, :2], matrix[:2, 2] + centre - matrix[:2, :2] @ centre
    places = np.tensordot(turn, np.indices((height, width)), 1) + offset[:, None, None]
    out = _sampled(planes, places, fill_mode, cval, order).astype(x.dtype)
    if row_axis > col_axis:
        out = out.swapaxes(1, 2)
    return np.moveaxis(out, 0, channel_axis)


def _sampled(planes, places, mode, cval, order):
    """Values of planes (c, h, w) at places (2, h', w')."""
    if mode not in ("nearest", "constant", "reflect", "wrap"):
        raise ValueError(f"unknown fill_mode {mode!r}, expected nearest, constant, reflect or wrap")
    if order not in (0, 1):
        raise ValueError(f"interpolation order {order} is not available, expected 0 or 1")
    sizes = planes.shape[1:]
    if mode == "nearest":
        places = [np.clip(p, 0, n - 1) for p, n in zip(places, sizes, strict=True)]
    rows, columns = (_neighbours(p, n, mode, order) for p, n in zip(places, sizes, strict=True))
    out = sum(planes[:, i, j] * (wi * wj) for i, wi in rows for j, wj in columns)
    if mode == "constant":
        inside = np.logical_and.reduce([(p >= 0) & (p <= n - 1)
                                        for p, n in zip(places, sizes, strict=True)])
        out = np.where(inside, out, cval)
    return out


def _neighbours(place, size, mode, order):
    """[(index, weight)] of the points around a place along one axis of that size."""
    if order == 0:
        return [(_wrapped(np.floor(place + 0.5).astype(int), size, mode), 1.0)]
    low = np.floor(place).astype(int)
    part = place - low
    return [(_wrapped(low, size, mode), 1 - part), (_wrapped(low + 1, size, mode), part)]


def _wrapped(index, size, mode):
    if mode == "wrap":
        return index % size
    if mode == "reflect":                          # dcba|abcd|dcba
        index = index % (2 * size)
        return np.minimum(index, 2 * size - 1 - index)
    return np.clip(index, 0, size - 1)
