"""Topic `applications`: layers, weights and features of the 18 architectures.

Written to applications.json.gz, as the architectures have thousands of layers.
"""
import gzip
import json
import os

import numpy as np
from keras import applications
from keras import backend as K
from keras.applications import resnet

from .store import FOLDER

NAMES = ('VGG16', 'VGG19', 'ResNet50', 'ResNet101', 'ResNet152', 'ResNet50V2', 'ResNet101V2',
         'ResNet152V2', 'InceptionV3', 'InceptionResNetV2', 'Xception', 'MobileNet', 'MobileNetV2',
         'DenseNet121', 'DenseNet169', 'DenseNet201', 'NASNetMobile', 'NASNetLarge')


def describe(model):
    """[name, class, names of the layers before, shapes of the weights] of every layer."""
    return [[layer.name, type(layer).__name__,
             [before.name for node in layer._inbound_nodes for before in node.inbound_layers],
             [list(K.int_shape(w)) for w in layer.weights]] for layer in model.layers]


def fill(model):
    """Weights that any program can make: uniform numbers of one RandomState, layer by layer."""
    rng = np.random.RandomState(0)
    pairs = []
    for layer in model.layers:
        shapes = [K.int_shape(w) for w in layer.weights]
        for i, shape in enumerate(shapes):
            spatial = type(layer).__name__ in ('DepthwiseConv2D', 'SeparableConv2D') and i == 0
            reach = np.sqrt(3. / np.prod(shape[:2] if spatial else shape[:-1]))
            low, high = (-reach, reach) if len(shape) > 1 else (-.2, .2)
            if type(layer).__name__ == 'BatchNormalization' and i in (len(shapes) - 4,
                                                                      len(shapes) - 1):
                low, high = .5, 1.5                                # gamma, if any, and variance
            pairs.append((layer.weights[i], rng.uniform(low, high, shape).astype('float32')))
    K.batch_set_value(pairs)


def features(build):
    """16 of the averaged features of a small random image."""
    K.clear_session()
    size = 75 if build.needs_75 else 64
    model = build(include_top=False, weights=None, input_shape=(size, size, 3), pooling='avg')
    fill(model)
    x = np.random.RandomState(1).uniform(-1, 1, (1, size, size, 3)).astype('float32')
    y = model.predict(x)[0]
    return {'size': size, 'length': len(y), 'values': y[::len(y) // 16][:16].tolist()}


def generate():
    facts = {}
    for name in NAMES + ('resnet.ResNet50',):
        build = getattr(resnet, 'ResNet50') if '.' in name else getattr(applications, name)
        build.needs_75 = 'ception' in name
        K.clear_session()
        model = build(weights=None)
        facts[name] = {'name': model.name, 'params': model.count_params(),
                       'output_shape': model.output_shape[1:], 'layers': describe(model)}
        facts[name]['features'] = features(build)
        print('%s %d' % (name, facts[name]['params']))
    with gzip.GzipFile(os.path.join(FOLDER, 'applications.json.gz'), 'wb', mtime=0) as out:
        out.write(json.dumps(facts, sort_keys=True).encode())
    print('applications %3d cases' % len(facts))
