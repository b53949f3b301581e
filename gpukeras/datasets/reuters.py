"""Reuters news by 46 topics, as word numbers."""
import numpy as np

from . import words

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/reuters.npz"
INDEX_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/reuters_word_index.json"


def load_data(path="reuters.npz", num_words=None, skip_top=0, maxlen=None, test_split=0.2,
              seed=113, start_char=1, oov_char=2, index_from=3, **kwargs):
    """11,228 pieces of news; arguments as for `imdb.load_data`.

    test_split: share of the data to test on.

    # Returns
        (x_train, y_train), (x_test, y_test): x arrays of lists of numbers, y topics 0 to 45.
    """
    num_words = words.old_arguments(kwargs, num_words)
    x, y = words.shuffled(np.random.RandomState(seed), *words.load(path, ORIGIN, ("x", "y")))
    (x, y), = words.prepared([(x, y)], num_words, skip_top, maxlen, start_char, oov_char,
                             index_from)
    at = int(len(x) * (1 - test_split))
    return (x[:at], y[:at]), (x[at:], y[at:])


def get_word_index(path="reuters_word_index.json"):
    """dict word -> rank, 1 for the most frequent."""
    return words.word_index(path, INDEX_ORIGIN)
