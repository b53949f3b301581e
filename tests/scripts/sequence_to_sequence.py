# an encoder and a decoder that share states; afterwards the decoder runs one step at a time
import numpy as np
from keras.callbacks import LambdaCallback
from keras.layers import LSTM, Dense, Input
from keras.models import Model, load_model
from keras.optimizers import RMSprop

np.random.seed(4)
rng = np.random.RandomState(2)
letters = rng.randint(0, 5, (120, 4))
source = np.eye(5)[letters]
target = np.eye(6)[letters[:, ::-1] + 1]                    # backwards; 0 starts a sequence
shifted = np.concatenate([np.tile(np.eye(6)[:1], (120, 1, 1)), target[:, :-1]], axis=1)

encoder_in = Input(shape=(None, 5))
_, h, c = LSTM(24, return_state=True)(encoder_in)
decoder_in = Input(shape=(None, 6))
decoder = LSTM(24, return_sequences=True, return_state=True)
top = Dense(6, activation='softmax')
steps, _, _ = decoder(decoder_in, initial_state=[h, c])
model = Model([encoder_in, decoder_in], top(steps))
model.compile(optimizer=RMSprop(lr=0.01), loss='categorical_crossentropy', metrics=['accuracy'])
seen = []
history = model.fit([source, shifted], target, batch_size=20, epochs=12, validation_split=0.2,
                    verbose=2, callbacks=[LambdaCallback(
                        on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)))])
assert history.history['loss'][-1] < 0.8 * history.history['loss'][0]
assert seen[0] == ['accuracy', 'loss', 'val_accuracy', 'val_loss']

read = Model(encoder_in, [h, c])
h_in, c_in = Input(shape=(24,)), Input(shape=(24,))
step, h_out, c_out = decoder(decoder_in, initial_state=[h_in, c_in])
write = Model([decoder_in, h_in, c_in], [top(step), h_out, c_out])
states, token, found = read.predict(source[:1]), np.eye(6)[:1][None], []
for _ in range(4):
    p, *states = write.predict([token] + states)
    found.append(p[0, -1])
    token = p[:, -1:]                                       # soft tokens
one_by_one = np.array(found)
assert one_by_one.shape == (4, 6) and np.allclose(one_by_one.sum(axis=-1), 1, atol=1e-5)
model.save('s2s.h5')
again = load_model('s2s.h5')
assert np.allclose(again.predict([source, shifted]), model.predict([source, shifted]), atol=1e-6)
print('done')
