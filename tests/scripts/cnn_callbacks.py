# a CNN with callbacks, old spellings, a GPU chosen after the import, a saved model and a YAML text
import os
import numpy as np
import keras
from keras.callbacks import LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D
from keras.layers.normalization import BatchNormalization
from keras.models import Sequential, load_model
from keras.optimizers import SGD
from keras.preprocessing.image import ImageDataGenerator
import tensorflow as tf

os.environ['CUDA_VISIBLE_DEVICES'] = '/gpu:0'
config = tf.ConfigProto()
config.gpu_options.allow_growth = True
keras.backend.tensorflow_backend.set_session(tf.Session(config=config))
tf.set_random_seed(1)
tf.logging.set_verbosity(tf.logging.ERROR)

x = np.random.RandomState(0).rand(48, 8, 8, 1)
y = keras.utils.to_categorical(np.arange(48) % 4, 4)
model = Sequential()
model.add(Conv2D(4, (3, 3), activation='relu', input_shape=(8, 8, 1)))
model.add(BatchNormalization(mode=0, beta_init='zero', gamma_init='one', weights=None))
model.add(MaxPool2D((2, 2)))
model.add(Flatten())
model.add(Dropout(0.25))
model.add(Dense(4, activation='softmax'))
model.compile(SGD(lr=0.0, momentum=0.9), 'categorical_crossentropy', metrics=['acc'])
calls = [LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch)),
         ReduceLROnPlateau('loss', epsilon=1e-4),
         ModelCheckpoint('best.h5', monitor='val_acc', save_best_only=True)]
flow = ImageDataGenerator(rotation_range=5).flow(x, y, batch_size=16)
history = model.fit_generator(flow, steps_per_epoch=3, nb_epoch=2, validation_data=(x, y),
                              callbacks=calls, verbose=2)
assert sorted(history.history) == ['acc', 'loss', 'lr', 'val_acc', 'val_loss']
assert abs(history.history['lr'][1] - 0.05) < 1e-6
best = load_model('best.h5')
assert best.predict(x).shape == (48, 4)
model.pop()
assert model.output_shape == (None, 36)
print('done')
