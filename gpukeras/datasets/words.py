"""What the data sets of texts as word numbers have in common."""
import json
import warnings

import numpy as np

from ..preprocessing.sequence import _remove_long_seq
from ..utils.data_utils import cache_path, fetch
from ..utils.io_utils import load_npz


def load(path, origin, names):
    """Arrays of an .npz file by name, in the order of `names`."""
    def read(file):
        arrays = load_npz(file)
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(f"it has no array {missing[0]!r}")
        return [arrays[name] for name in names]

    return fetch(cache_path(path), origin, read)


def word_index(path, origin):
    """dict word -> rank, 1 for the most frequent."""
    def read(file):
        with open(file, encoding="utf-8") as text:
            return json.load(text)

    return fetch(cache_path(path), origin, read)


def old_arguments(kwargs, num_words):
    """num_words, also under its name of Keras 1; any other keyword is an error."""
    if "nb_words" in kwargs:
        warnings.warn("The `nb_words` argument in `load_data` has been renamed `num_words`.",
                      stacklevel=3)
        num_words = kwargs.pop("nb_words")
    if kwargs:
        raise TypeError(f"Unrecognized keyword arguments: {kwargs}")
    return num_words


def shuffled(rng, x, y):
    """Both in the order that `rng` gives."""
    order = np.arange(len(x))
    rng.shuffle(order)
    return x[order], y[order]


def prepared(parts, num_words, skip_top, maxlen, start_char, oov_char, index_from):
    """Texts with a start, shifted numbers, and only the words in use.

    # Arguments
        parts: list of (texts, labels).
        Others: as for `imdb.load_data`.

    # Returns
        List of (texts as an array of lists, labels).
    """
    shift = index_from if start_char is not None or index_from else 0
    start = [] if start_char is None else [start_char]
    parts = [([start + [word + shift for word in text] for text in x], y) for x, y in parts]
    if maxlen:
        parts = [_remove_long_seq(maxlen, x, y) for x, y in parts]
        if not any(x for x, _ in parts):
            raise ValueError(f"After filtering for sequences shorter than maxlen={maxlen}, no "
                             "sequence was kept. Increase maxlen.")
    if not num_words:
        num_words = max(max(text) for x, _ in parts for text in x if text) + 1

    def kept(text):
        if oov_char is None:
            return [word for word in text if skip_top <= word < num_words]
        return [word if skip_top <= word < num_words else oov_char for word in text]

    return [(_lists([kept(text) for text in x]), np.array(y)) for x, y in parts]


def _lists(texts):
    """An array of lists, also when all of them are equally long."""
    out = np.empty(len(texts), object)
    out[:] = texts
    return out
