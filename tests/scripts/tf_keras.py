# the spellings of tensorflow.keras
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers
from tensorflow.keras.models import Sequential
from tensorflow.python.keras.layers import Dense as Dense2

tf.random.set_seed(3)
assert Dense2 is layers.Dense is tf.keras.layers.Dense
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    model = Sequential([layers.Dense(3, input_shape=(2,)), keras.layers.Dense(1)])
model.compile(optimizer=tf.keras.optimizers.Adam(1e-3), loss='mse')
model.fit(np.zeros((4, 2)), np.ones((4, 1)), verbose=0)
for gpu in tf.config.experimental.list_physical_devices('GPU'):
    tf.config.experimental.set_memory_growth(gpu, True)
try:
    tf.nn.conv2d
except AttributeError as error:
    assert 'keras.backend' in str(error)
print('done')
