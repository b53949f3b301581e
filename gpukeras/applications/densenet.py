"""Densely connected networks. Huang et al. 2016, arXiv:1608.06993."""
from .. import layers as L
from .common import Options, channel_axis, channels, tf_files
from .imagenet_utils import decode_predictions
from .imagenet_utils import preprocess_torch as preprocess_input

URL = "https://github.com/keras-team/keras-applications/releases/download/densenet/"
HASHES = {
    "densenet121": ("9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": ("d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": ("1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1")}
BLOCKS = {(6, 12, 24, 16): "densenet121", (6, 12, 32, 32): "densenet169",
          (6, 12, 48, 32): "densenet201"}


def norm_relu(x, bn, relu):
    x = L.BatchNormalization(axis=channel_axis(), epsilon=1.001e-5, name=bn)(x)
    return L.Activation("relu", name=relu)(x)


def dense_block(x, count, name):
    """Each of `count` pairs of convolutions sees all channels made before and adds 32."""
    for i in range(1, count + 1):
        part = f"{name}_block{i}"
        y = norm_relu(x, part + "_0_bn", part + "_0_relu")
        y = L.Conv2D(128, 1, use_bias=False, name=part + "_1_conv")(y)
        y = norm_relu(y, part + "_1_bn", part + "_1_relu")
        y = L.Conv2D(32, 3, padding="same", use_bias=False, name=part + "_2_conv")(y)
        x = L.Concatenate(axis=channel_axis(), name=part + "_concat")([x, y])
    return x


def transition(x, name):
    """Half the channels, half the size."""
    x = norm_relu(x, name + "_bn", name + "_relu")
    x = L.Conv2D(int(channels(x) * 0.5), 1, use_bias=False, name=name + "_conv")(x)
    return L.AveragePooling2D(2, strides=2, name=name + "_pool")(x)


def DenseNet(blocks, include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
             pooling=None, classes=1000, **kwargs):
    """A DenseNet with so many pairs of convolutions in its four blocks; images of 224 x 224."""
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    name = BLOCKS.get(tuple(blocks), "densenet")
    images = options.images(224)
    x = L.ZeroPadding2D(((3, 3), (3, 3)))(images)
    x = L.Conv2D(64, 7, strides=2, use_bias=False, name="conv1/conv")(x)
    x = norm_relu(x, "conv1/bn", "conv1/relu")
    x = L.ZeroPadding2D(((1, 1), (1, 1)))(x)
    x = L.MaxPooling2D(3, strides=2, name="pool1")(x)
    for i, count in enumerate(blocks, 2):
        x = dense_block(x, count, f"conv{i}")
        if i < 5:
            x = transition(x, f"pool{i}")
    x = norm_relu(x, "bn", "relu")
    x = options.classified(x, "fc1000", free=("avg_pool", "max_pool"))
    files = tf_files(name, *HASHES[name]) if name in HASHES else {}
    return options.model(images, x, name, URL if files else None, **files)


def DenseNet121(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
                pooling=None, classes=1000, **kwargs):
    """DenseNet121; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return DenseNet((6, 12, 24, 16), include_top, weights, input_tensor, input_shape, pooling,
                    classes, **kwargs)


def DenseNet169(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
                pooling=None, classes=1000, **kwargs):
    """DenseNet169; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return DenseNet((6, 12, 32, 32), include_top, weights, input_tensor, input_shape, pooling,
                    classes, **kwargs)


def DenseNet201(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
                pooling=None, classes=1000, **kwargs):
    """DenseNet201; arguments as in `gpukeras.applications`. Images of 224 x 224."""
    return DenseNet((6, 12, 48, 32), include_top, weights, input_tensor, input_shape, pooling,
                    classes, **kwargs)
