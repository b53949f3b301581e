"""MNIST handwritten digits (LeCun, Cortes, Burges)."""
import zipfile

import numpy as np

from ..utils.data_utils import arrays_checksum, cache_path, fetch

ORIGINS = ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
           "https://s3.amazonaws.com/img-datasets/mnist.npz")
CHECKSUM = "8fc8fc4f0343f34ece1fcfdfb65f0801fac48030ce7c70e62bbb62f64ee2e65b"
NAMES = ("x_train", "y_train", "x_test", "y_test")


def load_data(path="mnist.npz"):
    """MNIST, from the cache folder (~/.keras/datasets, or KERAS_HOME), else from the network.

    A file that is there already is taken when its arrays are those of MNIST, whoever packed it.

    # Arguments
        path: name of the file in the cache folder, or an absolute path.

    # Returns
        (x_train, y_train), (x_test, y_test): x uint8 (n, 28, 28) with values 0 to 255, y uint8 (n,)
        with values 0 to 9; n is 60000 and 10000.

    # Raises
        OSError: the file is not there and could not be downloaded.
    """
    arrays = fetch(cache_path(path), ORIGINS, _read)
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _read(path):
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in NAMES}
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"it is no .npz file with {', '.join(NAMES)} ({error})") from None
    if arrays_checksum(arrays) != CHECKSUM:
        raise ValueError("its arrays are not those of MNIST")
    return arrays
