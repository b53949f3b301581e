"""Batches of the CIFAR data sets (Krizhevsky 2009)."""
import os

import numpy as np

from .. import backend as K
from ..utils.data_utils import cache_path, get_file
from ..utils.io_utils import load_plain


def load_batch(fpath, label_key="labels"):
    """(x, y) of a file: x uint8 (n, 3, 32, 32), y a list of n numbers."""
    with open(fpath, "rb") as file:
        batch = load_plain(file.read(), "bytes")
    batch = {key.decode() if isinstance(key, bytes) else key: v for key, v in batch.items()}
    x = batch["data"]
    return x.reshape(len(x), 3, 32, 32), batch[label_key]


def load(folder, origin, train, test, label_key="labels"):
    """(x_train, y_train), (x_test, y_test) of batch files in a folder of the cache.

    # Arguments
        folder: name of the folder.
        origin: URL of the archive that holds it.
        train, test: names of files.
    """
    path = cache_path(folder)
    if not os.path.isdir(path):
        path = get_file(folder, origin=origin, untar=True)
    return _arrays(path, train, label_key), _arrays(path, test, label_key)


def _arrays(folder, names, label_key):
    parts = [load_batch(os.path.join(folder, name), label_key) for name in names]
    x = np.concatenate([x for x, _ in parts])
    y = np.concatenate([np.asarray(y, "uint8") for _, y in parts]).reshape(-1, 1)
    if K.image_data_format() == "channels_last":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return x, y
