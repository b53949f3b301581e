# logs by the names they had before Keras 2.3: acc, val_acc, mean_absolute_error
import glob
import json
import pickle

import numpy as np
from keras import backend as K
from keras.callbacks import (Callback, CSVLogger, EarlyStopping, LambdaCallback, ModelCheckpoint,
                             ReduceLROnPlateau)
from keras.layers import Dense, Input
from keras.models import Model, Sequential

np.random.seed(3)
x = np.random.randn(80, 4)
y = (x.sum(1) > 0).astype(np.int)


class GoodEnough(Callback):
    def on_epoch_end(self, epoch, logs={}):
        if logs.get('val_acc') > 0.9 and logs['acc'] > 0.9:
            self.model.stop_training = True


seen = []
model = Sequential([Dense(1, activation='sigmoid', input_dim=4)])
model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
history = model.fit(x, y, epochs=300, batch_size=10, verbose=0, validation_split=0.25, callbacks=[
    ModelCheckpoint('weights.{epoch:02d}-{val_acc:.2f}.hdf5', monitor='val_acc', mode='max',
                    save_best_only=True),
    EarlyStopping(monitor='val_acc', patience=300), CSVLogger('log.csv'), GoodEnough(),
    ReduceLROnPlateau(monitor='acc', patience=300, min_delta=1e-4),
    LambdaCallback(on_batch_end=lambda batch, logs: seen.append((logs['acc'], 'acc' in logs)))])
found = history.history
assert len(history.epoch) < 300 and found['val_acc'] == found['val_accuracy']
assert sorted(found) == ['accuracy', 'loss', 'lr', 'val_accuracy', 'val_loss'], sorted(found)
right = (model.predict(x[60:]) > 0.5).ravel() == y[60:]
np.testing.assert_allclose(found['val_acc'][-1], right.mean(), rtol=1e-6)
assert all(0 <= a <= 1 and there for a, there in seen)
best = 'weights.%02d-%.2f.hdf5' % (np.argmax(found['val_acc']) + 1, max(found['val_acc']))
assert best in glob.glob('weights.*.hdf5'), best
assert 'acc' in found and 'no_acc' not in found and found.get('no', 1) == 1
assert type(pickle.loads(pickle.dumps(found))) is dict and json.dumps(found, default=float)

inputs = Input((4,))
model = Model(inputs, [Dense(1, name='near')(inputs), Dense(1, name='far')(inputs)])
model.compile('rmsprop', 'mse', metrics=['mae', 'mse'])
found = model.fit(x, [y, 2 * y], verbose=0, epochs=2).history
assert found['far_mean_absolute_error'] == found['far_mae']
assert found['near_mean_squared_error'] == found['near_mse']
assert isinstance(K.tensorflow_backend._get_available_gpus(), list)
assert K.tensorflow_backend.get_variable_shape(K.zeros((2, 3))) == (2, 3)
K.manual_variable_initialization(True)
print(K.get_value(model.optimizer.lr), open('log.csv').readline().strip())
print('done')
