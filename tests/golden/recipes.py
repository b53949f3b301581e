"""Small programs in the style of Keras 2 scripts, each returning {name: value} of what came out.

`oracle/recipes.py` runs them with the true Keras 2.3.1 (Python 3.7) to make the golden file, and
tests/training/test_recipes.py with gpukeras.  Each gets the module `keras`.
"""
import numpy as np

RECIPES = {}


def recipe(function):
    RECIPES[function.__name__] = function
    return function


def uniform(seed, *shape):
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype('float32')


def integers(seed, high, *shape):
    return np.random.RandomState(seed).randint(0, high, shape)


X, Y = uniform(1, 24, 8), np.abs(uniform(2, 24, 3))
CLASSES = np.eye(3, dtype='float32')[integers(3, 3, 24)]


def fix(model, low=-0.3):
    """The same weights on both sides; low=0 keeps variances of batch norm positive."""
    rng = np.random.RandomState(0)
    model.set_weights([rng.uniform(low, 0.3, np.shape(w)) for w in model.get_weights()])


def train(model, x, y, loss='mse', low=-0.3, optimizer='sgd', epochs=2, **options):
    """History and predictions after some epochs."""
    compiled = {k: options.pop(k) for k in ('metrics', 'loss_weights', 'sample_weight_mode',
                                            'weighted_metrics') if k in options}
    model.compile(optimizer, loss, **compiled)
    fix(model, low)
    history = model.fit(x, y, epochs=epochs, batch_size=8, shuffle=False, verbose=0, **options)
    found = model.predict(x, batch_size=8)
    found = found if isinstance(found, list) else [found]
    result = {'history ' + k: np.array(v) for k, v in history.history.items()}
    result.update({'output %d' % i: y for i, y in enumerate(found)})
    return result


@recipe
def variational_autoencoder(keras):
    K, L = keras.backend, keras.layers
    x = L.Input((8,))
    h = L.Dense(5, activation='relu')(x)
    mean, log_var = L.Dense(2)(h), L.Dense(2)(h)

    def sample(args):
        mean, log_var = args
        noise = K.random_normal(shape=(K.shape(mean)[0], K.int_shape(mean)[1]))
        return mean + K.exp(0.5 * log_var) * noise * 0.0

    z = L.Lambda(sample, output_shape=(2,))([mean, log_var])
    encoder = keras.models.Model(x, [mean, log_var, z])
    code = L.Input((2,))
    decoder = keras.models.Model(code, L.Dense(8, activation='sigmoid')(code))
    model = keras.models.Model(x, decoder(encoder(x)[2]))
    rebuilt = keras.losses.mse(x, model.outputs[0]) * 8
    divergence = -0.5 * K.sum(1 + log_var - K.square(mean) - K.exp(log_var), axis=-1)
    model.add_loss(K.mean(rebuilt + divergence))
    return train(model, X, None, loss=None)


@recipe
def siamese(keras):
    K, L = keras.backend, keras.layers
    base = keras.Sequential([L.Dense(6, activation='relu', input_shape=(8,)), L.Dense(4)])
    a, b = L.Input((8,)), L.Input((8,))
    distance = L.Lambda(
        lambda v: K.sqrt(K.maximum(K.sum(K.square(v[0] - v[1]), axis=1, keepdims=True),
                                   K.epsilon())),
        output_shape=lambda shapes: (shapes[0][0], 1))([base(a), base(b)])

    def contrastive(y, d):
        return K.mean(y * K.square(d) + (1 - y) * K.square(K.maximum(1 - d, 0)))

    def accuracy(y, d):
        return K.mean(K.equal(y, K.cast(d < 0.5, y.dtype)))

    return train(keras.models.Model([a, b], distance), [X, X[::-1]], (Y[:, :1] > 0.5) * 1.0,
                 contrastive, metrics=[accuracy], validation_split=0.25)


