"""IMDB film reviews, good or bad, as word numbers (Maas et al. 2011)."""
import numpy as np

from . import words

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb.npz"
INDEX_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb_word_index.json"


def load_data(path="imdb.npz", num_words=None, skip_top=0, maxlen=None, seed=113, start_char=1,
              oov_char=2, index_from=3, **kwargs):
    """25,000 reviews to train on and 25,000 to test.

    # Arguments
        path: name of the file in the cache folder, or an absolute path.
        num_words: use only numbers below this; words are ranked by frequency.
        skip_top: leave out the numbers below this.
        maxlen: leave out reviews of this many words or more.
        seed: of the order.
        start_char: number that starts every review, None for none.
        oov_char: number in place of words left out; None drops them.
        index_from: added to all ranks, so that the first numbers are free.

    # Returns
        (x_train, y_train), (x_test, y_test): x arrays of lists of numbers, y 0 (bad) or 1 (good).

    # Raises
        OSError: the file is not there and could not be downloaded.
        ValueError: `maxlen` leaves nothing.
    """
    num_words = words.old_arguments(kwargs, num_words)
    x, y, x_test, y_test = words.load(path, ORIGIN, ("x_train", "y_train", "x_test", "y_test"))
    rng = np.random.RandomState(seed)
    parts = [words.shuffled(rng, x, y), words.shuffled(rng, x_test, y_test)]
    return tuple(words.prepared(parts, num_words, skip_top, maxlen, start_char, oov_char,
                                index_from))


def get_word_index(path="imdb_word_index.json"):
    """dict word -> rank, 1 for the most frequent; `load_data` adds index_from to the ranks."""
    return words.word_index(path, INDEX_ORIGIN)
