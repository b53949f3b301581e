"""Sequences and text against Keras 2.3.1."""
import json
import random

import numpy as np
import pytest

from gpukeras.preprocessing import sequence, text
from tests.golden import reader

CASES = reader.cases("preprocessing")


def named(prefix):
    return [name for name in CASES if name.startswith(prefix)]


@pytest.mark.parametrize("name", named("pad/"))
def test_padding(name):
    case = CASES[name]
    got = sequence.pad_sequences(case.facts["sequences"], **case.facts["arguments"])
    assert got.dtype == case["y"].dtype
    np.testing.assert_array_equal(got, case["y"])


def test_padding_to_nothing_and_of_nothing():
    assert sequence.pad_sequences([[1, 2], [3]], maxlen=0).shape == (2, 0)
    assert sequence.pad_sequences([], maxlen=3).shape == (0, 3)


def test_padding_of_vectors_and_texts():
    got = sequence.pad_sequences([np.ones((2, 3)), np.ones((1, 3))], dtype="float32")
    assert got.shape == (2, 2, 3) and got.sum() == 9 and not got[1, 0].any()
    words = sequence.pad_sequences([["a"], ["b", "c"]], dtype=object, value="-")
    assert words.tolist() == [["-", "a"], ["b", "c"]]


@pytest.mark.parametrize("sequences, arguments, words", [
    ([1, 2], {}, "non-iterable: 1"), (iter([[1]]), {}, r"list\(sequences\)"),
    ([[1]], {"padding": "left"}, "left"), ([[1]], {"truncating": "no"}, "no"),
    ([[1]], {"value": "x"}, "dtype=object"), ([[[1, 2]], [[3]]], {}, "position 1")])
def test_mistakes_in_padding(sequences, arguments, words):
    with pytest.raises(ValueError, match=words):
        sequence.pad_sequences(sequences, **arguments)


def test_sampling_table():
    np.testing.assert_allclose(sequence.make_sampling_table(50, 1e-3),
                               CASES["sampling_table"]["y"], rtol=1e-6)


@pytest.mark.parametrize("name", named("skipgrams/"))
def test_skipgrams(name):
    facts = CASES[name].facts
    random.seed(9)
    couples, labels = sequence.skipgrams(facts["words"], 6, **facts["arguments"])
    assert couples == facts["couples"] and labels == facts["labels"]


def test_skipgrams_leave_out_frequent_words():
    table = np.array([0, 1, 0])                    # word 2 is never used as centre
    couples, _ = sequence.skipgrams([1, 2, 1], 3, window_size=1, sampling_table=table,
                                    negative_samples=0, shuffle=False)
    assert couples == [[1, 2], [1, 2]]


@pytest.mark.parametrize("name", named("series/"))
def test_windows_of_a_time_series(name):
    case = CASES[name]
    data = case["data"]
    series = sequence.TimeseriesGenerator(data, data[:, 0] * 10, **case.facts["arguments"])
    assert len(series) == case.facts["length"]
    assert series.get_config() == case.facts["config"]
    for i in range(len(series)):
        x, y = series[i]
        np.testing.assert_array_equal(x, case[f"x{i}"])
        np.testing.assert_array_equal(y, case[f"y{i}"])
    again = sequence.timeseries_generator_from_json(series.to_json())
    assert len(again) == len(series)
    np.testing.assert_array_equal(again[0][0], series[0][0])


def test_random_windows_and_mistakes():
    data = np.arange(30.0)
    np.random.seed(0)
    x, y = sequence.TimeseriesGenerator(data, data, length=4, batch_size=50, shuffle=True)[0]
    assert x.shape == (50, 4)
    np.testing.assert_array_equal(y, x[:, -1] + 1)
    with pytest.raises(ValueError, match="same length"):
        sequence.TimeseriesGenerator(data, data[:5], length=4)
    with pytest.raises(ValueError, match="no part of the sequence"):
        sequence.TimeseriesGenerator(data, data, length=30)


def test_words_and_hashes():
    facts = CASES["words"].facts
    for t, words, hashed in zip(facts["texts"], facts["words"], facts["hashed"], strict=True):
        assert text.text_to_word_sequence(t) == words
        assert text.hashing_trick(t, 9, "md5") == hashed
        numbers = text.one_hot(t, 9)
        assert len(numbers) == len(words) and all(1 <= n <= 8 for n in numbers)


@pytest.mark.parametrize("name", named("tokenizer/"))
def test_tokenizer(name):
    case = CASES[name]
    facts, texts = case.facts, case.facts["texts"]
    tokenizer = text.Tokenizer(**facts["arguments"])
    tokenizer.fit_on_texts(texts[:4])
    assert tokenizer.word_index == facts["word_index"]
    assert tokenizer.word_counts == facts["word_counts"]
    assert tokenizer.word_docs == facts["word_docs"]
    for one in (tokenizer, text.tokenizer_from_json(tokenizer.to_json()),
                text.tokenizer_from_json(facts["json"])):
        sequences = one.texts_to_sequences(texts)
        assert sequences == facts["sequences"]
        assert one.sequences_to_texts([*sequences, [99, 1]]) == facts["texts_again"]
        for mode in ("binary", "count", "freq", "tfidf"):
            np.testing.assert_allclose(one.texts_to_matrix(texts, mode), case[mode], rtol=1e-6)
    ours, theirs = json.loads(tokenizer.to_json()), json.loads(facts["json"])
    assert list(ours["config"]) == list(theirs["config"])


def test_mistakes_with_tokenizers():
    with pytest.raises(ValueError, match="fit on some text data first"):
        text.Tokenizer().texts_to_matrix(["a"])
    with pytest.raises(ValueError, match="Unknown vectorization mode: sum"):
        text.Tokenizer(num_words=3).texts_to_matrix(["a"], mode="sum")
    with pytest.raises(ValueError, match="before using tfidf"):
        text.Tokenizer(num_words=3).sequences_to_matrix([[1]], mode="tfidf")
    with pytest.warns(UserWarning, match="num_words"):
        assert text.Tokenizer(nb_words=3).num_words == 3
