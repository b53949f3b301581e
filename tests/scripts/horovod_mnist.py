"""A Horovod script of the Keras 2 days: run by one process, or by several under mpirun."""
import keras
import numpy as np
import tensorflow as tf
from keras import backend as K
from keras.layers import Dense
from keras.models import Sequential
import horovod.keras as hvd
from horovod.keras.callbacks import MetricAverageCallback

hvd.init()
config = tf.ConfigProto()
config.gpu_options.allow_growth = True
config.gpu_options.visible_device_list = str(hvd.local_rank())
K.set_session(tf.Session(config=config))

np.random.seed(0)
x = np.random.rand(64, 10)
y = keras.utils.to_categorical(x.argmax(1) // 4, 3)
model = Sequential([Dense(16, activation="relu", input_shape=(10,)),
                    Dense(3, activation="softmax")])
opt = keras.optimizers.Adadelta(lr=1.0 * hvd.size())
opt = hvd.DistributedOptimizer(opt)
model.compile(loss=keras.losses.categorical_crossentropy, optimizer=opt, metrics=["accuracy"])
callbacks = [hvd.callbacks.BroadcastGlobalVariablesCallback(0), MetricAverageCallback(),
             hvd.callbacks.LearningRateWarmupCallback(warmup_epochs=2, verbose=1)]
if hvd.rank() == 0:
    callbacks.append(keras.callbacks.ModelCheckpoint("./checkpoint-{epoch}.h5"))
history = model.fit(x, y, batch_size=16, callbacks=callbacks, epochs=3,
                    verbose=1 if hvd.rank() == 0 else 0, validation_data=(x, y))
assert history.history["loss"][-1] < history.history["loss"][0]
if hvd.rank() == 0:
    keras.models.load_model("checkpoint-3.h5")
    print("done")
