"""Topic `preprocessing`: padding, skip-grams, time series and tokenizers."""
import random

import numpy as np
from keras.preprocessing import sequence, text

from .store import Store

SEQUENCES = [[1, 2, 3], [], [4, 5, 6, 7, 8], [9]]
TEXTS = ['The cat sat on the mat.', 'The dog ate the cat!', '', 'A mat, a cat; THE end (of it)',
         'unknown words here']
PADDING = {
    'plain': {}, 'short': {'maxlen': 2}, 'long': {'maxlen': 7}, 'zero': {'maxlen': 0},
    'post': {'padding': 'post', 'truncating': 'post', 'maxlen': 3},
    'mixed': {'padding': 'post', 'truncating': 'pre', 'maxlen': 4, 'value': -1.5,
              'dtype': 'float32'}}
SERIES = {
    'plain': {'length': 3, 'batch_size': 4},
    'sampled': {'length': 5, 'sampling_rate': 2, 'stride': 3, 'batch_size': 2},
    'part': {'length': 2, 'start_index': 4, 'end_index': 15, 'reverse': True, 'batch_size': 5}}
TOKENIZERS = {
    'plain': {}, 'few': {'num_words': 4}, 'oov': {'oov_token': '<oov>', 'num_words': 5},
    'characters': {'char_level': True}, 'case': {'lower': False, 'filters': '.,'}}


def generate():
    store = Store('preprocessing')
    for name, arguments in sorted(PADDING.items()):
        if name != 'zero':
            store.add('pad/' + name, {'sequences': SEQUENCES, 'arguments': arguments},
                      y=sequence.pad_sequences(SEQUENCES, **arguments))
    store.add('sampling_table', {}, y=sequence.make_sampling_table(50, 1e-3))
    words = [1, 4, 0, 2, 3, 3, 5]
    for name, arguments in (
            ('plain', {'seed': 3}), ('categorical', {'categorical': True, 'seed': 1}),
            ('still', {'shuffle': False, 'window_size': 1, 'negative_samples': 0.5})):
        random.seed(9)
        couples, labels = sequence.skipgrams(words, 6, **arguments)
        store.add('skipgrams/' + name, {'words': words, 'arguments': arguments,
                                        'couples': couples, 'labels': labels})
    data = np.arange(40).reshape(20, 2)
    for name, arguments in sorted(SERIES.items()):
        series = sequence.TimeseriesGenerator(data, data[:, 0] * 10, **arguments)
        store.add('series/' + name, {'arguments': arguments, 'length': len(series),
                                     'config': series.get_config()},
                  data=data, x=[series[i][0] for i in range(len(series))],
                  y=[series[i][1] for i in range(len(series))])
    store.add('words', {'texts': TEXTS, 'words': [text.text_to_word_sequence(t) for t in TEXTS],
                        'hashed': [text.hashing_trick(t, 9, 'md5') for t in TEXTS]})
    for name, arguments in sorted(TOKENIZERS.items()):
        tokenizer = text.Tokenizer(**arguments)
        tokenizer.fit_on_texts(TEXTS[:4])
        sequences = tokenizer.texts_to_sequences(TEXTS)
        store.add('tokenizer/' + name, {
            'arguments': arguments, 'texts': TEXTS, 'sequences': sequences,
            'word_index': tokenizer.word_index, 'word_counts': tokenizer.word_counts,
            'word_docs': tokenizer.word_docs, 'json': tokenizer.to_json(),
            'texts_again': tokenizer.sequences_to_texts(sequences + [[99, 1]])},
            **{mode: tokenizer.texts_to_matrix(TEXTS, mode)
               for mode in ('binary', 'count', 'freq', 'tfidf')})
    store.write()
