"""Small NumPy functions for data."""
import numpy as np


def to_categorical(y, num_classes=None, dtype="float32"):
    """Class numbers as rows of zeros with a one.  y (...) or (..., 1) -> (..., num_classes)

    # Arguments
        y: class numbers, integers from 0 to num_classes - 1.
        num_classes: number of classes; max(y) + 1 if None.
        dtype: of the result.
    """
    y = np.asarray(y)
    shape = y.shape[:-1] if y.ndim > 1 and y.shape[-1] == 1 else y.shape
    labels = _whole_numbers(y).ravel()
    if num_classes is None:
        if not labels.size:
            raise ValueError("to_categorical: got no labels, expected some, or `num_classes`.")
        num_classes = int(labels.max()) + 1
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise ValueError(f"to_categorical: got the class {labels[wrong[0]]} at index {wrong[0]}, "
                         f"expected 0 to {num_classes - 1} (num_classes={num_classes}).")
    rows = np.zeros((labels.size, num_classes), dtype=dtype)
    rows[np.arange(labels.size), labels] = 1
    return rows.reshape(shape + (num_classes,))


def _whole_numbers(y):
    if y.dtype.kind in "iub":
        return y.astype("int64")
    try:
        return y.astype("float64").astype("int64")      # as Keras: decimals cut off, "3" is 3
    except (TypeError, ValueError):
        raise ValueError(f"to_categorical: got {y.dtype} values, expected class numbers. "
                         "Try: np.unique(y, return_inverse=True)[1]") from None


def normalize(x, axis=-1, order=2):
    """x divided by its norm of the given order along `axis`; zero rows stay zero."""
    norm = np.atleast_1d(np.linalg.norm(x, order, axis))
    norm[norm == 0] = 1
    return x / np.expand_dims(norm, axis)
