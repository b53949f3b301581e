"""Inception v3. Szegedy et al. 2015, arXiv:1512.00567."""
from .. import layers as L
from .common import MODELS, Options, channel_axis, tf_files
from .imagenet_utils import decode_predictions
from .imagenet_utils import preprocess_tf as preprocess_input

FILES = tf_files("inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564",
                 "bcbd6486424b2319ff4ef7d526e38f63")


def conv(x, filters, rows, columns, padding="same", strides=(1, 1)):
    """Convolution, normalisation without scale, ReLU."""
    x = L.Conv2D(filters, (rows, columns), strides=strides, padding=padding, use_bias=False)(x)
    x = L.BatchNormalization(axis=channel_axis(), scale=False)(x)
    return L.Activation("relu")(x)


def chain(x, *convolutions):
    for arguments in convolutions:
        x = conv(x, *arguments)
    return x


def average(x, filters):
    """Mean of each 3 x 3 window, then a 1 x 1 convolution."""
    return conv(L.AveragePooling2D((3, 3), strides=(1, 1), padding="same")(x), filters, 1, 1)


def join(branches, name=None):
    return L.concatenate(branches, axis=channel_axis(), name=name)


def halved(x, name, *chains):
    """Chains whose last convolution has strides 2, beside a pooling with strides 2."""
    branches = [chain(x, *steps[:-1], (*steps[-1], "valid", (2, 2))) for steps in chains]
    return join(branches + [L.MaxPooling2D((3, 3), strides=(2, 2))(x)], name)


def mixed_35(x, filters, name):
    return join([chain(x, (64, 1, 1)),
                 chain(x, (48, 1, 1), (64, 5, 5)),
                 chain(x, (64, 1, 1), (96, 3, 3), (96, 3, 3)),
                 average(x, filters)], name)


def mixed_17(x, f, name):
    """Columns and rows of seven pixels in turn, with f filters inside."""
    return join([chain(x, (192, 1, 1)),
                 chain(x, (f, 1, 1), (f, 1, 7), (192, 7, 1)),
                 chain(x, (f, 1, 1), (f, 7, 1), (f, 1, 7), (f, 7, 1), (192, 1, 7)),
                 average(x, 192)], name)


def mixed_8(x, i):
    def fork(y, name=None):
        return join([conv(y, 384, 1, 3), conv(y, 384, 3, 1)], name)

    return join([chain(x, (320, 1, 1)),
                 fork(chain(x, (384, 1, 1)), f"mixed9_{i}"),
                 fork(chain(x, (448, 1, 1), (384, 3, 3))),
                 average(x, 192)], f"mixed{9 + i}")


def InceptionV3(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
                pooling=None, classes=1000, **kwargs):
    """Inception v3; arguments as in `gpukeras.applications`. Images of 299 x 299, at least 75."""
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    images = options.images(299, 75)
    x = conv(images, 32, 3, 3, "valid", (2, 2))
    x = chain(x, (32, 3, 3, "valid"), (64, 3, 3))
    x = L.MaxPooling2D((3, 3), strides=(2, 2))(x)
    x = chain(x, (80, 1, 1, "valid"), (192, 3, 3, "valid"))
    x = L.MaxPooling2D((3, 3), strides=(2, 2))(x)
    for i, filters in enumerate((32, 64, 64)):
        x = mixed_35(x, filters, f"mixed{i}")
    x = halved(x, "mixed3", [(384, 3, 3)], [(64, 1, 1), (96, 3, 3), (96, 3, 3)])
    for i, filters in enumerate((128, 160, 160, 192), 4):
        x = mixed_17(x, filters, f"mixed{i}")
    x = halved(x, "mixed8", [(192, 1, 1), (320, 3, 3)],
               [(192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3)])
    for i in range(2):
        x = mixed_8(x, i)
    x = options.classified(x)
    return options.model(images, x, "inception_v3", MODELS + "v0.5/", **FILES)
