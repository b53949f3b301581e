"""Topic `ctc`: K.ctc_batch_cost with its gradient, and K.ctc_decode.

Facts: shape, the decoder's arguments.  Arrays: p (probabilities), labels, frames, counts, loss, g,
gx (gradient of sum(loss * g) by p); decoded0.. (padded with -1) and score.
"""
import numpy as np
from keras import backend as K

from .store import Store

DECODERS = {'greedy': {}, 'beam': {'greedy': False, 'beam_width': 100, 'top_paths': 3},
            'narrow': {'greedy': False, 'beam_width': 3, 'top_paths': 2},
            'merged': {'greedy': False, 'beam_width': 20, 'top_paths': 2, 'merge_repeated': True}}
SHAPES = {'small': (3, 6, 4, 2), 'long': (2, 30, 5, 8), 'wide': (4, 15, 28, 5),
          'ended': (3, 10, 6, 4)}                  # blanks, and numbers above, end the labels


def data(batch, time, classes, most):
    rng = np.random.RandomState(time)
    scores = np.exp(3 * rng.randn(batch, time, classes))
    p = scores / scores.sum(-1, keepdims=True)
    labels = rng.randint(0, classes - 1, (batch, most))
    counts = rng.randint(1, most + 1, batch)
    frames = np.minimum(2 * counts + rng.randint(1, time, batch), time)
    return p.astype('float32'), labels, frames, counts, rng.randn(batch, 1).astype('float32')


def generate():
    store = Store('ctc')
    for name, shape in SHAPES.items():
        p, labels, frames, counts, g = data(*shape)
        if name == 'ended':
            counts[:], frames[:] = 4, 10
            labels[0, 3:], labels[1, 1:], labels[2, 2:] = 5, 5, 7
        x = K.placeholder(p.shape)
        loss = K.ctc_batch_cost(K.constant(labels), x, K.constant(frames[:, None]),
                                K.constant(counts[:, None]))
        gx = K.gradients([K.sum(loss * g)], [x])[0]
        value, gradient = K.function([x], [loss, gx])([p])
        store.add('cost_' + name, {'shape': shape}, p=p, labels=labels, frames=frames,
                  counts=counts, g=g, loss=value, gx=gradient)
        for kind, arguments in DECODERS.items():
            decoded, score = K.ctc_decode(x, K.constant(frames, dtype='int32'), **arguments)
            values = K.function([x], list(decoded) + [score])([p])
            store.add(kind + '_' + name, {'arguments': arguments}, p=p, frames=frames,
                      decoded=values[:-1], score=values[-1])
    store.write()
