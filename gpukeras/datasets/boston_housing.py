"""Boston house prices of 1978. The data hold a column on race and are kept for old scripts only."""
import numpy as np

from . import words

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/boston_housing.npz"


def load_data(path="boston_housing.npz", test_split=0.2, seed=113):
    """506 areas.

    # Arguments
        path: name of the file in the cache folder, or an absolute path.
        test_split: share of the data to test on.
        seed: of the order.

    # Returns
        (x_train, y_train), (x_test, y_test): x float64 (n, 13), y float64 (n,), prices in 1000
        dollars.
    """
    if not 0 <= test_split < 1:
        raise ValueError(f"`test_split` should be at least 0 and below 1, got {test_split}.")
    x, y = words.shuffled(np.random.RandomState(seed), *words.load(path, ORIGIN, ("x", "y")))
    at = int(len(x) * (1 - test_split))
    return (x[:at], y[:at]), (x[at:], y[at:])
