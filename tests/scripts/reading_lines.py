# a reader of lines of signs: a callback makes the data, a Lambda is the CTC loss, blanks are labels
import itertools

import numpy as np
from keras import backend as K
from keras.callbacks import Callback
from keras.layers import (Activation, Conv1D, Dense, Dot, Embedding, Input, Lambda, Reshape, add,
                          multiply)
from keras.layers.recurrent import GRU
from keras.models import Model, Sequential
from keras.optimizers import SGD

np.random.seed(5)
SIGNS, WIDTH, LONGEST = 4, 12, 3
BLANK = SIGNS
pictures = np.eye(SIGNS)


class Lines(Callback):
    def on_train_begin(self, logs={}):
        self.rng = np.random.RandomState(1)

    def next_batch(self, size=16):
        while 1:
            x = 0.1 * self.rng.randn(size, WIDTH, SIGNS)
            labels = np.ones([size, LONGEST], dtype=np.float) * -1
            used = np.zeros([size, 1])
            for i in range(size):
                text = self.rng.randint(0, SIGNS, self.rng.randint(1, LONGEST + 1))
                if i > size - 3:                   # an empty line is the blank alone
                    labels[i, 0], used[i] = BLANK, 1
                    continue
                for k, sign in enumerate(text):
                    x[i, 4 * k + 1:4 * k + 3] += pictures[sign]
                labels[i, :len(text)], used[i] = text, len(text)
            yield ({'lines': x, 'labels': labels, 'label_length': used,
                    'input_length': np.ones([size, 1]) * (WIDTH - 2), 'texts': ['?'] * size},
                   {'ctc': np.zeros([size])})


lines = Input(name='lines', shape=(WIDTH, SIGNS))
inner = Conv1D(16, 3, padding='same', activation='relu', kernel_initializer='he_normal')(lines)
inner = add([GRU(16, return_sequences=True)(inner),
             GRU(16, return_sequences=True, go_backwards=True)(inner)])
y_pred = Activation('softmax', name='softmax')(Dense(SIGNS + 1)(inner))
labels = Input(name='labels', shape=[LONGEST], dtype='float32')
input_length = Input(name='input_length', shape=[1], dtype='int64')
label_length = Input(name='label_length', shape=[1], dtype='int64')
loss = Lambda(lambda a: K.ctc_batch_cost(a[0], a[1][:, 2:, :], a[2], a[3]), output_shape=(1,),
              name='ctc')([labels, y_pred, input_length, label_length])
model = Model(inputs=[lines, labels, input_length, label_length], outputs=loss)
model.compile(loss={'ctc': lambda y_true, y_pred: y_pred},
              optimizer=SGD(lr=0.02, momentum=0.9, nesterov=True, clipnorm=5))
source = Lines()
found = model.fit_generator(generator=source.next_batch(), steps_per_epoch=20, epochs=3, verbose=0,
                            validation_data=source.next_batch(), validation_steps=2,
                            callbacks=[source])
assert found.history['loss'][-1] < 0.7 * found.history['loss'][0], found.history
read = K.function([lines], [y_pred])
batch = next(source.next_batch())[0]
best = np.argmax(read([batch['lines']])[0][0, 2:], 1)
print([k for k, _ in itertools.groupby(best) if k != BLANK])

# a part with a rank of its own, called on another; predictions with more of one input than needed
latent, kind = Input((6,)), Input((1,), dtype='int32')
part = Sequential([Dense(8, input_dim=6, activation='relu'), Reshape((4, 2))])
generator = Model([latent, kind], part(multiply([latent, Embedding(3, 6)(kind)])))
assert generator.output_shape == (None, 4, 2)
made = generator.predict([np.random.randn(5, 6), np.zeros((9, 1))])
assert made.shape == (5, 4, 2)
near = Model(kind, Dot(axes=-1)([Embedding(3, 6)(kind), Embedding(3, 6)(kind)]))
assert near.predict(np.zeros((2, 1))).shape == (2, 1, 1)
print('done')
