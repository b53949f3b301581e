# a straight line with the arguments of Keras 1
import numpy as np
from keras.models import Sequential
from keras.layers import Dense

np.random.seed(1337)
X = np.linspace(-2, 2, 200)
np.random.shuffle(X)
Y = 0.5 * X + 2 + np.random.normal(0, 0.05, (200,))
model = Sequential()
model.add(Dense(output_dim=1, input_dim=1))
model.compile(loss='mse', optimizer='sgd', class_mode='categorical')
for step in range(301):
    cost = model.train_on_batch(X[:160], Y[:160])
W, b = model.layers[0].get_weights()
assert abs(W[0, 0] - 0.5) < 0.05 and abs(b[0] - 2) < 0.05, (W, b)
print('done')
