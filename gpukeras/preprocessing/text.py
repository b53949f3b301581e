"""Text as numbers: words, vocabularies, word counts."""
import json
import warnings
from collections import Counter, OrderedDict, defaultdict
from hashlib import md5

import numpy as np

_FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def text_to_word_sequence(text, filters=_FILTERS, lower=True, split=" "):
    """The words of a text, as a list.

    # Arguments
        filters: characters that count as `split`.
        lower: lower case.
        split: what stands between words.
    """
    text = text.lower() if lower else text
    table = str.maketrans({c: split for c in filters})
    return [word for word in text.translate(table).split(split) if word]


def one_hot(text, n, filters=_FILTERS, lower=True, split=" "):
    """A number from 1 to n - 1 for each word, by Python's `hash`: others in each process."""
    return hashing_trick(text, n, hash_function=hash, filters=filters, lower=lower, split=split)


def hashing_trick(text, n, hash_function=None, filters=_FILTERS, lower=True, split=" "):
    """A number from 1 to n - 1 for each word; different words may get the same.

    # Arguments
        hash_function: None for Python's `hash`, "md5" for numbers that never change, or a function.
    """
    if hash_function is None:
        hash_function = hash
    elif hash_function == "md5":
        def hash_function(word):
            return int(md5(word.encode()).hexdigest(), 16)
    words = text_to_word_sequence(text, filters=filters, lower=lower, split=split)
    return [hash_function(word) % (n - 1) + 1 for word in words]


class Tokenizer:
    """Numbers the words of texts, the most frequent first, from 1 on; 0 is no word.

    # Arguments
        num_words: only words with a number below this are used.
        filters, lower, split: as for `text_to_word_sequence`.
        char_level: characters in place of words.
        oov_token: stands for words that are not known, has number 1.
        document_count: number of texts seen before.
    """

    def __init__(self, num_words=None, filters=_FILTERS, lower=True, split=" ", char_level=False,
                 oov_token=None, document_count=0, **kwargs):
        if "nb_words" in kwargs:
            warnings.warn("The `nb_words` argument in `Tokenizer` has been renamed `num_words`.",
                          stacklevel=2)
            num_words = kwargs.pop("nb_words")
        if kwargs:
            raise TypeError(f"Unrecognized keyword arguments: {kwargs}")
        self.num_words, self.filters, self.split, self.lower = num_words, filters, split, lower
        self.char_level, self.oov_token = char_level, oov_token
        self.document_count = document_count
        self.word_counts = OrderedDict()
        self.word_docs, self.index_docs = defaultdict(int), defaultdict(int)
        self.word_index, self.index_word = {}, {}

    def _words(self, text):
        """Words (or characters) of a text; a list is words already."""
        if isinstance(text, list):
            return [word.lower() for word in text] if self.lower else text
        if self.char_level:
            return text.lower() if self.lower else text
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    # ---- learning

    def fit_on_texts(self, texts):
        """Count the words of texts and number them; may be called again with more.

        texts: list or generator of strings or of lists of words.
        """
        for text in texts:
            self.document_count += 1
            words = self._words(text)
            for word in words:
                self.word_counts[word] = self.word_counts.get(word, 0) + 1
            for word in set(words):
                self.word_docs[word] += 1
        ranked = sorted(self.word_counts, key=self.word_counts.get, reverse=True)
        if self.oov_token is not None:
            ranked.insert(0, self.oov_token)
        self.word_index = {word: i for i, word in enumerate(ranked, 1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences):
        """Count in how many sequences each number occurs, for "tfidf"."""
        self.document_count += len(sequences)
        for sequence in sequences:
            for i in set(sequence):
                self.index_docs[i] += 1

    # ---- texts to numbers and back

    def texts_to_sequences(self, texts):
        """Each text as a list of numbers."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts):
        for text in texts:
            yield self._known(self._words(text), self.word_index.get, lambda i: i,
                              self.word_index.get(self.oov_token))

    def sequences_to_texts(self, sequences):
        """Each list of numbers as a text."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences):
        for sequence in sequences:
            numbers = (i if i in self.index_word else None for i in sequence)
            yield " ".join(self._known(numbers, lambda i: i, self.index_word.get, self.oov_token))

    def _known(self, items, number_of, result_of, unknown):
        """Results for the items in use; `unknown` (dropped if None) for all others."""
        found = []
        for item in items:
            number = None if item is None else number_of(item)
            if number is None or (self.num_words and number >= self.num_words):
                found.append(unknown if self.oov_token is not None else None)
            else:
                found.append(result_of(number))
        return [item for item in found if item is not None]

    # ---- matrices

    def texts_to_matrix(self, texts, mode="binary"):
        """Texts as an array (texts, words), see `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode=mode)

    def sequences_to_matrix(self, sequences, mode="binary"):
        """Lists of numbers as an array (sequences, words) of what each word counts.

        # Arguments
            mode: "binary" 1 where it occurs; "count" how often; "freq" the share of the text;
                "tfidf" (1 + log count) * log(1 + texts / (1 + texts with the word)).
        """
        if mode not in ("binary", "count", "freq", "tfidf"):
            raise ValueError(f"Unknown vectorization mode: {mode}, expected binary, count, freq "
                             "or tfidf.")
        if not self.num_words and not self.word_index:
            raise ValueError("Specify a dimension (`num_words` argument), or fit on some text "
                             "data first.")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("Fit the Tokenizer on some data before using tfidf mode.")
        width = self.num_words or len(self.word_index) + 1
        x = np.zeros((len(sequences), width))
        for row, sequence in zip(x, sequences, strict=True):
            for j, count in Counter(j for j in sequence if j < width).items():
                row[j] = self._weight(mode, j, count, len(sequence))
        return x

    def _weight(self, mode, j, count, length):
        if mode == "binary":
            return 1
        if mode == "count":
            return count
        if mode == "freq":
            return count / length
        rarity = np.log(1 + self.document_count / (1 + self.index_docs.get(j, 0)))
        return (1 + np.log(count)) * rarity

    # ---- config

    def get_config(self):
        """Arguments, and what was learned as JSON texts."""
        names = ("num_words", "filters", "lower", "split", "char_level", "oov_token",
                 "document_count")
        learned = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
        return {**{name: getattr(self, name) for name in names},
                **{name: json.dumps(getattr(self, name)) for name in learned}}

    def to_json(self, **kwargs):
        """The tokenizer as JSON; keyword arguments go to `json.dumps`."""
        config = {"class_name": type(self).__name__, "config": self.get_config()}
        return json.dumps(config, **kwargs)


def tokenizer_from_json(json_string):
    """The Tokenizer of a text that `to_json` made."""
    config = json.loads(json_string)["config"]
    learned = {name: json.loads(config.pop(name)) for name in (
        "word_counts", "word_docs", "index_docs", "index_word", "word_index")}
    for name in ("index_docs", "index_word"):      # JSON has turned the numbers into texts
        learned[name] = {int(i): value for i, value in learned[name].items()}
    tokenizer = Tokenizer(**config)
    tokenizer.__dict__.update(learned)
    for name in ("word_docs", "index_docs"):
        setattr(tokenizer, name, defaultdict(int, learned[name]))
    tokenizer.word_counts = OrderedDict(learned["word_counts"])
    return tokenizer
