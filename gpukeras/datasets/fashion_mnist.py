"""Fashion-MNIST: grey pictures of ten kinds of clothes (Xiao, Rasul, Vollgraf 2017)."""
import gzip
import os
import zlib

import numpy as np

from ..utils.data_utils import cache_path, fetch

ORIGINS = ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
           "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/")


def load_data():
    """60,000 pictures to train on and 10,000 to test.

    # Returns
        (x_train, y_train), (x_test, y_test): x uint8 (n, 28, 28), y uint8 (n,) with values 0 to 9.
    """
    return _part("train"), _part("t10k")


def _part(name):
    y = _load(f"{name}-labels-idx1-ubyte.gz", 8, ())
    return _load(f"{name}-images-idx3-ubyte.gz", 16, (28, 28)), y


def _load(name, header, shape):
    """The bytes of an idx file after its header, as an array (n, *shape)."""
    def read(path):
        try:
            with gzip.open(path) as file:
                return np.frombuffer(file.read(), np.uint8, offset=header).reshape(-1, *shape)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ValueError(f"it is no idx file ({error})") from None

    path = cache_path(name, os.path.join("datasets", "fashion-mnist"))
    return fetch(path, [origin + name for origin in ORIGINS], read)
