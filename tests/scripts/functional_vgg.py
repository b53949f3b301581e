# fine-tuning with a functional model in the words of Keras 1, and K
import numpy as np
from keras import backend as K
from keras.applications.vgg16 import VGG16
from keras.layers import Dense, GlobalAveragePooling2D, Input
from keras.models import Model
import tensorflow as tf

with tf.device('/cpu:0'):
    base = VGG16(weights=None, include_top=False, input_tensor=Input(shape=(32, 32, 3)))
for layer in base.layers:
    layer.trainable = False
out = Dense(2, activation='softmax')(GlobalAveragePooling2D()(base.output))
model = Model(input=base.input, output=out)
model.compile('adam', 'categorical_crossentropy')
model.fit(np.random.rand(4, 32, 32, 3), np.eye(2)[[0, 1, 0, 1]], epochs=1, verbose=0)
assert len(model.trainable_weights) == 2
a, b = K.variable(np.ones((2, 2))), K.variable(np.zeros((2, 3)))
assert K.eval(K.concatenate([a, b], axis=1)).shape == (2, 5)
print('done')
