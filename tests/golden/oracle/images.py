"""Topic `images`: changes of pictures and batches of them, with the same random numbers.

Arguments of a case go to ImageDataGenerator and its `flow`.  The folder of `directory` holds the
arrays `pictures` as class_<i % 2>/p<i>.png.
"""
import os
import shutil
import tempfile

import numpy as np
from keras.preprocessing import image

from .store import Store

TRANSFORMS = {
    'rotated': {'theta': 33}, 'shifted': {'tx': 1.5, 'ty': -2}, 'sheared': {'shear': 20},
    'zoomed': {'zx': 0.7, 'zy': 1.3},
    'all': {'theta': -50, 'tx': 1, 'ty': 0.5, 'shear': 10, 'zx': 1.2, 'zy': 0.8}}
FLOWS = {
    'plain': ({}, {'shuffle': False}),
    'everything': ({'rotation_range': 40, 'width_shift_range': 0.2, 'height_shift_range': 0.3,
                    'shear_range': 15, 'zoom_range': 0.3, 'channel_shift_range': 20.,
                    'horizontal_flip': True, 'vertical_flip': True, 'rescale': 1. / 255},
                   {'seed': 5}),
    'whole_points': ({'width_shift_range': 3, 'height_shift_range': [1, 2], 'fill_mode': 'constant',
                      'cval': 7., 'zoom_range': [0.8, 1.4]}, {'seed': 1, 'batch_size': 4}),
    'nearest_point': ({'rotation_range': 90, 'interpolation_order': 0}, {'seed': 2}),
    'samplewise': ({'samplewise_center': True, 'samplewise_std_normalization': True},
                   {'shuffle': False}),
    'featurewise': ({'featurewise_center': True, 'featurewise_std_normalization': True},
                    {'shuffle': False}),
    'first': ({'rotation_range': 30, 'data_format': 'channels_first', 'horizontal_flip': True},
              {'seed': 3}),
    'validation': ({'validation_split': 0.3}, {'subset': 'validation', 'shuffle': False}),
    'training': ({'validation_split': 0.3}, {'subset': 'training', 'seed': 4})}


def generate():
    store = Store('images')
    rng = np.random.RandomState(0)
    picture = rng.uniform(0, 255, (8, 9, 3)).astype('float32')
    for mode in ('nearest', 'constant'):
        for order in (0, 1):
            for name, arguments in sorted(TRANSFORMS.items()):
                y = image.apply_affine_transform(picture, fill_mode=mode, cval=3., order=order,
                                                 **arguments)
                store.add('transform/%s_%s_%d' % (name, mode, order),
                          {'arguments': arguments, 'mode': mode, 'order': order}, x=picture, y=y)
    x = np.round(rng.uniform(0, 255, (7, 8, 9, 3))).astype('float32')
    y = np.arange(7) % 2
    for name, (arguments, flow) in sorted(FLOWS.items()):
        data = x.transpose(0, 3, 1, 2) if name == 'first' else x
        generator = image.ImageDataGenerator(**arguments)
        if name == 'featurewise':
            generator.fit(data)
        batches = generator.flow(data, y, **dict({'batch_size': 3}, **flow))
        found = [next(batches) for _ in range(4)]
        store.add('flow/' + name, {'arguments': arguments, 'flow': flow}, x=data, y=y,
                  bx=[b[0] for b in found], by=[b[1] for b in found])
    generator = image.ImageDataGenerator(zca_whitening=True)
    generator.fit(x[:, :3, :3])
    store.add('whitened', {}, x=x[:, :3, :3], y=generator.standardize(x[0, :3, :3].copy()))
    folder = tempfile.mkdtemp()
    for i, p in enumerate(x):
        os.makedirs(os.path.join(folder, 'class_%d' % (i % 2)), exist_ok=True)
        image.save_img(os.path.join(folder, 'class_%d/p%d.png' % (i % 2, i)), p, scale=False)
    for name, arguments in (('grey', {'color_mode': 'grayscale', 'class_mode': 'binary'}),
                            ('resized', {'target_size': (4, 6)}),
                            ('subset', {'subset': 'training', 'class_mode': 'sparse'})):
        generator = image.ImageDataGenerator(rescale=1. / 255, validation_split=0.4)
        batches = generator.flow_from_directory(
            folder, **dict({'target_size': (8, 9), 'batch_size': 4, 'shuffle': False}, **arguments))
        found = [batches[i] for i in range(len(batches))]
        store.add('directory/' + name, {
            'arguments': arguments, 'filenames': batches.filenames, 'classes': batches.classes,
            'class_indices': batches.class_indices}, pictures=x,
            bx=[b[0] for b in found], by=[b[1] for b in found])
    shutil.rmtree(folder)
    store.write()
