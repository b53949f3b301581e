"""Xception. Chollet 2016, arXiv:1610.02357."""
from .. import layers as L
from .common import MODELS, Options, channel_axis, tf_files
from .imagenet_utils import decode_predictions
from .imagenet_utils import preprocess_tf as preprocess_input

FILES = tf_files("xception", "0a58e3b7378bc2990ea3b43d5981f1f6",
                 "b0042744bf5b25fce3cb969f33bebb97")


def norm(x, name=None):
    return L.BatchNormalization(axis=channel_axis(-1), name=name)(x)


def separable(x, filters, name):
    x = L.SeparableConv2D(filters, (3, 3), padding="same", use_bias=False, name=name)(x)
    return norm(x, name + "_bn")


def halved(x, filters, block, first_relu=True):
    """Two separable convolutions and a pooling with strides 2, plus a 1 x 1 convolution of x."""
    name = f"block{block}"
    beside = norm(L.Conv2D(filters[1], (1, 1), strides=(2, 2), padding="same", use_bias=False)(x))
    if first_relu:
        x = L.Activation("relu", name=name + "_sepconv1_act")(x)
    x = separable(x, filters[0], name + "_sepconv1")
    x = L.Activation("relu", name=name + "_sepconv2_act")(x)
    x = separable(x, filters[1], name + "_sepconv2")
    x = L.MaxPooling2D((3, 3), strides=(2, 2), padding="same", name=name + "_pool")(x)
    return L.add([x, beside])


def residual(x, block):
    y = x
    for i in (1, 2, 3):
        y = L.Activation("relu", name=f"block{block}_sepconv{i}_act")(y)
        y = separable(y, 728, f"block{block}_sepconv{i}")
    return L.add([y, x])


def Xception(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
             pooling=None, classes=1000, **kwargs):
    """Xception; arguments as in `gpukeras.applications`. Images of 299 x 299, at least 71 x 71."""
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    images = x = options.images(299, 71)
    for i, (filters, strides) in enumerate(((32, (2, 2)), (64, (1, 1))), 1):
        name = f"block1_conv{i}"
        x = L.Conv2D(filters, (3, 3), strides=strides, use_bias=False, name=name)(x)
        x = L.Activation("relu", name=name + "_act")(norm(x, name + "_bn"))
    x = halved(x, (128, 128), 2, first_relu=False)
    x = halved(x, (256, 256), 3)
    x = halved(x, (728, 728), 4)
    for block in range(5, 13):
        x = residual(x, block)
    x = halved(x, (728, 1024), 13)
    for i, filters in enumerate((1536, 2048), 1):
        x = separable(x, filters, f"block14_sepconv{i}")
        x = L.Activation("relu", name=f"block14_sepconv{i}_act")(x)
    x = options.classified(x)
    return options.model(images, x, "xception", MODELS + "v0.4/", **FILES)
