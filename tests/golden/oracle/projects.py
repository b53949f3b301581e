"""Topic `projects`: whole trainings with `fit`, phase by phase, and a GAN.

Facts of a case: class_name, model (config), phases: a list of dicts with `trainable` (layer name ->
bool, set before), optimizer, compile, fit (arguments beside the data), then `history` and
`history_keys` as Keras recorded them.  Arrays: x0.., y0.., before0.., sample weights sw0.. (one per
output, if any), validation vx0.., vy0.., vw0.., and `phase<i>_after0..` (weights after each phase).
"""
import numpy as np
import keras
from keras import backend as K
from keras import layers as L

from .store import Store
from .training import count_steps_last, initial

CCE = 'categorical_crossentropy'


def one_hot(rng, n, classes):
    return np.eye(classes, dtype='float32')[rng.randint(0, classes, n)]


def shared(rng, n=42):
    """Two inputs, a shared layer, two outputs, loss weights, sample and class weights."""
    a, b = L.Input((4,), name='left'), L.Input((4,), name='right')
    encoder = L.Dense(5, activation='tanh', name='encoder')
    both = L.concatenate([encoder(a), encoder(b)], name='both')
    kind = L.Dense(3, activation='softmax', name='kind')(both)
    score = L.Dense(1, name='score')(L.multiply([encoder(a), encoder(b)], name='product'))
    model = keras.models.Model([a, b], [kind, score])
    x = [rng.uniform(-1, 1, (n, 4)) for _ in range(2)]
    y = [one_hot(rng, n, 3), rng.uniform(-1, 1, (n, 1))]
    phase = {'optimizer': keras.optimizers.Adam(0.01),
             'compile': {'loss': {'kind': CCE, 'score': 'mse'},
                         'loss_weights': {'kind': 1.0, 'score': 0.3},
                         'metrics': {'kind': ['accuracy'], 'score': ['mae']},
                         'weighted_metrics': ['mse']},
             'fit': {'epochs': 3, 'batch_size': 8,
                     'class_weight': {'kind': {0: 1.0, 1: 0.5, 2: 2.0}}}}
    return model, x, y, [phase], {'sw': [rng.uniform(0, 2, n), rng.uniform(0, 2, n)],
                                  'valid': 13}


def masked(rng, n=30):
    """Sequences with masked steps and temporal sample weights."""
    x_in = L.Input((6, 3), name='steps')
    h = L.Dense(4, activation='tanh', name='hidden')(L.Masking(0.0, name='mask')(x_in))
    model = keras.models.Model(x_in, L.Dense(2, activation='softmax', name='tag')(h))
    x = rng.uniform(-1, 1, (n, 6, 3))
    for row, length in enumerate(rng.randint(1, 7, n)):
        x[row, length:] = 0
    y = np.eye(2)[rng.randint(0, 2, (n, 6))]
    phase = {'optimizer': keras.optimizers.RMSprop(0.005),
             'compile': {'loss': CCE, 'metrics': ['accuracy'], 'weighted_metrics': ['accuracy'],
                         'sample_weight_mode': 'temporal'},
             'fit': {'epochs': 3, 'batch_size': 7}}
    return model, [x], [y], [phase], {'sw': [rng.uniform(0, 2, (n, 6))], 'valid': 9}


def siamese(rng, n=40):
    a, b = L.Input((6,), name='one'), L.Input((6,), name='two')
    base = keras.Sequential([L.Dense(8, activation='relu', input_shape=(6,)),
                             L.Dense(4, activation='tanh')], name='base')
    gap = L.subtract([base(a), base(b)], name='gap')
    same = L.Dense(1, activation='sigmoid', name='same')(L.multiply([gap, gap], name='square'))
    model = keras.models.Model([a, b], same)
    x = [rng.uniform(-1, 1, (n, 6)) for _ in range(2)]
    phase = {'optimizer': keras.optimizers.SGD(0.1, momentum=0.9),
             'compile': {'loss': 'binary_crossentropy', 'metrics': ['accuracy']},
             'fit': {'epochs': 3, 'batch_size': 9, 'validation_split': 0.2}}
    return model, x, [rng.randint(0, 2, (n, 1))], [phase], {}


def autoencoder(rng, n=24):
    x_in = L.Input((8, 8, 1), name='image')
    h = L.Conv2D(4, 3, padding='same', activation='tanh', name='c1')(x_in)
    h = L.MaxPooling2D(2, name='p1')(h)
    h = L.Conv2D(2, 3, padding='same', activation='tanh', name='c2')(h)
    h = L.UpSampling2D(2, name='u1')(h)
    y = L.Conv2D(1, 3, padding='same', activation='sigmoid', name='c3')(h)
    x = rng.uniform(0, 1, (n, 8, 8, 1))
    phase = {'optimizer': keras.optimizers.Adam(0.01),
             'compile': {'loss': 'binary_crossentropy', 'metrics': ['mse']},
             'fit': {'epochs': 3, 'batch_size': 6, 'validation_split': 0.25}}
    return keras.models.Model(x_in, y), [x], [x], [phase], {}


