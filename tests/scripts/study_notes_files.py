# what study notes do with a saved model: YAML and JSON texts, pictures, a walk through its groups
import h5py
import numpy as np
from keras.layers import Dense, Dropout, Flatten
from keras.models import Sequential, load_model, model_from_json, model_from_yaml
from keras.optimizers import RMSprop
from keras.utils import plot_model

model = Sequential()
model.add(Flatten(input_shape=(4, 4, 1)))
model.add(Dense(8, activation='relu', name='hidden'))
model.add(Dropout(0.2))
model.add(Dense(3, activation='softmax', name='out'))
model.summary()
model.compile(loss='categorical_crossentropy', metrics=['accuracy'],
              optimizer=RMSprop(lr=0.001, rho=0.9, epsilon=1e-08, decay=0.0))
x, y = np.random.rand(12, 4, 4, 1), np.eye(3)[np.arange(12) % 3]
model.fit(x, y, batch_size=4, epochs=2, verbose=2, validation_split=0.25)
score = model.evaluate(x, y, verbose=0)
print('Test loss:', score[0], 'Test accuracy:', score[1])

yaml_string, json_string = model.to_yaml(), model.to_json()
model.save_weights('weights.h5')
for again in (model_from_yaml(yaml_string), model_from_json(json_string)):
    again.load_weights('weights.h5')
    assert np.array_equal(again.predict(x), model.predict(x))
assert 'class_name: Sequential' in yaml_string

model.save('model.h5')
assert np.array_equal(load_model('model.h5').predict(x), model.predict(x))
f = h5py.File('model.h5', 'r')
for name, group in f['model_weights'].items():
    print(name, list(group.keys()), dict(group.attrs))
kernel = f['model_weights']['hidden']['hidden']['kernel:0']
assert np.array_equal(kernel[()], model.get_layer('hidden').get_weights()[0])
assert list(f.attrs) and 'optimizer_weights' in f
f.close()

plot_model(model, to_file='model.svg', show_shapes=True, show_layer_names=True)
assert 'hidden' in open('model.svg').read()
print('done')
