"""Inception-ResNet v2. Szegedy et al. 2016, arXiv:1602.07261."""
from .. import layers as L
from .common import MODELS, Options, channel_axis, channels, tf_files
from .imagenet_utils import decode_predictions
from .imagenet_utils import preprocess_tf as preprocess_input

FILES = tf_files("inception_resnet_v2", "e693bd0210a403b3192acc6073ad2e96",
                 "d19885ff4a710c122648d3b5c3b684e4")
# convolutions (filters, size) of the branches beside the first, which is a 1 x 1 convolution
BLOCKS = {"block35": (32, [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]),
          "block17": (192, [(128, 1), (160, [1, 7]), (192, [7, 1])]),
          "block8": (192, [(192, 1), (224, [1, 3]), (256, [3, 1])])}


def conv(x, filters, size, padding="same", strides=1, name=None):
    """Convolution, normalisation without scale, ReLU."""
    x = L.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False, name=name)(x)
    x = L.BatchNormalization(axis=channel_axis(), scale=False, name=name and name + "_bn")(x)
    return L.Activation("relu", name=name and name + "_ac")(x)


def chain(x, *convolutions):
    for arguments in convolutions:
        x = conv(x, *arguments)
    return x


def join(branches, name):
    return L.Concatenate(axis=channel_axis(), name=name)(branches)


def add_scaled(inputs, scale):
    return inputs[0] + inputs[1] * scale


def residual(x, kind, number, scale, activation="relu"):
    """x plus `scale` times the branches, joined and brought to the channels of x."""
    name = f"{kind}_{number}"
    first, *others = BLOCKS[kind]
    mixed = join([conv(x, first, 1)] + [chain(x, *steps) for steps in others], name + "_mixed")
    up = L.Conv2D(channels(x), 1, padding="same", name=name + "_conv")(mixed)
    x = L.Lambda(add_scaled, output_shape=x.shape[1:], arguments={"scale": scale},
                 name=name)([x, up])
    return L.Activation(activation, name=name + "_ac")(x) if activation else x


def halved(x, name, *chains):
    """Chains whose last convolution has strides 2, beside a pooling with strides 2."""
    branches = [chain(x, *steps[:-1], (*steps[-1], "valid", 2)) for steps in chains]
    return join(branches + [L.MaxPooling2D(3, strides=2, padding="valid")(x)], name)


def stem(images):
    x = chain(images, (32, 3, "valid", 2), (32, 3, "valid"), (64, 3))
    x = L.MaxPooling2D(3, strides=2)(x)
    x = chain(x, (80, 1, "valid"), (192, 3, "valid"))
    x = L.MaxPooling2D(3, strides=2)(x)
    branches = [conv(x, 96, 1), chain(x, (48, 1), (64, 5)), chain(x, (64, 1), (96, 3), (96, 3)),
                conv(L.AveragePooling2D(3, strides=1, padding="same")(x), 64, 1)]
    return join(branches, "mixed_5b")


def InceptionResNetV2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
                      pooling=None, classes=1000, **kwargs):
    """Inception-ResNet v2; arguments as in `gpukeras.applications`.

    Images of 299 x 299, at least 75 x 75.
    """
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    images = options.images(299, 75)
    x = stem(images)
    for i in range(1, 11):
        x = residual(x, "block35", i, 0.17)
    x = halved(x, "mixed_6a", [(384, 3)], [(256, 1), (256, 3), (384, 3)])
    for i in range(1, 21):
        x = residual(x, "block17", i, 0.1)
    x = halved(x, "mixed_7a", [(256, 1), (384, 3)], [(256, 1), (288, 3)],
               [(256, 1), (288, 3), (320, 3)])
    for i in range(1, 10):
        x = residual(x, "block8", i, 0.2)
    x = residual(x, "block8", 10, 1., activation=None)
    x = conv(x, 1536, 1, name="conv_7b")
    x = options.classified(x)
    return options.model(images, x, "inception_resnet_v2", MODELS + "v0.7/", **FILES)
