"""Topic `lambdas`: one model file, lambdas.h5, with a Lambda layer for every stored function.

Arrays: the inputs x0, x1 and what each layer gives, under its name.
"""
import os

import keras
import numpy as np
import tensorflow as tf
from keras import backend as K
from keras.layers import Input, Lambda

import stored_functions
from .store import FOLDER, Store


def generate():
    stored_functions.K, stored_functions.tf, stored_functions.np = K, tf, np
    inputs = [Input((12,)), Input((12,))]
    names, outputs = [], []
    for name, (function, count) in sorted(stored_functions.FUNCTIONS.items()):
        names.append(name)
        outputs.append(Lambda(function, name=name)(inputs[:count] if count > 1 else inputs[0]))
    for function, arguments in ((K.abs, {}), (K.l2_normalize, {'axis': 1}), (K.cumsum, {}),
                                (keras.activations.softplus, {}), (keras.activations.relu, {
                                    'alpha': .1, 'max_value': 1.})):
        names.append('keras_' + function.__name__)
        outputs.append(Lambda(function, arguments=arguments, name=names[-1])(inputs[0]))
    model = keras.models.Model(inputs, outputs)
    model.save(os.path.join(FOLDER, 'lambdas.h5'))
    rng = np.random.RandomState(8)
    arrays = [rng.normal(size=(5, 12)).astype('float32') for _ in inputs]
    store = Store('lambdas')
    store.add('lambdas', {'names': names}, x=arrays,
              **dict(zip(names, model.predict(arrays))))
    store.write()