@recipe
def encoder_decoder(keras):
    L, Model = keras.layers, keras.models.Model
    source, target = L.Input((None, 4)), L.Input((None, 3))
    _, h, c = L.LSTM(5, return_state=True)(source)
    decoder = L.LSTM(5, return_sequences=True, return_state=True)
    dense = L.Dense(3, activation='softmax')
    model = Model([source, target], dense(decoder(target, initial_state=[h, c])[0]))
    words = np.eye(3, dtype='float32')[integers(5, 3, 6, 5)]
    data = uniform(4, 6, 7, 4)
    result = train(model, [data, words], np.roll(words, 1, 1), 'categorical_crossentropy')
    first, second = L.Input((5,)), L.Input((5,))
    y, h2, c2 = decoder(target, initial_state=[first, second])
    step = Model([target, first, second], [dense(y), h2, c2])
    state = Model(source, [h, c]).predict(data)
    result.update(step=step.predict([words[:, :1]] + state)[0])
    return result


@recipe
def adversarial(keras):
    L = keras.layers
    maker = keras.Sequential([L.Dense(6, input_dim=4), L.LeakyReLU(0.2),
                              L.BatchNormalization(momentum=0.8), L.Dense(8, activation='tanh')])
    judge = keras.Sequential([L.Dense(6, input_dim=8), L.LeakyReLU(0.2),
                              L.Dense(1, activation='sigmoid')])
    fix(maker, 0)
    fix(judge)
    judge.compile('sgd', 'binary_crossentropy', metrics=['accuracy'])
    noise = L.Input((4,))
    judge.trainable = False
    both = keras.models.Model(noise, judge(maker(noise)))
    both.compile('sgd', 'binary_crossentropy')
    losses = []
    for seed in range(3):
        z = uniform(seed, 8, 4)
        losses += judge.train_on_batch(X[:8], np.ones((8, 1)))
        losses += judge.train_on_batch(maker.predict(z), np.zeros((8, 1)))
        losses.append(both.train_on_batch(z, np.ones((8, 1))))
    return {'losses': np.array(losses), 'moving': maker.get_weights()[4]}


@recipe
def two_inputs_two_outputs(keras):
    L = keras.layers
    a, b = L.Input((8,), name='a'), L.Input((5,), dtype='int32', name='b')
    x = L.concatenate([a, L.LSTM(3)(L.Embedding(10, 4)(b))])
    x = L.Dense(6, activation='relu')(x)
    outs = [L.Dense(3, activation='softmax', name='kind')(x), L.Dense(1, name='size')(x)]
    return train(keras.models.Model([a, b], outs), {'a': X, 'b': integers(4, 10, 24, 5)},
                 {'kind': CLASSES, 'size': Y[:, :1]},
                 {'kind': 'categorical_crossentropy', 'size': 'mse'},
                 loss_weights={'kind': 1.0, 'size': 0.2}, metrics={'kind': 'accuracy'},
                 sample_weight={'kind': np.arange(24) / 12.0})


@recipe
def own_layer_and_own_cell(keras):
    K, L = keras.backend, keras.layers

    class Cell(L.Layer):
        def __init__(self, units, **kwargs):
            self.units = self.state_size = units
            super(Cell, self).__init__(**kwargs)

        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name='kernel',
                                          initializer='uniform')
            self.recurrent = self.add_weight(shape=(self.units, self.units), name='recurrent',
                                             initializer='uniform')
            self.built = True

        def call(self, inputs, states):
            y = K.dot(inputs, self.kernel) + K.dot(states[0], self.recurrent)
            return y, [y]

    class Pool(L.Layer):
        def build(self, input_shape):
            self.w = self.add_weight(name='w', shape=(input_shape[-1], 1), initializer='normal')
            super(Pool, self).build(input_shape)

        def call(self, x, mask=None):
            scores = K.squeeze(K.tanh(K.dot(x, self.w)), axis=-1)
            return K.sum(x * K.expand_dims(K.softmax(scores)), axis=1)

        def compute_output_shape(self, input_shape):
            return (input_shape[0], input_shape[-1])

    x = L.Input((None, 5))
    h = L.RNN([Cell(4), Cell(3)], return_sequences=True)(x)
    return train(keras.models.Model(x, Pool()(h)), uniform(8, 6, 5, 5), Y[:6])


@recipe
def attention_over_bidirectional(keras):
    L = keras.layers
    x = L.Input((6,))
    h = L.Bidirectional(L.GRU(3, return_sequences=True))(L.Embedding(9, 4)(x))
    scores = L.Activation('softmax')(L.dot([h, h], axes=(2, 2)))
    y = L.GlobalAveragePooling1D()(L.dot([scores, h], axes=(2, 1)))
    return train(keras.models.Model(x, L.Dense(1)(y)), integers(4, 9, 24, 6), Y[:, :1])


