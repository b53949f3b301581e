# from before Keras 2.2: merge as a function, "th" and "tf", input= and output=, TensorBoard
import importlib.util
import os
import warnings

import numpy as np
import tensorflow as tf
from keras import backend as K
from keras.callbacks import TensorBoard
from keras.layers import Dense, Flatten, Input, merge
from keras.layers.convolutional import AveragePooling2D, Convolution2D, MaxPooling2D
from keras.models import Model
from keras.regularizers import l2

tf.python.control_flow_ops = tf
np.random.seed(6)
K.set_image_dim_ordering('th')
assert K.image_dim_ordering() == 'th' and K.image_data_format() == 'channels_first'

pictures = Input(shape=(2, 8, 6))
left = Convolution2D(3, 3, 3, border_mode='same', bias=False, W_regularizer=l2(0.001))(pictures)
right = AveragePooling2D((3, 3), strides=(1, 1), border_mode='same')(pictures)
both = merge([left, right], mode='concat', concat_axis=1)
assert K.int_shape(both) == (None, 5, 8, 6)
out = Dense(output_dim=1, init='uniform')(Flatten()(MaxPooling2D((2, 2))(both)))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter('always')
    model = Model(input=pictures, output=out, name='branches')
assert 'inputs=...' in str(told[0].message) and told[0].filename == __file__
model.compile('rmsprop', 'mse')
x = np.random.rand(40, 2, 8, 6)
y = x[:, 0].mean((1, 2)) - x[:, 1].mean((1, 2))
watch = []
if importlib.util.find_spec('tensorboard'):
    watch = [TensorBoard('logs', histogram_freq=1, write_graph=False)]
found = model.fit(x, y, nb_epoch=30, verbose=0, validation_split=0.25, callbacks=watch).history
assert found['loss'][-1] < 0.5 * found['loss'][0], found
assert not watch or os.listdir('logs')
K.set_image_dim_ordering('tf')
assert K.image_data_format() == 'channels_last'

a, b = np.random.randn(5, 4), np.random.randn(5, 4)
u, v = Input((4,)), Input((4,))
norm = np.linalg.norm
cases = [('sum', {}, a + b), ('mul', {}, a * b), ('ave', {}, (a + b) / 2),
         ('max', {}, np.maximum(a, b)), ('concat', {}, np.hstack([a, b])),
         ('dot', {'dot_axes': 1}, (a * b).sum(1, keepdims=True)),
         ('cos', {'dot_axes': 1},
          ((a * b).sum(1) / norm(a, axis=1) / norm(b, axis=1)).reshape(5, 1, 1)),
         (lambda t: t[0] - 2 * t[1], {'output_shape': (4,)}, a - 2 * b)]
for mode, more, wanted in cases:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        made = merge([u, v], mode=mode, **more)
    assert '`merge` went' in str(told[0].message) and told[0].filename == __file__
    got = Model([u, v], made).predict([a, b])
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6, err_msg=str(mode))
try:
    merge([u, v], mode='no')
except ValueError as error:
    assert 'expected sum, mul' in str(error)
print('done')
