# words to numbers, masks through two recurrent layers, tags for every step, a scikit-learn search
import numpy as np
from keras.layers import GRU, Bidirectional, Dense, Embedding, Masking, TimeDistributed
from keras.models import Sequential
from keras.preprocessing.sequence import TimeseriesGenerator, pad_sequences
from keras.preprocessing.text import Tokenizer
from keras.wrappers.scikit_learn import KerasRegressor

np.random.seed(4)
texts = ['the red cat', 'a dog and a red fish', 'blue fish', 'the blue dog sleeps', 'red'] * 8
tokenizer = Tokenizer(num_words=20)
tokenizer.fit_on_texts(texts)
x = pad_sequences(tokenizer.texts_to_sequences(texts), maxlen=6, padding='post')
colours = [tokenizer.word_index[word] for word in ('red', 'blue')]
y = np.isin(x, colours).astype('int')[..., None]
weights = (x > 0).astype('float32')

model = Sequential()
model.add(Embedding(20, 6, mask_zero=True, input_length=6))
model.add(Bidirectional(GRU(6, return_sequences=True)))
model.add(TimeDistributed(Dense(2, activation='softmax')))
model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'],
              sample_weight_mode='temporal')
model.optimizer.lr = 0.02
history = model.fit(x, y, sample_weight=weights, epochs=20, batch_size=8, verbose=0)
assert history.history['accuracy'][-1] > 0.95, history.history['accuracy']

wave = np.sin(np.arange(120) / 5.0)[:, None]
windows = TimeseriesGenerator(wave, wave, length=8, batch_size=16)


def forecaster(units=4):
    found = Sequential([Masking(input_shape=(8, 1)), GRU(units), Dense(1)])
    found.compile('adam', 'mse')
    return found


found = forecaster(8)
before = found.evaluate_generator(windows)
found.fit_generator(windows, epochs=15, verbose=0, shuffle=False)
assert found.evaluate_generator(windows) < 0.5 * before
assert found.predict_generator(windows).shape == (112, 1)
rows = np.concatenate([windows[i][0] for i in range(len(windows))])
goals = np.concatenate([windows[i][1] for i in range(len(windows))])[:, 0]
estimator = KerasRegressor(forecaster, units=3, epochs=2, verbose=0)
estimator.fit(rows, goals)
assert estimator.predict(rows).shape == goals.shape and estimator.score(rows, goals) < 0
print('done')
