# an MLP as tutorials of 2016 write it
import numpy as np
np.random.seed(1337)
from keras.models import Sequential
from keras.layers import Dense, Activation
from keras.optimizers import RMSprop
from keras.utils import np_utils

X_train = np.random.rand(256, 28, 28).reshape(256, -1)
y_train = np_utils.to_categorical((X_train[:, 0] * 3).astype(int), 3)
model = Sequential([Dense(32, input_dim=784), Activation('relu'), Dense(3), Activation('softmax')])
rmsprop = RMSprop(lr=0.001, rho=0.9, epsilon=1e-08, decay=0.0)
model.compile(optimizer=rmsprop, loss='categorical_crossentropy', metrics=['accuracy'])
model.fit(X_train, y_train, nb_epoch=2, batch_size=32, verbose=0)
loss, accuracy = model.evaluate(X_train, y_train, verbose=0)
print('loss', loss, 'accuracy', accuracy)
assert 0 < loss < 2 and 0 <= accuracy <= 1
print('done')
