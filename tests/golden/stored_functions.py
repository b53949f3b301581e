"""Functions as people put them into Lambda layers, and their bytecode by every Python.

    for v in 2.7 3.5 ... 3.13: python$v tests/golden/stored_functions.py    adds to bytecode.json
    oracle/bin/python tests/golden/generate.py lambdas                      what they give in Keras

This file is read by Python 2.7, too. `K`, `tf` and `np` come from whoever imports it.
"""
import base64
import json
import marshal
import os
import sys

K = tf = np = None
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'bytecode.json')
half = 0.5


def sampling(args):
    z_mean, z_log_var = args
    batch = K.shape(z_mean)[0]
    dim = K.int_shape(z_mean)[1]
    epsilon = K.random_normal(shape=(batch, dim), mean=0., stddev=0.)
    return z_mean + K.exp(0.5 * z_log_var) * epsilon


def branches(x, flag=True, k=2):
    import tensorflow as tf
    if flag:
        y = tf.reduce_mean(x, axis=1, keepdims=True)
    else:
        y = x * k
    return tf.nn.relu(y) if k > 1 else y


def loop(x):
    outs = []
    for i in range(3):
        outs.append(x[:, i:i + 1] * (i + 1))
    return K.concatenate(outs, axis=-1)


def own_import(x):
    from keras import backend as B
    return B.sum(B.abs(x), axis=-1, keepdims=True)


def closed(a, b):
    return lambda x: x * a + b


def inner_function(x):
    def f(t, s=3.):
        return t * s - 1
    return f(x) + f(x, 2.)


def shape_methods(x):
    s = x.get_shape().as_list()
    return K.reshape(x, (-1, s[1], 1)) if len(s) == 2 else x


def printing(x):
    print(x)
    return x + 1


def euclidean(vects):
    x, y = vects
    total = K.sum(K.square(x - y), axis=1, keepdims=True)
    return K.sqrt(K.maximum(total, K.epsilon()))


def attention(args):
    scores, values = args
    weights = K.expand_dims(K.softmax(scores), axis=1)
    return K.squeeze(K.batch_dot(weights, K.expand_dims(values, -1), axes=[2, 1]), 1)


def tensorflow_parts(x):
    a, b, c = tf.split(x, 3, axis=1)
    y = tf.concat([a * b, tf.square(c)], axis=-1)
    y = tf.matmul(y, tf.transpose(tf.ones_like(y)), name='product')
    return tf.reduce_sum(y, axis=[1], keepdims=True) + tf.clip_by_value(a, -.5, .5)


def tensorflow_shapes(x):
    y = tf.reshape(x, [-1, 2, 2, 3])
    y = tf.nn.space_to_depth(y, 2) if x.shape[1] == 12 else y
    y = tf.pad(tf.squeeze(y, [1, 2]), [[0, 0], [1, 0]])
    return tf.stack([y, tf.reverse(y, axis=[1]), tf.zeros_like(y)], axis=1)


def tensorflow_choice(x):
    y = tf.where(tf.greater(x, 0.), x, tf.exp(x) - 1.)
    return tf.nn.l2_normalize(tf.cast(y, tf.float32), 1) * tf.cast(tf.shape(x)[1], tf.float32)


# name -> (function, number of its inputs)
FUNCTIONS = {
    'square': (lambda x: x ** 2, 1), 'negative': (lambda x: -x, 1), 'rest': (lambda x: x[:, 1:], 1),
    'last': (lambda x: x[..., -1:], 1), 'mean': (lambda x: K.mean(x, axis=-1, keepdims=True), 1),
    'scale': (lambda x: x / 255. * 2 - 1, 1), 'distance': (lambda v: K.abs(v[0] - v[1]), 2),
    'choice': (lambda x, k=1: x if k else -x, 1), 'sampling': (sampling, 2),
    'branches': (branches, 1), 'loop': (loop, 1), 'own_import': (own_import, 1),
    'list_of': (lambda x: K.concatenate([x[:, i:i + 1] ** 2 for i in range(2)], axis=1), 1),
    'closed': (closed(2., 3.), 1), 'inner_function': (inner_function, 1),
    'mapped': (lambda x: K.map_fn(lambda t: t * 2 + 1, x), 1),
    'shape_methods': (shape_methods, 1), 'printing': (printing, 1), 'euclidean': (euclidean, 2),
    'attention': (attention, 2), 'activations': (lambda x: K.softmax(K.relu(x, max_value=6.)), 1),
    'turned': (lambda x: x[:, ::-1][:, None, :], 1), 'either': (lambda x, a=None: a or x, 1),
    'between': (lambda x, a=1: x * 2 if 0 < a < 3 else x, 1),
    'numbers': (lambda x: x * np.sqrt(2.) / np.pi + np.float32(0.5) - int(7 / 2.), 1),
    'spread': (lambda x: K.reshape(x, (-1,) + tuple([3, 4])), 1),
    'tensorflow_parts': (tensorflow_parts, 1), 'tensorflow_shapes': (tensorflow_shapes, 1),
    'tensorflow_choice': (tensorflow_choice, 1),
}
# what must never be run, nor taken for an expression
HOSTILE = {
    'system': lambda x: __import__('os').system('touch hit') or x,
    'walk': lambda x: x.__class__.__bases__[0].__subclasses__(), 'eval': lambda x: eval('x'),
    'opened': lambda x: open('hit', 'w').write('') or x, 'globals': lambda x: globals()['K'],
    'through_k': lambda x: K.np.os.system('touch hit'), 'function': lambda x: K.function([x], [x]),
    'attribute': lambda x: getattr(x, 'node'), 'method': lambda x: x.op.grad(x),
    'unknown': lambda x: x * half, 'kept': lambda x: (K.set_floatx('float16'), x)[1],
}


def dumped(function):
    """(code, defaults, closure) as Keras's func_dump gives them, and as JSON keeps them."""
    cells = function.__closure__
    code = base64.b64encode(marshal.dumps(function.__code__)).decode('ascii')
    return [code, function.__defaults__, cells and [cell.cell_contents for cell in cells]]


def main():
    stored = {}
    if os.path.exists(PATH):
        with open(PATH) as file:
            stored = json.load(file)
    version = '%d.%d' % sys.version_info[:2]
    functions = dict(HOSTILE, **dict((name, f) for name, (f, _) in FUNCTIONS.items()))
    stored[version] = dict((name, dumped(f)) for name, f in functions.items())
    with open(PATH, 'w') as file:
        json.dump(stored, file, indent=0, sort_keys=True)


if __name__ == '__main__':
    main()
