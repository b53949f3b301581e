"""Sequences of numbers as arrays: padding, skip-grams, windows of a time series."""
import json
import random

import numpy as np

from ..utils.data_utils import Sequence


def pad_sequences(sequences, maxlen=None, dtype="int32", padding="pre", truncating="pre",
                  value=0.0):
    """Sequences of different lengths as one array (samples, maxlen, ...).

    # Arguments
        sequences: list of lists or arrays, whose items all have the same shape.
        maxlen: length to cut or fill up to; the longest sequence's if not given.
        dtype: type of the array; object for texts of different length.
        padding, truncating: "pre" or "post", the end at which to fill and to cut.
        value: to fill with.

    # Raises
        ValueError: for items that are no sequences or differ in shape, or unknown words.
    """
    for name, word in (("Padding", padding), ("Truncating", truncating)):
        if word not in ("pre", "post"):
            raise ValueError(f'{name} type "{word}" not understood, expected "pre" or "post".')
    if not hasattr(sequences, "__len__"):
        raise ValueError("`sequences` must be iterable and have a length. Try: list(sequences)")
    for s in sequences:
        if not hasattr(s, "__len__"):
            raise ValueError(f"`sequences` must be a list of iterables. Found non-iterable: {s}")
    if isinstance(value, str) and dtype != object and not np.issubdtype(dtype, np.str_):
        raise ValueError(f"`dtype` {dtype} is not compatible with `value`'s type: {type(value)}\n"
                         "You should set `dtype=object` for variable length strings.")
    if maxlen is None:
        maxlen = max(map(len, sequences), default=0)
    shape = next((np.asarray(s).shape[1:] for s in sequences if len(s)), ())
    out = np.full((len(sequences), maxlen, *shape), value, dtype=dtype)
    for i, s in enumerate(sequences):
        kept = s[max(0, len(s) - maxlen):] if truncating == "pre" else s[:maxlen]
        if not len(kept):
            continue
        kept = np.asarray(kept, dtype=dtype)
        if kept.shape[1:] != shape:
            raise ValueError(f"Shape of sample {kept.shape[1:]} of sequence at position {i} is "
                             f"different from expected shape {shape}")
        if padding == "post":
            out[i, :len(kept)] = kept
        else:
            out[i, maxlen - len(kept):] = kept
    return out


def make_sampling_table(size, sampling_factor=1e-5):
    """Probability to keep the word of each rank, for word frequencies by Zipf's law.

    f(rank) = sampling_factor * (rank * (log(rank) + 0.577) + 1/2 - 1 / (12 rank)); the probability
    is min(1, sqrt(f)).  Mikolov et al. 2013, section 2.3.
    """
    rank = np.maximum(np.arange(size), 1)
    f = sampling_factor * (rank * (np.log(rank) + 0.577) + 0.5 - 1.0 / (12.0 * rank))
    return np.minimum(1.0, np.sqrt(f))


def skipgrams(sequence, vocabulary_size, window_size=4, negative_samples=1.0, shuffle=True,
              categorical=False, sampling_table=None, seed=None):
    """Pairs of words with a label: 1 if the second stands near the first, 0 if it is a random word.

    # Arguments
        sequence: list of word numbers; 0 is no word.
        vocabulary_size: number of words, the largest number + 1.
        window_size: how many words away still counts as near.
        negative_samples: number of random pairs per true one.
        shuffle: in random order.
        categorical: labels [0, 1] and [1, 0] in place of 1 and 0.
        sampling_table: probability of each word to be used, see `make_sampling_table`.
        seed: of the shuffle.

    # Returns
        (pairs, labels), two lists.
    """
    near, far = ([0, 1], [1, 0]) if categorical else (1, 0)
    couples = []
    for i, word in enumerate(sequence):
        if not word or (sampling_table is not None and sampling_table[word] < random.random()):
            continue
        start = max(0, i - window_size)
        window = enumerate(sequence[start:i + window_size + 1], start)
        couples += [[word, other] for j, other in window if j != i and other]
    labels = [near] * len(couples)
    if negative_samples > 0:
        words = [word for word, _ in couples]
        count = int(len(couples) * negative_samples)
        random.shuffle(words)
        couples += [[words[i % len(words)], random.randint(1, vocabulary_size - 1)]
                    for i in range(count)]
        labels += [far] * count
    if shuffle:
        seed = random.randint(0, 10 ** 7) if seed is None else seed
        for items in (couples, labels):
            random.seed(seed)
            random.shuffle(items)
    return couples, labels


