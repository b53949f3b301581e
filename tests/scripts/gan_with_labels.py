# a generator and a discriminator that also tells the class; train_on_batch in turn, frozen parts
import numpy as np
from keras.layers import Dense, Embedding, Flatten, Input, LeakyReLU, multiply
from keras.models import Model, Sequential
from keras.optimizers import Adam

np.random.seed(4)
rng = np.random.RandomState(1)


def optimizer():
    return Adam(lr=0.002, beta_1=0.5)


losses = ['binary_crossentropy', 'sparse_categorical_crossentropy']
noise, label = Input((6,)), Input((1,), dtype='int32')
mixed = multiply([noise, Flatten()(Embedding(3, 6)(label))])
body = Sequential([Dense(16, input_dim=6), LeakyReLU(0.2), Dense(4, activation='tanh')])
generator = Model([noise, label], body(mixed))

sample = Input((4,))
features = LeakyReLU(0.2)(Dense(16)(sample))
discriminator = Model(sample, [Dense(1, activation='sigmoid', name='real')(features),
                               Dense(3, activation='softmax', name='kind')(features)])
discriminator.compile(optimizer(), losses)
discriminator.trainable = False
stacked = Model([noise, label], discriminator(generator([noise, label])))
stacked.compile(optimizer(), losses)

first = None
for step in range(150):
    kinds = rng.randint(0, 3, 32)
    real = np.eye(4)[kinds] * 1.6 - 0.8 + 0.1 * rng.randn(32, 4)
    z, wanted = rng.randn(32, 6), rng.randint(0, 3, (32, 1))
    made = generator.predict([z, wanted])
    before = generator.get_weights()
    logs = discriminator.train_on_batch(np.concatenate([real, made]), [
        np.array([0.95] * 32 + [0.0] * 32), np.concatenate([kinds[:, None], wanted])])
    for a, b in zip(before, generator.get_weights()):
        np.testing.assert_array_equal(a, b)
    fixed = discriminator.get_weights()
    stacked.train_on_batch([z, wanted], [np.ones(32), wanted])
    for a, b in zip(fixed, discriminator.get_weights()):
        np.testing.assert_array_equal(a, b)
    first = first or logs
assert discriminator.metrics_names == ['loss', 'real_loss', 'kind_loss']
assert logs[2] < 0.7 * first[2], (first, logs)
print('done')
