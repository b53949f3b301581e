"""ResNet50 with the layer names of its first release. He et al. 2015, arXiv:1512.03385."""
from .. import layers as L
from .common import MODELS, Options, channel_axis, tf_files
from .imagenet_utils import decode_predictions, preprocess_input

FILES = tf_files("resnet50", "a7b3fe01876f51b976af0dea6bc144eb", "a268eb855778b3df3c7506639542a6af")


def _conv(x, filters, size, name, **more):
    return L.Conv2D(filters, size, kernel_initializer="he_normal", name=name, **more)(x)


def _block(x, filters, stage, block, strides=None):
    """Convolutions 1x1, 3x3, 1x1 and a shortcut: with `strides` a convolution, else x itself."""
    axis = channel_axis()
    end = f"{stage}{block}_branch"

    def norm(y, part):
        return L.BatchNormalization(axis=axis, name=f"bn{end}{part}")(y)

    first = {"strides": strides} if strides else {}
    y = norm(_conv(x, filters, (1, 1), f"res{end}2a", **first), "2a")
    y = L.Activation("relu")(y)
    y = norm(_conv(y, filters, 3, f"res{end}2b", padding="same"), "2b")
    y = L.Activation("relu")(y)
    y = norm(_conv(y, 4 * filters, (1, 1), f"res{end}2c"), "2c")
    if strides:
        x = norm(_conv(x, 4 * filters, (1, 1), f"res{end}1", **first), "1")
    return L.Activation("relu")(L.add([y, x]))


def ResNet50(include_top=True, weights="imagenet", input_tensor=None, input_shape=None,
             pooling=None, classes=1000, **kwargs):
    """ResNet50; arguments as in `gpukeras.applications`. Images of 224 x 224, at least 32 x 32."""
    options = Options(include_top, weights, input_tensor, input_shape, pooling, classes, **kwargs)
    images = options.images(224)
    x = L.ZeroPadding2D((3, 3), name="conv1_pad")(images)
    x = _conv(x, 64, (7, 7), "conv1", strides=(2, 2))
    x = L.BatchNormalization(axis=channel_axis(), name="bn_conv1")(x)
    x = L.Activation("relu")(x)
    x = L.ZeroPadding2D((1, 1), name="pool1_pad")(x)
    x = L.MaxPooling2D((3, 3), strides=(2, 2))(x)
    for stage, blocks in enumerate(("abc", "abcd", "abcdef", "abc"), 2):
        for block in blocks:
            strides = None if block != "a" else (1, 1) if stage == 2 else (2, 2)
            x = _block(x, 16 * 2 ** stage, stage, block, strides)
    x = options.classified(x, "fc1000")
    return options.model(images, x, "resnet50", MODELS + "v0.2/", **FILES)
