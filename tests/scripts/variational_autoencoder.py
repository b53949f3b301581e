# an autoencoder with random codes: Lambda, add_loss, no loss in compile, validation without targets
import numpy as np
from keras import backend as K
from keras.layers import Dense, Input, Lambda
from keras.losses import binary_crossentropy
from keras.models import Model
from keras.optimizers import Adam

np.random.seed(4)
rng = np.random.RandomState(0)
pictures = (rng.rand(200, 1) + 0.3 * rng.rand(200, 24) > 0.6).astype('float32')

image = Input(shape=(24,), name='image')
hidden = Dense(12, activation='relu')(image)
mean = Dense(2, name='mean')(hidden)
log_variance = Dense(2, name='log_variance')(hidden)


def draw(arguments):
    centre, spread = arguments
    noise = K.random_normal(shape=(K.shape(centre)[0], K.int_shape(centre)[1]))
    return centre + K.exp(spread / 2) * noise


code = Lambda(draw, output_shape=(2,), name='code')([mean, log_variance])
encoder = Model(image, [mean, log_variance, code], name='encoder')
code_in = Input(shape=(2,))
decoder = Model(code_in, Dense(24, activation='sigmoid')(Dense(12, activation='relu')(code_in)),
                name='decoder')
decoded = decoder(encoder(image)[2])
model = Model(image, decoded, name='vae')
error = 24 * binary_crossentropy(image, decoded)
divergence = -0.5 * K.sum(1 + log_variance - K.square(mean) - K.exp(log_variance), axis=-1)
model.add_loss(K.mean(error + divergence))
model.compile(optimizer=Adam(lr=0.01))
model.summary()
history = model.fit(pictures, epochs=20, batch_size=20, validation_data=(pictures, None), verbose=0)
assert history.history['loss'][-1] < 0.9 * history.history['loss'][0], history.history['loss']
assert decoder.predict(np.zeros((3, 2))).shape == (3, 24)
print('done')