def fine_tuning(rng, n=27):
    """A new head on a frozen base with batch normalisation; then everything, more slowly."""
    base = keras.Sequential([
        L.Conv2D(3, 3, padding='same', use_bias=False, input_shape=(6, 6, 1)),
        L.BatchNormalization(momentum=0.8), L.Activation('tanh'), L.GlobalAveragePooling2D()],
        name='base')
    model = keras.Sequential([base, L.Dense(4, activation='tanh', name='h'),
                              L.Dense(3, activation='softmax', name='head')])
    compile_arguments = {'loss': CCE, 'metrics': ['accuracy']}
    fit_arguments = {'epochs': 2, 'batch_size': 9, 'validation_split': 0.2}
    phases = [{'trainable': {'base': False}, 'optimizer': keras.optimizers.SGD(0.1),
               'compile': compile_arguments, 'fit': fit_arguments},
              {'trainable': {'base': True}, 'optimizer': keras.optimizers.SGD(0.02),
               'compile': compile_arguments, 'fit': fit_arguments}]
    return model, [rng.uniform(-1, 1, (n, 6, 6, 1))], [one_hot(rng, n, 3)], phases, {}


def record(store, name, build):
    K.clear_session()
    rng = np.random.RandomState(len(name))
    model, x, y, phases, extra = build(rng)
    x, y = [v.astype('float32') for v in x], [v.astype('float32') for v in y]
    weights = [v.astype('float32') for v in extra.get('sw', [])]
    before = [initial(w, rng) for w in model.get_weights()]
    model.set_weights(before)
    held = {}
    if 'valid' in extra:
        at = extra['valid']
        held = {'vx': [v[:at] for v in x], 'vy': [v[:at] for v in y],
                'vw': [w[:at] for w in weights]}
    facts, arrays = [], {}
    config = model.get_config()
    for i, phase in enumerate(phases):
        for layer, value in phase.get('trainable', {}).items():
            model.get_layer(layer).trainable = value
        optimizer = keras.optimizers.serialize(phase['optimizer'])
        model.compile(phase['optimizer'], **phase['compile'])
        count_steps_last(model)
        arguments = dict(phase['fit'])
        if weights:
            arguments['sample_weight'] = weights if len(weights) > 1 else weights[0]
        if held:
            one = len(held['vw']) == 1
            arguments['validation_data'] = (held['vx'], held['vy'],
                                            held['vw'][0] if one else held['vw'])
        history = model.fit(x, y, shuffle=False, verbose=0, **arguments)
        facts.append({'trainable': phase.get('trainable', {}), 'optimizer': optimizer,
                      'compile': phase['compile'], 'fit': phase['fit'],
                      'history': history.history, 'history_keys': list(history.history),
                      'collected': [w.name for w in model._collected_trainable_weights]})
        arrays['phase%d_after' % i] = model.get_weights()
    store.add(name, {'class_name': type(model).__name__, 'model': config, 'phases': facts},
              x=x, y=y, before=before, sw=weights, **dict(held, **arrays))


def gan(store):
    """Discriminator and generator in turn; the discriminator is frozen inside the stacked model."""
    K.clear_session()
    rng = np.random.RandomState(12)
    generator = keras.Sequential([L.Dense(6, activation='tanh', input_shape=(3,)), L.Dense(4)],
                                 name='generator')
    discriminator = keras.Sequential([L.Dense(6, activation='tanh', input_shape=(4,)),
                                      L.Dense(1, activation='sigmoid')], name='discriminator')
    discriminator.compile(keras.optimizers.SGD(0.1, momentum=0.5), 'binary_crossentropy',
                          metrics=['accuracy'])
    discriminator.trainable = False
    stacked = keras.Sequential([generator, discriminator], name='stacked')
    stacked.compile(keras.optimizers.SGD(0.1), 'binary_crossentropy')
    before = [initial(w, rng) for w in stacked.get_weights()]
    stacked.set_weights(before)
    real = rng.uniform(-1, 1, (30, 8, 4)).astype('float32')
    noise = rng.uniform(-1, 1, (30, 8, 3)).astype('float32')
    logs = []
    for r, z in zip(real, noise):
        found = list(discriminator.train_on_batch(r, np.ones((8, 1))))
        found += list(discriminator.train_on_batch(generator.predict(z), np.zeros((8, 1))))
        logs.append(found + [stacked.train_on_batch(z, np.ones((8, 1)))])
    store.add('gan', {'generator': generator.get_config(),
                      'discriminator': discriminator.get_config()},
              real=real, noise=noise, before=before, after=stacked.get_weights(),
              logs=np.array(logs, 'float32'))


def generate():
    store = Store('projects')
    for build in (shared, masked, siamese, autoencoder, fine_tuning):
        record(store, build.__name__, build)
    gan(store)
    store.write()
