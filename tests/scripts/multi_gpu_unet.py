"""Several GPUs, as Keras 2 did it: a template on the CPU, replicas beside it, weights to a file."""
import os

os.environ["GPUKERAS_VIRTUAL_DEVICES"] = "3"       # stands for three GPUs

import numpy as np
import tensorflow as tf
from keras.callbacks import LearningRateScheduler, ModelCheckpoint
from keras.layers import (BatchNormalization, Concatenate, Conv2D, Conv2DTranspose, Dropout, Input,
                          MaxPooling2D)
from keras.models import Model
from keras.optimizers import SGD
from keras.preprocessing.image import ImageDataGenerator
from keras.utils.training_utils import multi_gpu_model

G = 3
NUM_EPOCHS = 2
INIT_LR = 5e-3
BATCH = 4


def poly_decay(epoch):
    return INIT_LR * (1 - epoch / float(NUM_EPOCHS)) ** 1.0


def unet(width=8):
    inputs = Input((16, 16, 1))
    levels, x = [], inputs
    for depth in range(2):
        x = Conv2D(width << depth, (3, 3), activation="relu", padding="same")(x)
        x = BatchNormalization()(x)
        levels.append(x)
        x = MaxPooling2D((2, 2))(x)
    x = Dropout(0.5)(Conv2D(width << 2, (3, 3), activation="relu", padding="same")(x))
    for depth in (1, 0):
        x = Conv2DTranspose(width << depth, (2, 2), strides=(2, 2), padding="same")(x)
        x = Concatenate(axis=3)([x, levels[depth]])
        x = Conv2D(width << depth, (3, 3), activation="relu", padding="same")(x)
    return Model(inputs, Conv2D(1, (1, 1), activation="sigmoid")(x))


rng = np.random.RandomState(0)
images = rng.normal(size=(50, 16, 16, 1)).astype("float32")
masks = (images > 0.5).astype("float32")

with tf.device("/cpu:0"):
    template = unet()
model = multi_gpu_model(template, gpus=G)
model.compile(optimizer=SGD(lr=INIT_LR, momentum=0.9), loss="binary_crossentropy",
              metrics=["accuracy"])

history = model.fit(images, masks, batch_size=BATCH * G, epochs=NUM_EPOCHS, verbose=2,
                    validation_split=0.2,
                    callbacks=[LearningRateScheduler(poly_decay),
                               ModelCheckpoint("best.h5", save_best_only=True)])
flow = ImageDataGenerator(width_shift_range=0.1).flow(images, masks, batch_size=BATCH * G)
model.fit_generator(flow, steps_per_epoch=len(images) // (BATCH * G), epochs=1, verbose=2)
assert len(history.history["val_loss"]) == NUM_EPOCHS
model.save_weights("unet.h5")

plain = unet()
plain.load_weights("unet.h5")
np.testing.assert_allclose(plain.predict(images), model.predict(images, batch_size=BATCH * G),
                           atol=1e-6)
print("done")