@recipe
def video(keras):
    L = keras.layers
    frame = keras.Sequential([L.Conv2D(2, 3, activation='relu', input_shape=(6, 6, 1)),
                              L.BatchNormalization(), L.Flatten(), L.Dense(3)])
    x = L.Input((4, 6, 6, 1))
    model = keras.models.Model(x, L.LSTM(2)(L.TimeDistributed(frame)(x)))
    return train(model, uniform(6, 6, 4, 6, 6, 1), Y[:6, :2], low=0)


@recipe
def fine_tuning(keras):
    L = keras.layers
    base = keras.Sequential([L.Conv2D(3, 3, input_shape=(8, 8, 1)), L.BatchNormalization(),
                             L.Activation('relu'), L.GlobalAveragePooling2D()])
    base.trainable = False
    model = keras.Sequential([base, L.Dense(2, activation='softmax')])
    result = train(model, uniform(6, 8, 8, 8, 1), np.eye(2)[[0, 1] * 4],
                   'categorical_crossentropy', low=0)
    result.update(counts=np.array([len(model.trainable_weights), len(model.weights)]),
                  moving=base.get_weights()[4])
    return result


@recipe
def stateful_layers(keras):
    L = keras.layers
    model = keras.Sequential([
        L.LSTM(4, stateful=True, return_sequences=True, batch_input_shape=(4, 3, 2)),
        L.GRU(3, stateful=True), L.Dense(1)])
    fix(model)
    x = uniform(7, 8, 3, 2)
    first, second = model.predict(x, batch_size=4), model.predict(x, batch_size=4)
    model.reset_states()
    return {'first': first, 'second': second, 'again': model.predict(x, batch_size=4)}


@recipe
def regularized(keras):
    L = keras.layers
    model = keras.Sequential([
        L.Dense(6, input_shape=(8,), kernel_regularizer=keras.regularizers.l2(0.01),
                activity_regularizer=keras.regularizers.l1(0.01),
                kernel_constraint=keras.constraints.MaxNorm(1.0)),
        L.Dense(3, activity_regularizer='l2', bias_constraint='non_neg')])
    return train(model, X, Y, optimizer=keras.optimizers.SGD(lr=0.05, momentum=0.9, nesterov=True,
                                                             clipnorm=1.0))


@recipe
def temporal_weights_and_masks(keras):
    L = keras.layers
    model = keras.Sequential([L.Masking(0.0, input_shape=(5, 4)), L.LSTM(3, return_sequences=True),
                              L.TimeDistributed(L.Dense(2, activation='softmax'))])
    x = uniform(8, 8, 5, 4)
    x[:, 3:] = 0
    return train(model, x, np.eye(2)[integers(9, 2, 8, 5)], 'categorical_crossentropy',
                 sample_weight_mode='temporal', metrics=['acc'], weighted_metrics=['acc'],
                 sample_weight=np.abs(uniform(1, 8, 5)))


@recipe
def subclassed(keras):
    L = keras.layers

    class Net(keras.models.Model):
        def __init__(self):
            super(Net, self).__init__(name='net')
            self.first, self.norm, self.last = (L.Dense(5, activation='relu'),
                                                L.BatchNormalization(), L.Dense(3))

        def call(self, x):
            return self.last(self.norm(self.first(x)))

    model = Net()
    model.compile('sgd', 'mse')
    model.train_on_batch(X, Y)
    fix(model, 0)
    history = model.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    return {'loss': np.array(history.history['loss']), 'output': model.predict(X),
            'moving': model.norm.get_weights()[2]}


