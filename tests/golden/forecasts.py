"""Forecasts of the airline series and of the next character, as study notes write them.

`oracle/forecasts.py` runs them with the true Keras 2.3.1 to make the golden file, and
tests/training/test_forecasts.py with gpukeras.  Each gets the module `keras`.
"""
import numpy as np

MONTHS = 12                     # of history that a forecast sees


def airline(path):
    """Scaled windows (x, y) to train on, the same to test on, and what undoes the scaling."""
    series = np.genfromtxt(path, delimiter=',', skip_header=1, usecols=1).astype('float32')
    low, high = series.min(), series.max()
    scaled = (series - low) / (high - low)
    x = np.array([scaled[i:i + MONTHS] for i in range(len(scaled) - MONTHS)])[..., None]
    y = scaled[MONTHS:]
    cut = int(len(x) * 0.67)
    return (x[:cut], y[:cut]), (x[cut:], y[cut:]), lambda v: v * (high - low) + low


def plain(keras, dropout=0.2):
    L = keras.layers
    return keras.models.Sequential([L.LSTM(100, input_shape=(MONTHS, 1)), L.Dropout(dropout),
                                    L.Dense(1)])


def stacked(keras, dropout=0.2):
    L = keras.layers
    return keras.models.Sequential([
        L.LSTM(64, return_sequences=True, input_shape=(MONTHS, 1)), L.Dropout(dropout),
        L.LSTM(64), L.Dropout(dropout), L.Dense(1)])


def attention(keras, dropout=0.2):
    """Scores of the steps through a softmax weigh the outputs of the recurrent layer."""
    L, K = keras.layers, keras.backend
    x = L.Input((MONTHS, 1))
    steps = L.Dropout(dropout)(L.LSTM(64, return_sequences=True)(x))
    scores = L.Flatten()(L.Dense(1, activation='tanh')(steps))
    weights = L.RepeatVector(64)(L.Activation('softmax')(scores))
    seen = L.multiply([steps, L.Permute((2, 1))(weights)])
    seen = L.Lambda(lambda z: K.sum(z, axis=1), output_shape=(64,))(seen)
    return keras.models.Model(x, L.Dense(1)(seen))


MODELS = {'plain': plain, 'stacked': stacked, 'attention': attention}


def airline_error(keras, name, path, seed, ready=lambda model: None):
    """Root of the mean squared error on the test months, in passengers, after early stopping."""
    train, test, unscaled = airline(path)
    np.random.seed(seed)
    keras.backend.clear_session()
    model = MODELS[name](keras)
    model.compile('adam', 'mse')
    ready(model)
    stop = keras.callbacks.EarlyStopping(monitor='val_loss', patience=10)
    model.fit(train[0], train[1], epochs=100, batch_size=16, validation_data=test, verbose=0,
              shuffle=False, callbacks=[stop])
    found = unscaled(model.predict(test[0])[:, 0])
    return float(np.sqrt(np.mean((found - unscaled(test[1])) ** 2)))


def history(keras, name, path, epochs=6, ready=lambda model: None):
    """Losses of each epoch from given weights, without dropout: nothing in it is random."""
    train, test, _ = airline(path)
    keras.backend.clear_session()
    model = MODELS[name](keras, dropout=0.0)
    rng = np.random.RandomState(1)
    model.set_weights([rng.uniform(-0.1, 0.1, np.shape(w)) for w in model.get_weights()])
    model.compile('adam', 'mse')
    ready(model)
    found = model.fit(train[0], train[1], epochs=epochs, batch_size=16, validation_data=test,
                      verbose=0, shuffle=False).history
    return {key: np.array(values) for key, values in found.items()}


def characters(keras, path, seed, ready=lambda model: None):
    """Loss of the first epoch of a character LSTM over the first 60,000 characters."""
    with open(path, encoding='utf-8') as file:
        text = file.read().lower()[:60000]
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(c) for c in text])
    starts = np.arange(0, len(text) - 40, 3)
    eye = np.eye(len(alphabet), dtype='float32')
    x, y = eye[codes[starts[:, None] + np.arange(40)]], eye[codes[starts + 40]]
    np.random.seed(seed)
    keras.backend.clear_session()
    L = keras.layers
    model = keras.models.Sequential([L.LSTM(128, input_shape=x.shape[1:]),
                                     L.Dense(len(alphabet), activation='softmax')])
    model.compile(keras.optimizers.RMSprop(lr=0.01), 'categorical_crossentropy')
    ready(model)
    return float(model.fit(x, y, batch_size=128, epochs=1, verbose=0).history['loss'][0])
