# changed pictures from a generator, then gradients of the model with K.function
import numpy as np
from keras import backend as K
from keras.layers import Activation, BatchNormalization, Conv2D, Dense, Dropout, Flatten
from keras.layers import MaxPooling2D
from keras.models import Model, Sequential
from keras.optimizers import RMSprop
from keras.preprocessing.image import ImageDataGenerator
from keras.utils import to_categorical

np.random.seed(4)
rng = np.random.RandomState(3)
kinds = np.arange(90) % 3
x = rng.rand(90, 12, 12, 3) * 0.3
for row, kind in zip(x, kinds):
    row[..., kind] += 0.6
y = to_categorical(kinds, 3)

model = Sequential()
model.add(Conv2D(6, (3, 3), padding='same', input_shape=x.shape[1:]))
model.add(Activation('relu'))
model.add(BatchNormalization(momentum=0.8))
model.add(MaxPooling2D(pool_size=(2, 2)))
model.add(Dropout(0.25))
model.add(Flatten())
model.add(Dense(3, name='scores'))
model.add(Activation('softmax'))
model.compile(loss='categorical_crossentropy', optimizer=RMSprop(lr=0.003, decay=1e-6),
              metrics=['accuracy'])
changes = ImageDataGenerator(width_shift_range=0.1, height_shift_range=0.1, rotation_range=20,
                             horizontal_flip=True, zca_whitening=False)
changes.fit(x)
model.fit_generator(changes.flow(x, y, batch_size=16), steps_per_epoch=len(x) / 16, epochs=8,
                    validation_data=(x, y), workers=2, verbose=2)
assert model.evaluate(x, y, verbose=0)[1] > 0.8

score = model.get_layer('scores').output[:, 1]
slope = K.function([model.input, K.learning_phase()], K.gradients(score, [model.input]))
green = slope([x[:4], 0])[0]
assert green.shape == (4, 12, 12, 3) and np.abs(green).max() > 0
features = Model(inputs=model.input, outputs=model.layers[3].output).predict(x[:2])
assert features.shape == (2, 6, 6, 6)
noisy = K.function([model.layers[0].input, K.learning_phase()], [model.layers[4].output])
assert (noisy([x[:2], 1])[0] == 0).mean() > (noisy([x[:2], 0])[0] == 0).mean()
K.set_value(model.optimizer.lr, 0.5 * K.get_value(model.optimizer.lr))
assert abs(K.eval(model.optimizer.lr) - 0.0015) < 1e-8
print('done')