@recipe
def residual_network(keras):
    L, K = keras.layers, keras.backend

    def block(x, filters, stride):
        y = L.Conv2D(filters, 3, strides=stride, padding='same', use_bias=False)(x)
        y = L.Activation('relu')(L.BatchNormalization()(y))
        y = L.BatchNormalization()(L.Conv2D(filters, 3, padding='same', use_bias=False)(y))
        if stride != 1 or K.int_shape(x)[-1] != filters:
            x = L.Conv2D(filters, 1, strides=stride)(x)
        return L.Activation('relu')(L.add([x, y]))

    x = L.Input((8, 8, 2))
    y = L.GlobalAveragePooling2D()(block(block(x, 3, 1), 4, 2))
    model = keras.models.Model(x, L.Dense(2, activation='softmax')(y))
    result = train(model, uniform(6, 16, 8, 8, 2), np.eye(2)[[0, 1] * 8],
                   'categorical_crossentropy', low=0, metrics=['accuracy'])
    result['layers'] = [layer.name for layer in model.layers]
    return result


@recipe
def dilated_causal_convolutions(keras):
    L = keras.layers
    inputs = x = L.Input((16, 3))
    for rate in (1, 2, 4):
        gate = L.Conv1D(4, 2, padding='causal', dilation_rate=rate, activation='sigmoid')(x)
        x = L.Conv1D(4, 2, padding='causal', dilation_rate=rate, activation='tanh')(x)
        x = L.Conv1D(3, 1)(L.multiply([x, gate]))
    return train(keras.models.Model(inputs, L.GlobalMaxPooling1D()(x)), uniform(8, 8, 16, 3), Y[:8],
                 'mae')


@recipe
def text_convolutions(keras):
    L = keras.layers
    x = L.Input((9,))
    e = L.Embedding(20, 5, input_length=9)(x)
    towers = [L.GlobalMaxPooling1D()(L.Conv1D(3, k, activation='relu')(e)) for k in (2, 3, 4)]
    model = keras.models.Model(x, L.Dense(1, activation='sigmoid')(L.concatenate(towers)))
    return train(model, integers(4, 20, 24, 9), (Y[:, :1] > 0.5) * 1.0, 'binary_crossentropy',
                 metrics=['acc'], class_weight={0: 1.0, 1: 3.0})


@recipe
def loss_with_an_input_in_it(keras):
    K, L = keras.backend, keras.layers
    x, w = L.Input((8,)), L.Input((1,))

    def weighted(y, p):
        return K.mean(K.square(y - p), axis=-1) * K.squeeze(w, -1)

    return train(keras.models.Model([x, w], L.Dense(3)(x)), [X, np.full((24, 1), 2.0)], Y, weighted)


@recipe
def gradients_and_functions(keras):
    K, L = keras.backend, keras.layers
    model = keras.Sequential([L.Conv2D(2, 3, activation='relu', input_shape=(6, 6, 1)),
                              L.Flatten(), L.Dropout(0.5), L.Dense(2)])
    fix(model)
    loss = K.mean(model.output[:, 0])
    gradient = K.gradients(loss, model.input)[0]
    gradient /= K.sqrt(K.mean(K.square(gradient))) + 1e-5
    step = K.function([model.input, K.learning_phase()], [loss, gradient, model.layers[0].output])
    x = np.full((1, 6, 6, 1), 0.1, 'float32')
    for _ in range(3):
        value, change, features = step([x, 0])
        x = x + change
    return {'loss': value, 'x': x, 'features': features}


@recipe
def nested_models(keras):
    L, Model = keras.layers, keras.models.Model
    a, b = L.Input((4,)), L.Input((4,))
    inner = Model([a, b], [L.add([a, b]), L.multiply([a, b])], name='inner')
    x = L.Input((8,))
    left, right = L.Lambda(lambda t: t[:, :4])(x), L.Lambda(lambda t: t[:, 4:])(x)
    total, product = inner([left, right])
    shared = keras.Sequential([L.Dense(3, input_shape=(4,))], name='shared')
    model = Model(x, L.subtract([shared(total), shared(product)]))
    result = train(model, X, Y)
    result['layers'] = [layer.name for layer in model.layers]
    result['shape'] = list(model.get_layer('inner').get_output_shape_at(1)[1])[1:]
    return result


@recipe
def schedules_and_early_stopping(keras):
    C, L = keras.callbacks, keras.layers
    model = keras.Sequential([L.Dense(3, input_shape=(8,))])
    seen = []
    result = train(model, X, Y, epochs=6, validation_data=(X[:5], Y[:5]), callbacks=[
        C.EarlyStopping(monitor='val_loss', patience=2, min_delta=0.05),
        C.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)),
        C.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))])
    result['epochs'] = seen
    return result