def _remove_long_seq(maxlen, seq, label):
    """(sequences, labels) without the sequences of `maxlen` items or more."""
    short = [(x, y) for x, y in zip(seq, label, strict=True) if len(x) < maxlen]
    return [x for x, _ in short], [y for _, y in short]


class TimeseriesGenerator(Sequence):
    """Batches of windows of a time series, each with the target of the step after it.

    # Arguments
        data: array or list (steps, ...).
        targets: array or list as long as `data`.
        length: steps of a window.
        sampling_rate: use every so many steps of a window.
        stride: steps from one window to the next.
        start_index, end_index: part of the data to use.
        shuffle: random windows.
        reverse: the steps of a window backwards.
        batch_size: windows of a batch; the last batch may have fewer.
    """

    def __init__(self, data, targets, length, sampling_rate=1, stride=1, start_index=0,
                 end_index=None, shuffle=False, reverse=False, batch_size=128):
        if len(data) != len(targets):
            raise ValueError("Data and targets have to be of same length. Data length is "
                             f"{len(data)} while target length is {len(targets)}")
        self.data, self.targets, self.length = data, targets, length
        self.sampling_rate, self.stride = sampling_rate, stride
        self.start_index = start_index + length
        self.end_index = len(data) - 1 if end_index is None else end_index
        self.shuffle, self.reverse, self.batch_size = shuffle, reverse, batch_size
        if self.start_index > self.end_index:
            raise ValueError(f"`start_index+length={self.start_index} > "
                             f"end_index={self.end_index}` is disallowed, as no part of the "
                             "sequence would be left to be used as current step.")

    def __len__(self):
        windows = (self.end_index - self.start_index) // self.stride + 1
        return -(-windows // self.batch_size)

    def __getitem__(self, index):
        if self.shuffle:
            rows = np.random.randint(self.start_index, self.end_index + 1, size=self.batch_size)
        else:
            step = self.batch_size * self.stride
            first = self.start_index + step * index
            rows = range(first, min(first + step, self.end_index + 1), self.stride)
        x = np.array([self.data[row - self.length:row:self.sampling_rate] for row in rows])
        y = np.array([self.targets[row] for row in rows])
        return (x[:, ::-1] if self.reverse else x), y

    def get_config(self):
        """Arguments, the data as JSON texts; start_index is that of the first target."""
        names = ("length", "sampling_rate", "stride", "start_index", "end_index", "shuffle",
                 "reverse", "batch_size")
        config = {"data": _as_json(self.data, "Data"),
                  "targets": _as_json(self.targets, "Targets")}
        return {**config, **{name: getattr(self, name) for name in names}}

    def to_json(self, **kwargs):
        """The generator with its data as JSON; keyword arguments go to `json.dumps`."""
        config = {"class_name": type(self).__name__, "config": self.get_config()}
        return json.dumps(config, **kwargs)


def _as_json(values, what):
    try:
        return json.dumps(values.tolist() if isinstance(values, np.ndarray) else values)
    except TypeError:
        raise TypeError(f"{what} not JSON Serializable: {type(values).__name__}") from None


def timeseries_generator_from_json(json_string):
    """The TimeseriesGenerator of a text that `to_json` made, with the same windows."""
    config = json.loads(json_string)["config"]
    config["data"], config["targets"] = (json.loads(config[k]) for k in ("data", "targets"))
    config["start_index"] -= config["length"]
    return TimeseriesGenerator(**config)
